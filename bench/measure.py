"""How things are measured: alternating rounds in one process, medians, and processes watched from outside."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Row:
    """One measured thing: a value with its unit, and what it is compared with."""

    name: str
    value: float
    unit: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """One section of the table. `bars` are the aims with whether they were met."""

    title: str
    rows: tuple[Row, ...]
    bars: tuple[tuple[str, bool], ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Process:
    """A finished process: seconds on the wall, largest resident memory in MB, what it wrote."""

    wall_s: float
    rss_mb: float
    stdout: str


def interleaved(
    calls: Mapping[str, Callable[[int], None]], repeats: Mapping[str, int], rounds: int = 15
) -> dict[str, float]:
    """Return the median seconds per call; each round runs every candidate once, so that all share the same weather.

    A candidate takes the number of times to repeat itself: the loop is its own, without a call of ours in it.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call(repeats[name])
            seconds[name].append((time.perf_counter() - start) / repeats[name])
    return {name: statistics.median(values) for name, values in seconds.items()}


def run_process(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Process:
    """Run a command to its end and return what it took; a failing one raises with what it wrote."""
    watcher = (sys.executable, "-c", _WATCHER, *command)
    done = subprocess.run(watcher, capture_output=True, text=True, env=environment, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-2000:]}")
    wall_s, rss_kb = done.stderr.splitlines()[-1].split()
    return Process(float(wall_s), int(rss_kb) / 1024, done.stdout)


def eyeflow(*arguments: str) -> tuple[str, ...]:
    """Return the command line of the installed `eyeflow`."""
    return (str(Path(sys.executable).parent / "eyeflow"), *arguments)


_WATCHER = """
import resource, subprocess, sys, time
start = time.perf_counter()
code = subprocess.call(sys.argv[1:])
wall = time.perf_counter() - start
print(f"\\n{wall} {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss}", file=sys.stderr)
sys.exit(code)
"""
"""A small parent: the peak memory of its one child is its own to ask for, and no earlier child is in it."""


def own_rss_mb() -> float:
    """Return the largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def processor_s(pid: int) -> float:
    """Return the processor time of all threads of a process that live, to the nanosecond (Linux, proc(5))."""
    found = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(one.read_text().split()[0]) for one in found) / 1e9


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the nearest-rank quantile of sorted values, 0 of none."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0
