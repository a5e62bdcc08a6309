"""Runs the real command in a process of its own, with a home of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

DEADLINE_S = 120.0


@dataclass(frozen=True)
class Ran:
    """A finished command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """The JSON documents that were printed, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]


Command = Callable[..., Ran]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    path = tmp_path / "home"
    path.mkdir()
    return path


@pytest.fixture
def environment(home: Path) -> dict[str, str]:
    return environment_of(home)


def command_in(environment: dict[str, str], folder: Path) -> Command:
    """Return what runs a command with this environment, in this folder."""

    def run(*args: str | Path, stdin: bytes = b"", env: dict[str, str] | None = None) -> Ran:
        done = subprocess.run(
            [sys.executable, "-m", "eyeflow", *map(str, args)],
            input=stdin,
            capture_output=True,
            env=environment | (env or {}),
            cwd=folder,
            timeout=DEADLINE_S,
        )
        ran = Ran(done.returncode, done.stdout.decode(), done.stderr.decode())
        assert "Traceback" not in ran.err + ran.out, ran.err
        assert ran.code != 70, ran.err
        return ran

    return run


def environment_of(home: Path) -> dict[str, str]:
    """Return the environment of commands whose user has this home."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("EYEFLOW_", "XDG_"))}
    return kept | {"HOME": str(home), "NO_COLOR": "1", "COLUMNS": "100", "PYTHONWARNINGS": "error"}


@pytest.fixture
def eyeflow(environment: dict[str, str], tmp_path: Path) -> Command:
    return command_in(environment, tmp_path)


RULE = """\
rule lamp {
    version "1.0.0"

    pin LAMP: output
    param limit: float = 10.0 in 0.0..100.0
    state seen: int = 0

    record Reading {
        lux: float
    }

    on event "light" as reading: Reading

    seen = seen + 1
    gpio.set_pin(LAMP, if reading.lux < limit then HIGH else LOW)

    test "dark turns it on" {
        send { lux: 5.0 }
        expect gpio.set_pin(LAMP, HIGH)
        send { lux: 50.0 }
        expect gpio.set_pin(LAMP, LOW)
    }
}
"""


@pytest.fixture
def rule(tmp_path: Path) -> Path:
    path = tmp_path / "lamp.eye"
    path.write_text(RULE)
    return path


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "light.csv"
    path.write_text("timestamp,lux\n2026-01-01 00:00:00,50\n2026-01-01 00:00:01,5\n2026-01-01 00:00:02,7\n")
    return path
