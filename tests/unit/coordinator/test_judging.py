"""From what nodes tell to a verdict on a deployment: which program is compared with which, and what a look keeps."""

from __future__ import annotations

from typing import Any

import pytest

from eyeflow.coordinator.store.facts import EvidenceRow
from eyeflow.protocol import messages as m

NODES = ("node-a", "node-b")


class Watching:
    """A program that runs on two nodes, and one that is to take its place; the test says what nodes count."""

    def __init__(self, api: Any, make: Any) -> None:
        self.api = api
        self.old = self.deploy({})
        self.answer(*NODES)
        self.told: dict[tuple[str, str], EvidenceRow] = {}
        api.upload(make.program(version="2.0.0"))

    def deploy(self, body: dict[str, Any]) -> str:
        made = self.api.ask("POST", "/api/rules/overheat/deploy", json={"all": True, **body}).json()
        self.id, self.program = made["id"], made["changes"][0]["programId"]
        for node in NODES:
            self.api.run(lambda node=node: self.api.hub.deployments.linked(node, self.api.clock()))
        return str(made["id"])

    def answer(self, *nodes: str) -> None:
        for node in nodes:
            version = self.api.look(lambda reading, node=node: reading.node(node).manifest_version)
            said = (m.RuleResult("overheat", self.program, m.RuleState.INSTALLED),)
            result = m.ManifestResult(version, said)
            self.api.run(
                lambda node=node, result=result: self.api.hub.deployments.reported(node, result, self.api.clock())
            )

    def tells(self, node: str, deployment: str, executions: int, failures: int, **how: Any) -> None:
        row = EvidenceRow(
            node, "overheat", how.get("slot", "active"), "p" * 64, deployment, executions, failures, 0,
            how.get("boots", 0), how.get("standing", "trial"), how.get("reason", ""), self.api.clock(),
        )  # fmt: skip
        self.told = {key: one for key, one in self.told.items() if key[0] != node or deployment in key}
        self.told[node, deployment] = row
        mine = [one for (name, _), one in self.told.items() if name == node]
        self.api.run(lambda: self.api.hub.store.write(lambda writing: writing.record_evidence(mine)))

    def look(self, seconds: int = 3) -> Any:
        self.api.clock.pass_s(seconds)
        self.api.tick()
        return self.api.ask("GET", f"/api/deployments/{self.id}").json()


@pytest.fixture
def watching(full: Any, make: Any) -> Watching:
    return Watching(full, make)


def test_a_batch_is_compared_with_the_nodes_that_have_not_changed(watching: Watching) -> None:
    watching.tells("node-b", watching.old, 100, 2)
    watching.deploy({"strategy": "rolling"})
    watching.answer("node-a")
    for number in range(1, 6):
        watching.tells("node-a", watching.id, 20 * number, 10 * number)
        watching.tells("node-b", watching.old, 100 + 20 * number, 2)
        shown = watching.look()
    assert shown["state"] == "rollingBack"
    assert "executions failed (50.0 %" in shown["reason"] and "the active program: 0 of" in shown["reason"]


def test_the_last_batch_is_compared_with_what_was_before(watching: Watching) -> None:
    """A program that failed often before does not condemn the one that fails as often; the control is one that did not."""
    ends = {}
    for before in (300, 0):
        for node in NODES:
            watching.tells(node, watching.old, 1_000, before)
        watching.deploy({"strategy": "immediate", "options": {"observeS": 20}})
        watching.answer(*NODES)
        for number in range(1, 9):
            for node in NODES:
                watching.tells(node, watching.id, 20 * number, 6 * number)
            shown = watching.look()
        ends[before] = shown["state"]
        if shown["state"] == "rollingBack":
            watching.program = ""
            watching.api.clock.pass_s(200)
            watching.api.tick()
    assert ends == {300: "succeeded", 0: "rollingBack"}


def test_a_node_that_took_it_back_by_itself_fails_it_with_its_reason(watching: Watching) -> None:
    watching.deploy({"strategy": "rolling"})
    watching.answer("node-a")
    watching.tells("node-a", watching.id, 30, 30, standing="rolledBack", reason="30 of 30 executions failed")
    shown = watching.look()
    assert shown["reason"] == "node-a: it went back by itself: 30 of 30 executions failed"


def test_a_node_that_is_not_heard_of_is_no_good_news(watching: Watching) -> None:
    watching.deploy({"strategy": "rolling", "options": {"observeS": 60}})
    watching.answer("node-a")
    watching.tells("node-a", watching.id, 500, 0)
    assert watching.look()["verdict"]["kind"] == "inconclusive"
    shown = watching.look(70)
    assert (shown["state"], "not heard of: node-a" in shown["paused"][0]["text"]) == ("observing", True)
    watching.tells("node-a", watching.id, 600, 0)
    assert watching.look()["nodes"][1]["state"] == "waiting", "it goes on once the node is heard of"


def test_a_crash_loop_fails_it_at_once(watching: Watching) -> None:
    watching.deploy({"strategy": "rolling"})
    watching.answer("node-a")
    watching.tells("node-a", watching.id, 3, 0, boots=4)
    shown = watching.look()
    assert (shown["state"], "started again 4 times" in shown["reason"]) == ("rollingBack", True)
