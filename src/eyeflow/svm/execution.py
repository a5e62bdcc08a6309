"""What one execution asks of its host, and what comes out of it.

An `Execution` and its actions are made anew for every event: they are no frozen dataclasses because those take five
times as long to make. Nobody changes one; executions that are alike may be one object.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Any, NamedTuple, Protocol

from eyeflow.base.record import dataclass
from eyeflow.svm.program import Value

TIME_UNSET = -(2**63)
"""Initial value of the time in a HOLD or COOLDOWN timer: not held, never passed."""


class Outcome(IntEnum):
    """How an execution ended; only OK changes state and acts."""

    OK = 0
    SKIPPED = 1
    TRAPPED = 2


@dataclass(frozen=True, slots=True)
class TrapInfo:
    """The number of a trap (see the instruction-set table) and the index of the instruction that trapped."""

    code: int
    pc: int


class Action(NamedTuple):
    """An action (or, for an EMIT site, an event) that an execution asks for: site index and argument values."""

    site: int
    args: tuple[Value, ...]


class Answer(NamedTuple):
    """What the host answered to a read or LLM call at `site`; `value` None: it failed after its retries."""

    site: int
    args: tuple[Value, ...]
    value: Value | None


class Execution:
    """The result of one execution. `actions` holds actions and emitted events in order; both empty unless OK.

    `asked` is the flat form of `answers`: site, arguments and value of the first, then of the second. A machine may
    make instances of a subclass; they are equal when their fields are.
    """

    __slots__ = ("actions", "asked", "fuel", "outcome", "trap")

    def __init__(
        self,
        outcome: Outcome,
        fuel: int,
        actions: Sequence[Action] = (),
        answers: Sequence[Answer] = (),
        trap: TrapInfo | None = None,
    ) -> None:
        self.outcome = outcome
        self.fuel = fuel
        self.actions = actions
        self.asked: tuple[Any, ...] = tuple(part for answer in answers for part in answer)
        self.trap = trap

    @property
    def answers(self) -> tuple[Answer, ...]:
        """What the host answered, in order; made when it is asked for, because most replays never do."""
        return answers_of(self.asked)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Execution):
            return NotImplemented
        return self._fields() == other._fields()

    def __hash__(self) -> int:
        return hash(self._fields())

    def __repr__(self) -> str:
        return (
            f"Execution(outcome={self.outcome!r}, fuel={self.fuel}, actions={self.actions!r}, "
            f"answers={self.answers!r}, trap={self.trap!r})"
        )

    def _fields(self) -> tuple[object, ...]:
        return self.outcome, self.fuel, tuple(self.actions), self.asked, self.trap


def answers_of(asked: Sequence[Any]) -> tuple[Answer, ...]:
    """Return the answers of their flat form."""
    return tuple(Answer(*asked[start : start + 3]) for start in range(0, len(asked), 3))


class CapabilityFailure(Exception):  # noqa: N818 - the word of the field
    """A read or an LLM call failed for good: the host has used up the site's retries."""


class Host(Protocol):
    """The world as one program sees it. Called from inside an execution; every answer is recorded."""

    def read(self, site: int, args: tuple[Value, ...]) -> Value:
        """Answer LOAD_RESOURCE and LLM_CALL at `site`; raise CapabilityFailure when it cannot be answered."""
        ...


HandlerFunction = Callable[[int, int, Sequence[Value], Sequence[Value], list[Value], Host], Execution]
"""One trigger's handler: time_us, utc_offset_us, params, inputs, state, host; otherwise as `Machine.run`."""


class Machine(Protocol):
    """A verified program, ready to run: the interpreter and the fast path.

    `run` executes the handler of trigger `trigger` on one event. `params` and `state` hold one value for each slot of
    their region; `state` is changed in place, and only when the outcome is OK. `inputs` are the flattened fields
    of the event's payload. `time_us` is the event's time, `utc_offset_us` what LOCAL_NOW adds.
    """

    def run(
        self,
        trigger: int,
        time_us: int,
        utc_offset_us: int,
        params: Sequence[Value],
        inputs: Sequence[Value],
        state: list[Value],
        host: Host,
    ) -> Execution:
        """Run one execution; never raises for a verified program and a host that keeps its contract."""
        ...

    def handler(self, trigger: int) -> HandlerFunction:
        """Return what `run` calls for one trigger, for a caller that runs it often."""
        ...
