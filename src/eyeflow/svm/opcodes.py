"""The instruction set as data. Generated from `isa.toml` by `tools/gen_isa.py`: do not edit."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

ABI = 1
"""Version of the instruction set; a program of another one is refused."""


@dataclass(frozen=True, slots=True)
class OpInfo:
    """One instruction: what its operands mean ("" must be zero), what it pops and pushes, its traps and its fuel.

    `pops` is bottom to top in the letters B, I, F, T and X (any); in [brackets] it depends on a table of the program.
    `cost_plus` is "", "b" (plus operand b), "cap" (plus the capacity of the window) or "site" (plus the site's cost).
    """

    name: str
    a: str
    b: str
    pops: str
    pushes: str
    traps: tuple[int, ...]
    cost: int
    cost_plus: str


@dataclass(frozen=True, slots=True)
class TimerInfo:
    """One kind of timer: what EVAL pops and pushes. A window has 2 + 2 * capacity slots, the others `slots`."""

    name: str
    pops: str
    pushes: str
    slots: int
    window: bool


class Op(IntEnum):
    """An instruction of the SVM."""

    LOAD = 0x01
    STORE = 0x02
    LOAD_AT = 0x03
    STORE_AT = 0x04
    GROW = 0x05
    CONST = 0x06
    PUSH_INT = 0x07
    PUSH_BOOL = 0x08
    POP = 0x09
    DUP = 0x0A
    SELECT = 0x0B
    BRANCH = 0x10
    JUMP = 0x11
    LOOP = 0x12
    END_LOOP = 0x13
    LOOP_INDEX = 0x14
    RETURN = 0x15
    LOAD_RESOURCE = 0x18
    CALL_ACTION = 0x19
    LLM_CALL = 0x1A
    EMIT_EVENT = 0x1B
    NOW = 0x1C
    LOCAL_NOW = 0x1D
    EVAL = 0x20
    RESET = 0x21
    ADD_I = 0x30
    SUB_I = 0x31
    MUL_I = 0x32
    DIV_I = 0x33
    MOD_I = 0x34
    NEG_I = 0x35
    ABS_I = 0x36
    MIN_I = 0x37
    MAX_I = 0x38
    AND_I = 0x39
    OR_I = 0x3A
    XOR_I = 0x3B
    SHL_I = 0x3C
    SHR_I = 0x3D
    ADD_F = 0x40
    SUB_F = 0x41
    MUL_F = 0x42
    DIV_F = 0x43
    NEG_F = 0x44
    ABS_F = 0x45
    MIN_F = 0x46
    MAX_F = 0x47
    FLOOR_F = 0x48
    CEIL_F = 0x49
    ROUND_F = 0x4A
    SQRT_F = 0x4B
    EQ_I = 0x50
    LT_I = 0x51
    LE_I = 0x52
    EQ_F = 0x53
    LT_F = 0x54
    LE_F = 0x55
    GT_F = 0x56
    GE_F = 0x57
    GT_I = 0x58
    GE_I = 0x59
    EQ_B = 0x5A
    NOT = 0x5B
    AND = 0x5C
    OR = 0x5D
    I_TO_F = 0x60
    F_TO_I = 0x61
    EQ_T = 0x68
    CONCAT = 0x69
    TEXT_I = 0x6A
    TEXT_F = 0x6B
    TEXT_B = 0x6C
    TEXT_ENUM = 0x6D
    CONTAINS = 0x6E
    STARTS_WITH = 0x6F
    LEN_T = 0x70
    TEXT_D = 0x71


class Trap(IntEnum):
    """Why an execution was trapped."""

    INT_OVERFLOW = 1
    DIV_BY_ZERO = 2
    CONVERT_RANGE = 3
    INDEX_RANGE = 4
    LIST_FULL = 5
    SHIFT_RANGE = 6
    LOOP_BOUND = 7
    CAPABILITY_FAILED = 8
    ENUM_RANGE = 9
    FUEL_EXHAUSTED = 10


class TimerKind(IntEnum):
    """The kind of memory behind a time word."""

    HOLD = 1
    COOLDOWN = 2
    RISES = 3
    FALLS = 4
    MEAN = 5
    MIN = 6
    MAX = 7
    SUM = 8
    RATE = 9
    COUNT = 10


OPS: dict[int, OpInfo] = {
    0x01: OpInfo("LOAD", "", "slot", "", "[X]", (), 1, ""),
    0x02: OpInfo("STORE", "", "slot", "[X]", "", (), 1, ""),
    0x03: OpInfo("LOAD_AT", "", "array", "I", "[X]", (4,), 2, ""),
    0x04: OpInfo("STORE_AT", "", "array", "[XI]", "", (4,), 2, ""),
    0x05: OpInfo("GROW", "", "array", "", "I", (5,), 2, ""),
    0x06: OpInfo("CONST", "", "const", "", "[X]", (), 1, ""),
    0x07: OpInfo("PUSH_INT", "", "i16", "", "I", (), 1, ""),
    0x08: OpInfo("PUSH_BOOL", "0|1", "", "", "B", (), 1, ""),
    0x09: OpInfo("POP", "", "", "X", "", (), 1, ""),
    0x0A: OpInfo("DUP", "", "", "X", "XX", (), 1, ""),
    0x0B: OpInfo("SELECT", "", "", "BXX", "X", (), 1, ""),
    0x10: OpInfo("BRANCH", "", "target", "B", "", (), 1, ""),
    0x11: OpInfo("JUMP", "", "target", "", "", (), 1, ""),
    0x12: OpInfo("LOOP", "", "bound", "I", "", (7,), 2, ""),
    0x13: OpInfo("END_LOOP", "", "target", "", "", (), 2, ""),
    0x14: OpInfo("LOOP_INDEX", "depth", "", "", "I", (), 1, ""),
    0x15: OpInfo("RETURN", "", "", "", "", (), 1, ""),
    0x18: OpInfo("LOAD_RESOURCE", "", "site", "[args]", "[X]", (8,), 1, "site"),
    0x19: OpInfo("CALL_ACTION", "", "site", "[args]", "", (), 1, "site"),
    0x1A: OpInfo("LLM_CALL", "", "site", "[args]", "[X]", (8,), 1, "site"),
    0x1B: OpInfo("EMIT_EVENT", "", "site", "[args]", "", (), 1, "site"),
    0x1C: OpInfo("NOW", "", "", "", "I", (), 1, ""),
    0x1D: OpInfo("LOCAL_NOW", "", "", "", "I", (), 1, ""),
    0x20: OpInfo("EVAL", "", "timer", "[timer]", "[timer]", (), 3, "cap"),
    0x21: OpInfo("RESET", "", "timer", "", "", (), 1, ""),
    0x30: OpInfo("ADD_I", "", "", "II", "I", (1,), 1, ""),
    0x31: OpInfo("SUB_I", "", "", "II", "I", (1,), 1, ""),
    0x32: OpInfo("MUL_I", "", "", "II", "I", (1,), 1, ""),
    0x33: OpInfo("DIV_I", "", "", "II", "I", (2, 1), 2, ""),
    0x34: OpInfo("MOD_I", "", "", "II", "I", (2,), 2, ""),
    0x35: OpInfo("NEG_I", "", "", "I", "I", (1,), 1, ""),
    0x36: OpInfo("ABS_I", "", "", "I", "I", (1,), 1, ""),
    0x37: OpInfo("MIN_I", "", "", "II", "I", (), 1, ""),
    0x38: OpInfo("MAX_I", "", "", "II", "I", (), 1, ""),
    0x39: OpInfo("AND_I", "", "", "II", "I", (), 1, ""),
    0x3A: OpInfo("OR_I", "", "", "II", "I", (), 1, ""),
    0x3B: OpInfo("XOR_I", "", "", "II", "I", (), 1, ""),
    0x3C: OpInfo("SHL_I", "", "", "II", "I", (6,), 1, ""),
    0x3D: OpInfo("SHR_I", "", "", "II", "I", (6,), 1, ""),
    0x40: OpInfo("ADD_F", "", "", "FF", "F", (), 1, ""),
    0x41: OpInfo("SUB_F", "", "", "FF", "F", (), 1, ""),
    0x42: OpInfo("MUL_F", "", "", "FF", "F", (), 1, ""),
    0x43: OpInfo("DIV_F", "", "", "FF", "F", (), 2, ""),
    0x44: OpInfo("NEG_F", "", "", "F", "F", (), 1, ""),
    0x45: OpInfo("ABS_F", "", "", "F", "F", (), 1, ""),
    0x46: OpInfo("MIN_F", "", "", "FF", "F", (), 1, ""),
    0x47: OpInfo("MAX_F", "", "", "FF", "F", (), 1, ""),
    0x48: OpInfo("FLOOR_F", "", "", "F", "F", (), 1, ""),
    0x49: OpInfo("CEIL_F", "", "", "F", "F", (), 1, ""),
    0x4A: OpInfo("ROUND_F", "", "", "F", "F", (), 1, ""),
    0x4B: OpInfo("SQRT_F", "", "", "F", "F", (), 4, ""),
    0x50: OpInfo("EQ_I", "", "", "II", "B", (), 1, ""),
    0x51: OpInfo("LT_I", "", "", "II", "B", (), 1, ""),
    0x52: OpInfo("LE_I", "", "", "II", "B", (), 1, ""),
    0x53: OpInfo("EQ_F", "", "", "FF", "B", (), 1, ""),
    0x54: OpInfo("LT_F", "", "", "FF", "B", (), 1, ""),
    0x55: OpInfo("LE_F", "", "", "FF", "B", (), 1, ""),
    0x56: OpInfo("GT_F", "", "", "FF", "B", (), 1, ""),
    0x57: OpInfo("GE_F", "", "", "FF", "B", (), 1, ""),
    0x58: OpInfo("GT_I", "", "", "II", "B", (), 1, ""),
    0x59: OpInfo("GE_I", "", "", "II", "B", (), 1, ""),
    0x5A: OpInfo("EQ_B", "", "", "BB", "B", (), 1, ""),
    0x5B: OpInfo("NOT", "", "", "B", "B", (), 1, ""),
    0x5C: OpInfo("AND", "", "", "BB", "B", (), 1, ""),
    0x5D: OpInfo("OR", "", "", "BB", "B", (), 1, ""),
    0x60: OpInfo("I_TO_F", "", "", "I", "F", (), 1, ""),
    0x61: OpInfo("F_TO_I", "", "", "F", "I", (3,), 1, ""),
    0x68: OpInfo("EQ_T", "", "", "TT", "B", (), 8, ""),
    0x69: OpInfo("CONCAT", "", "bytes", "TT", "T", (), 2, "b"),
    0x6A: OpInfo("TEXT_I", "", "", "I", "T", (), 20, ""),
    0x6B: OpInfo("TEXT_F", "decimals", "", "F", "T", (), 24, ""),
    0x6C: OpInfo("TEXT_B", "", "", "B", "T", (), 1, ""),
    0x6D: OpInfo("TEXT_ENUM", "count", "const", "I", "T", (9,), 1, ""),
    0x6E: OpInfo("CONTAINS", "", "", "TT", "B", (), 64, ""),
    0x6F: OpInfo("STARTS_WITH", "", "", "TT", "B", (), 8, ""),
    0x70: OpInfo("LEN_T", "", "", "T", "I", (), 8, ""),
    0x71: OpInfo("TEXT_D", "", "", "I", "T", (), 24, ""),
}
"""What each opcode means."""

TIMERS: dict[int, TimerInfo] = {
    1: TimerInfo("HOLD", "BI", "B", 1, False),
    2: TimerInfo("COOLDOWN", "BI", "B", 1, False),
    3: TimerInfo("RISES", "B", "B", 1, False),
    4: TimerInfo("FALLS", "B", "B", 1, False),
    5: TimerInfo("MEAN", "FI", "F", 0, True),
    6: TimerInfo("MIN", "FI", "F", 0, True),
    7: TimerInfo("MAX", "FI", "F", 0, True),
    8: TimerInfo("SUM", "FI", "F", 0, True),
    9: TimerInfo("RATE", "FI", "F", 0, True),
    10: TimerInfo("COUNT", "BI", "I", 0, True),
}
"""What each kind of timer means."""

TRAP_TEXT: dict[int, str] = {
    1: "An int or duration result does not fit a signed 64-bit integer.",
    2: "An int or duration was divided by zero. Float division never traps: it follows IEEE 754.",
    3: "A float that is NaN, infinite or outside the int range was converted to int.",
    4: "A list was indexed below 0 or at or beyond its length.",
    5: "A value was appended to a list that already holds its maximum.",
    6: "A shift count is below 0 or above 63.",
    7: "A loop's trip count is below 1 or above the bound proven for it.",
    8: "A capability failed, its retries are used up, and its declared answer is abort.",
    9: "A number that is no member of the enum was turned into its name.",
    10: "The execution used more fuel than was proven: a bug of the virtual machine, never of a rule.",
}
"""What each trap means, in words for a user."""
