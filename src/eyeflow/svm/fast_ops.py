"""Arithmetic, comparison, conversion and text of the fast path: each instruction as a Python expression.

An operation that can trap writes its check at once, so that traps keep their order among the reads; all others stay
expressions until somebody needs them. Bounds of ints are carried along: a check that cannot fail is not written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from eyeflow.svm.fast_code import DEPTH_MAX, INT_MAX, INT_MIN, Path, Pool, Val, Writer
from eyeflow.svm.numbers import TEXT_D_BYTES_MAX, TEXT_F_BYTES_MAX, TEXT_I_BYTES_MAX
from eyeflow.svm.opcodes import OPS, Op
from eyeflow.svm.program import Instruction, ValueType

TYPES = {"B": ValueType.BOOL, "I": ValueType.INT, "F": ValueType.FLOAT, "T": ValueType.TEXT}

ONCE = {
    Op.ADD_F: "{} + {}",
    Op.SUB_F: "{} - {}",
    Op.MUL_F: "{} * {}",
    Op.NEG_F: "-{}",
    Op.ABS_F: "abs({})",
    Op.FLOOR_F: "floor_float({})",
    Op.CEIL_F: "ceil_float({})",
    Op.ROUND_F: "round_float({})",
    Op.SQRT_F: "sqrt_float({})",
    Op.AND_I: "{} & {}",
    Op.OR_I: "{} | {}",
    Op.XOR_I: "{} ^ {}",
    Op.EQ_I: "{} == {}",
    Op.LT_I: "{} < {}",
    Op.LE_I: "{} <= {}",
    Op.GT_I: "{} > {}",
    Op.GE_I: "{} >= {}",
    Op.EQ_F: "{} == {}",
    Op.LT_F: "{} < {}",
    Op.LE_F: "{} <= {}",
    Op.GT_F: "{} > {}",
    Op.GE_F: "{} >= {}",
    Op.EQ_B: "{} is {}",
    Op.NOT: "not {}",
    Op.AND: "{} and {}",
    Op.OR: "{} or {}",
    Op.I_TO_F: "float({})",
    Op.EQ_T: "{} == {}",
    Op.TEXT_I: "str({})",
    Op.TEXT_B: '"true" if {} else "false"',
    Op.TEXT_D: "text_of_duration({})",
    Op.LEN_T: "len({})",
}
"""Operations that read each operand once, bottom of the stack first."""

TWICE = {
    Op.MIN_F: "{1} if {1} < {0} or {1} != {1} else {0}",
    Op.MAX_F: "{1} if {1} > {0} or {1} != {1} else {0}",
}
"""Operations that read an operand more than once: it must be a name or a literal."""

TEXT_BYTES = {Op.TEXT_I: TEXT_I_BYTES_MAX, Op.TEXT_B: len("false"), Op.TEXT_D: TEXT_D_BYTES_MAX}


class Emitter(Protocol):
    """What an operation needs of the handler that is being written."""

    writer: Writer
    pool: Pool
    path: Path

    def trap_unless(self, condition: str) -> None:
        """Write a statement that leaves the handler by a trap unless the condition holds."""
        ...


def spill(to: Emitter, val: Val) -> Val:
    """Write a value into a temporary that never changes and return that."""
    name = to.writer.fresh()
    to.writer.line(f"{name} = {val.text}")
    return temporary(name, val)


def temporary(name: str, val: Val) -> Val:
    """Return the operand that names a temporary holding `val`."""
    return Val(name, val.type, low=val.low, high=val.high, size_bytes_max=val.size_bytes_max)


def atom(to: Emitter, val: Val) -> Val:
    """Return a value that may be read several times at no cost."""
    return val if val.is_atom else spill(to, val)


def stable(to: Emitter, val: Val) -> Val:
    """Return a value that stays what it is whatever is stored later."""
    return spill(to, val) if val.deps else val


def expression(to: Emitter, text: str, kind: ValueType, operands: Iterable[Val]) -> Val:
    """Return an operand for a pure expression of other operands, through a temporary when it grows too deep."""
    parts = tuple(operands)
    deps = frozenset[str]().union(*(part.deps for part in parts))
    depth = 1 + max((part.depth for part in parts), default=0)
    val = Val(f"({text})", kind, deps=deps, depth=depth)
    return spill(to, val) if depth > DEPTH_MAX else val


def bounded(val: Val, low: int, high: int) -> Val:
    """Return the int operand with its bounds, never wider than 64 bits."""
    return Val(val.text, val.type, val.deps, val.depth, low=max(low, INT_MIN), high=min(high, INT_MAX))


def checked(to: Emitter, exact: str, operands: Iterable[Val], low: int, high: int) -> Val:
    """Return an int result whose exact value lies in low..high, with the overflow checks that this leaves open."""
    val = expression(to, exact, ValueType.INT, operands)
    if low < INT_MIN or high > INT_MAX:
        val = spill(to, val)
        if low < INT_MIN:
            to.trap_unless(f"{val.text} >= {INT_MIN}" if high <= INT_MAX else f"{INT_MIN} <= {val.text} <= {INT_MAX}")
        else:
            to.trap_unless(f"{val.text} <= {INT_MAX}")
    return bounded(val, low, high)


# --- int -----------------------------------------------------------------------------------------------------------


def add_int(to: Emitter, x: Val, y: Val) -> Val:
    """ADD_I."""
    return checked(to, f"{x.text} + {y.text}", (x, y), x.low + y.low, x.high + y.high)


def sub_int(to: Emitter, x: Val, y: Val) -> Val:
    """SUB_I."""
    return checked(to, f"{x.text} - {y.text}", (x, y), x.low - y.high, x.high - y.low)


def mul_int(to: Emitter, x: Val, y: Val) -> Val:
    """MUL_I."""
    corners = [a * b for a in (x.low, x.high) for b in (y.low, y.high)]
    return checked(to, f"{x.text} * {y.text}", (x, y), min(corners), max(corners))


def neg_int(to: Emitter, x: Val) -> Val:
    """NEG_I."""
    return checked(to, f"-{x.text}", (x,), -x.high, -x.low)


def abs_int(to: Emitter, x: Val) -> Val:
    """ABS_I."""
    return checked(to, f"abs({x.text})", (x,), 0, max(abs(x.low), abs(x.high)))


def div_int(to: Emitter, x: Val, y: Val) -> Val:
    """DIV_I: Python's // rounds down, so the signs are taken apart."""
    x, y = atom(to, x), atom(to, y)
    if y.low <= 0 <= y.high:
        to.trap_unless(y.text)
    if y.low >= 0:
        text = f"{x.text} // {y.text} if {x.text} >= 0 else -(-{x.text} // {y.text})"
        return checked(to, text, (x, y), min(x.low, 0), max(x.high, 0))
    text = f"abs({x.text}) // abs({y.text}) if ({x.text} < 0) is ({y.text} < 0) else -(abs({x.text}) // abs({y.text}))"
    return checked(to, text, (x, y), INT_MIN, INT_MAX + 1)


