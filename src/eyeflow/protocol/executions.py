"""What nodes tell the coordinator of single executions: those that failed, and those that decided otherwise."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, TypeVar

from msgspec import Meta
from msgspec.structs import replace

from eyeflow.protocol import wire
from eyeflow.protocol.slot import Slot
from eyeflow.protocol.wire import Natural, ProgramId, RuleName, Short

DIFFERENCES_MAX = 20
FAILURES_MAX = 20
ACTION_CHARS_MAX = 512
ACTIONS_MAX = 64
EVENT_CHARS_MAX = 1024
WHAT_CHARS_MAX = 512
TRACE_CHARS_MAX = 4096
"""Characters of all lines of a trace together."""

Line = Annotated[str, Meta(max_length=ACTION_CHARS_MAX)]
Lines = Annotated[tuple[Line, ...], Meta(max_length=ACTIONS_MAX)]
EventText = Annotated[str, Meta(max_length=EVENT_CHARS_MAX)]


class Trace(wire.Wire, frozen=True):
    """What one program did on one event. `seq` is the number of its audit record, 0 for none.

    `reads` are texts such as `adc.read_channel(0) = 850`, `decided` such as `gpio.set_pin(RELAY, HIGH) at line 14` or
    `trap DIV_BY_ZERO at line 12`, both in the order in which they came.
    """

    seq: Natural = 0
    reads: Lines = ()
    decided: Lines = ()

    def __post_init__(self) -> None:
        if sum(map(len, self.reads)) + sum(map(len, self.decided)) > TRACE_CHARS_MAX:
            raise wire.ProtocolError(f"a trace is longer than {TRACE_CHARS_MAX} characters")


class Difference(wire.Wire, frozen=True):
    """One event on which a candidate that acts on nothing decided otherwise than the active program.

    `time_us` is the event's time, in microseconds since 1970 UTC. `event` is a text such as `mqtt t: value = 85.0`,
    empty when its audit record is gone, `key` the event's key, empty for none.
    """

    rule: RuleName
    program_id: ProgramId
    deployment_id: Short
    time_us: Natural
    active: Trace
    candidate: Trace
    event: EventText = ""
    key: EventText = ""


class Differences(wire.Wire, frozen=True, tag=11):
    """The newest differences that the node has not told yet, ascending by time; `epoch` is that of their records."""

    epoch: Natural
    differences: Annotated[tuple[Difference, ...], Meta(min_length=1, max_length=DIFFERENCES_MAX)]


class FailureKind(Enum):
    """How an execution failed."""

    TRAP = "trap"
    ACTION = "action"
    DEADLINE = "deadline"
    REJECTED = "rejected"


class Failure(wire.Wire, frozen=True):
    """One execution of a program on trial that failed, or an event that it could not run. `what` says how it failed.

    `time_us` is the event's time, in microseconds since 1970 UTC; for an action the time at which it failed. `event`
    and `key` are those of a `Difference`.
    """

    rule: RuleName
    slot: Slot
    program_id: ProgramId
    deployment_id: Short
    kind: FailureKind
    time_us: Natural
    what: Annotated[str, Meta(max_length=WHAT_CHARS_MAX)]
    trace: Trace = Trace()
    event: EventText = ""
    key: EventText = ""


class Failures(wire.Wire, frozen=True, tag=12):
    """The newest failures that the node has not told yet, ascending by time; `epoch` is that of their records."""

    epoch: Natural
    failures: Annotated[tuple[Failure, ...], Meta(min_length=1, max_length=FAILURES_MAX)]


Explained = TypeVar("Explained", Difference, Failure)


def explained(one: Explained, event: str, key: str, **traces: Trace) -> Explained:
    """Return it with its event, and with these traces by the names of their fields."""
    return replace(one, event=wire.cut(event, EVENT_CHARS_MAX), key=wire.cut(key, EVENT_CHARS_MAX), **traces)
