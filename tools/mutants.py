"""Mutation tests of what safety rests on (`make mutants`): mutmut changes the code, one small change at a time, and the
tests must fail for each.

`mutants.toml` beside this file says which files belong to a part, which tests must find its mutants, and why a mutant
that no test can find is right all the same. The results go to `docs/mutants.md`.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import tomli_w

ROOT = Path(__file__).parents[1]
SETTINGS = Path(__file__).with_suffix(".toml")
PAGE = ROOT / "docs" / "mutants.md"
WORK = ROOT / "build" / "mutants"
UNSHRUNK = {"EYEFLOW_MUTANTS": "1"}
"""`tests/conftest.py`: an example that fails is enough, the smallest one is not looked for."""
MUTMUT = Path(sys.executable).with_name("mutmut")
LINKED = ("src", "tests", "examples", "docs", "embassy")
PROCESSES_DEFAULT = 2
TIMEOUT_CONSTANT_S = 15.0
TIMEOUT_FACTOR = 4.0
"""A mutant gets (seconds of its tests + the constant) * the factor: the machine may be busy, and some mutants hang."""

FOUND = {1, 3, 24, 36, 152, 255, -24, -11, -9}
"""mutmut's exit codes of a mutant that a test found: one failed, the process died, or it had to be ended."""
UNTESTED = {5, 33}
SQL = re.compile(
    r"\b(SELECT|INSERT|UPDATE|DELETE|BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|FROM|WHERE|CASE|AND|LIKE|ORDER|PRAGMA|VACUUM)\b"
)
VALUE = re.compile(r"'[^']*'")
MARK = re.compile(r"(.+)__mutmut_(orig|\d+)$")


class Verdict(Enum):
    """What became of one mutant."""

    FOUND = "found"
    TEXT = "text"
    SAME = "same"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change in one function: the changed lines before and after, without layout."""

    file: str
    function: str
    change: str
    name: str
    exit_code: int | None
    is_text: bool
    is_sql_case: bool


@dataclass(frozen=True, slots=True)
class Counts:
    """How many mutants of a part there are of each verdict."""

    mutants: int
    found: int
    text: int
    same: int
    open: int


def main() -> int:
    """Run the parts that are named, or all; return 1 when a mutant lives without a reason."""
    arguments = _arguments()
    settings = tomllib.loads(SETTINGS.read_text())
    parts = arguments.parts or list(settings["parts"])
    unknown = sorted(set(parts) - set(settings["parts"]))
    if unknown:
        print(f"no part {', '.join(unknown)}: the parts are {', '.join(settings['parts'])}", file=sys.stderr)
        return 2
    rows = _rows()
    is_good = True
    for part in parts:
        if not arguments.report:
            if not _run(part, settings, arguments):
                print(f"{part}: mutmut did not end well, see above: its row stays as it was", file=sys.stderr)
                is_good = False
                continue
            _look_again(part, settings)
        mutants = list(_mutants(part, settings))
        if not mutants:
            print(f"{part}: it was not run here yet: its row stays as it was", file=sys.stderr)
            is_good = False
            continue
        counts, living = _judge(part, mutants, settings)
        rows[part] = counts
        print(f"{part}: {counts.mutants} mutants, {counts.open} open")
        for mutant in living:
            print(f"  {mutant.name}\n    {mutant.file}, {mutant.function}\n{_indented(mutant.change)}")
        is_good &= not living
    PAGE.write_text(_page(rows, settings))
    return 0 if is_good else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help="parts of mutants.toml; all when none is named")
    parser.add_argument("--report", action="store_true", help="run nothing, judge the last run again")
    parser.add_argument("--fresh", action="store_true", help="forget what earlier runs found")
    parser.add_argument("--processes", type=int, default=PROCESSES_DEFAULT)
    return parser.parse_args()


def _run(part: str, settings: dict[str, Any], arguments: argparse.Namespace) -> bool:
    """Run mutmut in a directory of the part's own. Only open and changed mutants of earlier runs are tried again.

    Returns whether it ran to its end: it does not when the tests fail without any change.
    """
    work = WORK / part
    if arguments.fresh:
        shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    for name in LINKED:
        if not (work / name).exists():
            (work / name).symlink_to(ROOT / name)
    (work / "pyproject.toml").write_text(tomli_w.dumps(_project(settings["parts"][part])))
    # mutmut copies anew, but deletes nothing; and it takes the tests of a mutant from an earlier run.
    shutil.rmtree(work / "mutants" / "tests", ignore_errors=True)
    (work / "mutants" / "mutmut-stats.json").unlink(missing_ok=True)
    _forget_open(part, settings)
    command = [MUTMUT, "run", "--max-children", str(arguments.processes)]
    return subprocess.run(command, cwd=work, env=os.environ | UNSHRUNK).returncode == 0


def _project(setting: dict[str, Any]) -> dict[str, Any]:
    """Return the project's own settings with those of mutmut for one part."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project["tool"]["mutmut"] = {
        "source_paths": ["src"],
        "only_mutate": [f"src/eyeflow/{file}" for file in setting["files"]],
        "also_copy": [name for name in LINKED if name != "src"],
        "pytest_add_cli_args": ["-p", "no:cacheprovider", "--no-header"],
        "pytest_add_cli_args_test_selection": _selection(setting),
        "timeout_constant": TIMEOUT_CONSTANT_S,
        "timeout_multiplier": TIMEOUT_FACTOR,
        "use_git_change_detection": False,
    }
    return project