def mod_int(to: Emitter, x: Val, y: Val) -> Val:
    """MOD_I."""
    x, y = atom(to, x), atom(to, y)
    if y.low <= 0 <= y.high:
        to.trap_unless(y.text)
    divisor = y.text if y.low >= 0 else f"abs({y.text})"
    text = f"{x.text} % {divisor} if {x.text} >= 0 else -(-{x.text} % {divisor})"
    return expression(to, text, ValueType.INT, (x, y))


def min_int(to: Emitter, x: Val, y: Val) -> Val:
    """MIN_I."""
    x, y = atom(to, x), atom(to, y)
    val = expression(to, f"{y.text} if {y.text} < {x.text} else {x.text}", ValueType.INT, (x, y))
    return bounded(val, min(x.low, y.low), min(x.high, y.high))


def max_int(to: Emitter, x: Val, y: Val) -> Val:
    """MAX_I."""
    x, y = atom(to, x), atom(to, y)
    val = expression(to, f"{y.text} if {y.text} > {x.text} else {x.text}", ValueType.INT, (x, y))
    return bounded(val, max(x.low, y.low), max(x.high, y.high))


def _shift(to: Emitter, x: Val, y: Val, text: str) -> Val:
    count = atom(to, y)
    if count.low < 0 or count.high > 63:
        to.trap_unless(f"0 <= {count.text} <= 63")
    return expression(to, text.format(x.text, count.text), ValueType.INT, (x, count))


def shl_int(to: Emitter, x: Val, y: Val) -> Val:
    """SHL_I: the sum and mask bring the low 64 bits back into range without a branch."""
    return _shift(to, x, y, f"(({{}} << {{}}) + {2**63} & {2**64 - 1}) - {2**63}")


def shr_int(to: Emitter, x: Val, y: Val) -> Val:
    """SHR_I."""
    return _shift(to, x, y, "{} >> {}")


# --- float, text ---------------------------------------------------------------------------------------------------


def div_float(to: Emitter, x: Val, y: Val) -> Val:
    """DIV_F: Python raises for a zero divisor, IEEE 754 does not."""
    if y.value:
        return expression(to, f"{x.text} / {y.text}", ValueType.FLOAT, (x, y))
    x, y = atom(to, x), atom(to, y)
    text = f"{x.text} / {y.text} if {y.text} else div_float({x.text}, {y.text})"
    return expression(to, text, ValueType.FLOAT, (x, y))


