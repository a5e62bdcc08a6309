"""The crates of `embassy/` are formatted, free of lints, and pass their own tests on the host."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

EMBASSY = Path(__file__).resolve().parents[2] / "embassy"
COMMANDS = {
    "fmt": ("cargo", "fmt", "--check", "-p", "eyeflow-svm"),
    "clippy": ("cargo", "clippy", "--quiet", "--locked", "--all-targets", "-p", "eyeflow-svm", "--", "-D", "warnings"),
    "test": ("cargo", "test", "--quiet", "--locked", "-p", "eyeflow-svm"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_svm_crate(name: str) -> None:
    done = subprocess.run(COMMANDS[name], cwd=EMBASSY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_svm_crate_keeps_its_promises() -> None:
    """No unsafe code, no std, no heap: by attribute, and no dependency that a firmware would link."""
    text = (EMBASSY / "svm/src/lib.rs").read_text("utf-8")
    assert "#![no_std]" in text
    assert "#![forbid(unsafe_code)]" in text
    assert "extern crate" not in text
    manifest = (EMBASSY / "svm/Cargo.toml").read_text("utf-8")
    dependencies = manifest.split("[dependencies]")[1].split("[")[0]
    assert not dependencies.strip()
