"""What the node's engine needs of sources, readers and actuators: the edges between rules and the world."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from eyeflow.node.run_key import RunKey
from eyeflow.node.streams import Mark
from eyeflow.svm.execution import CapabilityFailure
from eyeflow.svm.program import Value


@dataclass(frozen=True, slots=True)
class Subscription:
    """What one trigger of a running program asks of a source: `mqtt`, `plant/+/temp`; `period_us` 0 when none.

    Equal subscriptions of several programs are one; `rules` names them, so that a source can tell who is new.
    """

    source: str
    address: str
    period_us: int = 0
    rules: frozenset[RunKey] = field(default=frozenset(), compare=False)


class IncomingEvent(NamedTuple):
    """One event as a source delivers it, before its payload was checked against any schema.

    `time_us` is the event's time, microseconds since 1970 UTC. `done` is called once, after the commit that records
    what the rules made of it (or its rejection): only then may the source acknowledge it to its sender. With
    `rejected` the source could not even read a payload (not a JSON object, a sensor that is absent): the engine counts
    the event as rejected with this reason, `payload` is empty.

    `can_wait` says whether the source can be slowed down: then `deliver` waits while a rule has no room, and the event
    is never rejected for lack of it. One that cannot wait (an edge of a pin) is rejected and counted instead. `only`
    names the rules that it is for, None: all that listen. `key` is what the event is about, where it has a natural one:
    of the two programs of a rule, one acts on all events with one key. None: the event stands for its node. `refused`
    is called instead of `done` when the buffer is full and `on_full` is `reject-new`: a source that can tell its sender
    so sets it. `mark` is its place in a stream that the source can read again (`streams`).
    """

    subscription: Subscription
    payload: Mapping[str, object]
    time_us: int
    done: Callable[[], None] | None = None
    rejected: str = ""
    can_wait: bool = True
    only: frozenset[RunKey] | None = None
    key: str | None = None
    refused: Callable[[], None] | None = None
    mark: Mark | None = None


Deliver = Callable[[IncomingEvent], Awaitable[None]]
"""Hands an event to the engine; waits while a rule that it is for has no room (back pressure)."""


@dataclass(slots=True)
class PortStatus:
    """Health of a source or driver, for `eyeflow status`: `state` is `up`, `connecting` or `failed`.

    `parts` are the ports behind it where there are several: the node's log follows each of them.
    """

    name: str
    state: str = "connecting"
    detail: str = ""
    counters: dict[str, int] = field(default_factory=dict)
    parts: dict[str, PortStatus] = field(default_factory=dict)


class Source(Protocol):
    """Delivers events of its subscriptions until cancelled; reconnects by itself, with backoff, for ever.

    There is one source of each kind (`mqtt`, `http`, `host`, ...) for all programs of the node.
    """

    status: PortStatus

    def update(self, subscriptions: Collection[Subscription]) -> None:
        """Replace the wanted set, at once and in the event loop; call it once before `run` and at each swap."""
        ...

    async def run(self, deliver: Deliver) -> None:
        """Run until cancelled."""
        ...


class Unreachable(CapabilityFailure):
    """An action never left the node: there is no way to its server. At the start of a node it is tried again."""


class Driver(Protocol):
    """Serves the capabilities of one namespace (`gpio`, `mqtt`, `http`, `llm`, `log`, ...).

    `read` answers a read. It may block for a moment only, such as a read of memory or of a pin does. A read that asks a
    bus, a disk or a network stands in `slow_reads`: the engine calls it in a thread, and so it calls `llm`.
    `act` performs one action once: the engine does the retries. Both raise `CapabilityFailure` with a message.
    `args` maps argument names to values; a pin arrives as its name, an enum as its member name, the enum type `label`
    of `llm.classify` as its member names joined by commas, `max` of `llm.complete` as an int. An enum result is its
    member name. `eyeflow.svm.arguments` turns the values of a site into this form and a result back.
    """

    status: PortStatus

    @property
    def slow_reads(self) -> Collection[str]:
        """Capabilities whose reads may take long: rules that use them run beside the engine's turns."""
        ...

    @property
    def is_ready(self) -> bool:
        """Whether it can act now: the connection that it needs is up."""
        ...

    async def until_ready(self) -> None:
        """Return once `is_ready`."""
        ...

    def read(self, capability: str, args: Mapping[str, Value], timeout_us: int) -> Value:
        """Return the value of a read capability."""
        ...

    async def act(self, capability: str, args: Mapping[str, Value]) -> None:
        """Perform one action."""
        ...

    def begin(self, capability: str, args: Mapping[str, Value]) -> asyncio.Future[None] | None:
        """Start one action at once, in the order of the calls, when the world confirms later and in its own time.

        The future ends as `act` would. None: this driver has only `act`, and the next action waits for its end.
        """
        ...

    async def close(self) -> None:
        """Release what the driver holds."""
        ...
