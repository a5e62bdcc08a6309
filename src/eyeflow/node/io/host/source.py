"""`on host every 2s`: the machine's own readings, by psutil."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from eyeflow.base.clock import NowUs, wall_clock_us
from eyeflow.node.io.host.readings import HostReadings, SensorAbsent
from eyeflow.node.io.ports import Deliver, IncomingEvent, PortStatus, Subscription

PERIOD_DEFAULT_US = 2_000_000
FIELDS = ("cpu_percent", "memory_percent", "disk_percent", "temperature_celsius", "load_1min")


class HostSource:
    """Samples each period. A sensor this machine has not got is left out: a rule that needs it says so by rejecting."""

    def __init__(self, readings: HostReadings, clock: NowUs = wall_clock_us) -> None:
        self._readings = readings
        self._clock = clock
        self._subscriptions: frozenset[Subscription] = frozenset()
        self._changed = asyncio.Event()
        self.status = PortStatus("host", "up", counters={"samples": 0})

    def update(self, subscriptions: Collection[Subscription]) -> None:
        """Replace the wanted set; see `Source`."""
        self._subscriptions = frozenset(subscriptions)
        self.status.detail = ""  # of samples for rules that may be gone
        self._changed.set()

    async def run(self, deliver: Deliver) -> None:
        """Run until cancelled."""
        loop = asyncio.get_running_loop()
        due: dict[Subscription, float] = {}
        while True:
            self._changed.clear()
            due = {s: due.get(s, loop.time()) for s in self._subscriptions}
            wait_s = min(due.values(), default=loop.time() + 3600.0) - loop.time()
            if wait_s > 0:
                await _wait(self._changed, wait_s)
                continue
            now = loop.time()
            for subscription in [s for s, at in due.items() if at <= now]:
                await self._sample(subscription, deliver)
                # From the due time, so that the period does not drift; never in the past, so that nothing piles up.
                period_s = (subscription.period_us or PERIOD_DEFAULT_US) / 1e6
                due[subscription] = max(due[subscription] + period_s, loop.time())

    async def _sample(self, subscription: Subscription, deliver: Deliver) -> None:
        payload: dict[str, object] = {}
        self.status.detail = ""
        for name in FIELDS:
            reading: Callable[[], float] = getattr(self._readings, name)
            try:
                payload[name] = reading()
            except SensorAbsent as error:
                self.status.detail = str(error)
        self.status.counters["samples"] += 1
        await deliver(IncomingEvent(subscription, payload, self._clock()))


async def _wait(event: asyncio.Event, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):  # not `wait_for`, which in Python 3.11 may swallow a cancellation
            await event.wait()
    except TimeoutError:
        return
