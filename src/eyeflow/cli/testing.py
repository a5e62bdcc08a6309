"""The command `test`: plays the tests of rules on a virtual clock."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.cli import compiling, results
from eyeflow.cli.console import JsonFlag, finish, finite, note, paint, say, say_json, say_lines
from eyeflow.cli.files import find_rules, usage_error, write_bytes

if TYPE_CHECKING:
    from eyeflow.compiler.compile import CompileResult
    from eyeflow.compiler.coverage import Coverage
    from eyeflow.compiler.testrun import TestOutcome
    from eyeflow.svm.program import Program


JunitOption = Annotated[Path | None, typer.Option("--junit", help="Also write the results to this JUnit XML file.")]
UploadOption = Annotated[
    bool, typer.Option("--upload", help="Tell the coordinator the results: the dashboard shows them.")
]


@dataclass(frozen=True, slots=True)
class _Played:
    """One rule file after its tests; `outcomes` is None when it did not compile."""

    path: Path
    rule: str
    source: str
    diagnostics: list[dict[str, Any]]
    outcomes: tuple[TestOutcome, ...] | None
    coverage: Coverage | None
    elapsed_s: float
    program: Program | None = None

    @property
    def failed(self) -> bool:
        return self.outcomes is None or any(not outcome.passed for outcome in self.outcomes)


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("test")(test)


def test(
    rules: Annotated[list[Path] | None, typer.Argument(help="Rule files or folders (default: this folder).")] = None,
    cov: Annotated[bool, typer.Option("--cov", help="Show which branches of the rules no test took.")] = False,
    cov_min: Annotated[
        float,
        typer.Option(
            "--cov-min", metavar="PERCENT", min=0, max=100, callback=finite, help="Fail below this branch coverage."
        ),
    ] = 0.0,
    junit: JunitOption = None,
    upload: UploadOption = False,
    only: Annotated[str, typer.Option("-k", help="Only tests whose name holds this text.")] = "",
    profile: compiling.ProfileOption = None,
    target: compiling.TargetOption = "",
    board: compiling.BoardOption = None,
    catalog: compiling.CatalogOption = None,
    format_: compiling.FormatOption = compiling.Format.TEXT,
    json_: JsonFlag = False,
) -> None:
    """Run the tests of rules. Exit code 1 when one fails.

    With --upload the coordinator keeps the results beside the program that the same rule and target compile to.
    """
    _check_upload(upload, only)
    known, options = compiling.load_catalog(catalog), compiling.compile_options(profile, target, board)
    guess = compiling.is_profile_open(profile, target, board)
    played = []
    for path in find_rules(rules or [Path()]):
        compiled = compiling.compile_path(path, known, options, guess_profile=guess)
        one = _play(path, compiled, only, trace=cov or cov_min > 0, how=None if json_ else format_)
        played.append(one)
        if not json_:
            _say_rule(one, cov)
    if junit is not None:
        _write_junit(junit, played)
    if upload:
        _upload(played)
    passed, failed = (sum(o.passed is how for one in played for o in one.outcomes or ()) for how in (True, False))
    if only and passed + failed == 0 and not any(one.failed for one in played):
        raise usage_error(f"no test has `{only}` in its name", "look at their names: eyeflow test without -k")
    percent = _percent(played)
    too_low = percent is not None and percent < cov_min
    if json_:
        rules_ = [_json(one) for one in played]
        say_json({"passed": passed, "failed": failed, "rules": rules_, "branchPercent": percent})
    else:
        _say_summary(played, passed, failed, percent if cov or cov_min > 0 else None)
    if too_low:
        note(f"branch coverage {percent:.1f} % is below {cov_min:g} %")
    finish(ExitCode.PROBLEMS if too_low or any(one.failed for one in played) else ExitCode.OK)


def _play(
    path: Path, compiled: tuple[str, CompileResult], only: str, *, trace: bool, how: compiling.Format | None
) -> _Played:
    """Play the tests of one rule; diagnostics are shown at once unless `how` is None (JSON)."""
    source, result = compiled
    if how is not None:
        compiling.show_diagnostics(result.diagnostics, source, path, how)
    diagnostics = compiling.diagnostics_json(result.diagnostics, source, path)
    started = time.perf_counter()
    if result.program is None:
        return _Played(path, path.stem, source, diagnostics, None, None, 0.0)
    outcomes, coverage = _run_tests(result, only, trace=trace)
    elapsed_s = time.perf_counter() - started
    return _Played(path, result.program.rule, source, diagnostics, outcomes, coverage, elapsed_s, result.program)


def _run_tests(result: CompileResult, only: str, *, trace: bool) -> tuple[tuple[TestOutcome, ...], Coverage | None]:
    from eyeflow.compiler.coverage import CoverageRecorder
    from eyeflow.compiler.testrun import run_test
    from eyeflow.svm.interpreter import Interpreter
    from eyeflow.svm.verify import verify

    assert result.program is not None
    verified = verify(result.program)
    recorder = CoverageRecorder(result.program, result.branches) if trace else None
    machine = Interpreter(verified, trace=recorder.trace) if recorder else None
    chosen = [plan for plan in result.tests if only in plan.name]
    outcomes = tuple(run_test(plan, verified, machine) for plan in chosen)
    return outcomes, recorder.result() if recorder else None


def _say_rule(one: _Played, cov: bool) -> None:
    if one.outcomes is None:
        say(f"{paint('ERROR', '1;31', sys.stdout)} {one.path} does not compile")
        return
    for outcome in one.outcomes:
        mark = paint("pass", "32", sys.stdout) if outcome.passed else paint("FAIL", "1;31", sys.stdout)
        say(f"{mark} {one.rule}: {outcome.name}")
        for failure in outcome.failures:
            say(f"     {one.path}:{failure.where.line}:{failure.where.column}: {failure.message}")
            say(f"     | {failure.where.text}")
            for detail in failure.details:
                say(f"     {detail}")
    if cov and one.coverage is not None:
        from eyeflow.compiler.coverage import annotated_listing

        say(f"---- {one.rule}: {one.coverage.percent:.1f} % of {one.coverage.arms} branch arms taken")
        if one.coverage.arms_covered < one.coverage.arms:
            say_lines(annotated_listing(one.coverage, one.source))


def _say_summary(played: list[_Played], passed: int, failed: int, percent: float | None) -> None:
    broken = sum(one.outcomes is None for one in played)
    parts = [f"{passed} passed", f"{failed} failed"]
    if broken:
        parts.append(f"{broken} did not compile")
    if percent is not None:
        parts.append(f"branch coverage {percent:.1f} %")
    say(", ".join(parts))
    untested = [one.rule for one in played if one.outcomes == ()]
    if untested and not broken:
        note(f"without a test: {', '.join(untested)}")


def _percent(played: list[_Played]) -> float | None:
    """Return the arms taken of all rules in percent; None when one does not compile, for its arms are not known."""
    if any(one.outcomes is None for one in played):
        return None
    from eyeflow.compiler.coverage import percent_of

    arms = sum(one.coverage.arms for one in played if one.coverage)
    covered = sum(one.coverage.arms_covered for one in played if one.coverage)
    return percent_of(covered, arms)


def _json(one: _Played) -> dict[str, Any]:
    from eyeflow.compiler.coverage import coverage_json

    tests = [
        {
            "name": outcome.name,
            "line": outcome.line,
            "passed": outcome.passed,
            "executions": outcome.executions,
            "failures": [
                {
                    "line": failure.where.line,
                    "column": failure.where.column,
                    "step": failure.where.text,
                    "message": failure.message,
                    "details": list(failure.details),
                }
                for failure in outcome.failures
            ],
        }
        for outcome in one.outcomes or ()
    ]
    return {
        "file": str(one.path),
        "rule": one.rule,
        "compiled": one.outcomes is not None,
        "diagnostics": one.diagnostics,
        "tests": tests,
        "coverage": coverage_json(one.coverage) if one.coverage else None,
    }


def _write_junit(path: Path, played: list[_Played]) -> None:
    from eyeflow.compiler.junit import RuleTests, junit_xml

    suites = [RuleTests(o.rule, str(o.path), o.outcomes or (), o.elapsed_s, _errors(o)) for o in played]
    write_bytes(path, junit_xml(suites).encode())


def _check_upload(upload: bool, only: str) -> None:
    if upload and only:
        raise usage_error("--upload tells the results of all tests, and -k plays some", "leave one of them out")


def _upload(played: list[_Played]) -> None:
    """Tell the coordinator. Raises EyeflowError; of a program that it does not have, with what to do."""
    from eyeflow.cli.cluster import connect
    from eyeflow.svm.container import decode, encode

    with connect() as client:
        for one in played:
            if one.program is None or one.outcomes is None:
                continue
            try:
                client.upload_tests(decode(encode(one.program)).program_id, results.told(one.outcomes))
            except EyeflowError as error:
                if error.code != "program_not_found":
                    raise
                raise _not_there(one) from error
            note(f"the coordinator keeps how the tests of {one.rule} went")


def _not_there(one: _Played) -> EyeflowError:
    return EyeflowError(
        f"the coordinator does not have the program of {one.path}",
        cause="it was not deployed, or for another target, or the file has changed since",
        next_step="eyeflow deploy uploads a rule with the results of its tests",
        code="program_not_found",
        exit_code=ExitCode.PROBLEMS,
    )


def _errors(one: _Played) -> tuple[str, ...]:
    """Return why a rule does not compile, one line for each error."""
    if one.outcomes is not None:
        return ()
    errors = [found for found in one.diagnostics if found["severity"] == "error"]
    return tuple(f"{e['file']}:{e['start']['line']}:{e['start']['column']}: {e['code']} {e['message']}" for e in errors)
