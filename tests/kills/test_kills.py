"""Real processes are killed under load: what was acknowledged is at the coordinator, once. `make kills` goes on with more."""

from __future__ import annotations

from pathlib import Path

from kills.processes import WITHIN_S
from kills.story import Story

SEED, KILLS, CONTROL_KILLS = 1, 6, 3


def run(directory: Path, kills: int, fault: str = "", rest_s: float = WITHIN_S) -> Story:
    story = Story(directory, SEED, kills, fault=fault, rest_s=rest_s)
    story.run()
    print(f"seed {SEED}: {dict(story.counts)}")
    return story


def test_nothing_acknowledged_is_lost_and_nothing_is_there_twice(tmp_path: Path) -> None:
    story = run(tmp_path, KILLS)
    assert story.problems == []
    assert story.counts["kills of nodes"] and story.counts["kills of coordinators"]
    assert min(story.counts[source] for source in ("http", "mqtt", "kafka")) > 20, story.counts


def test_control_a_node_that_acknowledges_first_is_found(tmp_path: Path) -> None:
    """What a request was answered for needs no waiting: it is there, or gone."""
    found = {}
    for fault in ("acknowledges_before_the_commit", ""):
        (tmp_path / f"with-{fault}").mkdir()
        problems = run(tmp_path / f"with-{fault}", CONTROL_KILLS, fault, rest_s=0.0).problems
        found[fault] = [one for one in problems if "acknowledged events are gone" in one]
    with_fault, without = found.values()
    assert with_fault and not without, found
