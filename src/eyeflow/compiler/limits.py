"""Compares the proven limits of a program with what a chip allows, and says what costs most."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from eyeflow.base.diagnostic import Diagnostic, Span
from eyeflow.base.record import dataclass
from eyeflow.compiler import ir, types
from eyeflow.svm.container import encode
from eyeflow.svm.opcodes import OPS, TIMERS, Op
from eyeflow.svm.program import Program

SIGNATURE_BYTES = 96
"""What one signature adds to a program file: key and signature."""

SITE_OPS = (Op.LOAD_RESOURCE, Op.CALL_ACTION, Op.LLM_CALL, Op.EMIT_EVENT)


@dataclass(frozen=True, slots=True)
class ChipLimits:
    """What a chip allows a program; None: no limit of its own. Sizes in bytes, fuel per scan cycle."""

    fuel_max: int | None = None
    stack_max: int | None = None
    state_bytes_max: int | None = None
    actions_max: int | None = None
    slots_max: int | None = None
    scratch_bytes_max: int | None = None
    code_words_max: int | None = None
    program_bytes_max: int | None = None


Costs = Counter[Span]


def check_chip(program: Program, unit: ir.Unit, limits: ChipLimits) -> tuple[Diagnostic, ...]:
    """Return one EF0504 for each limit of the chip that the program breaks, at the place that costs most."""
    checks: tuple[tuple[str, int, int | None, Callable[[ir.Unit], Costs]], ...] = (
        ("fuel in one execution", program.limits.fuel_max, limits.fuel_max, _fuel),
        ("entries on the stack", program.limits.stack_max, limits.stack_max, _fuel),
        ("bytes of state", program.limits.state_bytes, limits.state_bytes_max, _state),
        ("actions in one execution", program.limits.actions_max, limits.actions_max, _actions),
        ("slots of memory", len(program.slots), limits.slots_max, _state),
        ("bytes of text in one execution", program.limits.scratch_bytes, limits.scratch_bytes_max, _text),
        ("instructions", len(program.code), limits.code_words_max, _code),
        ("bytes of a signed program", len(encode(program)) + SIGNATURE_BYTES, limits.program_bytes_max, _code),
    )
    return tuple(
        _over(program, what, actual, allowed, costs(unit))
        for what, actual, allowed, costs in checks
        if allowed is not None and actual > allowed
    )


def _over(program: Program, what: str, actual: int, allowed: int, costs: Costs) -> Diagnostic:
    span, share = costs.most_common(1)[0] if costs else (Span(0, 0), 0)
    return Diagnostic(
        "EF0504",
        f"{program.chip or 'the chip'} allows {allowed} {what}, this rule needs {actual}",
        span,
        f"this alone takes {share}" if share else "",
        note="the number is proven for the worst case",
        help="shorten windows, lists and loops, or choose a larger chip",
    )


def _walk(nodes: tuple[ir.Node, ...], times: int, visit: Callable[[ir.Do | ir.Loop, int], None]) -> None:
    for node in nodes:
        if isinstance(node, ir.Do):
            visit(node, times)
        elif isinstance(node, ir.If):
            _walk(node.then, times, visit)
            _walk(node.otherwise, times, visit)
        else:
            visit(node, times)
            _walk(node.body, times * node.bound, visit)


def _count(unit: ir.Unit, cost: Callable[[ir.Do], int], *, repeats: bool = True) -> Costs:
    costs: Costs = Counter()

    def visit(node: ir.Do | ir.Loop, times: int) -> None:
        if isinstance(node, ir.Do):
            costs[node.span] += cost(node) * (times if repeats else 1)

    for handler in unit.handlers:
        _walk(handler.nodes, 1, visit)
    return costs


def _fuel(unit: ir.Unit) -> Costs:
    def cost(node: ir.Do) -> int:
        extra = 0
        if isinstance(node.b, ir.TimerSymbol) and node.op is Op.EVAL:
            extra = node.b.capacity
        elif node.op in SITE_OPS and isinstance(node.b, int):
            extra = unit.sites[node.b].cost
        elif node.op is Op.CONCAT and isinstance(node.b, int):
            extra = node.b
        return OPS[node.op].cost + extra

    return _count(unit, cost)


def _actions(unit: ir.Unit) -> Costs:
    return _count(unit, lambda node: int(node.op is Op.CALL_ACTION))


def _text(unit: ir.Unit) -> Costs:
    return _count(unit, lambda node: node.b if node.op is Op.CONCAT and isinstance(node.b, int) else 0)


def _code(unit: ir.Unit) -> Costs:
    return _count(unit, lambda node: 1, repeats=False)


def _state(unit: ir.Unit) -> Costs:
    costs: Costs = Counter()
    for state in unit.rule.states:
        costs[state.variable.span] += sum(
            10 + s.size_bytes_max if s.size_bytes_max else 8 for s in types.slots(state.variable.type)
        )
    for timer in unit.timers:
        size = 2 + 2 * timer.capacity if TIMERS[timer.kind].window else 1
        costs[timer.span] += 8 * size
    return costs
