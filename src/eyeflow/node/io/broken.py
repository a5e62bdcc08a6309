"""Stands for a source or driver that could not be set up, so that the rest of the node runs and says why."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from typing import TypeVar

from eyeflow.base.errors import EyeflowError
from eyeflow.base.reasons import internal
from eyeflow.node.io.ports import Deliver, PortStatus, Subscription
from eyeflow.svm.execution import CapabilityFailure
from eyeflow.svm.program import Value

_log = logging.getLogger("eyeflow.node")

S = TypeVar("S")
T = TypeVar("T")


class Broken:
    """Satisfies `Source` and `Driver`: delivers nothing, and every call fails with the reason of the set-up."""

    def __init__(self, name: str, reason: str) -> None:
        self.status = PortStatus(name, "failed", reason)

    def update(self, subscriptions: Collection[Subscription]) -> None:
        """Nothing listens; see `Source`."""

    async def run(self, deliver: Deliver) -> None:
        """Return at once: there is nothing to try again before the next start; see `Source`."""

    @property
    def slow_reads(self) -> Collection[str]:
        """None: it fails at once; see `Driver`."""
        return ()

    @property
    def is_ready(self) -> bool:
        """Not before the next start: what a crash left waits for that; see `Driver`."""
        return False

    async def until_ready(self) -> None:
        """Never return; see `Driver`."""
        await asyncio.Event().wait()

    def begin(self, capability: str, args: Mapping[str, Value]) -> asyncio.Future[None] | None:
        """There is only `act`; see `Driver`."""
        return None

    def read(self, capability: str, args: Mapping[str, Value], timeout_us: int) -> Value:
        """Fail; see `Driver`."""
        raise CapabilityFailure(self.status.detail)

    async def act(self, capability: str, args: Mapping[str, Value]) -> None:
        """Fail; see `Driver`."""
        raise CapabilityFailure(self.status.detail)

    async def close(self) -> None:
        """There is nothing to release; see `Driver`."""


def set_up(name: str, make: Callable[[], T]) -> T | Broken:
    """Return what `make` builds, or what stands for it: one port's missing secret or file must not stop the others."""
    try:
        return make()
    except EyeflowError as error:
        reason = error.whole
    except Exception as error:  # a bug in one port, or a library that cannot be loaded
        _log.exception("%s cannot be set up", name)
        reason = internal(error)
    return Broken(name, f"{reason}. Then start the node again.")


def over(part: S | Broken, name: str, make: Callable[[S], T]) -> T | Broken:
    """Return what `make` builds over a part that it shares with another port; the broken part, when that is broken."""
    return part if isinstance(part, Broken) else set_up(name, lambda: make(part))
