"""Copies to Kafka let live events go first: they work in short turns, and wait while events do or come fast."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from eyeflow.node.io.kafka import copies as copies_module
from eyeflow.node.io.kafka.copies import AT_ONCE, BEHIND_MAX, GIVES_WAY, LIVE_PER_S, Audit, AuditCopies
from eyeflow.node.io.kafka.settings import KafkaConfig


def copies_of(*, is_full: bool) -> AuditCopies:
    async def view(record: object) -> dict[str, Any] | None:
        return None

    config = KafkaConfig.from_table({"bootstrap_servers": "127.0.0.1:1"})
    return AuditCopies(config, "n", 1, cast("Audit", SimpleNamespace(is_full=is_full)), view)


@pytest.mark.parametrize(
    ("is_full", "came", "behind", "waits"),
    [
        (True, 0, BEHIND_MAX, True),
        (False, LIVE_PER_S, 0, False),
        (False, LIVE_PER_S * 3, BEHIND_MAX - 1, True),
        (False, LIVE_PER_S * 3, BEHIND_MAX, False),
    ],
)
def test_the_next_page_is_small_and_waits_for_long_only_while_events_wait_or_come_fast(
    monkeypatch: pytest.MonkeyPatch, is_full: bool, came: int, behind: int, waits: bool
) -> None:
    slept: list[float] = []

    async def sleep(duration_s: float) -> None:
        slept.append(duration_s)

    async def scenario() -> bool:
        monkeypatch.setattr(asyncio, "sleep", sleep)
        copies = copies_of(is_full=is_full)
        copies._worked_s = 0.2
        await copies._give_way(2.0, came, behind)
        return copies._is_busy

    assert asyncio.run(scenario()) is waits
    assert slept == ([GIVES_WAY * 0.2] if waits else [])


def test_only_the_work_counts_not_the_wait_for_brokers_and_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a page whose answer takes long would make the next one wait far longer than it cost."""
    now_s = [0.0]

    async def sleep(duration_s: float) -> None:
        now_s[0] += 100.0  # events have their turn meanwhile

    async def scenario() -> float:
        monkeypatch.setattr(copies_module, "_now_s", lambda: now_s[0])
        monkeypatch.setattr(asyncio, "sleep", sleep)
        copies = copies_of(is_full=False)
        async for _ in copies._by_turns(range(2 * AT_ONCE)):
            now_s[0] += 1.0
        return copies._worked_s

    assert asyncio.run(scenario()) == 2 * AT_ONCE


def test_events_have_their_turn_while_a_page_is_copied() -> None:
    async def scenario() -> list[int]:
        taken, seen = list[int](), list[int]()

        async def events() -> None:
            while True:
                seen.append(len(taken))
                await asyncio.sleep(0)

        beside = asyncio.create_task(events())
        async for number in copies_of(is_full=False)._by_turns(range(4 * AT_ONCE)):
            taken.append(number)
        beside.cancel()
        assert taken == list(range(4 * AT_ONCE))
        return seen

    assert asyncio.run(scenario()) == [AT_ONCE, 2 * AT_ONCE, 3 * AT_ONCE, 4 * AT_ONCE]
