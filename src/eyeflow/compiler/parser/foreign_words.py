"""Words of other languages that start a statement or an item there, and what to write instead."""

from __future__ import annotations

from eyeflow.base.record import dataclass


@dataclass(frozen=True, slots=True)
class ForeignWord:
    """How a diagnostic explains the word."""

    label: str
    help: str
    note: str = ""


_FUNCTION = ForeignWord(
    "rules have no functions of their own", "name intermediate values with `let`; put constants into `const`",
    "a rule runs straight through, so that its cost can be proven",
)  # fmt: skip
_LOOP = ForeignWord(
    "every loop has a bound", "write `for x in list { ... }` or `for i in 0..n max 10 { ... }`",
    "a rule always ends, so it has no loop without a bound",
)  # fmt: skip
_RETURN = ForeignWord(
    "a handler gives nothing back", "put what should not run into an `if` or its `else`",
    "a handler runs to its end; only its actions and state count",
)  # fmt: skip
_JUMP = ForeignWord("there are no jumps", "put what should not run into an `if`", "a loop runs to its bound")
_MUTABLE = ForeignWord("a variable is made with `var`", "write `var x = 1`; a value that never changes is a `let`")
_SWITCH = ForeignWord(
    "a choice by value is a `match` or an `if`", "write `match mode { HEAT => { ... } else => { ... } }`"
)
_IMPORT = ForeignWord(
    "a rule stands alone in its file", "remove it; capabilities such as `gpio.set_pin` are always there"
)
_RECORD = ForeignWord("a type with fields is a `record`", "write `record Reading { temp: float }`")
_TRY = ForeignWord("a failure is answered at the call", "write `adc.read_channel(0) retry 2 else 0`")
_OUTPUT = ForeignWord("a rule acts through capabilities only", 'write `log.info("...")`')
_WAIT = ForeignWord("a rule never waits", "write `if condition for 2s { ... }`, or use a handler `on every 2s`")

FOREIGN_WORDS: dict[str, ForeignWord] = {
    **dict.fromkeys(("fn", "def", "func", "function", "fun", "proc", "sub"), _FUNCTION),
    **dict.fromkeys(("while", "loop", "do", "until", "repeat"), _LOOP),
    "return": _RETURN,
    **dict.fromkeys(("break", "continue", "goto", "pass", "exit"), _JUMP),
    **dict.fromkeys(("mut", "auto", "local", "global", "set", "int", "float", "bool", "string"), _MUTABLE),
    **dict.fromkeys(("switch", "case", "when", "unless"), _SWITCH),
    **dict.fromkeys(("import", "include", "use", "using", "from", "require"), _IMPORT),
    **dict.fromkeys(("struct", "class", "type", "interface"), _RECORD),
    **dict.fromkeys(("try", "catch", "except", "throw", "raise", "finally"), _TRY),
    "print": _OUTPUT,
    **dict.fromkeys(("await", "sleep", "delay", "wait"), _WAIT),
}
"""Word -> what to write instead."""
