"""Run the measurements and print them: `python -m bench [NAME...] [--json]`."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
from dataclasses import asdict

from bench.measure import Report

LOAD_BEFORE = os.getloadavg()[0]
"""Processes that wanted a core in the minute before: above 0.5 the absolute figures are not worth much."""

NAMES = (
    "evaluation",
    "fleet",
    "deployments",
    "coordinator_store",
    "buffer",
    "copies",
    "catch_up",
    "transport",
    "replay",
    "compiling",
    "startup",
    "mcu",
    "verdicts",
    "folder",
    "canary",
    "blue_green",
    "load",
    "crowd",
    "boards",
    "executions",
    "verifying",
)
"""The modules of this package that measure; each has `report()`."""


def main() -> int:
    """Return 0, also when a bar is missed: a measurement is no test."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"what to measure: {', '.join(NAMES)} (all)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    options = parser.parse_args()
    unknown = set(options.names) - set(NAMES)
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}; choose from {', '.join(NAMES)}")
    reports = []
    for name in options.names or NAMES:
        report = importlib.import_module(f"bench.{name}").report()
        reports.append(report)
        if not options.json:
            print(shown(report), flush=True)
    if options.json:
        print(json.dumps({"machine": machine(), "reports": [asdict(report) for report in reports]}, indent=2))
    else:
        print(f"Measured on {machine()}")
    return 0


def machine() -> str:
    """Say what the figures were measured on."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}, {python}, load {LOAD_BEFORE:.1f} before"


def shown(report: Report) -> str:
    """Return a report as text."""
    width = max(len(row.name) for row in report.rows)
    lines = [report.title, "-" * len(report.title)]
    lines += [f"{row.name:<{width}}  {row.value:>12,.1f} {row.unit:<14} {row.note}".rstrip() for row in report.rows]
    lines += [f"[{'met' if met else 'MISSED'}] {text}" for text, met in report.bars]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main())
