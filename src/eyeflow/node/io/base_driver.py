"""What drivers have in common: the answers to a capability that a namespace does not have."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

from eyeflow.base.visible import visible
from eyeflow.node.io.ports import PortStatus
from eyeflow.svm.execution import CapabilityFailure
from eyeflow.svm.program import Value


class BaseDriver:
    """A driver that serves nothing; each driver overrides what its namespace has."""

    def __init__(self, name: str) -> None:
        self.status = PortStatus(name, "up", counters={"reads": 0, "actions": 0, "failures": 0})

    @property
    def slow_reads(self) -> Collection[str]:
        """None: each read answers at once."""
        return ()

    @property
    def is_ready(self) -> bool:
        """Always: it needs no connection that is kept up."""
        return True

    async def until_ready(self) -> None:
        """Return at once."""

    def read(self, capability: str, args: Mapping[str, Value], timeout_us: int) -> Value:
        """Return the value of a read capability; raises CapabilityFailure."""
        raise self.failure(f"{capability} is not a read that this node serves")

    async def act(self, capability: str, args: Mapping[str, Value]) -> None:
        """Perform one action once; raises CapabilityFailure."""
        raise self.failure(f"{capability} is not an action that this node serves")

    def begin(self, capability: str, args: Mapping[str, Value]) -> asyncio.Future[None] | None:
        """Each action ends before the next one starts."""
        return None

    async def close(self) -> None:
        """Hold nothing."""

    def failure(self, message: str) -> CapabilityFailure:
        """Return the exception to raise, after counting it; the message may hold a rule's text."""
        message = visible(message)
        self.status.counters["failures"] += 1
        self.status.detail = message
        return CapabilityFailure(message)
