"""`python -m kills --seed 7 --kills 1000`: kill node and coordinator under load, at moments that follow from the seed."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from kills.story import Story

STORY_KILLS_MAX = 50
"""So many kills of one site: with more its records would fill the memory of who compares them."""


def main() -> int:
    """Run; return 1 when something does not hold."""
    parser = argparse.ArgumentParser(prog="kills", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="the first seed; without it a new one")
    parser.add_argument("--kills", type=int, default=1000, help="how many in all")
    parser.add_argument("--nodes", type=int, default=1, help="how many nodes a site has, at most 3")
    parser.add_argument("--backend", default="kafka", help="[offline] buffer_backend of the nodes")
    options = parser.parse_args()
    seed, left, counts = options.seed, options.kills, Counter[str]()
    seed = time.time_ns() % 10**9 if seed is None else seed
    while left > 0:
        story = run_one(seed, min(left, STORY_KILLS_MAX), options.nodes, options.backend)
        if story.problems:
            return 1
        counts += story.counts
        left -= story.kills
        print(f"{options.kills - left} kills: {dict(counts)}", flush=True)
        seed += 1
    return 0


def run_one(seed: int, kills: int, nodes: int, backend: str) -> Story:
    """Run one site, and print what came of it. Where something breaks, its folder stays."""
    directory = Path(tempfile.mkdtemp(prefix="eyeflow-kills-"))
    story = Story(directory, seed, kills, lambda text: print(text, flush=True), nodes=nodes, backend=backend)
    print(f"seed {seed}: {kills} kills of {nodes} nodes with {backend} in {directory}", flush=True)
    story.run()
    print(f"seed {seed}: {'; '.join(story.problems) or 'holds'} {dict(story.counts)}", flush=True)
    if not story.problems:
        shutil.rmtree(directory)
    return story


if __name__ == "__main__":
    sys.exit(main())
