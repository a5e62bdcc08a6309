"""The state crate is formatted, free of lints, and passes its tests: on programs that this compiler makes today."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests import golden

from eyeflow.compiler.compile import CompileOptions, compile_rule
from eyeflow.svm.container import encode
from eyeflow.svm.program import Profile

EMBASSY = Path(__file__).resolve().parents[2] / "embassy"
CRATE = ("-p", "eyeflow-state")
COMMANDS = {
    "fmt": ("cargo", "fmt", "--check", *CRATE),
    "clippy": ("cargo", "clippy", "--quiet", "--locked", "--all-targets", *CRATE, "--", "-D", "warnings"),
    "test": ("cargo", "test", "--quiet", "--locked", *CRATE),
}

FIRST = """
rule kept {
    version "1.0.0"
    pin RELAY: output
    param limit: float = 80.0 in 0.0 .. 200.0
    param quiet: duration = 10min
    state trips: int = 0
    state armed: bool = true
    state label: text(24) = "new"
    state peaks: list(float, 3) = []
    state gone: int = 7
    on every 500ms
    let temp = adc.read_channel(0) * 0.1
    gone = gone + 1
    if mean(temp, last 2s) > limit for 2s cooldown 10min {
        trips = trips + 1
        label = "hot {trips}"
        if len(peaks) < 3 { append(peaks, temp) }
    }
    if (temp > limit hysteresis 5.0 rises) and quiet > 1s {
        gpio.set_pin(RELAY, HIGH)
        armed = not armed
    }
}
"""
SAME_CODE = FIRST.replace('"1.0.0"', '"1.1.0"').replace("= 10min", "= 5min").replace("0.0 .. 200.0", "60.0 .. 90.0")
OTHER = (
    FIRST.replace('"1.0.0"', '"2.0.0"')
    .replace("state gone: int = 7", "state added: int = 3\n    state gone: float = 1.5")
    .replace("gone = gone + 1", "gone = gone + 1.0\n    added = added + 1")
)


@pytest.mark.parametrize("name", COMMANDS)
def test_state_crate(name: str) -> None:
    done = subprocess.run(COMMANDS[name], cwd=EMBASSY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_crate_is_tested_with_programs_of_this_compiler() -> None:
    lines = []
    for name, source in (("first", FIRST), ("same_code", SAME_CODE), ("other", OTHER)):
        result = compile_rule(source, name="kept.eye", options=CompileOptions(Profile.MCU))
        assert result.program is not None, result.diagnostics
        lines.append(f"{name} {encode(result.program).hex()}\n")
    golden.check(EMBASSY / "state/tests/programs.txt", "".join(lines))


def test_the_crate_keeps_its_promises() -> None:
    """No unsafe code, no std, no heap, and no dependency but its siblings."""
    text = (EMBASSY / "state/src/lib.rs").read_text("utf-8")
    assert "#![no_std]" in text
    assert "#![forbid(unsafe_code)]" in text
    assert "extern crate" not in text
    manifest = (EMBASSY / "state/Cargo.toml").read_text("utf-8")
    names = [line.split()[0] for line in manifest.split("\n[dependencies]\n")[1].split("\n\n")[0].splitlines()]
    assert names == ["eyeflow-slots", "eyeflow-svm"]
