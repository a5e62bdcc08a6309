"""Commands on rule sources: check, fmt, explain, compile."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.names import near
from eyeflow.cli.compiling import (
    BoardOption,
    CatalogOption,
    Format,
    FormatOption,
    ProfileOption,
    Rules,
    TargetOption,
    compile_options,
    compile_path,
    count_errors,
    diagnostics_json,
    has_errors,
    is_profile_open,
    load_catalog,
    read_source,
    show_diagnostics,
    shown_name,
)
from eyeflow.cli.console import JsonFlag, finish, note, paint, say, say_data, say_json, say_lines
from eyeflow.cli.files import STDIN, find_rules, usage_error, write_bytes

if TYPE_CHECKING:
    from eyeflow.compiler.catalog import Catalog
    from eyeflow.compiler.compile import CompileOptions


class Phase(Enum):
    """What `--emit` prints."""

    TOKENS = "tokens"
    AST = "ast"
    TYPED = "typed"
    IR = "ir"
    ASM = "asm"


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("check")(check)
    app.command("fmt")(fmt)
    app.command("compile")(compile_command)
    app.command("explain")(explain)


def check(
    rules: Rules,
    profile: ProfileOption = None,
    target: TargetOption = "",
    board: BoardOption = None,
    catalog: CatalogOption = None,
    format_: FormatOption = Format.TEXT,
    json_: JsonFlag = False,
) -> None:
    """Say whether rules are right, without writing anything."""
    known, options = load_catalog(catalog), compile_options(profile, target, board)
    paths, found, errors, guess = find_rules(rules), [], 0, is_profile_open(profile, target, board)
    for path in paths:
        source, result = compile_path(path, known, options, guess_profile=guess)
        errors += count_errors(result.diagnostics)
        if json_:
            found += diagnostics_json(result.diagnostics, source, path)
        else:
            show_diagnostics(result.diagnostics, source, path, format_)
    if json_:
        say_json({"files": len(paths), "errors": errors, "diagnostics": found})
    elif errors:
        note(f"{errors} error{'s' * (errors != 1)} in {len(paths)} file{'s' * (len(paths) != 1)}")
    elif format_ is Format.TEXT:
        say(f"{len(paths)} rule{'s' * (len(paths) != 1)} checked: all good")
    finish(ExitCode.PROBLEMS if errors else ExitCode.OK)


def fmt(
    rules: Rules,
    check_only: Annotated[bool, typer.Option("--check", help="Change nothing; fail if a file would change.")] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Change nothing; print what would change.")] = False,
    json_: JsonFlag = False,
) -> None:
    """Format rules in the one style. From standard input, the formatted rule goes to standard output."""
    told: dict[str, Any] = {"changed": [], "broken": 0, "diagnostics": [], "diffs": {}, "formatted": None}
    keeps = check_only or diff
    for path in find_rules(rules):
        source = read_source(path)
        formatted = _formatted(path, source, None if json_ else Format.TEXT, told["diagnostics"])
        if formatted is None:
            told["broken"] += 1
        elif path == STDIN and not keeps:
            told["formatted"] = formatted
            if not json_:
                say_data(formatted)
        elif formatted != source:
            told["changed"].append(shown_name(path))
            if diff:
                told["diffs"][shown_name(path)] = _diff(path, source, formatted)
                if not json_:
                    say_data(told["diffs"][shown_name(path)])
            if not keeps:
                write_bytes(path, formatted.encode())
    if json_:
        say_json(told)
    elif STDIN not in rules:
        _report_format(told["changed"], told["broken"], check_only=keeps)
    finish(ExitCode.PROBLEMS if told["broken"] or (told["changed"] and keeps) else ExitCode.OK)


def _formatted(path: Path, source: str, how: Format | None, told: list[dict[str, object]]) -> str | None:
    """Return a rule in the one style, None when it is broken; why is shown, or added to `told` when `how` is None."""
    from eyeflow.compiler.format import FormatRefused, FormatterBug, format_source

    try:
        return format_source(source)
    except FormatRefused as refused:
        if how is None:
            told += diagnostics_json(refused.diagnostics, source, path)
        else:
            show_diagnostics(refused.diagnostics, source, path, how)
        return None
    except FormatterBug as bug:
        raise FormatterBug(f"{shown_name(path)}: {bug}") from None


def _diff(path: Path, source: str, formatted: str) -> str:
    import difflib

    before, after = source.splitlines(keepends=True), formatted.splitlines(keepends=True)
    return "".join(difflib.unified_diff(before, after, shown_name(path), shown_name(path)))


def _report_format(changed: list[str], broken: int, *, check_only: bool) -> None:
    for name in changed:
        note(f"{'would format' if check_only else 'formatted'} {name}")
    if not changed and not broken:
        note("already formatted")


def compile_command(
    rules: Rules,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The program file, or a folder when there are several rules.")
    ] = None,
    emit: Annotated[Phase | None, typer.Option("--emit", help="Print this phase instead of writing a program.")] = None,
    sign: Annotated[str, typer.Option("--sign", metavar="KEY", help="Sign with this key of your keyring.")] = "",
    sequence: Annotated[
        int | None, typer.Option("--sequence", min=0, help="Anti-rollback number (default: from the version).")
    ] = None,
    profile: ProfileOption = None,
    target: TargetOption = "",
    board: BoardOption = None,
    catalog: CatalogOption = None,
    format_: FormatOption = Format.TEXT,
    json_: JsonFlag = False,
) -> None:
    """Compile rules to .svm programs, and print what the verifier proved of them."""
    known, options = load_catalog(catalog), compile_options(profile, target, board, sequence)
    paths = find_rules(rules)
    if emit is not None:
        finish(_emit(paths, emit, known, options, format_, as_json=json_))
        return
    if out is not None and len(paths) > 1 and _names_file(out):
        raise usage_error(f"{len(paths)} rules do not fit one file {out}", "give a folder to --out")
    reports, failed, guess = [], False, is_profile_open(profile, target, board)
    for path in paths:
        source, result = compile_path(path, known, options, guess_profile=guess)
        if not json_:
            show_diagnostics(result.diagnostics, source, path, format_)
        report: dict[str, object] = {
            "file": shown_name(path),
            "diagnostics": diagnostics_json(result.diagnostics, source, path),
        }
        if result.program is None:
            failed = True
        else:
            from eyeflow.cli.program_files import build_program

            report |= build_program(result.program, _program_path(path, out), sign)
            if not json_:
                _say_compiled(report)
        reports.append(report)
    if json_:
        say_json({"programs": reports})
    finish(ExitCode.PROBLEMS if failed else ExitCode.OK)


def _program_path(rule: Path, out: Path | None) -> Path:
    beside = Path("rule.svm") if rule == STDIN else rule.with_suffix(".svm")
    if out is None:
        return beside
    return out if _names_file(out) else out / beside.name


def _names_file(out: Path) -> bool:
    """Return whether `--out` names a file or a device, and no folder that is there or is to be made."""
    return out.suffix == ".svm" or (out.exists() and not out.is_dir())


def _say_compiled(report: dict[str, object]) -> None:
    signers, limits = report["signers"], report["limits"]
    assert isinstance(signers, list) and isinstance(limits, dict)
    signed = f"signed by {', '.join(signers)}" if signers else "unsigned"
    say(f"{paint(str(report['program']), '1', sys.stdout)}  {str(report['programId'])[:16]}  {signed}")
    say("  proven per execution: " + ", ".join(f"{name} {value}" for name, value in limits.items()))


def _emit(
    paths: list[Path], phase: Phase, catalog: Catalog, options: CompileOptions, format_: Format, *, as_json: bool
) -> ExitCode:
    from eyeflow.compiler.compile import emit_phase

    failed = False
    reports = []
    for path in paths:
        source = read_source(path)
        text, diagnostics = emit_phase(source, phase.value, name=shown_name(path), catalog=catalog, options=options)
        failed |= text is None or has_errors(diagnostics)
        if as_json:
            shown = diagnostics_json(diagnostics, source, path)
            reports.append({"file": shown_name(path), "phase": phase.value, "text": text, "diagnostics": shown})
            continue
        show_diagnostics(diagnostics, source, path, format_)
        if text is not None:
            say_lines(text)
    if as_json:
        say_json({"phases": reports})
    return ExitCode.PROBLEMS if failed else ExitCode.OK


def explain(
    code: Annotated[str, typer.Argument(help="A diagnostic code: EF0203. Without one: all codes.")] = "",
    json_: JsonFlag = False,
) -> None:
    """Explain a diagnostic code, with an example and its correction."""
    from eyeflow.compiler import codes

    if not code:
        rows = [(known, codes.title(known)) for known in codes.all_codes()]
        if json_:
            say_json([{"code": known, "title": title} for known, title in rows])
        else:
            for known, title in rows:
                say(f"{known}  {title}")
        return
    wanted = code.upper()
    page = codes.explain(wanted)
    if page is None:
        guess = near(wanted, codes.all_codes())
        raise EyeflowError(
            f"there is no diagnostic {code}",
            next_step=f"did you mean {guess}? `eyeflow explain` lists all" if guess else "`eyeflow explain` lists all",
            code="unknown_code",
            exit_code=ExitCode.PROBLEMS,
        )
    if json_:
        say_json({"code": wanted, "title": codes.title(wanted), "page": page})
    else:
        say_lines(page)
