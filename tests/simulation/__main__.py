"""`python -m simulation --seed 7 --runs 100`: run the cluster from seeds, one after the other.

With `--days BACKEND` a node is alone for 72 hours while things fail (`three_days`), in place of the usual story.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from simulation.story import Story
from simulation.three_days import ThreeDays


def main() -> int:
    """Run; return 1 when an invariant does not hold."""
    parser = argparse.ArgumentParser(prog="simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="the first seed; without it a new one")
    parser.add_argument("--runs", type=int, default=1, help="how many seeds, one after the other")
    parser.add_argument("--days", choices=["sqlite", "kafka", "kafka_embedded"], help="three days alone with a backend")
    parser.add_argument("--trace", action="store_true", help="print what happened")
    options = parser.parse_args()
    first = time.time_ns() % 10**9 if options.seed is None else options.seed
    print(f"simulation: seeds {first} to {first + options.runs - 1}", flush=True)
    seeds = range(first, first + options.runs)
    return next((1 for seed in seeds if not run_one(seed, options.trace, options.days)), 0)


def run_one(seed: int, shows_trace: bool = False, backend: str | None = None) -> bool:
    """Run one seed and print what came of it."""
    with tempfile.TemporaryDirectory(prefix="eyeflow-simulation-") as directory:
        story: Story = ThreeDays(seed, Path(directory), backend) if backend else Story(seed, Path(directory))
        problem = ""
        try:
            story.run()
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
    trace = story.cluster.trace
    if problem or shows_trace:
        print("\n".join([*trace.lines, *story.cluster.log.trace_backs]))
    print(f"seed {seed}: {problem or 'holds'} ({len(trace.lines)} lines, trace {trace.digest[:16]})", flush=True)
    return not problem


if __name__ == "__main__":
    sys.exit(main())
