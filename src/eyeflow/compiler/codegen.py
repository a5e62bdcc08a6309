"""From the intermediate representation to a program: numbers for symbols, targets for branches, limits, source map."""

from __future__ import annotations

from dataclasses import replace

from eyeflow.base.diagnostic import Span
from eyeflow.base.record import dataclass
from eyeflow.compiler import ir
from eyeflow.compiler import typed as t
from eyeflow.compiler.allocate import Memory, allocate
from eyeflow.compiler.source import Source
from eyeflow.svm import program as p
from eyeflow.svm.numbers import float_bits
from eyeflow.svm.opcodes import Op
from eyeflow.svm.verify import compute_limits

NO_LIMITS = p.Limits(0, 0, 0, 0, 0, 0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Target:
    """What a program is made for."""

    profile: p.Profile
    chip: str
    sequence: int
    source_name: str


class _Constants:
    """The constant pool: each value once; the names of an enum lie together."""

    def __init__(self, unit: ir.Unit) -> None:
        self.values: list[p.Value] = []
        self._numbers: dict[tuple[str, object], int] = {}
        self._runs: dict[tuple[str, ...], int] = {}
        # First, while each is new: TEXT_ENUM finds a name by its number, so those of an enum must lie together.
        for names in unit.names:
            self._runs[names] = len(self.values)
            for name in names:
                self.number(name)

    def number(self, value: p.Value) -> int:
        """Return the number of a constant."""
        # By type and bits: for Python 1 == 1.0, 0.0 == -0.0, and a NaN equals nothing.
        key = (type(value).__name__, float_bits(value) if isinstance(value, float) else value)
        if key not in self._numbers:
            self._numbers[key] = len(self.values)
            self.values.append(value)
        return self._numbers[key]

    def run(self, names: tuple[str, ...]) -> int:
        """Return the number of the first name of an enum."""
        return self._runs[names]


class _Writer:
    """Writes instructions one after the other."""

    def __init__(self, memory: Memory, constants: _Constants) -> None:
        self.code: list[p.Instruction] = []
        self.spans: list[Span] = []
        self.choices: dict[int, ir.Choice] = {}
        self._memory = memory
        self._constants = constants

    def write(self, nodes: tuple[ir.Node, ...]) -> None:
        """Write a tree."""
        for node in nodes:
            if not isinstance(node, ir.Loop) and node.choice is not None:
                self.choices[len(self.code)] = node.choice
            if isinstance(node, ir.Do):
                self.put(node.op, node.span, node.a, self._operand(node.b))
            elif isinstance(node, ir.If):
                self._branch(node)
            else:
                self._loop(node)

    def put(self, op: Op, span: Span, a: int = 0, b: int = 0) -> None:
        """Write one instruction."""
        self.code.append(p.Instruction(int(op), a, b))
        self.spans.append(span)

    def _operand(self, b: ir.Operand) -> int:
        match b:
            case ir.Cell():
                return self._memory.slot_of(b)
            case ir.Row():
                return self._memory.array_of(b)
            case ir.TimerSymbol():
                return self._memory.timer_numbers[b]
            case ir.ConstSymbol(value=value):
                return self._constants.number(value)
            case ir.NamesSymbol(names=names):
                return self._constants.run(names)
            case _:
                return b

    def _branch(self, node: ir.If) -> None:
        branch = len(self.code)
        self.put(Op.BRANCH, node.span)
        self.write(node.then)
        jump = len(self.code)
        if node.otherwise:
            self.put(Op.JUMP, node.span)
        self._aim(branch)
        if node.otherwise:
            self.write(node.otherwise)
            self._aim(jump)

    def _aim(self, at: int) -> None:
        # A longer program is refused when it is whole; until then the target must fit its field.
        self.code[at] = replace(self.code[at], b=min(len(self.code), 0xFFFF))

    def _loop(self, node: ir.Loop) -> None:
        self.put(Op.LOOP, node.span, b=node.bound)
        first = len(self.code)
        self.write(node.body)
        self.put(Op.END_LOOP, node.span, b=min(first, 0xFFFF))


def generate(unit: ir.Unit, target: Target, source: Source) -> p.Program:
    """Return the program of a lowered rule.

    Raises ProgramError when it breaks a bound of the SVM (too many slots, constants, instructions ...).
    """
    program, _choices = assemble(unit, target, source)
    return replace(program, limits=compute_limits(program))


def assemble(unit: ir.Unit, target: Target, source: Source) -> tuple[p.Program, dict[int, ir.Choice]]:
    """Return the program of a lowered rule without its limits, and which of its instructions decide for the source."""
    memory, constants = allocate(unit), _Constants(unit)
    writer, entries = _Writer(memory, constants), [0]
    for handler in unit.handlers:
        writer.write(handler.nodes)
        writer.put(Op.RETURN, Span(handler.span.end, handler.span.end))
        entries.append(len(writer.code))
    rule = unit.rule
    program = p.Program(
        rule=rule.name, version=rule.version, description=rule.description, priority=rule.priority,
        profile=target.profile, chip=target.chip, sequence=target.sequence, limits=NO_LIMITS,
        regions=memory.regions, slots=tuple(memory.slots), constants=tuple(constants.values),
        arrays=tuple(memory.arrays), timers=tuple(memory.timers), code=tuple(writer.code),
        sites=tuple(_site(site) for site in unit.sites),
        params=tuple(_param(param, memory) for param in rule.params), pins=rule.pins,
        state=tuple(_state(state, memory) for state in rule.states),
        triggers=tuple(_trigger(handler, number, memory, entries) for number, handler in enumerate(unit.handlers)),
        source_name=target.source_name, source_map=_source_map(writer.spans, source),
    )  # fmt: skip
    return program, writer.choices


def _site(site: t.Site) -> p.Site:
    return p.Site(
        site.kind, site.capability, site.args, site.result, site.on_failure, site.retries, site.backoff_us,
        site.timeout_us, site.cost, site.resource, site.level,
    )  # fmt: skip


def _param(param: t.Param, memory: Memory) -> p.Param:
    variable = param.variable
    return p.Param(variable.name, variable.type, memory.bases[variable], param.default, param.low, param.high)


def _state(state: t.State, memory: Memory) -> p.StateVariable:
    return p.StateVariable(state.variable.name, state.variable.type, memory.bases[state.variable], state.initial)


def _trigger(handler: ir.Handler, number: int, memory: Memory, entries: list[int]) -> p.Trigger:
    trigger = handler.trigger
    return p.Trigger(
        trigger.kind, trigger.source, trigger.address, trigger.period_us, trigger.binding,
        tuple(p.Field(field.name, field.type, field.default) for field in trigger.fields), trigger.key,
        memory.input_bases[number], entries[number], entries[number + 1],
    )  # fmt: skip


def _source_map(spans: list[Span], source: Source) -> tuple[p.SourcePosition, ...]:
    found: list[p.SourcePosition] = []
    for pc, span in enumerate(spans):
        at = source.position(span.start)
        if not found or (found[-1].line, found[-1].column) != (at.line, at.column):
            found.append(p.SourcePosition(pc, at.line, at.column))
    return tuple(found)
