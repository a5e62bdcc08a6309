"""The `test` blocks of a rule, typed and evaluated: what `eyeflow.compiler.testrun` plays on a virtual clock.

Every value is a slot value of the SVM: an enum is its ordinal, a pin its index, a duration microseconds, an aggregate
its flattened slots.
"""

from __future__ import annotations

from collections.abc import Sequence

from eyeflow.base.duration import format_duration
from eyeflow.base.record import dataclass
from eyeflow.svm.execution import CapabilityFailure
from eyeflow.svm.program import Program, Type, TypeTag, Value


@dataclass(frozen=True, slots=True)
class Where:
    """The place of a step: line and column count from 1, `text` is the step as it was written."""

    line: int
    column: int
    text: str


@dataclass(frozen=True, slots=True)
class Advance:
    """Move the clock to `time_us` after the start of the test; never backwards (the checker sees to it)."""

    where: Where
    time_us: int


@dataclass(frozen=True, slots=True)
class SetRead:
    """From now on the read or LLM call `capability` with exactly `args` answers `value`; None: it fails."""

    where: Where
    capability: str
    args: tuple[Value, ...]
    value: Value | None


@dataclass(frozen=True, slots=True)
class SetParam:
    """Set a parameter."""

    where: Where
    name: str
    value: Value


@dataclass(frozen=True, slots=True)
class SetTime:
    """The test starts at this moment: microseconds since 1970, local time without an offset. Before any Advance."""

    where: Where
    time_us: int


@dataclass(frozen=True, slots=True)
class SendEvent:
    """Deliver an event to trigger `trigger` now; `inputs` fill its input slots."""

    where: Where
    trigger: int
    inputs: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class ExpectAction:
    """Since the clock last moved or an event was last sent, such an action was asked for `count` times.

    `args` holds one entry for each argument of the capability, None matches anything. `count` None: at least once.
    """

    where: Where
    capability: str
    args: tuple[Value | None, ...]
    count: int | None


@dataclass(frozen=True, slots=True)
class ExpectEmit:
    """As ExpectAction, for an emitted event: `fields` that are not named match anything."""

    where: Where
    event: str
    fields: tuple[tuple[str, Value], ...]
    count: int | None


@dataclass(frozen=True, slots=True)
class ExpectNoActions:
    """No action was asked for (emitted events are not actions)."""

    where: Where


@dataclass(frozen=True, slots=True)
class ExpectTrap:
    """An execution trapped."""

    where: Where


@dataclass(frozen=True, slots=True)
class Operand:
    """One side of a comparison, for the difference that is shown: its source text and type."""

    text: str
    type: Type


@dataclass(frozen=True, slots=True)
class ExpectThat:
    """A condition over parameters, state and constants.

    `program` has the parameter and state regions of the rule; its only handler emits one event whose first argument is
    the condition, followed by the values of `operands`. `evaluate_that` runs it.
    """

    where: Where
    program: Program
    operands: tuple[Operand, ...]


Step = (
    Advance | SetRead | SetParam | SetTime | SendEvent
    | ExpectAction | ExpectEmit | ExpectNoActions | ExpectTrap | ExpectThat
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TestPlan:
    """One `test` block."""

    __test__ = False
    name: str
    line: int
    column: int
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class ThatResult:
    """Outcome of an ExpectThat: `values` are its operands' values; all None when the condition trapped (`trap`)."""

    holds: bool
    values: tuple[Value | None, ...]
    trap: int | None = None


def evaluate_that(
    step: ExpectThat, params: Sequence[Value], state: Sequence[Value], time_us: int, utc_offset_us: int = 0
) -> ThatResult:
    """Evaluate a condition over the parameter and state slots of the rule's program at a time."""
    from eyeflow.svm.interpreter import Interpreter
    from eyeflow.svm.verify import verify

    machine = Interpreter(verify(step.program))
    execution = machine.run(
        0, time_us, utc_offset_us, tuple(params), (), list(state)[: step.program.regions.state], _NoHost()
    )
    if execution.trap is not None:
        return ThatResult(False, tuple(None for _ in step.operands), execution.trap.code)
    holds, *values = execution.actions[0].args
    return ThatResult(bool(holds), tuple(values))


class _NoHost:
    """A condition of a test reads nothing from the world: the checker refuses it."""

    def read(self, site: int, args: tuple[Value, ...]) -> Value:
        raise CapabilityFailure(f"site {site} was read by a test condition")


def show_value(kind: Type, value: Value) -> str:
    """Return a scalar as a rule would write it: `HIGH`, `2s`, `"text"`, `80.0`."""
    match kind.tag:
        case TypeTag.ENUM if isinstance(value, int) and 0 <= value < len(kind.members):
            return kind.members[value]
        case TypeTag.DURATION:
            return format_duration(int(value))
        case TypeTag.BOOL:
            return "true" if value else "false"
        case TypeTag.TEXT:
            return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
        case _:
            return repr(value)
