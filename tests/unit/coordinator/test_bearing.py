"""A part of the coordinator that fails keeps no other part from its work: a bug, an archive that fails, or never answers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from eyeflow.base.errors import EyeflowError
from eyeflow.coordinator import hub as hub_module
from eyeflow.coordinator.store.trends import CLUSTER, Span
from eyeflow.coordinator.trends import MINUTE_US, WRITE_US, unpack
from eyeflow.protocol import messages as m
from unit.coordinator.test_aftercare import Passed


def machine(**use: int) -> m.Status:
    """What a node tells whose machine is used like this."""
    health = m.Health(m.HealthKind.PORT, "machine", m.HealthState.RUNNING, "", "", tuple(sorted(use.items())))
    return m.Status(1, 1, 1, 1, (health,))


class Link:
    node = "node-a"

    def offer(self, offer: object) -> None: ...

    def close(self, code: str, reason: str) -> None: ...


@pytest.mark.parametrize("use", [{"processor_hundredths": 2**62}, {"memory_bytes": 1, "memory_used_bytes": 2**62}])
def test_a_node_may_tell_any_number_of_its_machine(full: Any, use: dict[str, int]) -> None:
    """The trend packs percents in two bytes, of which 65,504 is the largest: a node must not end the coordinator."""
    full.run(lambda: full.hub.attach(Link()))
    full.run(lambda: full.hub.nodes.link_opens("node-a"))
    for _ in range(WRITE_US // MINUTE_US + 1):
        full.hub.nodes.saw("node-a", machine(**use), full.clock())
        full.clock.pass_s(60)
        full.tick()
    assert full.hub.trouble == ""
    (block,) = full.look(lambda reading: reading.trend("node-a", Span.MINUTE, 0))
    _, point = next(unpack(block))
    assert (point.processor if "processor_hundredths" in use else point.memory) == 100.0
    assert full.look(lambda reading: reading.trend(CLUSTER, Span.MINUTE, 0))
    assert full.ask("GET", "/api/node-rows").status_code == 200


def test_a_bug_in_one_part_is_told_once_and_the_other_parts_go_on(
    full: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    alarms = 0

    async def look(now_us: int) -> None:
        nonlocal alarms
        alarms += 1

    def fails(*_: object) -> None:
        raise OverflowError("float too large")

    monkeypatch.setattr(full.hub.alarms, "look", look)
    with monkeypatch.context() as broken:
        broken.setattr(full.hub.aftercare, "look", fails)
        broken.setattr(full.hub.cases, "write_down", fails)
        for _ in range(3):
            full.tick()
        assert alarms == 3, "what comes after it is done"
        assert "OverflowError" in full.ask("GET", "/api/status").json()["trouble"]
        assert [bool(one.exc_info) for one in caplog.records] == [True, False], "the bug, and that there is trouble"
    full.tick()
    assert full.hub.trouble == ""


def test_an_archive_that_cannot_be_read_hides_no_late_failure_and_is_told(
    full: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object) -> None:
        raise EyeflowError("cannot read the archive", cause="the disk failed", code="archive")

    passed = Passed(full)
    monkeypatch.setattr(full.archive, "look", fails)
    passed.tells(1_000, 2)
    passed.tells(1_040, 20)
    assert len(passed.alarms()) == 1
    for _ in range(2):
        full.runner.run(full.hub.tick())
        assert "cannot read the archive" in full.ask("GET", "/api/status").json()["trouble"], "no tick takes it away"
    monkeypatch.undo()
    full.tick()
    assert full.hub.trouble == ""


def test_an_archive_that_never_answers_holds_up_no_deployment(full: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, ticked = asyncio.Event(), asyncio.Event()

    async def never(*_: object) -> None:
        asked.set()
        await asyncio.Event().wait()

    async def tick(now_us: int) -> None:
        if asked.is_set():
            ticked.set()

    async def scenario() -> None:
        running = asyncio.create_task(full.hub.run())
        async with asyncio.timeout(60):
            await ticked.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    monkeypatch.setattr(hub_module, "TICK_S", 0.001)
    monkeypatch.setattr(full.archive, "look", never)
    monkeypatch.setattr(full.hub.deployments, "tick", tick)
    full.runner.run(scenario())
