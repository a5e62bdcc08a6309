"""Write the files that come from the instruction-set table: `python tools/gen_isa.py [--check]`.

From `src/eyeflow/svm/isa.toml` it makes `src/eyeflow/svm/opcodes.py`, `docs/reference/isa.md` and
`embassy/svm/src/isa.rs`. With `--check` it writes nothing and exits 1 when one of them is stale.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "src/eyeflow/svm/isa.toml"
Table = dict[str, Any]

TYPES = {"B": "bool", "I": "int", "F": "float", "T": "text", "X": "any"}
OPERANDS = {
    "": "NONE", "0|1": "BOOL", "depth": "DEPTH", "decimals": "DECIMALS", "count": "COUNT", "slot": "SLOT",
    "array": "ARRAY", "const": "CONST", "i16": "I16", "target": "TARGET", "bound": "BOUND", "site": "SITE",
    "timer": "TIMER", "bytes": "BYTES",
}  # fmt: skip
COSTS = {"": "NONE", "b": "OPERAND", "cap": "CAPACITY", "site": "SITE"}


def load_table() -> Table:
    """Return the instruction-set table; raises SystemExit when it contradicts itself."""
    table = tomllib.loads(TABLE.read_text("utf-8"))
    table["op"] = [with_operand_cost(op) for op in table["op"]]
    for key in ("trap", "op", "timer"):
        for column in ("code", "name"):
            values = [entry[column] for entry in table[key]]
            if len(set(values)) != len(values):
                raise SystemExit(f"{TABLE.name}: a {column} of [[{key}]] stands there twice")
    return table


def with_operand_cost(op: Table) -> Table:
    """Return the entry with its optional columns filled in and checked."""
    traps = list(op.get("traps", []))
    full = {"a": "", "b": "", "pops": "", "pushes": "", "cost_plus": "", **op, "traps": traps}
    if full["a"] not in OPERANDS or full["b"] not in OPERANDS or full["cost_plus"] not in COSTS:
        raise SystemExit(f"{TABLE.name}: {op['name']} has an operand or cost_plus that this tool does not know")
    return full


# --- Python --------------------------------------------------------------------------------------------------------

PYTHON_HEAD = '''"""The instruction set as data. Generated from `isa.toml` by `tools/gen_isa.py`: do not edit."""

from __future__ import annotations

from enum import IntEnum

from eyeflow.base.record import dataclass

ABI = {abi}
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


'''


def python_module(table: Table) -> str:
    """Return the text of opcodes.py."""
    parts = [PYTHON_HEAD.format(abi=table["abi"])]
    parts.append(python_enum("Op", "An instruction of the SVM.", table["op"], "x"))
    parts.append(python_enum("Trap", "Why an execution was trapped.", table["trap"], "d"))
    parts.append(python_enum("TimerKind", "The kind of memory behind a time word.", table["timer"], "d"))
    codes = {trap["name"]: trap["code"] for trap in table["trap"]}
    parts.append("OPS: dict[int, OpInfo] = {\n")
    parts += [python_op(op, codes) for op in table["op"]]
    parts.append('}\n"""What each opcode means."""\n\nTIMERS: dict[int, TimerInfo] = {\n')
    parts += [python_timer(timer) for timer in table["timer"]]
    parts.append('}\n"""What each kind of timer means."""\n\nTRAP_TEXT: dict[int, str] = {\n')
    parts += [f"    {trap['code']}: {quoted(trap['doc'])},\n" for trap in table["trap"]]
    parts.append('}\n"""What each trap means, in words for a user."""\n')
    return "".join(parts)


def python_enum(name: str, doc: str, entries: list[Table], style: str) -> str:
    """Return one IntEnum."""
    members = "".join(f"    {entry['name']} = {literal(entry['code'], style)}\n" for entry in entries)
    return f'class {name}(IntEnum):\n    """{doc}"""\n\n{members}\n\n'


def literal(code: int, style: str) -> str:
    """Return a code in hex (`x`, as 0x0A) or decimal (`d`)."""
    return f"0x{code:02X}" if style == "x" else str(code)


def python_op(op: Table, codes: dict[str, int]) -> str:
    """Return the line of OPS for one instruction."""
    traps = "(" + "".join(f"{codes[name]}, " for name in op["traps"]).rstrip(" ") + ")"
    traps = traps.replace(",)", ")") if len(op["traps"]) > 1 else traps
    texts = ", ".join(quoted(op[column]) for column in ("name", "a", "b", "pops", "pushes"))
    return f"    {literal(op['code'], 'x')}: OpInfo({texts}, {traps}, {op['cost']}, {quoted(op['cost_plus'])}),\n"


def python_timer(timer: Table) -> str:
    """Return the line of TIMERS for one kind of timer."""
    texts = ", ".join(quoted(timer[column]) for column in ("name", "pops", "pushes"))
    return f"    {timer['code']}: TimerInfo({texts}, {timer.get('slots', 0)}, {timer.get('window', False)}),\n"


def quoted(text: str) -> str:
    """Return a literal that is the same in Python and Rust; the table's texts need no escapes but these."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


