"""Tells the node's log how its ports do: a broker that cannot be reached, a coordinator that is back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from eyeflow.node.io.ports import PortStatus

_log = logging.getLogger("eyeflow.node")

LOOK_S = 1.0
"""How often the ports are looked at; what changes faster shows in the status only."""

IDLE = "no rule listens"
REJECTED = "rejected"


class PortLog:
    """Logs each change of state once: not every attempt of a port that goes on trying.

    A source and a driver may share one status: what stands for both when they cannot be set up.
    """

    def __init__(self, ports: Iterable[PortStatus]) -> None:
        self._ports = list({id(port): port for port in ports}.values())
        self._troubled: set[tuple[int, str]] = set()
        self._rejected: dict[int, int] = {}

    def look(self) -> None:
        """Log what has changed since the last look."""
        for number, status in enumerate(self._ports):
            self._forget_parts(number, status)
            for name, port in (status.parts or {"": status}).items():
                self._state((number, name), port)
            rejected = status.counters.get(REJECTED, 0)
            if rejected > self._rejected.get(number, 0) and not self._rejected.get(number):
                _log.warning("%s: the first event was rejected: %s", status.name, status.detail or "see the status")
            self._rejected[number] = rejected

    def _forget_parts(self, number: int, status: PortStatus) -> None:
        """A port that no rule listens to any more is not in trouble: its next trouble is told again."""
        self._troubled -= {key for key in self._troubled if key[0] == number and key[1] and key[1] not in status.parts}

    def _state(self, key: tuple[int, str], status: PortStatus) -> None:
        troubled = status.state != "up" and bool(status.detail) and status.detail != IDLE
        if troubled and key not in self._troubled:
            self._troubled.add(key)
            _log.warning("%s: %s", status.name, status.detail)
        elif status.state == "up" and key in self._troubled:
            self._troubled.remove(key)
            _log.info("%s: up again", status.name)

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_S)
