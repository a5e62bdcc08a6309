"""The instructions that only turn operands into a result: the number and text semantics by opcode."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from eyeflow.svm import numbers as n
from eyeflow.svm.opcodes import Op

OPERATORS: dict[int, Callable[..., Any]] = {
    Op.SELECT: lambda condition, x, y: x if condition else y,
    Op.ADD_I: lambda lower, top: n.checked(lower + top),
    Op.SUB_I: lambda lower, top: n.checked(lower - top),
    Op.MUL_I: lambda lower, top: n.checked(lower * top),
    Op.DIV_I: n.div_int,
    Op.MOD_I: n.mod_int,
    Op.NEG_I: lambda value: n.checked(-value),
    Op.ABS_I: lambda value: n.checked(abs(value)),
    Op.MIN_I: min,
    Op.MAX_I: max,
    Op.AND_I: operator.and_,
    Op.OR_I: operator.or_,
    Op.XOR_I: operator.xor,
    Op.SHL_I: n.shl_int,
    Op.SHR_I: n.shr_int,
    Op.ADD_F: operator.add,
    Op.SUB_F: operator.sub,
    Op.MUL_F: operator.mul,
    Op.DIV_F: n.div_float,
    Op.NEG_F: operator.neg,
    Op.ABS_F: abs,
    Op.MIN_F: n.min_float,
    Op.MAX_F: n.max_float,
    Op.FLOOR_F: n.floor_float,
    Op.CEIL_F: n.ceil_float,
    Op.ROUND_F: n.round_float,
    Op.SQRT_F: n.sqrt_float,
    Op.EQ_I: operator.eq,
    Op.LT_I: operator.lt,
    Op.LE_I: operator.le,
    Op.EQ_F: operator.eq,
    Op.LT_F: operator.lt,
    Op.LE_F: operator.le,
    Op.GT_F: operator.gt,
    Op.GE_F: operator.ge,
    Op.GT_I: operator.gt,
    Op.GE_I: operator.ge,
    Op.EQ_B: operator.eq,
    Op.NOT: operator.not_,
    Op.AND: operator.and_,
    Op.OR: operator.or_,
    Op.I_TO_F: float,
    Op.F_TO_I: n.float_to_int,
    Op.EQ_T: operator.eq,
    Op.TEXT_I: str,
    Op.TEXT_B: n.text_of_bool,
    Op.CONTAINS: operator.contains,
    Op.STARTS_WITH: str.startswith,
    Op.LEN_T: len,
    Op.TEXT_D: n.text_of_duration,
}
"""From the operands, bottom to top, to the result; raises TrapError where the table says that it traps."""
