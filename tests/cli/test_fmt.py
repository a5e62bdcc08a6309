"""`eyeflow fmt` never breaks a rule: when it would, it says that it has a bug, and leaves the file as it is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from eyeflow.cli.launch import main
from eyeflow.compiler import format as formatter

SOURCE = "rule a {\non every 1s\nx = 1\n}\n"


@pytest.mark.parametrize(("change", "code"), [(lambda row: row.replace("1s", "2s"), 70), (lambda row: row, 0)])
def test_a_broken_layout_is_a_bug_and_writes_nothing(
    change: Callable[[str], str],
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The second change is none: the control, which writes the file."""
    rule, real = tmp_path / "a.eye", formatter._shown
    rule.write_text(SOURCE, encoding="utf-8")
    monkeypatch.setattr(formatter, "_shown", lambda line, marks: [change(row) for row in real(line, marks)])
    monkeypatch.setattr(sys, "argv", ["eyeflow", "fmt", str(rule)])
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == code
    unchanged = rule.read_text(encoding="utf-8") == SOURCE
    assert unchanged == (code == 70)
    if unchanged:
        said = capsys.readouterr().err
        assert "this is a bug in eyeflow" in said and "a.eye: the formatter would break this rule" in said
