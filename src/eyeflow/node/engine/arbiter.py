"""One rule at a time commands one physical resource: a lease with priority and a maximum wait.

A program that commands a resource holds it for the length of the lease; commanding again extends it, unless another one
waits. A waiting one of higher priority takes the resource as soon as no action is under way on it; others wait until
the lease ends. Whoever waited for the maximum fails with `ResourceBusy`. Two programs of one rule share its lease: for
each event one of them acts, and neither waits for the lease of the other to end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from eyeflow.node.clock import Clock
from eyeflow.node.run_key import RunKey
from eyeflow.svm.execution import CapabilityFailure
from eyeflow.svm.program import Priority

RESOURCES_MAX = 4096
"""Resources that are remembered; beyond that, those nobody holds are forgotten."""


class ResourceBusy(CapabilityFailure):
    """Another rule kept the resource for the maximum wait."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Who waits. Each has an event of its own: of one for all, whoever came would clear what others are yet to see."""

    priority: Priority
    who: RunKey
    changed: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True)
class _Resource:
    """Who holds a resource until when; `acting`: an action is under way; `waiting` is by number of arrival."""

    holder: RunKey | None = None
    priority: Priority = Priority.BACKGROUND
    until_us: int = 0
    acting: bool = False
    waiting: dict[int, _Waiting] = field(default_factory=dict)
    conflicts: int = 0
    loser: RunKey | None = None

    def tell(self) -> None:
        """Let all who wait look again."""
        for one in self.waiting.values():
            one.changed.set()

    @property
    def first(self) -> int:
        """The number of whoever is to have it next."""
        return min(self.waiting, key=lambda number: (self.waiting[number].priority, number))


class Arbiter:
    """Hands out the leases. `lease_us` and `wait_us` are the length of a lease and the maximum wait."""

    def __init__(self, clock: Clock, lease_us: int, wait_us: int) -> None:
        self._clock, self._lease_us, self._wait_us = clock, lease_us, wait_us
        self._resources: dict[str, _Resource] = {}
        self._arrivals = 0

    @asynccontextmanager
    async def lease(self, key: str, who: RunKey, priority: Priority) -> AsyncIterator[None]:
        """Hold the resource `key` while acting on it. Raises ResourceBusy after the maximum wait."""
        resource = self._resource(key)
        await self._acquire(key, resource, who, priority)
        try:
            yield
        finally:
            resource.acting = False
            resource.tell()

    async def _acquire(self, key: str, resource: _Resource, who: RunKey, priority: Priority) -> None:
        self._arrivals += 1
        ticket, deadline_us = self._arrivals, self._clock.now_us() + self._wait_us
        resource.waiting[ticket] = _Waiting(priority, who)
        try:
            if not self._may_take(resource, ticket):
                resource.conflicts += not _same_rule(resource.holder, who)
                resource.loser = who
            while not self._may_take(resource, ticket):
                # A clock that was set back must not make the wait longer than it may be.
                deadline_us = min(deadline_us, self._clock.now_us() + self._wait_us)
                await self._wait(key, resource, ticket, deadline_us)
        finally:
            del resource.waiting[ticket]
            resource.tell()  # whoever was behind may be first now
        self._take(resource, who, priority)

    def _may_take(self, resource: _Resource, ticket: int) -> bool:
        one = resource.waiting[ticket]
        if resource.acting:
            return False
        leased = self._is_leased(resource)
        if leased and _same_rule(resource.holder, one.who):
            return all(one.priority <= other.priority for other in resource.waiting.values())
        return resource.first == ticket and (not leased or one.priority < resource.priority)

    def _take(self, resource: _Resource, who: RunKey, priority: Priority) -> None:
        now_us = self._clock.now_us()
        others = any(not _same_rule(other.who, who) for other in resource.waiting.values())
        # While others wait, commanding again does not extend the lease: a busy rule would keep the resource for ever.
        if not (_same_rule(resource.holder, who) and others and self._is_leased(resource)):
            resource.until_us = now_us + self._lease_us
        resource.holder, resource.priority, resource.acting = who, priority, True

    def _is_leased(self, resource: _Resource) -> bool:
        """Say whether the lease lasts. More than a whole one is left only where the clock was set back."""
        return 0 < resource.until_us - self._clock.now_us() <= self._lease_us

    async def _wait(self, key: str, resource: _Resource, ticket: int, deadline_us: int) -> None:
        """Return when something changed, or when the first one may take a resource whose lease has ended."""
        now_us, one = self._clock.now_us(), resource.waiting[ticket]
        if now_us >= deadline_us:
            waited_s = self._wait_us / 1e6
            raise ResourceBusy(f"{key} is commanded by {resource.holder}; {one.who} waited {waited_s:g}s for it")
        until_us = deadline_us
        if not resource.acting and resource.first == ticket:
            until_us = min(deadline_us, max(resource.until_us, now_us + 1))
        one.changed.clear()
        timer = asyncio.ensure_future(self._clock.sleep((until_us - now_us) / 1e6))
        change = asyncio.ensure_future(one.changed.wait())
        try:
            await asyncio.wait({timer, change}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            change.cancel()

    def _resource(self, key: str) -> _Resource:
        if key not in self._resources and len(self._resources) >= RESOURCES_MAX:
            held = {k: r for k, r in self._resources.items() if r.acting or r.waiting or self._is_leased(r)}
            self._resources = held
        return self._resources.setdefault(key, _Resource())

    def as_dict(self) -> dict[str, object]:
        """Return JSON-able data: every resource with its holder, and its conflicts."""
        return {
            key: {
                "holder": _shown(r.holder) if r.acting or self._is_leased(r) else "",
                "waiting": [str(one.who) for one in r.waiting.values()],
                "conflicts": r.conflicts,
                "last_loser": _shown(r.loser),
            }
            for key, r in sorted(self._resources.items())
        }


def _same_rule(one: RunKey | None, other: RunKey) -> bool:
    return one is not None and one.rule == other.rule


def _shown(who: RunKey | None) -> str:
    return "" if who is None else str(who)