# --- Markdown ------------------------------------------------------------------------------------------------------

MARKDOWN_HEAD = """# The instruction set

Generated from `src/eyeflow/svm/isa.toml` by `tools/gen_isa.py`. [svm.md](../svm.md) says what a program is, how numbers
behave and what the verifier proves.

An instruction is one 32-bit little-endian word: opcode (u8), operand a (u8), operand b (u16). An operand without a
meaning is zero. Stack types: B bool, I int, F float, T text, X any one type. The stack is written bottom to top. What
stands in [brackets] depends on a table of the program. Fuel `2 + b` adds operand b, `+ cap` the capacity of the window,
`+ site` the cost of the site.

ABI version {abi}.

## Instructions

| code | name | a | b | pops | pushes | fuel | traps | meaning |
|---|---|---|---|---|---|---|---|---|
"""


def markdown_page(table: Table) -> str:
    """Return the text of isa.md."""
    lines = [MARKDOWN_HEAD.format(abi=table["abi"]).rstrip("\n")]
    lines += [markdown_op(op) for op in table["op"]]
    lines += ["", "## Kinds of timer", "", "| code | name | pops | pushes | slots | meaning |"]
    lines.append("|---|---|---|---|---|---|")
    lines += [
        f"| {timer['code']} | {timer['name']} | {timer['pops']} | {timer['pushes']} "
        f"| {'2 + 2n' if timer.get('window') else timer['slots']} | {timer['doc']} |"
        for timer in table["timer"]
    ]
    lines += ["", "## Traps", "", "| code | name | meaning |", "|---|---|---|"]
    lines += [f"| {trap['code']} | {trap['name']} | {trap['doc']} |" for trap in table["trap"]]
    return "\n".join(lines) + "\n"


def markdown_op(op: Table) -> str:
    """Return the table row of one instruction."""
    fuel = f"{op['cost']}" + (f" + {op['cost_plus']}" if op["cost_plus"] else "")
    columns = [op["name"], op["a"].replace("|", "\\|"), op["b"], op["pops"], op["pushes"], fuel, ", ".join(op["traps"])]
    return f"| 0x{op['code']:02x} | " + " | ".join(columns) + f" | {op['doc']} |"


# --- Rust ----------------------------------------------------------------------------------------------------------

RUST_HEAD = """//! The instruction set as data. Generated from `isa.toml` by `tools/gen_isa.py`: do not edit.

/// Version of the instruction set; a program of another one is refused.
pub const ABI: u8 = {abi};

/// What an operand of an instruction means; `None` must be zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {{
{operands}}}

/// What is added to the fuel of an instruction: its operand b, the capacity of its window, the cost of its site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CostPlus {{
    None,
    Operand,
    Capacity,
    Site,
}}

/// One instruction. `pops` is written bottom to top in the letters B, I, F, T and X (any one type);
/// in brackets it depends on a table of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpInfo {{
    pub a: Operand,
    pub b: Operand,
    pub pops: &'static str,
    pub pushes: &'static str,
    pub cost: u8,
    pub cost_plus: CostPlus,
}}

/// One kind of timer. A window has 2 + 2 * capacity slots, the others `slots`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerInfo {{
    pub pops: &'static str,
    pub pushes: &'static str,
    pub slots: u8,
    pub window: bool,
}}
"""


def rust_module(table: Table) -> str:
    """Return the text of isa.rs: enums that map one to one to bytes, and their tables. No heap, no unsafe."""
    operands = "".join(f"    {camel(name)},\n" for name in OPERANDS.values())
    parts = [RUST_HEAD.format(abi=table["abi"], operands=operands)]
    parts.append(rust_enum("Op", "An instruction of the SVM.", table["op"]))
    parts.append(rust_codes("code", "The opcodes as bytes: what the verifier and the machine match on.", table["op"]))
    parts.append(rust_enum("Trap", "Why an execution was trapped.", table["trap"]))
    parts.append(rust_enum("TimerKind", "The kind of memory behind a time word.", table["timer"]))
    parts.append(rust_method("Op", "OpInfo", "What this instruction means.", table["op"], rust_op))
    parts.append(rust_method("TimerKind", "TimerInfo", "What this kind of timer means.", table["timer"], rust_timer))
    return "".join(parts)


