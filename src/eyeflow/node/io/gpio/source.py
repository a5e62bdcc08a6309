"""`on gpio DOOR changes`: edges of input pins, found by looking at the levels each `[gpio] poll_s`."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from eyeflow.base.clock import NowUs, wall_clock_us
from eyeflow.node.io.gpio.address import split_address
from eyeflow.node.io.gpio.backends import GpioBackend, PinError
from eyeflow.node.io.ports import Deliver, IncomingEvent, PortStatus, Subscription


class GpioSource:
    """Delivers an event with an empty payload for each edge. A pulse shorter than the polling period is not seen."""

    def __init__(self, backend: GpioBackend, poll_s: float, clock: NowUs = wall_clock_us) -> None:
        self._backend = backend
        self._poll_s = poll_s
        self._clock = clock
        self._subscriptions: tuple[Subscription, ...] = ()
        self._levels: dict[str, bool] = {}
        self._problems: dict[str, str] = {}
        """Why a pin that a rule listens to cannot be read."""
        self._wanted = asyncio.Event()
        self.status = PortStatus("gpio", "up", counters={"edges": 0})

    def update(self, subscriptions: Collection[Subscription]) -> None:
        """Replace the wanted set; see `Source`. The level of a new pin at this moment is where its edges start."""
        self._subscriptions = tuple(subscriptions)
        pins = {split_address(s.address)[0] for s in subscriptions}
        self._levels = {pin: level for pin, level in self._levels.items() if pin in pins}
        self._problems = {pin: problem for pin, problem in self._problems.items() if pin in pins}
        self._tell()
        for pin in pins - self._levels.keys():
            self._look(pin)
        if pins:
            self._wanted.set()
        else:
            self._wanted.clear()

    async def run(self, deliver: Deliver) -> None:
        """Run until cancelled."""
        while True:
            await self._wanted.wait()
            for pin in sorted({split_address(s.address)[0] for s in self._subscriptions}):
                await self._check(pin, deliver)
            await asyncio.sleep(self._poll_s)

    async def _check(self, pin: str, deliver: Deliver) -> None:
        before, level = self._levels.get(pin), self._look(pin)
        if level is None or before is None or level == before:
            return
        self.status.counters["edges"] += 1
        now_us = self._clock()
        for subscription in self._subscriptions:
            name, edge = split_address(subscription.address)
            if name == pin and edge in ("changes", "rises" if level else "falls"):
                # Nobody can slow a pin down: while its event waited, further edges would pass unseen.
                await deliver(IncomingEvent(subscription, {}, now_us, can_wait=False))

    def _look(self, pin: str) -> bool | None:
        try:
            level = self._backend.level(pin)
        except PinError as error:
            self._problems[pin] = str(error)
            self._tell()
            return None
        if self._problems.pop(pin, None) is not None:
            self._tell()
        self._levels[pin] = level
        return level

    def _tell(self) -> None:
        self.status.state = "failed" if self._problems else "up"
        self.status.detail = "; ".join(self._problems.values())
