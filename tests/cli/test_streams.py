"""The edges of the process: an unread, closed, full or narrow stdout costs no exit code, no data and no traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import RULE

EYEFLOW = f"{sys.executable} -m eyeflow"


@pytest.fixture
def shell(environment: dict[str, str], tmp_path: Path):  # type: ignore[no-untyped-def]
    def run(line: str, **more: str) -> subprocess.CompletedProcess[bytes]:
        command = ["bash", "-o", "pipefail", "-c", line.replace("eyeflow", EYEFLOW)]
        done = subprocess.run(command, capture_output=True, env=environment | more, cwd=tmp_path, timeout=300)
        assert b"Traceback" not in done.stderr and b"Exception ignored" not in done.stderr, done.stderr
        return done

    return run


@pytest.fixture
def failing(tmp_path: Path) -> Path:
    """A rule with more failing tests than a pipe holds output."""
    test = '    test "no {0}" {{\n        send {{ lux: 5.0 }}\n        expect no gpio.set_pin(LAMP, HIGH)\n    }}\n'
    path = tmp_path / "failing.eye"
    path.write_text(RULE.rstrip().removesuffix("}") + "".join(test.format(number) for number in range(500)) + "}\n")
    return path


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("eyeflow test failing.eye | head -n 1", 1),
        ("eyeflow test failing.eye 2>&1 | true", 1),
        ("eyeflow test failing.eye --json | head -n 1", 1),
        ("eyeflow check broken.eye 2>&1 | true", 1),
        ("eyeflow check broken.eye --format github | true", 1),
        ("eyeflow fmt --diff wide.eye | true", 1),
        ("eyeflow nonsense 2>&1 | true", 2),
        ("eyeflow check absent.eye 2>&1 | true", 3),
        ("eyeflow test good.eye | true", 0),
        ("eyeflow explain | head -n 1", 0),
        ("eyeflow --help | true", 0),
        ("eyeflow run good.eye --events light.csv --repeats | head -n 1", 0),
    ],
)
def test_a_reader_that_leaves_changes_no_exit_code(shell, failing: Path, line: str, code: int) -> None:  # type: ignore[no-untyped-def]
    failing.with_name("good.eye").write_text(RULE)
    failing.with_name("wide.eye").write_text(RULE.replace("seen + 1", "seen    +    1"))
    failing.with_name("broken.eye").write_text(RULE.replace("seen + 1", "sean + 1"))
    rows = "".join(f"{number},{number % 20}\n" for number in range(5_000))
    failing.with_name("light.csv").write_text("timestamp,lux\n" + rows)
    done = shell(line)
    assert done.returncode == code, done.stderr


@pytest.mark.parametrize("target", [">&-", ">/dev/full"])
@pytest.mark.parametrize(
    "command", ["explain", "check lamp.eye", "fmt - < lamp.eye", "check lamp.eye --json", "--help"]
)
def test_output_that_cannot_be_written_is_an_error(shell, rule: Path, command: str, target: str) -> None:  # type: ignore[no-untyped-def]
    done = shell(f"eyeflow {command} {target}")
    assert done.returncode == 3, done.stderr
    assert done.stderr.startswith(b"error: cannot write to standard output\n  why: "), done.stderr
    assert (b"it is closed" if target == ">&-" else b"No space left") in done.stderr


def test_all_streams_may_be_closed(shell, rule: Path) -> None:  # type: ignore[no-untyped-def]
    assert shell("eyeflow compile lamp.eye -o lamp.svm <&- >&- 2>&-").returncode == 3
    data = rule.with_suffix(".svm").read_bytes()
    assert data.startswith(b"\x7fSVM") and b"proven" not in data, "the program took what was printed"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_a_stdout_that_knows_few_characters(shell, rule: Path, encoding: str) -> None:  # type: ignore[no-untyped-def]
    text = RULE.replace("dark turns it on", "dünkel → 暗い").replace(
        "expect gpio.set_pin(LAMP, HIGH)", "expect no gpio.set_pin(LAMP, HIGH)"
    )
    rule.write_text(text)
    for command in ("test lamp.eye", "test lamp.eye --json", "check nö-暗い.eye", "explain"):
        done = shell(f"eyeflow {command}", PYTHONIOENCODING=encoding)
        assert done.returncode in (0, 1, 3), done.stderr
        (done.stdout + done.stderr).decode(encoding)
    formatted = shell("eyeflow fmt - < lamp.eye", PYTHONIOENCODING=encoding)
    assert formatted.stdout.decode("utf-8") == text, "a formatted rule is data: UTF-8, whatever the terminal"
