"""Every example is right, formatted, tested in every branch, and does with its recording what its golden file says."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
from typer.testing import CliRunner, Result

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
GOLDEN = Path(__file__).parent / "golden"
RULES = sorted(EXAMPLES.glob("*/*.eye"))
SPLIT = {"split_press": "press_interlock"}
"""Folders whose rules work together, on a node and on the board of the rule that is named.

What such a rule does alone is no story: tests/cli plays both with the image of a board.
"""
ALONE = [rule for rule in RULES if rule.parent.name not in SPLIT]


def load(path: Path) -> ModuleType:
    """Import a module that belongs to no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


golden = load(ROOT / "tests" / "golden.py")
recordings = load(EXAMPLES / "make_recordings.py")

each_rule = pytest.mark.parametrize("rule", RULES, ids=lambda path: path.stem)
each_alone = pytest.mark.parametrize("rule", ALONE, ids=lambda path: path.stem)


def eyeflow(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
    """Run a command of the CLI in this process, from the top folder, as the documentation does."""
    from eyeflow.cli.main import command_line

    monkeypatch.chdir(ROOT)
    return CliRunner().invoke(command_line(), list(arguments))


def shown(rule: Path) -> str:
    return str(rule.relative_to(ROOT))


def test_there_is_a_folder_for_each_rule() -> None:
    assert len(ALONE) >= 15
    for rule in RULES:
        assert (rule.parent / "README.md").is_file()
    for rule in ALONE:
        assert rule.parent.name == rule.stem
        assert len(list(rule.parent.glob("recording.*"))) == 1


@each_rule
def test_compiles_without_warnings(rule: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = eyeflow(monkeypatch, "check", "--json", shown(rule))
    assert json.loads(result.stdout) == {"files": 1, "errors": 0, "diagnostics": []}
    assert result.exit_code == 0


@each_rule
def test_is_formatted(rule: Path) -> None:
    from eyeflow.compiler.format import format_source

    source = rule.read_text(encoding="utf-8")
    assert format_source(source) == source


@each_rule
def test_tests_pass_and_cover_every_branch(rule: Path) -> None:
    from eyeflow.cli.compiling import compile_options, compile_path
    from eyeflow.compiler.catalog import Catalog
    from eyeflow.compiler.coverage import CoverageRecorder
    from eyeflow.compiler.testrun import run_test
    from eyeflow.svm.interpreter import Interpreter
    from eyeflow.svm.verify import verify

    _source, result = compile_path(rule, Catalog.builtin(), compile_options(None, ""), guess_profile=True)
    assert result.program is not None
    verified = verify(result.program)
    recorder = CoverageRecorder(result.program, result.branches)
    outcomes = [run_test(plan, verified, Interpreter(verified, trace=recorder.trace)) for plan in result.tests]
    assert len(outcomes) >= 3
    assert [(outcome.name, outcome.failures) for outcome in outcomes if not outcome.passed] == []
    uncovered = [branch for branch in recorder.result().branches if branch.arms_covered < 2]
    assert uncovered == []


@each_alone
def test_recording_gives_the_golden_actions(rule: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = next(rule.parent.glob("recording.*"))
    result = eyeflow(monkeypatch, "run", shown(rule), "--events", shown(recording), "--json")
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) > 3, "a recording shows the rule act"
    golden.check(GOLDEN / f"{rule.stem}.jsonl", result.stdout)


@each_alone
def test_its_page_shows_what_the_rule_does(rule: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = next(rule.parent.glob("recording.*"))
    result = eyeflow(monkeypatch, "run", shown(rule), "--events", shown(recording))
    page = (rule.parent / "README.md").read_text(encoding="utf-8")
    promised = [line for line in page.split("```")[3].splitlines() if line.startswith("20")]
    assert promised
    assert [line for line in promised if line not in result.stdout.splitlines()] == []


@pytest.mark.parametrize("board", sorted(EXAMPLES.glob("*/board.toml")), ids=lambda path: path.parent.name)
def test_a_rule_with_a_board_file_fits_that_board(board: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = board.parent / f"{SPLIT.get(board.parent.name, board.parent.name)}.eye"
    result = eyeflow(monkeypatch, "check", "--json", "--board", shown(board), shown(rule))
    assert json.loads(result.stdout) == {"files": 1, "errors": 0, "diagnostics": []}


def test_recordings_are_reproducible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for rule in ALONE:
        (tmp_path / rule.stem).mkdir()
    monkeypatch.setattr(recordings, "HERE", tmp_path)
    recordings.main()
    for rule in ALONE:
        recording = next(rule.parent.glob("recording.*"))
        assert (tmp_path / rule.stem / recording.name).read_bytes() == recording.read_bytes()
