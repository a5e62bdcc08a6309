"""Gets rp2040js with npm, once, into the user's cache: exactly the version and checksum of package-lock.json."""

from __future__ import annotations

import os
import shutil
import subprocess
from importlib import resources
from pathlib import Path

from eyeflow.base.errors import EyeflowError
from eyeflow.base.reasons import why

VERSION = "1.4.1"
NPM_TIMEOUT_S = 120.0
MANIFESTS = ("package.json", "package-lock.json")
ENTRY = Path("node_modules", "rp2040js", "dist", "esm", "index.js")


def find_node() -> str:
    """Return the path of Node.js; raises EyeflowError where it is absent."""
    node = shutil.which("node")
    if node is None:
        raise EyeflowError(
            "the simulator of the RP2040 needs Node.js, which is not installed",
            cause="it runs rp2040js, a JavaScript program",
            next_step="install Node.js 18 or newer with npm (Debian: sudo apt-get install nodejs npm)",
            code="node_missing",
        )
    return node


def cache_directory() -> Path:
    """Return where rp2040js is kept: below XDG_CACHE_HOME."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "eyeflow" / f"rp2040js-{VERSION}"


def find_rp2040js() -> Path:
    """Return the entry file of rp2040js, installed first where it is absent; raises EyeflowError when that fails."""
    directory = cache_directory()
    if not (directory / ENTRY).is_file():
        _install(directory)
    return directory / ENTRY


def _install(directory: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise _failed("npm is not installed")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name in MANIFESTS:
            text = resources.files("eyeflow.mcu.sim.rp2040").joinpath(name).read_text("utf-8")
            (directory / name).write_text(text, "utf-8")
        done = subprocess.run(
            [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=directory,
            capture_output=True,
            text=True,
            timeout=NPM_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _failed(why(error)) from error
    if done.returncode != 0 or not (directory / ENTRY).is_file():
        raise _failed("\n".join(done.stderr.strip().splitlines()[-5:]) or "npm gave no package")


def _failed(cause: str) -> EyeflowError:
    return EyeflowError(
        f"rp2040js {VERSION}, which simulates the RP2040, cannot be installed",
        cause=cause,
        next_step="connect to the network once (npm registry); simulating the STM32F401CC needs none",
        code="rp2040js_missing",
    )
