"""The real command `eyeflow`, run with `--json`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEADLINE_S = 180.0
BOARD_TIMEOUT_S = "10"
"""The machine that runs the tests may be busy."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A finished command; `error` is what it reports as JSON."""

    code: int
    out: Any

    @property
    def error(self) -> dict[str, str]:
        error: dict[str, str] = self.out["error"]
        assert error["message"] and error["cause"] and error["next"], error
        return error


def eyeflow(*args: str | Path, path: Path | None = None) -> Ran:
    """Run the real command with `--json`; `path` comes first in PATH."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("EYEFLOW_", "XDG_"))}
    kept |= {"PATH": f"{path}{os.pathsep}{kept['PATH']}"} if path else {}
    kept |= {"EYEFLOW_MCU_TIMEOUT": BOARD_TIMEOUT_S}
    command = [sys.executable, "-m", "eyeflow", *map(str, args), "--json"]
    done = subprocess.run(command, env=kept, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode != 70, done.stderr
    return Ran(done.returncode, json.loads(done.stdout))
