"""Whole processes beside `python -c pass`, in alternating rounds: help, completion, a check of one rule."""

from __future__ import annotations

import os
import statistics
import sys

from bench.evaluation import RULE
from bench.measure import Report, Row, eyeflow, run_process

ROUNDS = 11
BASE, CHECK = "python -c pass", "eyeflow check RULE"
QUICK_TIMES_MAX = 5
"""Help, and completion by the tab key: at most so many times the base."""
CHECK_TIMES_MAX = 12

LINES = ("eyeflow ch", "eyeflow check --", "eyeflow check --format ")
"""Completed by bash: the name of a command, of an option, a value."""


def report() -> Report:
    """Measure the medians."""
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    commands = {
        BASE: ((sys.executable, "-c", "pass"), plain),
        "eyeflow --help": (eyeflow("--help"), plain),
        **{f"tab after `{line}`": (eyeflow(), plain | completing(line)) for line in LINES},
        CHECK: (eyeflow("check", str(RULE)), plain),
    }
    walls: dict[str, list[float]] = {name: [] for name in commands}
    for command, environment in commands.values():
        run_process(command, environment)  # from here on the bytecode is there, as it is for a user
    for _ in range(ROUNDS):
        for name, (command, environment) in commands.items():
            walls[name].append(run_process(command, environment).wall_s)
    medians = {name: statistics.median(values) for name, values in walls.items()}
    times = {name: value / medians[BASE] for name, value in medians.items()}
    rows = tuple(Row(name, medians[name] * 1000, "ms", f"{times[name]:.1f} x {BASE}") for name in medians)
    slowest = max(value for name, value in times.items() if name not in (BASE, CHECK))
    bars = (
        (f"help and completion: at most {QUICK_TIMES_MAX} times {BASE}", slowest <= QUICK_TIMES_MAX),
        (f"{CHECK}: at most {CHECK_TIMES_MAX} times {BASE}", times[CHECK] <= CHECK_TIMES_MAX),
    )
    return Report("Start of a process", rows, bars)


def completing(line: str) -> dict[str, str]:
    """Return the environment in which bash asks for completions of a line."""
    return {"_EYEFLOW_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
