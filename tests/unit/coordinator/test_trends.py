"""What the cluster and its nodes did: points for each minute and hour, what a restart leaves of them, and their bounds."""

from __future__ import annotations

import asyncio
from math import isnan, nan
from pathlib import Path
from typing import Any, cast

import pytest

from eyeflow.base.errors import EyeflowError
from eyeflow.coordinator import trends
from eyeflow.coordinator.rates import Rates
from eyeflow.coordinator.store.sqlite_store import InlineStore
from eyeflow.coordinator.store.trends import CLUSTER, Span
from eyeflow.coordinator.trends import DAY_US, HOUR_US, MINUTE_US, Point, Trends, pack, together, trend, unpack
from eyeflow.protocol import messages as m
from eyeflow.protocol.slot import Slot

START_US = 1_790_000_000_000_000 // DAY_US * DAY_US


class Told:
    """Nodes that tell of themselves, and what a coordinator keeps of it."""

    def __init__(self, path: Path) -> None:
        self.store = InlineStore(path)
        self.rates: dict[str, Rates] = {}
        self.now_us = START_US
        self.executions: dict[str, int] = {}
        self.restart()

    def restart(self) -> None:
        self.trends = Trends(self.store, self.rates, self.now_us)

    def run(self, call: Any) -> Any:
        async def main() -> Any:
            return await call()

        return asyncio.run(main())

    def joins(self, name: str) -> None:
        self.run(
            lambda: self.store.write(lambda writing: writing.register_node(name, name.encode().ljust(32), self.now_us))
        )

    def minutes(self, count: int, a_minute: dict[str, int]) -> None:
        """So many minutes pass, in which each node executes so often."""
        for _ in range(count):
            for name in a_minute:
                self.tells(name, 0)
            self.now_us += MINUTE_US
            for name, number in a_minute.items():
                self.tells(name, number)
            self.run(lambda: self.trends.look(list(a_minute), self.now_us))

    def tells(self, name: str, a_minute: int) -> None:
        done = self.executions[name] = self.executions.get(name, 0) + a_minute
        rule = (("executions", done), ("trapped", done // 10))
        use = (("memory_bytes", 1000), ("memory_used_bytes", 250), ("processor_hundredths", 5000))
        health = (
            m.Health(m.HealthKind.RULE, "overheat", m.HealthState.RUNNING, "", "", rule, Slot.ACTIVE),
            m.Health(m.HealthKind.PORT, "machine", m.HealthState.RUNNING, "", "", use),
        )
        self.rates.setdefault(name, Rates()).saw(m.Status(1, 1, 1, 1, health, ()), self.now_us)

    def points(self, node: str, span: Span = Span.MINUTE, since_us: int = 0) -> list[tuple[int, Point]]:
        found: list[tuple[int, Point]] = self.run(lambda: self.asked(self.trends, node, span, since_us))
        return found

    async def asked(
        self, of: Trends, node: str, span: Span = Span.MINUTE, since_us: int = 0
    ) -> list[tuple[int, Point]]:
        """As the API does."""
        recent, until_us = of.recent(node, span), of.settled_us(node, self.now_us)
        blocks = await self.store.read(lambda reading: reading.trend(node, span, since_us - trends.BLOCK_US[span]))
        return [one for one in trend(blocks, recent) if since_us <= one[0] <= until_us]

    def rows(self) -> int:
        (found,) = self.run(
            lambda: self.store.read(lambda reading: cast(Any, reading)._db.rows("SELECT count(*) FROM trends", []))
        )
        return int(found[0])


@pytest.fixture
def at(tmp_path: Path) -> Any:
    made = Told(tmp_path / "store.sqlite")
    made.joins("node-a")
    made.joins("node-b")
    yield made
    made.store.close()


def test_a_minute_is_seen_at_once_and_has_what_nodes_told(at: Told) -> None:
    at.minutes(2, {"node-a": 100, "node-b": 20})
    for node, executions, active in (("node-a", 100, 1), ("node-b", 20, 1), (CLUSTER, 120, 2)):
        points = at.points(node)
        assert [at_us for at_us, _ in points] == [START_US, START_US + MINUTE_US]
        (_, one) = points[-1]
        assert (one.executions, one.errors, one.active) == (executions, executions / 10, active)
        assert (one.processor, one.memory) == (50.0, 25.0)
    assert at.rows() == 0, "and nothing is written yet"


def test_a_crash_loses_a_quarter_of_an_hour_at_most_and_a_stop_nothing(at: Told) -> None:
    at.minutes(20, {"node-a": 100})
    at.restart()
    assert [len(at.points(node)) for node in ("node-a", CLUSTER)] == [15, 15]
    at.minutes(3, {"node-a": 100})
    at.run(lambda: at.trends.write_down(at.now_us))
    at.restart()
    times = [at_us for at_us, _ in at.points("node-a")]
    assert len(times) == 18 and times == sorted(times)
    assert all(point.executions == 100 for _, point in at.points("node-a"))


def test_an_hour_is_the_mean_of_its_minutes(at: Told) -> None:
    at.minutes(30, {"node-a": 100})
    at.minutes(30, {"node-a": 300})
    at.run(lambda: at.trends.write_down(at.now_us))
    (at_us, hour), *more = at.points("node-a", Span.HOUR)
    assert (at_us, more, hour.minutes) == (START_US, [], 60)
    assert hour.executions == pytest.approx(200, rel=0.02) and hour.processor == 50


def test_what_is_kept_is_bounded(at: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trends, "KEPT_US", {Span.MINUTE: 2 * HOUR_US, Span.HOUR: DAY_US})
    at.minutes(60 * 5, {"node-a": 100})
    assert at.rows() <= 2 * (4 + 2)
    assert min(at_us for at_us, _ in at.points("node-a")) >= at.now_us - 4 * HOUR_US
    assert len(at.points("node-a", Span.HOUR)) == 5
    since_us = at.now_us - 10 * MINUTE_US
    assert [at_us for at_us, _ in at.points("node-a", since_us=since_us)] == [
        since_us + n * MINUTE_US for n in range(10)
    ]


def test_a_node_that_is_removed_leaves_nothing_and_comes_back_without_its_past(at: Told) -> None:
    at.minutes(20, {"node-a": 100, "node-b": 1})
    at.run(lambda: at.store.write(lambda writing: writing.remove_node("node-a", at.now_us)))
    at.run(lambda: at.trends.write_down(at.now_us))
    assert at.points("node-a") == [] and len(at.points("node-b")) == 20


def test_minutes_without_a_coordinator_have_no_points(at: Told) -> None:
    at.minutes(1, {"node-a": 100})
    at.run(lambda: at.trends.write_down(at.now_us))
    at.now_us += 30 * MINUTE_US
    at.restart()
    at.minutes(1, {"node-a": 100})
    assert [at_us for at_us, _ in at.points(CLUSTER)] == [START_US, START_US + 31 * MINUTE_US]


def test_what_several_coordinators_kept_is_one_trend(at: Told) -> None:
    mine, other = Point(100, 1, 2, 1, 10, nan), Point(50, 0, 1, 1, 40, 30)
    blocks = [
        pack(f"{CLUSTER}{name}", Span.MINUTE, START_US, {START_US: one}) for name, one in (("1", mine), ("2", other))
    ]
    for block in blocks:
        at.run(lambda block=block: at.store.write(lambda writing: writing.keep_trend(block)))
    assert at.points(CLUSTER) == [(START_US, Point(150, 1, 3, 1, 20, 30))]


def sharing(at: Told, monkeypatch: pytest.MonkeyPatch) -> Trends:
    """Return the trends of a second coordinator at the store."""
    monkeypatch.setattr(at.store, "is_shared", True)
    monkeypatch.setattr(at.store, "own_id", "7")
    return Trends(at.store, at.rates, at.now_us)


def test_coordinators_that_share_a_store_show_the_same_at_any_moment(at: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    other = sharing(at, monkeypatch)
    for minute in range(1, 40):
        for name, number in (("node-a", 100), ("node-b", 20)):
            at.tells(name, 0)
            at.now_us += MINUTE_US // 2
            at.tells(name, number)
        at.now_us = START_US + minute * MINUTE_US
        at.run(lambda: at.trends.look(["node-a"], at.now_us))
        for one in (at.trends, other):  # the other one has not come to it
            found = at.run(lambda one=one: at.asked(one, CLUSTER))
            assert [at_us for at_us, _ in found] == [START_US + n * MINUTE_US for n in range(minute - 1)]
            assert all(point.active == 2 for _, point in found)
        at.run(lambda: other.look(["node-b"], at.now_us))
    ((_, hour),) = at.points(CLUSTER, Span.HOUR)
    assert (hour.active, hour.minutes) == (2, 39)


def test_nodes_that_move_when_their_coordinator_ends_count_once_in_the_hour(
    at: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, runs = sharing(at, monkeypatch), ("node-a", "node-b")
    for minute in range(60):
        for name in runs:
            at.tells(name, 0)
        at.now_us = START_US + (minute + 1) * MINUTE_US
        for name in runs:
            at.tells(name, 100)
        if minute < 30:
            at.run(lambda: at.trends.look(runs, at.now_us))
        at.run(lambda minute=minute: other.look(runs if minute >= 30 else (), at.now_us))
    at.now_us += 5 * MINUTE_US
    ((_, hour),) = at.points(CLUSTER, Span.HOUR)
    assert hour.executions == pytest.approx(200, rel=0.03) and (hour.active, hour.minutes) == (2, 60)


def test_what_is_read_while_it_is_written_counts_once(at: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    at.minutes(2, {"node-a": 100})
    write, before = at.store.write, (at.points(CLUSTER), at.points("node-a"))
    seen: list[Any] = []

    async def writes(step: Any) -> None:
        await write(step)
        seen.append((await at.asked(at.trends, CLUSTER), await at.asked(at.trends, "node-a")))

    monkeypatch.setattr(at.store, "write", writes)
    at.run(lambda: at.trends.write_down(at.now_us))
    assert seen and all(one == before for one in seen)


def test_a_store_that_takes_nothing_loses_nothing(at: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    at.minutes(3, {"node-a": 100})
    write = at.store.write

    async def refuses(step: Any) -> None:
        raise EyeflowError("the disk is full", cause="", next_step="", code="storage")

    monkeypatch.setattr(at.store, "write", refuses)
    with pytest.raises(EyeflowError):
        at.run(lambda: at.trends.write_down(at.now_us))
    monkeypatch.setattr(at.store, "write", write)
    at.run(lambda: at.trends.write_down(at.now_us))
    at.restart()
    assert len(at.points("node-a")) == 3


def test_points_come_back_from_a_block_as_they_were() -> None:
    points = {START_US + n * MINUTE_US: Point(n, 0.5, n, 1, nan, 99.5) for n in (0, 7, 59)}
    for (at_us, found), (then_us, put) in zip(
        unpack(pack("n", Span.MINUTE, START_US, points)), points.items(), strict=True
    ):
        assert at_us == then_us and (found.executions, found.active, found.memory) == (put.executions, put.active, 99.5)
        assert isnan(found.processor)
    assert together([]) == Point(processor=nan, memory=nan) or isnan(together([]).processor)


def test_the_api_tells_it_and_a_token_for_some_nodes_sees_these_only(full: Any) -> None:
    full.ask("PUT", "/api/nodes/node-a/labels", json={"labels": {"site": "lyon"}})
    for path in ("/api/trend", "/api/nodes/node-a/trend", "/api/nodes/node-a/trend?span=hour"):
        found = full.ask("GET", path)
        assert found.status_code == 200 and found.json()["points"] == [], found.text
    assert full.ask("GET", "/api/nodes/node-x/trend").json()["code"] == "node_not_found"
    assert full.ask("GET", "/api/trend?span=day").status_code == 422
    text = full.ask("GET", "/metrics").text
    assert "eyeflow_coordinator_executions_per_minute 0.0" in text and "eyeflow_coordinator_nodes_active" in text


def test_the_part_of_a_minute_in_which_a_coordinator_begins_is_no_point(at: Told) -> None:
    at.now_us = START_US + MINUTE_US // 2
    at.restart()
    at.now_us = START_US
    at.minutes(3, {"node-a": 100})
    assert [at_us for at_us, _ in at.points(CLUSTER)] == [START_US + MINUTE_US, START_US + 2 * MINUTE_US]
    assert all(point.executions > 0 for _, point in at.points(CLUSTER))
