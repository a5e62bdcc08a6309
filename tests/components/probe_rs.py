"""The real probe-rs, of the release whose output eyeflow knows: the one of this machine, else built once from its crate."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

from eyeflow.mcu.flash import PROGRAM

RELEASE = "0.32.0"
HOME = Path(__file__).resolve().parents[2] / "build" / "probe-rs"
FAST_BUILD = ("--config", "profile.dev.debug=0", "--config", 'profile.dev.package."*".debug=0')


@cache
def probe_rs() -> Path:
    """Return the program; what builds it takes minutes and stays in `build/`."""
    installed, built = shutil.which(PROGRAM), HOME / "bin" / PROGRAM
    if installed is not None and _is_right(Path(installed)):
        return Path(installed)
    if not (built.exists() and _is_right(built)):
        command = ["cargo", "install", "probe-rs-tools", "--version", f"={RELEASE}", "--locked", "--bin", PROGRAM]
        command += ["--debug", *FAST_BUILD, "--root", str(HOME), "--target-dir", str(HOME / "target"), "--force"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        shutil.rmtree(HOME / "target")
    return built


def _is_right(program: Path) -> bool:
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    return done.stdout.startswith(f"{PROGRAM} {RELEASE} ")


def run_probe_rs(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the real program without colours, hints and backtraces."""
    quiet = {"PROBE_RS_DISABLE_SETUP_HINTS": "1", "NO_COLOR": "1", "RUST_BACKTRACE": "0", "RUST_LOG": "error"}
    command = [str(probe_rs()), *arguments]
    return subprocess.run(command, env={**os.environ, **quiet}, capture_output=True, text=True, check=False)
