"""Copies to Kafka let live events go first: they work in short turns, and wait while many events do."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from eyeflow.node.io.kafka.copies import AT_ONCE, GIVES_WAY, Audit, AuditCopies
from eyeflow.node.io.kafka.settings import KafkaConfig


def copies_of(*, is_full: bool) -> AuditCopies:
    async def view(record: object) -> dict[str, Any] | None:
        return None

    config = KafkaConfig.from_table({"bootstrap_servers": "127.0.0.1:1"})
    return AuditCopies(config, "n", 1, cast("Audit", SimpleNamespace(is_full=is_full)), view)


@pytest.mark.parametrize("is_full", [True, False])
def test_the_next_page_waits_for_long_only_while_many_events_wait(
    monkeypatch: pytest.MonkeyPatch, is_full: bool
) -> None:
    slept: list[float] = []

    async def sleep(duration_s: float) -> None:
        slept.append(duration_s)

    async def scenario() -> None:
        monkeypatch.setattr(asyncio, "sleep", sleep)
        await copies_of(is_full=is_full)._give_way(asyncio.get_running_loop().time() - 2.0)

    asyncio.run(scenario())
    assert (sum(slept) >= GIVES_WAY * 2.0) is is_full


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