def _selection(setting: dict[str, Any]) -> list[str]:
    """Return the tests of a part as pytest takes them; `not_tests` and `without` are slow and would find nothing more.

    `not_tests` are tests by id, `without` is a word in the names of others.
    """
    without = [f"-k=not {setting['without']}"] if "without" in setting else []
    return [*setting["tests"], *(f"--deselect={one}" for one in setting.get("not_tests", [])), *without]


def _forget_open(part: str, settings: dict[str, Any]) -> None:
    """Make mutmut try again what lived without a reason: there may be a test for it now."""
    reasons = _reasons(part, settings)
    verdicts = {mutant.name: _verdict(mutant, reasons) for mutant in _mutants(part, settings)}
    for meta in (WORK / part / "mutants").rglob("*.meta"):
        results = json.loads(meta.read_text())
        codes = results["exit_code_by_key"]
        results["exit_code_by_key"] = {
            name: None if verdicts.get(name) is Verdict.OPEN else code for name, code in codes.items()
        }
        meta.write_text(json.dumps(results, indent=4))


def _look_again(part: str, settings: dict[str, Any]) -> None:
    """Try the living mutants of functions that run while a module is imported, each in a process of its own.

    mutmut imports all modules once, before any change: of such a function it would see nothing.
    """
    setting, work = settings["parts"][part], WORK / part / "mutants"
    reasons = _reasons(part, settings)
    for mutant in list(_mutants(part, settings)):
        if mutant.function not in setting.get("at_import", []) or _verdict(mutant, reasons) is not Verdict.OPEN:
            continue
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-x",
            "-q",
            "-p",
            "no:cacheprovider",
            "--rootdir=.",
            *setting["tests"],
        ]
        more = {"MUTANT_UNDER_TEST": mutant.name, "PYTHONPATH": "src"} | UNSHRUNK
        code = subprocess.run(command, cwd=work, env=os.environ | more, stdout=subprocess.DEVNULL).returncode
        meta = work / "src" / "eyeflow" / f"{mutant.file}.meta"
        results = json.loads(meta.read_text())
        # 2: the module could not even be imported.
        results["exit_code_by_key"][mutant.name] = 1 if code in (1, 2, 3, 4) else code
        meta.write_text(json.dumps(results, indent=4))


