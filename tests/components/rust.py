"""Host programs of the Rust crates in `embassy/`, built where cargo is told to build, and found there."""

from __future__ import annotations

import json
import subprocess
from functools import cache
from pathlib import Path

EMBASSY = Path(__file__).resolve().parents[2] / "embassy"


@cache
def rust_example(package: str, name: str, workspace: Path = EMBASSY) -> Path:
    """Return an example of a crate as a program of this machine; cargo itself says where it put it.

    What a copy of the workspace makes stays in it, so that no test runs what another one changed.
    """
    command = ("cargo", "build", "--locked", "-p", package, "--example", name, "--message-format", "json")
    if workspace != EMBASSY:
        command = (*command, "--target-dir", str(workspace / "target"))
    done = subprocess.run(command, cwd=workspace, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    (found,) = [m["executable"] for m in messages if m.get("executable") and m["target"]["name"] == name]
    return Path(found)