def float_to_int(to: Emitter, x: Val) -> Val:
    """F_TO_I."""
    x = atom(to, x)
    to.trap_unless(f"-9223372036854775808.0 <= {x.text} < 9223372036854775808.0")
    return expression(to, f"int({x.text})", ValueType.INT, (x,))


def contains(to: Emitter, x: Val, y: Val) -> Val:
    """CONTAINS: the lower text has the top text in it."""
    return expression(to, f"{y.text} in {x.text}", ValueType.BOOL, (x, y))


def starts_with(to: Emitter, x: Val, y: Val) -> Val:
    """STARTS_WITH."""
    return expression(to, f"{x.text}.startswith({y.text})", ValueType.BOOL, (x, y))


def cut(to: Emitter, val: Val, size_bytes_max: int) -> Val:
    """Return a text that fits a limit; one that is known to fit stays as it is."""
    if 0 <= val.size_bytes_max <= size_bytes_max:
        return val
    short = expression(to, f"cut_text({val.text}, {size_bytes_max})", ValueType.TEXT, (val,))
    return Val(short.text, ValueType.TEXT, short.deps, short.depth, size_bytes_max=size_bytes_max)


SPECIAL: dict[int, Callable[..., Val]] = {
    Op.ADD_I: add_int,
    Op.SUB_I: sub_int,
    Op.MUL_I: mul_int,
    Op.NEG_I: neg_int,
    Op.ABS_I: abs_int,
    Op.DIV_I: div_int,
    Op.MOD_I: mod_int,
    Op.MIN_I: min_int,
    Op.MAX_I: max_int,
    Op.SHL_I: shl_int,
    Op.SHR_I: shr_int,
    Op.DIV_F: div_float,
    Op.F_TO_I: float_to_int,
    Op.CONTAINS: contains,
    Op.STARTS_WITH: starts_with,
}


def operate(to: Emitter, instruction: Instruction) -> bool:
    """Translate an instruction that only works on the stack; False when it is none of those."""
    opcode = instruction.opcode
    stack = to.path.stack
    if opcode in SPECIAL:
        stack.append(SPECIAL[opcode](to, *pop(stack, len(OPS[opcode].pops))))
    elif opcode in ONCE:
        operands = pop(stack, len(OPS[opcode].pops))
        kind = TYPES[OPS[opcode].pushes]
        val = expression(to, ONCE[Op(opcode)].format(*(x.text for x in operands)), kind, operands)
        size = TEXT_BYTES.get(Op(opcode), -1)
        stack.append(Val(val.text, kind, val.deps, val.depth, size_bytes_max=size))
    elif opcode in TWICE:
        operands = [atom(to, x) for x in pop(stack, 2)]
        stack.append(expression(to, TWICE[Op(opcode)].format(*(x.text for x in operands)), ValueType.FLOAT, operands))
    else:
        return _text_or_stack(to, instruction)
    return True


def _text_or_stack(to: Emitter, instruction: Instruction) -> bool:
    stack = to.path.stack
    match instruction.opcode:
        case Op.CONCAT:
            stack.append(cut(to, _joined(to, *pop(stack, 2)), instruction.b))
        case Op.TEXT_F:
            x = stack.pop()
            val = expression(to, f"text_of_float({x.text}, {instruction.a})", ValueType.TEXT, (x,))
            stack.append(Val(val.text, val.type, val.deps, val.depth, size_bytes_max=TEXT_F_BYTES_MAX))
        case Op.POP:
            stack.pop()
        case Op.DUP:
            stack[-1] = atom(to, stack[-1])
            stack.append(stack[-1])
        case Op.SELECT:
            condition, x, y = pop(stack, 3)
            text = f"{x.text} if {condition.text} else {y.text}"
            stack.append(expression(to, text, x.type, (condition, x, y)))
        case _:
            return False
    return True


def _joined(to: Emitter, x: Val, y: Val) -> Val:
    val = expression(to, f"{x.text} + {y.text}", ValueType.TEXT, (x, y))
    size = x.size_bytes_max + y.size_bytes_max if min(x.size_bytes_max, y.size_bytes_max) >= 0 else -1
    return Val(val.text, val.type, val.deps, val.depth, size_bytes_max=size)


def pop(stack: list[Val], count: int) -> list[Val]:
    """Take the top `count` operands, bottom first."""
    taken = stack[len(stack) - count :]
    del stack[len(stack) - count :]
    return taken
