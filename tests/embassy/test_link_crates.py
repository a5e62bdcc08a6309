"""The link and slots crates are formatted, free of lints, and pass their own tests: vectors, noise, every power cut."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EMBASSY = ROOT / "embassy"
CRATES = ("-p", "eyeflow-link", "-p", "eyeflow-slots")
SIM = ("--features", "eyeflow-slots/sim")
COMMANDS = {
    "fmt": ("cargo", "fmt", "--check", *CRATES),
    "clippy": ("cargo", "clippy", "--quiet", "--locked", "--all-targets", *CRATES, *SIM, "--", "-D", "warnings"),
    "test": ("cargo", "test", "--quiet", "--locked", *CRATES, *SIM),
    "dictionary": (sys.executable, str(ROOT / "tools/gen_link_dictionary.py"), "--check"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_link_crates(name: str) -> None:
    done = subprocess.run(COMMANDS[name], cwd=EMBASSY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("crate", ["link", "slots"])
def test_the_crates_keep_their_promises(crate: str) -> None:
    """No unsafe code, no std outside of tests, no heap, and no dependency that a firmware would link but each other."""
    text = (EMBASSY / crate / "src/lib.rs").read_text("utf-8")
    assert "no_std" in text
    assert "#![forbid(unsafe_code)]" in text
    assert "extern crate" not in text
    manifest = (EMBASSY / crate / "Cargo.toml").read_text("utf-8")
    dependencies = manifest.partition("\n[dependencies]")[2].split("\n[")[0].split()
    assert {word for word in dependencies if word.startswith("eyeflow")} <= {"eyeflow-slots"}
    assert len([word for word in dependencies if word == "="]) == 2 * (crate == "link")
    for path in (EMBASSY / crate / "src").glob("*.rs"):
        assert len(path.read_text("utf-8").splitlines()) < 500, path
