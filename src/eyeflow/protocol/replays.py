"""`deploy --replay`: a program that is not to run yet, on the recorded events of nodes."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Annotated

from msgspec import Meta
from msgspec.structs import replace

from eyeflow.protocol import wire
from eyeflow.protocol.executions import EventText, Line, Trace
from eyeflow.protocol.wire import RULES_MAX, Natural, Params, ProgramId, Reason, RuleName

REPLAY_S_MAX = 3600
DIFFERENCES_SHOWN_MAX = 20
"""Differences of one rule that a node shows; all are counted."""
DIFFERENCES_TOLD_MAX = 100
"""Differences that one answer shows, of all its rules."""
MISSING_MAX = 8
REPLAY_BYTES_MAX = wire.PROGRAM_BYTES_MAX
"""Bytes of all programs of one question together."""


class ReplayProgram(wire.Wire, frozen=True):
    """A candidate: a signed program of a rule with its parameters."""

    rule: RuleName
    program_id: ProgramId
    program: Annotated[bytes, Meta(min_length=1, max_length=wire.PROGRAM_BYTES_MAX)]
    params: Params = ()

    def __post_init__(self) -> None:
        wire.check_params(self.params)


class Replay(wire.Wire, frozen=True, tag=13):
    """The coordinator asks: where would these programs have decided otherwise since `since_us`? Nothing is changed.

    The node answers within `seconds_max`, with what it has got through by then. A newer question ends an older one.
    `programs` ascend by rule.
    """

    number: Natural
    since_us: Natural
    seconds_max: Annotated[int, Meta(ge=1, le=REPLAY_S_MAX)]
    programs: Annotated[tuple[ReplayProgram, ...], Meta(min_length=1, max_length=RULES_MAX)]

    def __post_init__(self) -> None:
        wire.check_ascending([(one.rule, None) for one in self.programs], "the programs of a replay")
        if sum(len(one.program) for one in self.programs) > REPLAY_BYTES_MAX:
            raise wire.ProtocolError(f"the programs of a replay are longer than {REPLAY_BYTES_MAX} bytes")


class Memory(Enum):
    """What a node knew of the memory with which the span began: state variables and time words."""

    KNOWN = "known"
    """Its records go back to where the program began: the memory is what it was."""
    WARM = "warm"
    """It began empty, and has seen the events before the span that are still recorded."""
    EMPTY = "empty"
    """It began empty with the span: nothing before it is recorded."""


class ReplayDifference(wire.Wire, frozen=True):
    """One event on which the candidate would have decided otherwise than the active program did.

    The times, `event` and `key` are those of `executions.Difference`.
    """

    time_us: Natural
    active: Trace
    candidate: Trace
    event: EventText = ""
    key: EventText = ""


class ReplayResult(wire.Wire, frozen=True):
    """What a replay of one candidate found; with a `refusal` the node could not, or not to the end, and says why.

    `since_us` and `until_us` are the times of the first and the last event that were compared, 0 for none. Of the
    `events`, `differing` were decided otherwise. `unlike` could not be compared, since the active program itself does
    not decide in the replay as it did: its memory is not known. `unanswered` could not either: the candidate reads what
    was not read then. `missing` says which handlers of the candidate have no recorded events. `differences` are the
    first.
    """

    rule: RuleName
    program_id: ProgramId
    refusal: Reason = ""
    since_us: Natural = 0
    until_us: Natural = 0
    memory: Memory = Memory.EMPTY
    events: Natural = 0
    differing: Natural = 0
    unlike: Natural = 0
    unanswered: Natural = 0
    missing: Annotated[tuple[Line, ...], Meta(max_length=MISSING_MAX)] = ()
    differences: Annotated[tuple[ReplayDifference, ...], Meta(max_length=DIFFERENCES_SHOWN_MAX)] = ()


class Replayed(wire.Wire, frozen=True, tag=14):
    """The node's answer to question `number`: one result for each of its programs, in their order."""

    number: Natural
    results: Annotated[tuple[ReplayResult, ...], Meta(min_length=1, max_length=RULES_MAX)]

    def __post_init__(self) -> None:
        if sum(len(one.differences) for one in self.results) > DIFFERENCES_TOLD_MAX:
            raise wire.ProtocolError(f"the answer to a replay shows more than {DIFFERENCES_TOLD_MAX} differences")


def bounded(results: Iterable[ReplayResult]) -> tuple[ReplayResult, ...]:
    """Return the results with as many differences as one answer shows."""
    left, found = DIFFERENCES_TOLD_MAX, []
    for one in results:
        shown = one.differences[:left]
        left -= len(shown)
        found.append(replace(one, differences=shown))
    return tuple(found)
