"""What one execution asks of its host, and what comes out of it.

`Execution`, `Action` and `Answer` are made anew for every event: they are no frozen dataclasses because those take
five times as long to make. Nobody changes one; executions that are alike may be one object.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, NamedTuple, Protocol

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


class _Made:
    """Equality and text of the classes below, by their fields; a machine may make instances of a subclass."""

    __slots__ = ()
    FIELDS: ClassVar[tuple[str, ...]] = ()

    def values(self) -> tuple[object, ...]:
        """Return the fields in order."""
        return tuple(getattr(self, name) for name in self.FIELDS)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Made) or other.FIELDS != self.FIELDS:
            return NotImplemented
        return self.values() == other.values()

    def __hash__(self) -> int:
        return hash(self.values())

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.FIELDS)
        return f"{type(self).__name__}({fields})"


class Answer(_Made):
    """What the host answered to a read or LLM call at `site`; `value` None: it failed after its retries."""

    __slots__ = ("args", "site", "value")
    FIELDS = ("site", "args", "value")

    def __init__(self, site: int, args: tuple[Value, ...], value: Value | None) -> None:
        self.site = site
        self.args = args
        self.value = value


class Execution(_Made):
    """The result of one execution. `actions` holds actions and emitted events in order; both empty unless OK."""

    __slots__ = ("actions", "answers", "fuel", "outcome", "trap")
    FIELDS = ("outcome", "fuel", "actions", "answers", "trap")

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
        self.answers = answers
        self.trap = trap


class CapabilityFailure(Exception):  # noqa: N818 - the word of the field
    """A read or an LLM call failed for good: the host has used up the site's retries."""


class Host(Protocol):
    """The world as one program sees it. Called from inside an execution; every answer is recorded."""

    def read(self, site: int, args: tuple[Value, ...]) -> Value:
        """Answer LOAD_RESOURCE and LLM_CALL at `site`; raise CapabilityFailure when it cannot be answered."""
        ...


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
