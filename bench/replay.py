"""`eyeflow run` over a million recorded events, as a process of its own, beside a tenth of them: is memory flat?"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from bench.measure import Process, Report, Row, eyeflow, run_process
from bench.sources import RECORDED_RULE, write_recording

EVENTS = 1_000_000
FEW = EVENTS // 10
GROWTH_MB_MAX = 8.0
"""Memory counts as flat when ten times the events take no more than this on top."""


def report() -> Report:
    """Measure both lengths."""
    with tempfile.TemporaryDirectory() as folder:
        rule = Path(folder) / "recorded.eye"
        rule.write_text(RECORDED_RULE, encoding="utf-8")
        few, many = (_run(rule, Path(folder) / f"{events}.csv", events) for events in (FEW, EVENTS))
    growth_mb = many.rss_mb - few.rss_mb
    rows = (
        Row(f"{EVENTS:,} events", many.wall_s, "s", f"{EVENTS / many.wall_s:,.0f} events/s, whole process"),
        Row(f"{FEW:,} events", few.wall_s, "s", f"{FEW / few.wall_s:,.0f} events/s, whole process"),
        Row("between the two", (EVENTS - FEW) / (many.wall_s - few.wall_s), "events/s", "without the start"),
        Row(f"peak memory, {EVENTS:,} events", many.rss_mb, "MB"),
        Row(f"peak memory, {FEW:,} events", few.rss_mb, "MB"),
    )
    bar = f"memory flat in the number of events: {growth_mb:+.1f} MB for ten times as many"
    return Report("eyeflow run on recorded events", rows, ((bar, growth_mb <= GROWTH_MB_MAX),))


def _run(rule: Path, recording: Path, events: int) -> Process:
    write_recording(recording, events)
    process = run_process(eyeflow("run", str(rule), "--events", str(recording), "--json"))
    lines = process.stdout.splitlines()
    if not any(_events_of(line) == events for line in lines[-3:]):
        raise RuntimeError(f"the summary does not count {events} events: {lines[-1:]}")
    if len(lines) < 2:
        raise RuntimeError("no action came out: the measurement would be of a rule that never acts")
    return process


def _events_of(line: str) -> int | None:
    """Return the number of events when the line is the summary."""
    found = json.loads(line)
    summary = found.get("summary", found)
    return summary.get("events") if isinstance(summary, dict) else None
