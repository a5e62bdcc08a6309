"""The generated rules and recordings that the measurements share."""

from __future__ import annotations

import random
from pathlib import Path

from eyeflow.compiler.compile import compile_rule
from eyeflow.svm.program import Program

SEED = 20261124
FIRST_EVENT_S = 1_767_225_600
"""2026-01-01T00:00:00Z."""

STREAM_RULE = """rule stream_{index:03} {{
    version "1.0.0"

    record Reading {{ sensor: text(16), temp: float, pressure: float }}

    param limit: float = {limit:.1f}
    state alarms: int = 0

    on event "readings" as reading: Reading

    if reading.temp > limit and reading.pressure < 6.0 {{
        alarms = alarms + 1
        mqtt.publish("alarm/{index:03}", "{{reading.sensor}} at {{reading.temp:1}}")
    }}
}}
"""

RECORDED_RULE = """rule recorded {
    version "1.0.0"

    record Reading { sensor: text(16), temp: float, pressure: float }

    param limit: float = 80.0
    state trips: int = 0

    on event "readings" as reading: Reading

    let smooth = mean(reading.temp, last 20)
    if smooth > limit for 3s cooldown 1min {
        trips = trips + 1
        log.warn("{reading.sensor} at {reading.temp:1}")
    }
}
"""

LONG_RULE = """rule tank_{index:04} {{
    version "1.{index}.0"
    description "Keeps tank {index} between its marks"

    enum Mode {{ IDLE, FILL, DRAIN, ALARM }}
    record Reading {{
        level: float
        inflow: float = 0.0
        valve_open: bool = false
    }}

    param low: float = {low:.1f} in 0.0..50.0
    param high: float = {high:.1f} in 50.0..100.0
    const BAND = {band:.1f}

    state mode: Mode = Mode.IDLE
    state fills: int = 0
    state worst: float = 0.0

    on event "tank_{index}" as reading: Reading {{
        let smooth = mean(reading.level, last 12)
        worst = max(worst, abs(smooth - reading.level))
        if smooth > high hysteresis BAND for 5s {{
            mode = Mode.ALARM
            log.warn("tank {index} at {{smooth:1}}")
        }} else if smooth < low hysteresis BAND {{
            if mode != Mode.FILL {{
                fills = fills + 1
            }}
            mode = Mode.FILL
        }} else {{
            mode = Mode.IDLE
        }}
        match mode {{
            FILL => {{ mqtt.publish("tank/{index}", "fill") }}
            DRAIN, ALARM => {{ mqtt.publish("tank/{index}", "drain") }}
            else => {{ }}
        }}
    }}
}}
"""


def compiled(source: str, name: str) -> Program:
    """Return the program of a generated rule, which must compile."""
    result = compile_rule(source, name=name)
    if result.program is None:
        raise RuntimeError(f"{name} does not compile: {[d.message for d in result.diagnostics]}\n{source}")
    return result.program


def stream_rules(count: int) -> list[str]:
    """Return rules on one stream whose limits let about one reading in ten through."""
    rng = random.Random(SEED)
    return [STREAM_RULE.format(index=index, limit=rng.uniform(75.0, 100.0)) for index in range(count)]


def long_rules(count: int) -> list[str]:
    """Return rules of 40 lines, each different."""
    rng = random.Random(SEED)
    return [
        LONG_RULE.format(index=index, low=rng.uniform(5, 45), high=rng.uniform(55, 95), band=rng.uniform(0.5, 4.5))
        for index in range(count)
    ]


def write_recording(path: Path, events: int) -> None:
    """Write a CSV of readings, one a second, that are hot now and then."""
    rng = random.Random(SEED)
    temp = 60.0
    with path.open("w", encoding="utf-8") as out:
        out.write("timestamp,sensor,temp,pressure\n")
        for index in range(events):
            temp += rng.uniform(-2.0, 2.0) + (70.0 - temp) * 0.01
            out.write(f"{FIRST_EVENT_S + index},press-{index % 7},{temp:.2f},{rng.uniform(4.0, 7.0):.2f}\n")
