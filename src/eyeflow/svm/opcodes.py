"""The instruction set as data. Generated from `isa.toml` by `tools/gen_isa.py`: do not edit."""

from __future__ import annotations

from enum import IntEnum

from eyeflow.base.record import dataclass

ABI = 2
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
    CONST = 0x03
    PUSH_INT = 0x04
    PUSH_BOOL = 0x05
    POP = 0x06
    DUP = 0x07
    SELECT = 0x08
    BRANCH = 0x09
    JUMP = 0x0A
    ADD_I = 0x0B
    SUB_I = 0x0C
    MUL_I = 0x0D
    DIV_I = 0x0E
    MOD_I = 0x0F
    MIN_I = 0x10
    MAX_I = 0x11
    AND_I = 0x12
    OR_I = 0x13
    XOR_I = 0x14
    SHL_I = 0x15
    SHR_I = 0x16
    ADD_F = 0x17
    SUB_F = 0x18
    MUL_F = 0x19
    DIV_F = 0x1A
    MIN_F = 0x1B
    MAX_F = 0x1C
    EQ_I = 0x1D
    LT_I = 0x1E
    LE_I = 0x1F
    GT_I = 0x20
    GE_I = 0x21
    EQ_F = 0x22
    LT_F = 0x23
    LE_F = 0x24
    GT_F = 0x25
    GE_F = 0x26
    EQ_B = 0x27
    AND = 0x28
    OR = 0x29
    NEG_I = 0x2A
    ABS_I = 0x2B
    NEG_F = 0x2C
    ABS_F = 0x2D
    FLOOR_F = 0x2E
    CEIL_F = 0x2F
    ROUND_F = 0x30
    SQRT_F = 0x31
    NOT = 0x32
    I_TO_F = 0x33
    F_TO_I = 0x34
    LOAD_AT = 0x35
    STORE_AT = 0x36
    GROW = 0x37
    LOOP = 0x38
    END_LOOP = 0x39
    LOOP_INDEX = 0x3A
    RETURN = 0x3B
    NOW = 0x3C
    LOCAL_NOW = 0x3D
    EVAL = 0x3E
    RESET = 0x3F
    LOAD_RESOURCE = 0x40
    CALL_ACTION = 0x41
    LLM_CALL = 0x42
    EMIT_EVENT = 0x43
    EQ_T = 0x44
    CONCAT = 0x45
    TEXT_I = 0x46
    TEXT_F = 0x47
    TEXT_B = 0x48
    TEXT_ENUM = 0x49
    CONTAINS = 0x4A
    STARTS_WITH = 0x4B
    LEN_T = 0x4C
    TEXT_D = 0x4D


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
    0x03: OpInfo("CONST", "", "const", "", "[X]", (), 1, ""),
    0x04: OpInfo("PUSH_INT", "", "i16", "", "I", (), 1, ""),
    0x05: OpInfo("PUSH_BOOL", "0|1", "", "", "B", (), 1, ""),
    0x06: OpInfo("POP", "", "", "X", "", (), 1, ""),
    0x07: OpInfo("DUP", "", "", "X", "XX", (), 1, ""),
    0x08: OpInfo("SELECT", "", "", "BXX", "X", (), 1, ""),
    0x09: OpInfo("BRANCH", "", "target", "B", "", (), 1, ""),
    0x0A: OpInfo("JUMP", "", "target", "", "", (), 1, ""),
    0x0B: OpInfo("ADD_I", "", "", "II", "I", (1,), 1, ""),
    0x0C: OpInfo("SUB_I", "", "", "II", "I", (1,), 1, ""),
    0x0D: OpInfo("MUL_I", "", "", "II", "I", (1,), 1, ""),
    0x0E: OpInfo("DIV_I", "", "", "II", "I", (2, 1), 2, ""),
    0x0F: OpInfo("MOD_I", "", "", "II", "I", (2,), 2, ""),
    0x10: OpInfo("MIN_I", "", "", "II", "I", (), 1, ""),
    0x11: OpInfo("MAX_I", "", "", "II", "I", (), 1, ""),
    0x12: OpInfo("AND_I", "", "", "II", "I", (), 1, ""),
    0x13: OpInfo("OR_I", "", "", "II", "I", (), 1, ""),
    0x14: OpInfo("XOR_I", "", "", "II", "I", (), 1, ""),
    0x15: OpInfo("SHL_I", "", "", "II", "I", (6,), 1, ""),
    0x16: OpInfo("SHR_I", "", "", "II", "I", (6,), 1, ""),
    0x17: OpInfo("ADD_F", "", "", "FF", "F", (), 1, ""),
    0x18: OpInfo("SUB_F", "", "", "FF", "F", (), 1, ""),
    0x19: OpInfo("MUL_F", "", "", "FF", "F", (), 1, ""),
    0x1A: OpInfo("DIV_F", "", "", "FF", "F", (), 2, ""),
    0x1B: OpInfo("MIN_F", "", "", "FF", "F", (), 1, ""),
    0x1C: OpInfo("MAX_F", "", "", "FF", "F", (), 1, ""),
    0x1D: OpInfo("EQ_I", "", "", "II", "B", (), 1, ""),
    0x1E: OpInfo("LT_I", "", "", "II", "B", (), 1, ""),
    0x1F: OpInfo("LE_I", "", "", "II", "B", (), 1, ""),
    0x20: OpInfo("GT_I", "", "", "II", "B", (), 1, ""),
    0x21: OpInfo("GE_I", "", "", "II", "B", (), 1, ""),
    0x22: OpInfo("EQ_F", "", "", "FF", "B", (), 1, ""),
    0x23: OpInfo("LT_F", "", "", "FF", "B", (), 1, ""),
    0x24: OpInfo("LE_F", "", "", "FF", "B", (), 1, ""),
    0x25: OpInfo("GT_F", "", "", "FF", "B", (), 1, ""),
    0x26: OpInfo("GE_F", "", "", "FF", "B", (), 1, ""),
    0x27: OpInfo("EQ_B", "", "", "BB", "B", (), 1, ""),
    0x28: OpInfo("AND", "", "", "BB", "B", (), 1, ""),
    0x29: OpInfo("OR", "", "", "BB", "B", (), 1, ""),
    0x2A: OpInfo("NEG_I", "", "", "I", "I", (1,), 1, ""),
    0x2B: OpInfo("ABS_I", "", "", "I", "I", (1,), 1, ""),
    0x2C: OpInfo("NEG_F", "", "", "F", "F", (), 1, ""),
    0x2D: OpInfo("ABS_F", "", "", "F", "F", (), 1, ""),
    0x2E: OpInfo("FLOOR_F", "", "", "F", "F", (), 1, ""),
    0x2F: OpInfo("CEIL_F", "", "", "F", "F", (), 1, ""),
    0x30: OpInfo("ROUND_F", "", "", "F", "F", (), 1, ""),
    0x31: OpInfo("SQRT_F", "", "", "F", "F", (), 4, ""),
    0x32: OpInfo("NOT", "", "", "B", "B", (), 1, ""),
    0x33: OpInfo("I_TO_F", "", "", "I", "F", (), 1, ""),
    0x34: OpInfo("F_TO_I", "", "", "F", "I", (3,), 1, ""),
    0x35: OpInfo("LOAD_AT", "", "array", "I", "[X]", (4,), 2, ""),
    0x36: OpInfo("STORE_AT", "", "array", "[XI]", "", (4,), 2, ""),
    0x37: OpInfo("GROW", "", "array", "", "I", (5,), 2, ""),
    0x38: OpInfo("LOOP", "", "bound", "I", "", (7,), 2, ""),
    0x39: OpInfo("END_LOOP", "", "target", "", "", (), 2, ""),
    0x3A: OpInfo("LOOP_INDEX", "depth", "", "", "I", (), 1, ""),
    0x3B: OpInfo("RETURN", "", "", "", "", (), 1, ""),
    0x3C: OpInfo("NOW", "", "", "", "I", (), 1, ""),
    0x3D: OpInfo("LOCAL_NOW", "", "", "", "I", (), 1, ""),
    0x3E: OpInfo("EVAL", "", "timer", "[timer]", "[timer]", (), 3, "cap"),
    0x3F: OpInfo("RESET", "", "timer", "", "", (), 1, ""),
    0x40: OpInfo("LOAD_RESOURCE", "", "site", "[args]", "[X]", (8,), 1, "site"),
    0x41: OpInfo("CALL_ACTION", "", "site", "[args]", "", (), 1, "site"),
    0x42: OpInfo("LLM_CALL", "", "site", "[args]", "[X]", (8,), 1, "site"),
    0x43: OpInfo("EMIT_EVENT", "", "site", "[args]", "", (), 1, "site"),
    0x44: OpInfo("EQ_T", "", "", "TT", "B", (), 8, ""),
    0x45: OpInfo("CONCAT", "", "bytes", "TT", "T", (), 2, "b"),
    0x46: OpInfo("TEXT_I", "", "", "I", "T", (), 20, ""),
    0x47: OpInfo("TEXT_F", "decimals", "", "F", "T", (), 24, ""),
    0x48: OpInfo("TEXT_B", "", "", "B", "T", (), 1, ""),
    0x49: OpInfo("TEXT_ENUM", "count", "const", "I", "T", (9,), 1, ""),
    0x4A: OpInfo("CONTAINS", "", "", "TT", "B", (), 64, ""),
    0x4B: OpInfo("STARTS_WITH", "", "", "TT", "B", (), 8, ""),
    0x4C: OpInfo("LEN_T", "", "", "T", "I", (), 8, ""),
    0x4D: OpInfo("TEXT_D", "", "", "I", "T", (), 24, ""),
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
