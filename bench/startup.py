"""Whole processes: `eyeflow --help` and `eyeflow check` of one rule beside `python -c pass`, in alternating rounds."""

from __future__ import annotations

import statistics
import sys

from bench.evaluation import RULE
from bench.measure import Report, Row, eyeflow, run_process

ROUNDS = 11


def report() -> Report:
    """Measure the medians."""
    commands = {
        "python -c pass": (sys.executable, "-c", "pass"),
        "eyeflow --help": eyeflow("--help"),
        "eyeflow check RULE": eyeflow("check", str(RULE)),
    }
    walls: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            walls[name].append(run_process(command).wall_s)
    medians = {name: statistics.median(values) for name, values in walls.items()}
    base = medians["python -c pass"]
    rows = tuple(
        Row(name, value * 1000, "ms", f"{value / base:.1f} x python -c pass") for name, value in medians.items()
    )
    return Report("Start of a process", rows)