def camel(name: str) -> str:
    """Return ADD_I as AddI."""
    return "".join(part.capitalize() for part in name.split("_"))


def rust_enum(name: str, doc: str, entries: list[Table]) -> str:
    """Return an enum with `from_code`."""
    head = f"\n/// {doc}\n#[derive(Clone, Copy, Debug, PartialEq, Eq)]\n#[repr(u8)]\npub enum {name} {{\n"
    members = "".join(f"    /// {entry['doc']}\n    {camel(entry['name'])} = {entry['code']},\n" for entry in entries)
    arms = "".join(f"            {entry['code']} => Some(Self::{camel(entry['name'])}),\n" for entry in entries)
    return (
        f"{head}{members}}}\n\nimpl {name} {{\n    /// The member with this code.\n"
        "    pub const fn from_code(code: u8) -> Option<Self> {\n"
        f"        match code {{\n{arms}            _ => None,\n        }}\n    }}\n}}\n"
    )


def rust_codes(name: str, doc: str, entries: list[Table]) -> str:
    """Return a module of the codes of an enum as constants."""
    constants = "".join(f"    pub const {entry['name']}: u8 = {entry['code']};\n" for entry in entries)
    return f"\n/// {doc}\npub mod {name} {{\n{constants}}}\n"


def rust_method(name: str, result: str, doc: str, entries: list[Table], row: Any) -> str:
    """Return `info()` of one enum: a match from member to its table row."""
    arms = "".join(f"            Self::{camel(entry['name'])} => {row(entry)},\n" for entry in entries)
    return (
        f"\nimpl {name} {{\n    /// {doc}\n    pub const fn info(self) -> {result} {{\n"
        f"        match self {{\n{arms}        }}\n    }}\n}}\n"
    )


def rust_op(op: Table) -> str:
    """Return the OpInfo of one instruction."""
    fields = [
        f"a: Operand::{camel(OPERANDS[op['a']])}",
        f"b: Operand::{camel(OPERANDS[op['b']])}",
        f"pops: {quoted(op['pops'])}",
        f"pushes: {quoted(op['pushes'])}",
        f"cost: {op['cost']}",
        f"cost_plus: CostPlus::{camel(COSTS[op['cost_plus']])}",
    ]
    return rust_struct("OpInfo", fields)


def rust_timer(timer: Table) -> str:
    """Return the TimerInfo of one kind."""
    window = "true" if timer.get("window") else "false"
    fields = [f"pops: {quoted(timer['pops'])}", f"pushes: {quoted(timer['pushes'])}"]
    return rust_struct("TimerInfo", [*fields, f"slots: {timer.get('slots', 0)}", f"window: {window}"])


def rust_struct(name: str, fields: list[str]) -> str:
    """Return a struct literal, one field a line, as rustfmt writes it inside a match arm."""
    return f"{name} {{\n" + "".join(f"                {field},\n" for field in fields) + "            }"


# --- files ---------------------------------------------------------------------------------------------------------


def generated() -> dict[Path, str]:
    """Return every generated file with the text it must have."""
    table = load_table()
    return {
        ROOT / "src/eyeflow/svm/opcodes.py": python_module(table),
        ROOT / "docs/reference/isa.md": markdown_page(table),
        ROOT / "embassy/svm/src/isa.rs": rust_module(table),
    }


def stale() -> list[Path]:
    """Return the generated files whose text is not what the table gives."""
    return [path for path, text in generated().items() if not path.exists() or path.read_text("utf-8") != text]


def main(arguments: list[str]) -> int:
    """Write the stale files, or with --check only name them."""
    if arguments not in ([], ["--check"]):
        print("usage: gen_isa.py [--check]", file=sys.stderr)
        return 2
    names = [path.relative_to(ROOT) for path in stale()]
    if arguments:
        for name in names:
            print(f"{name} is stale: run python tools/gen_isa.py", file=sys.stderr)
        return 1 if names else 0
    for path, text in generated().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    print("written: " + (", ".join(map(str, names)) or "nothing had changed"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