def _mutants(part: str, settings: dict[str, Any]) -> Iterator[Mutant]:
    mutated = WORK / part / "mutants"
    for pattern in settings["parts"][part]["files"]:
        for path in sorted(mutated.glob(f"src/eyeflow/{pattern}")):
            meta = path.with_name(f"{path.name}.meta")
            if not meta.exists():
                continue
            codes = {
                name.rpartition(".")[2]: (name, code)
                for name, code in json.loads(meta.read_text())["exit_code_by_key"].items()
            }
            file = str(path.relative_to(mutated / "src" / "eyeflow"))
            yield from _mutants_in(file, ast.parse(path.read_text()), codes, settings)


def _mutants_in(
    file: str, tree: ast.Module, codes: dict[str, tuple[str, int | None]], settings: dict[str, Any]
) -> Iterator[Mutant]:
    text, names = settings["text"], settings["sql"]
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    marked = {node.name: node for node in functions if MARK.match(node.name)}
    for mangled, (name, code) in codes.items():
        if mangled not in marked:  # a run that was ended in between: the next one makes them anew
            continue
        before, after = marked[f"{mangled.rpartition('_')[0]}_orig"], marked[mangled]
        after.name = before.name
        function = mangled.partition("__mutmut_")[0].removeprefix("xǁ").removeprefix("x_").replace("ǁ", ".")
        is_text = function in text["returned"] or _is_text(before, after, text)
        yield Mutant(
            file,
            function,
            _change(before, after),
            name,
            code,
            is_text,
            _is_sql_case(before, after, names.get(function, [])),
        )


def _change(before: ast.AST, after: ast.AST) -> str:
    """Return the lines that differ, `-` before the old ones and `+` before the new ones."""
    lines = difflib.ndiff(_lines(before), _lines(after))
    changed = (f"{line[0]} {line[2:].strip()}" for line in lines if line[0] in "-+")
    return "\n".join(re.sub(r"\bxǁ?\w*?[_ǁ](\w+?)__mutmut_orig", r"\1", line) for line in changed)


def _lines(tree: ast.AST) -> list[str]:
    return ast.unparse(tree).splitlines()


def _is_text(before: ast.AST, after: ast.AST, text: dict[str, list[str]]) -> bool:
    """Return whether only what people read differs: an argument that `text` names, or the message of an assertion."""
    while True:
        if isinstance(before, ast.Call) and _differs_in_text(before, after, text.get(_called(before), [])):
            return True
        differing = [
            (name, one, other) for name, one, other in _children(before, after) if ast.dump(one) != ast.dump(other)
        ]
        if type(before) is not type(after) or isinstance(before, ast.Constant) or len(differing) != 1:
            return False
        name, before, after = differing[0]
        if name == "msg" or _is_named(before, text["names"]):  # `msg` is that of an assertion
            return True


def _is_sql_case(before: ast.AST, after: ast.AST, names: Sequence[str]) -> bool:
    """Return whether only the case of SQL's words and names differs, which means nothing in SQL; values keep theirs.

    What is given to `pragma` is SQL as well: names, and values that are words of SQLite. `names` are strings of the
    function that name tables and columns.
    """
    old, new = _strings(before), _strings(after)
    words = {*names, *(one for call in ast.walk(before) if _is_pragma(call) for one in _strings(call))}
    changed = (
        [(one, other) for one, other in zip(old, new, strict=True) if one != other] if len(old) == len(new) else []
    )
    return len(changed) == 1 and all(
        (SQL.search(one) or one in words)
        and one.lower() == other.lower()
        and VALUE.findall(one) == VALUE.findall(other)
        for one, other in changed
    )


