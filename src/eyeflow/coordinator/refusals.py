"""Who sends credentials that do not work is answered slowly, so that guessing takes nothing from those that have one.

A credential that works is never slowed down, from whatever address it comes: many may share one. Only a refusal waits,
and then ends its connection. So an address has at most as many refusals in PAUSE_S as it may hold connections.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from eyeflow.net.places import group_of

WINDOW_S = 60.0
FREE = 20
"""Refusals of one address in WINDOW_S that are answered at once: people mistype, and nodes are removed."""
FREE_IN_ALL = 600
"""The same, of all addresses together: an attacker may have many."""
PAUSE_S = 1.0
ADDRESSES_MAX = 4_096
"""Addresses that are remembered; beyond it those go that were refused longest ago."""


class Refusals:
    """Counts refused credentials by address. `clock_s` and `sleep` are the usual ones until told otherwise."""

    def __init__(
        self,
        clock_s: Callable[[], float] | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._clock_s = clock_s or (lambda: asyncio.get_running_loop().time())
        self.sleep = sleep
        self._counts: OrderedDict[str, tuple[float, int]] = OrderedDict()
        """Since when the window of an address lasts, and its refusals in it; who was refused last stands last."""
        self._in_all = (0.0, 0)

    def count(self, host: str) -> bool:
        """Count one refusal of a peer; say whether its answer waits."""
        now_s, address = self._clock_s(), group_of(host)
        since_s, count = _one_more(self._counts.pop(address, (now_s, 0)), now_s)
        self._counts[address] = (since_s, count)
        if len(self._counts) > ADDRESSES_MAX:
            self._counts.popitem(last=False)
        self._in_all = _one_more(self._in_all, now_s)
        return count > FREE or self._in_all[1] > FREE_IN_ALL

    async def pause(self, host: str) -> bool:
        """Count one refusal of a peer and wait before it is answered, if it must; say whether it did."""
        waits = self.count(host)
        if waits:
            await self.sleep(PAUSE_S)
        return waits

    @property
    def remembered(self) -> int:
        """How many addresses are remembered."""
        return len(self._counts)


def _one_more(window: tuple[float, int], now_s: float) -> tuple[float, int]:
    since_s, count = window
    return (now_s, 1) if now_s - since_s >= WINDOW_S else (since_s, count + 1)
