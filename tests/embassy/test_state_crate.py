"""The state crate is tested on programs that this compiler makes today (`test_crates.py` runs its tests)."""

from __future__ import annotations

from pathlib import Path

import golden
from eyeflow.compiler.compile import CompileOptions, compile_rule
from eyeflow.svm.container import encode
from eyeflow.svm.program import Profile

EMBASSY = Path(__file__).resolve().parents[2] / "embassy"

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


def test_the_crate_is_tested_with_programs_of_this_compiler() -> None:
    lines = []
    for name, source in (("first", FIRST), ("same_code", SAME_CODE), ("other", OTHER)):
        result = compile_rule(source, name="kept.eye", options=CompileOptions(Profile.MCU))
        assert result.program is not None, result.diagnostics
        lines.append(f"{name} {encode(result.program).hex()}\n")
    golden.check(EMBASSY / "state/tests/programs.txt", "".join(lines))
