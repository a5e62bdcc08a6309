"""What the daemon tells systemd: that it is ready, that it is alive, that it stops.

The protocol is one datagram for each message, to the socket that the environment names: sd_notify(3) and
sd_watchdog_enabled(3) of systemd. The Python bindings of it need a C library, or are not kept any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import MutableMapping

OFTEN = 3
"""How many signs of life fall into the time after which systemd gives the daemon up: two may be late."""


class ServiceManager:
    """The service manager that started this process; `watchdog_s` is within which it wants a sign of life, 0: never."""

    def __init__(self, address: str = "", watchdog_s: float = 0.0) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.watchdog_s = watchdog_s

    @classmethod
    def of(cls, environment: MutableMapping[str, str]) -> ServiceManager:
        """Return the one that the environment names, and take it out of there: children are other services' business.

        Without one, nobody is told anything.
        """
        address, pid = environment.pop("NOTIFY_SOCKET", ""), environment.pop("WATCHDOG_PID", "")
        watchdog_us = environment.pop("WATCHDOG_USEC", "")
        is_for_us = pid in {"", str(os.getpid())} and watchdog_us.isdecimal()
        return cls(address, int(watchdog_us) / 1e6 if is_for_us else 0.0)

    def tell(self, **facts: str) -> None:
        """Send facts such as `READY="1"`. One that does not arrive must not end the daemon."""
        if not self._address:
            return
        text = "\n".join(f"{name}={_one_line(value)}" for name, value in facts.items())
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto(text.encode(), self._address)

    async def keep_alive(self) -> None:
        """Give signs of life until cancelled. They come from the loop that runs rules: one that hangs gives none."""
        while self._address and self.watchdog_s:
            self.tell(WATCHDOG="1")
            await asyncio.sleep(self.watchdog_s / OFTEN)


def _one_line(value: str) -> str:
    return value.replace("\n", " ")