def _is_pragma(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and _called(node) == "pragma"


def _strings(tree: ast.AST) -> list[str]:
    return [one.value for one in ast.walk(tree) if isinstance(one, ast.Constant) and isinstance(one.value, str)]


def _is_named(statement: ast.AST, names: Sequence[str]) -> bool:
    if not isinstance(statement, ast.Assign):
        return False
    targets = [one for target in statement.targets for one in getattr(target, "elts", [target])]
    return all(isinstance(target, ast.Name) and target.id in names for target in targets)


def _differs_in_text(before: ast.Call, after: ast.AST, text: Sequence[str]) -> bool:
    if not isinstance(after, ast.Call) or _called(before) != _called(after):
        return False
    old, new = _given(before), _given(after)
    return bool(text) and all(
        name in text or "*" in text or old.get(name) == new.get(name) for name in old.keys() | new.keys()
    )


def _given(call: ast.Call) -> dict[str, str]:
    given = {str(place): ast.dump(one) for place, one in enumerate(call.args)}
    return given | {str(one.arg): ast.dump(one.value) for one in call.keywords}


def _called(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _children(before: ast.AST, after: ast.AST) -> Iterator[tuple[str, ast.AST, ast.AST]]:
    for name in before._fields:
        one, other = getattr(before, name, None), getattr(after, name, None)
        ones = one if isinstance(one, list) else [one]
        others = other if isinstance(other, list) else [other]
        missing = ast.Module(body=[], type_ignores=[])
        for place in range(max(len(ones), len(others))):
            old = ones[place] if place < len(ones) else missing
            new = others[place] if place < len(others) else missing
            yield name, _node(old), _node(new)


def _node(value: object) -> ast.AST:
    return value if isinstance(value, ast.AST) else ast.Constant(value=value)  # type: ignore[arg-type]


def _judge(part: str, mutants: Sequence[Mutant], settings: dict[str, Any]) -> tuple[Counts, list[Mutant]]:
    """Return the counts of a part and the mutants that live without a reason; tell of reasons without a mutant."""
    reasons = _reasons(part, settings)
    used: set[tuple[str, str]] = set()
    verdicts = []
    for mutant in mutants:
        verdict = _verdict(mutant, reasons)
        verdicts.append(verdict)
        if verdict is Verdict.SAME:
            used.add((mutant.function, mutant.change))
    for one in reasons:
        for change in one["changes"]:
            if (one["function"], change.strip()) not in used:
                print(f"{part}: no mutant lives that this reason is for: {one['function']}\n{_indented(change)}")
    numbers = [sum(one is verdict for one in verdicts) for verdict in Verdict]
    living = [one for one, verdict in zip(mutants, verdicts, strict=True) if verdict is Verdict.OPEN]
    return Counts(len(mutants), *numbers), living


def _reasons(part: str, settings: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in settings.get("same", []) if one["part"] == part]


def _verdict(mutant: Mutant, reasons: Sequence[dict[str, Any]]) -> Verdict:
    if mutant.exit_code in FOUND:
        return Verdict.FOUND
    if mutant.is_sql_case:
        return Verdict.SAME
    for one in reasons:
        if one["function"] == mutant.function and mutant.change in (change.strip() for change in one["changes"]):
            return Verdict.SAME
    return Verdict.TEXT if mutant.is_text else Verdict.OPEN


def _indented(text: str) -> str:
    return "\n".join(f"      {line}" for line in text.strip().splitlines())


def _rows() -> dict[str, Counts]:
    """Return the table of the page as it is: parts that are not run keep their row."""
    if not PAGE.exists():
        return {}
    found = re.findall(r"^\| `(\w+)` \|.*?\| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", PAGE.read_text(), re.M)
    return {part: Counts(*map(int, numbers)) for part, *numbers in found}


def _page(rows: dict[str, Counts], settings: dict[str, Any]) -> str:
    lines = [settings["page"]["head"].strip(), ""]
    lines += ["| part | files | mutants | found | text only | same | open |", "|---|---|---|---|---|---|---|"]
    for part, setting in settings["parts"].items():
        files = ", ".join(f"`{file}`" for file in setting["files"])
        if part in rows:
            one = rows[part]
            lines.append(f"| `{part}` | {files} | {one.mutants} | {one.found} | {one.text} | {one.same} | {one.open} |")
    for part in settings["parts"]:
        reasons = _reasons(part, settings)
        if reasons:
            lines += ["", f"## {part}"]
        for one in reasons:
            lines += ["", f"`{one['function']}`: {' '.join(one['reason'].split())}", "", "```diff"]
            lines += [change.strip() for change in one["changes"]] + ["```"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
