"""The crates of `embassy/` that run on the host: formatted, free of lints, tested, and true to what they promise.

One call of cargo for all of them: they share what they compile. Their tests hold vectors, noise, and every power cut.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

EMBASSY = Path(__file__).resolve().parents[2] / "embassy"
SIM = ("--features", "eyeflow-slots/sim")
COMMANDS = {
    "fmt": ("fmt", "--all", "--check"),
    "clippy": ("clippy", "--quiet", "--locked", "--workspace", "--all-targets", *SIM, "--", "-D", "warnings"),
    "test": ("test", "--quiet", "--locked", "--workspace", *SIM),
}
LINES_MAX = 500
DEPENDENCIES = {
    "svm": [],
    "slots": [],
    "ed25519": ["hmac-sha512"],
    "link": ["eyeflow-slots"],
    "state": ["eyeflow-slots", "eyeflow-svm"],
}
"""What a firmware links for each crate: siblings, and one crate of others."""


@pytest.mark.parametrize("name", COMMANDS)
def test_all_crates_at_once(name: str) -> None:
    done = subprocess.run(["cargo", *COMMANDS[name]], cwd=EMBASSY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("folder", [".", "guest", "embive"])
def test_what_runs_on_emulated_cores_is_formatted(folder: str) -> None:
    done = subprocess.run(
        ["cargo", "fmt", "--check"], cwd=EMBASSY / "emulated" / folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("crate", DEPENDENCIES)
def test_a_crate_keeps_its_promises(crate: str) -> None:
    """No unsafe code, no std outside of tests, no heap, and no dependency that a firmware would link but those above."""
    source = EMBASSY / crate / "src"
    text = (source / "lib.rs").read_text("utf-8")
    assert "no_std" in text
    assert "#![forbid(unsafe_code)]" in text
    assert "extern crate" not in text
    manifest = (EMBASSY / crate / "Cargo.toml").read_text("utf-8")
    section = manifest.partition("\n[dependencies]\n")[2].split("\n[")[0]
    assert [line.split()[0] for line in section.strip().splitlines()] == DEPENDENCIES[crate]
    for path in source.glob("*.rs"):
        assert len(path.read_text("utf-8").splitlines()) <= LINES_MAX or path.name == "isa.rs", path
