"""The real probe-rs, of the release whose output eyeflow knows: the one of this machine, else built once from its crate."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path

from eyeflow.mcu.flash import PROGRAM

RELEASE = "0.32.0"
TESTS = Path(__file__).resolve().parents[1]
HOME = TESTS.parent / "build" / "probe-rs"
FAST_BUILD = ("--config", "profile.dev.debug=0", "--config", 'profile.dev.package."*".debug=0')


@cache
def probe_rs() -> Path:
    """Return the program; what builds it takes minutes and stays in `build/`. Waits for a build that is under way."""
    installed, built = shutil.which(PROGRAM), HOME / "bin" / PROGRAM
    if installed is not None and _is_right(Path(installed)):
        return Path(installed)
    HOME.mkdir(parents=True, exist_ok=True)
    with (HOME / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (built.exists() and _is_right(built)):
            _build()
    return built


def _build() -> None:
    command = ["nice", "-n", "19", "cargo", "install", "probe-rs-tools", "--version", f"={RELEASE}", "--locked"]
    command += ["--bin", PROGRAM, "--debug", *FAST_BUILD, "--root", str(HOME), "--force"]
    command += ["--target-dir", str(HOME / "target")]  # one of its own: no other build waits for it
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(HOME / "target")


def _is_right(program: Path) -> bool:
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    return done.stdout.startswith(f"{PROGRAM} {RELEASE} ")


def start_build() -> subprocess.Popen[bytes]:
    """Make sure of the program in the background; `probe_rs` waits for it."""
    command = [sys.executable, "-c", "from components.probe_rs import probe_rs; probe_rs()"]
    return subprocess.Popen(command, cwd=TESTS, start_new_session=True, stderr=subprocess.DEVNULL)


def end_build(build: subprocess.Popen[bytes]) -> None:
    """End it with all that it started."""
    if build.poll() is None:
        os.killpg(build.pid, signal.SIGTERM)
        build.wait()


def run_probe_rs(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the real program without colours, hints and backtraces."""
    quiet = {"PROBE_RS_DISABLE_SETUP_HINTS": "1", "NO_COLOR": "1", "RUST_BACKTRACE": "0", "RUST_LOG": "error"}
    command = [str(probe_rs()), *arguments]
    return subprocess.run(command, env={**os.environ, **quiet}, capture_output=True, text=True, check=False)
