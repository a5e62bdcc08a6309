"""A canary over thousands of keyed events, on a real node: its share, and that a key has one program at a time.

`python -m bench canary` does the same with 100,000 events.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from bench.canary import measured

from eyeflow.evidence.route import route
from eyeflow.node.engine import running
from eyeflow.node.engine.intake import Intake
from eyeflow.node.io.ports import IncomingEvent

POINTS = 0.05
"""Of few keys a share is less exact: four standard deviations of the smallest phase."""


def test_the_share_is_kept_and_no_key_is_acted_on_by_both(tmp_path: Path) -> None:
    outcome = asyncio.run(measured(tmp_path, 5_000))
    assert not any(outcome.wrong.values()), outcome.wrong
    assert outcome.off() <= POINTS, [(one.phase.name, one.share) for one in outcome.seen]
    assert sum(one.events for one in outcome.seen) >= 5_000


def by_turns(patch: pytest.MonkeyPatch) -> None:
    number, real = itertools.count(), Intake.offer
    now = next(number)

    def offer(self: Intake, event: IncomingEvent, now_us: int) -> None:
        nonlocal now
        now = next(number)
        real(self, event, now_us)

    patch.setattr(Intake, "offer", offer)
    patch.setattr(running, "_takes", lambda row, key: route(row.key.rule, str(now)) < row.share)


def all_of_them(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(running, "_takes", lambda row, key: row.share > 0)


def another_hash_for_each_share(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(running, "_takes", lambda row, key: route(f"{row.key.rule} {row.share}", key) < row.share)


@pytest.mark.parametrize(
    ("choose", "found"),
    [
        (by_turns, "keys acted on by both in a phase"),
        (all_of_them, "the share"),
        (another_hash_for_each_share, "keys that left the candidate at a greater share"),
    ],
)
def test_control_another_choice_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, choose: Callable[[pytest.MonkeyPatch], None], found: str
) -> None:
    choose(monkeypatch)
    outcome = asyncio.run(measured(tmp_path, 2_000))
    assert outcome.off() > 0.2 if found == "the share" else outcome.wrong[found] > 0, outcome.wrong
