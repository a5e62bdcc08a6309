"""One report costs what it touches, among 32 nodes and among 1,024: counted in steps of SQLite's machine, not in time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from eyeflow.coordinator import acting
from eyeflow.coordinator.choosing import Where
from eyeflow.coordinator.drafts import Change, Draft
from eyeflow.coordinator.hub import Hub
from eyeflow.coordinator.store.cluster_store import Writing
from eyeflow.coordinator.store.sqlite_store import InlineStore
from eyeflow.protocol.messages import ManifestResult, RuleResult, RuleState
from eyeflow.rollout.deployment import Rollback

FEW, MANY = 32, 1024
RATIO_MAX = 1.2
"""How much more one report may cost among 32 times as many nodes."""
WHOLE_RATIO_MAX = 1.25
"""How much more a whole deployment may cost for each node."""
STATEMENTS_MAX = 80
"""Statements of one report with all that follows from it."""


class Cost:
    """What SQLite did: statements, and steps of its virtual machine (each row that is looked at takes some)."""

    def __init__(self, db: apsw.Connection) -> None:
        self.statements = self.steps = 0
        db.trace_v2(apsw.SQLITE_TRACE_PROFILE, self._ended, id=self)

    def _ended(self, event: Any) -> None:
        self.statements += 1
        self.steps += event["stmt_status"]["SQLITE_STMTSTATUS_VM_STEP"]

    def take(self) -> tuple[int, int]:
        taken = self.statements, self.steps
        self.statements = self.steps = 0
        return taken


class Fleet:
    """A coordinator with many nodes that answer one after the other, and deployments that ended before."""

    def __init__(self, path: Path, count: int) -> None:
        self.names = [f"node-{number:04}" for number in range(count)]
        self.now_us = 1_000_000
        self.runner = asyncio.Runner()
        self.store = InlineStore(path)
        self.hub = self.runner.run(Hub.started(self.store, lambda: self.now_us, lambda: self.now_us))
        self.call(lambda: self.store.write(self.join_all))
        self.cost = Cost(self.store.file._db)

    def join_all(self, writing: Writing) -> None:
        for name in self.names:
            writing.register_node(name, bytes(32), 1)
        self.hub.nodes._renew_manifests(writing, self.names, 1)

    def call(self, call: Callable[[], Awaitable[Any]]) -> Any:
        async def calling() -> Any:
            done = await call()
            await self.hub.follow()
            return done

        return self.runner.run(calling())

    def deploy(self, program: str = "1") -> Any:
        draft = Draft((Change("pump", program * 64),), Where(), "immediate", Rollback.ON_ERROR)
        return self.call(lambda: self.hub.deployments.deploy(draft, self.now_us, "test"))

    def send(self, name: str) -> None:
        self.call(lambda: self.hub.deployments.sent(name, 10**6, self.now_us))

    def answer(self, name: str, program: str = "1") -> None:
        version = self.store.file.read(lambda reading: reading.node(name).manifest_version)
        result = ManifestResult(version, (RuleResult("pump", program * 64, RuleState.INSTALLED),))
        self.call(lambda: self.hub.deployments.reported(name, result, self.now_us))

    def state(self, deployment_id: str) -> str:
        return self.store.file.read(lambda reading: reading.deployment(deployment_id).state.value)

    def close(self) -> None:
        self.runner.close()
        self.store.close()


def cost_of_one_report(path: Path, count: int) -> tuple[int, int]:
    fleet = Fleet(path, count)
    fleet.deploy()
    for name in fleet.names[:3]:
        fleet.send(name)
        fleet.answer(name)
    fleet.send(fleet.names[3])
    fleet.cost.take()
    fleet.answer(fleet.names[3])
    taken = fleet.cost.take()
    fleet.close()
    return taken


def test_one_report_costs_the_same_among_few_and_among_many(tmp_path: Path) -> None:
    few = cost_of_one_report(tmp_path / "few.sqlite", FEW)
    many = cost_of_one_report(tmp_path / "many.sqlite", MANY)
    assert many[0] == few[0] <= STATEMENTS_MAX, (few, many)
    assert many[1] <= few[1] * RATIO_MAX, (few, many)


def test_control_a_strategy_that_is_shown_every_node_costs_more_among_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    situation_of = acting.situation_of

    def shown_every_node(reading: Any, deployment: Any, now_us: int) -> Any:
        assert reading.progress(deployment.id)
        return situation_of(reading, deployment, now_us)

    monkeypatch.setattr(acting, "situation_of", shown_every_node)
    few = cost_of_one_report(tmp_path / "few.sqlite", FEW)
    many = cost_of_one_report(tmp_path / "many.sqlite", MANY)
    assert many[1] > few[1] * RATIO_MAX, (few, many)


def cost_of_a_deployment(path: Path, count: int) -> float:
    """Steps for each node, from the request to the success, with earlier deployments of the same nodes in the store."""
    fleet = Fleet(path, count)
    for program in "12":
        fleet.cost.take()
        made = fleet.deploy(program)
        for name in fleet.names:
            fleet.send(name)
        for name in fleet.names:
            fleet.answer(name, program)
        assert fleet.state(made.id) == "succeeded"
        taken = fleet.cost.take()
    fleet.close()
    return taken[1] / count


def test_a_whole_deployment_costs_in_proportion_to_its_nodes(tmp_path: Path) -> None:
    few, many = cost_of_a_deployment(tmp_path / "few.sqlite", FEW), cost_of_a_deployment(tmp_path / "many.sqlite", 512)
    assert many <= few * WHOLE_RATIO_MAX, (few, many)


def test_a_tick_with_nothing_due_writes_nothing_and_looks_at_no_node(tmp_path: Path) -> None:
    costs = []
    for count in (FEW, MANY):
        fleet = Fleet(tmp_path / f"{count}.sqlite", count)
        fleet.deploy()
        fleet.call(fleet.hub.tick)  # signs what the deployment brought into the log
        changes = fleet.store.file._db.total_changes()
        fleet.cost.take()
        fleet.call(fleet.hub.tick)
        costs.append(fleet.cost.take())
        assert fleet.store.file._db.total_changes() == changes
        fleet.close()
    assert costs[0] == costs[1], costs
