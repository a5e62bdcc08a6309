"""From what nodes tell to a verdict on a deployment: which program is compared with which, and what a look keeps."""

from __future__ import annotations

from typing import Any

import pytest

from eyeflow.coordinator.nodes import evidence_rows
from eyeflow.coordinator.store.facts import EvidenceRow
from eyeflow.evidence.outcomes import Outcomes, Tally
from eyeflow.protocol import messages as m
from eyeflow.protocol.slot import Slot

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
        """`acted` in `how`: (executions that acted, those with an action that failed)."""
        tally = Tally(Outcomes(executions, failures), Outcomes(*how.get("acted", ())))
        standing = how.get("standing", "passed" if deployment == self.old else "trial")
        row = EvidenceRow(
            node, "overheat", how.get("slot", "active"), "p" * 64, deployment, tally, how.get("pending", 0), 0,
            how.get("boots", 0), standing, how.get("reason", ""), self.api.clock(),
        )  # fmt: skip
        if "slot" not in how:  # else it runs beside what was told of the node before
            self.told = {key: one for key, one in self.told.items() if key[0] != node or deployment in key}
        self.told[node, deployment] = row
        mine = [one for (name, _), one in self.told.items() if name == node]
        self.api.run(lambda: self.api.hub.store.write(lambda writing: writing.record_evidence(mine)))

    def stage(self, *nodes: str) -> None:
        for node in nodes:
            version = self.api.look(lambda reading, node=node: reading.node(node).manifest_version)
            said = (m.RuleResult("overheat", self.program, m.RuleState.INSTALLED, "", Slot.CANDIDATE),)
            result = m.ManifestResult(version, said)
            self.api.run(
                lambda node=node, result=result: self.api.hub.deployments.reported(node, result, self.api.clock())
            )

    def end(self) -> None:
        """What is tried is taken back, and the program before is what runs again."""
        self.api.ask("POST", f"/api/deployments/{self.id}/cancel")
        self.api.clock.pass_s(200)
        self.api.tick()

    def look(self, seconds: int = 3) -> Any:
        self.api.clock.pass_s(seconds)
        self.api.tick()
        return self.api.ask("GET", f"/api/deployments/{self.id}").json()


@pytest.fixture
def watching(full: Any, make: Any) -> Watching:
    return Watching(full, make)


def test_a_batch_is_compared_with_what_its_own_nodes_did_before(watching: Watching) -> None:
    """Whether node-a fails often because of its sensor, node-b cannot tell."""
    ends = {}
    for flaky, sound in (NODES, NODES[::-1]):
        watching.tells(flaky, watching.old, 1_000, 300)
        watching.tells(sound, watching.old, 1_000, 0)
        watching.deploy({"strategy": "rolling"})
        watching.answer("node-a")
        for number in range(1, 6):
            watching.tells("node-a", watching.id, 20 * number, 6 * number)
            shown = watching.look()
        ends[flaky] = shown["state"]
        watching.end()
    assert ends == {"node-a": "observing", "node-b": "rollingBack"}
    assert "6 of 20 executions failed" in shown["reason"] and "before: 0 of 1000" in shown["reason"]


def test_what_a_node_did_counts_up_to_its_turn(watching: Watching) -> None:
    """Of a node whose link another coordinator holds nothing is known when the deployment begins."""
    watching.deploy({"strategy": "rolling", "options": {"observeS": 20}})
    watching.answer("node-a")
    watching.tells("node-b", watching.old, 1_000, 300)
    watching.tells("node-a", watching.id, 500, 0)
    watching.look(30)
    assert watching.look()["nodes"][1]["state"] == "waiting"
    watching.answer("node-b")
    watching.tells("node-b", watching.id, 100, 30)
    verdict = watching.look()["verdict"]
    assert (verdict["kind"], verdict["executionsBefore"], verdict["failuresBefore"]) == ("inconclusive", 1_000, 300)


@pytest.mark.parametrize("strategy", ["rolling", "canary"])
def test_a_program_that_is_gone_is_not_waited_for(watching: Watching, strategy: str) -> None:
    """A node that was killed told once more of the program that was replaced, beside the one that took its place."""
    watching.deploy({"strategy": strategy, "options": {"observeS": 20}})
    watching.stage("node-a", "node-b") if strategy == "canary" else watching.answer("node-a")
    for executions in (100, 110):
        watching.tells("node-a", watching.old, executions, 0)
        watching.tells("node-a", watching.id, executions - 90, 0, slot="active")
        watching.look()
    watching.tells("node-a", watching.id, 500, 0)
    watching.tells("node-b", watching.id, 500, 0)
    watching.look(30)
    verdict = watching.look()["verdict"]
    assert verdict is None or "comparison" not in verdict["reason"], verdict


@pytest.mark.parametrize(("beside", "end"), [(6, "observing"), (0, "rollingBack")])
def test_a_control_of_which_nothing_is_written_yet_at_the_first_look_is_compared_later(
    watching: Watching, beside: int, end: str
) -> None:
    """Another coordinator writes what its nodes told when it gets to it. A sensor that broke fails both programs."""
    watching.deploy({"strategy": "canary"})
    watching.stage(*NODES)
    for node in NODES:
        watching.tells(node, watching.id, 0, 0, slot="candidate")
    watching.look()
    for number in range(8):
        for node in NODES:
            watching.tells(node, watching.old, 1_000 + 20 * number, beside * number, slot="active")
            watching.tells(node, watching.id, 20 * number, 6 * number, slot="candidate")
        shown = watching.look()
    assert shown["state"] == end, shown["reason"] or shown["verdict"]


def test_nodes_that_passed_do_not_hide_the_next_one(watching: Watching) -> None:
    """One that traps on every event, and one that has no events, beside one that runs well."""
    watching.deploy({"strategy": "rolling", "options": {"observeS": 20}})
    watching.answer("node-a")
    watching.tells("node-a", watching.id, 2_000, 0)
    watching.look(30)
    assert watching.look()["nodes"][1]["state"] == "waiting"
    watching.answer("node-b")
    watching.tells("node-a", watching.id, 90_000, 0)
    watching.tells("node-b", watching.id, 0, 0)
    verdict = watching.look()["verdict"]
    assert (verdict["kind"], verdict["executions"]) == ("noData", 0)
    watching.tells("node-b", watching.id, 60, 60)
    shown = watching.look()
    assert (shown["state"], "60 of 60 executions failed" in shown["reason"]) == ("rollingBack", True)


def test_actions_that_fail_are_not_hidden_by_executions_that_do_not_act(watching: Watching) -> None:
    """One execution in a thousand acts: 30 failures are 0.1 % of all, and all of those that acted."""
    ends = {}
    for failed in (0, 30):
        watching.deploy({"strategy": "immediate", "options": {"observeS": 20}})
        watching.answer(*NODES)
        for _ in range(2):
            watching.tells("node-a", watching.id, 29_970, 0, acted=(30, failed))
            watching.tells("node-b", watching.id, 30, 0)
            shown = watching.look(15)
        ends[failed] = shown["state"]
        watching.end()
    assert ends == {0: "succeeded", 30: "rollingBack"}
    assert shown["reason"].startswith("30 of 30 executions failed in their actions"), shown["reason"]


def test_actions_that_failed_before_condemn_nobody(watching: Watching) -> None:
    watching.tells("node-a", watching.old, 30_000, 0, acted=(100, 100))
    watching.tells("node-b", watching.old, 30_000, 0, acted=(1_000, 0))
    watching.deploy({"strategy": "rolling", "options": {"observeS": 20}})
    watching.answer("node-a")
    watching.tells("node-a", watching.id, 9_000, 0, acted=(100, 100))
    watching.look(30)
    assert watching.look()["nodes"][0]["state"] == "installed"
    assert watching.look()["nodes"][1]["state"] == "waiting"


@pytest.mark.parametrize(
    ("was", "beside", "end"),
    [
        ((1_000, 0), (100, 0), "rollingBack"),
        ((1_000, 0), (100, 100), "observing"),
        ((1_000, 1_000), (100, 0), "observing"),
        ((1_000, 0), (0, 0), "rollingBack"),
    ],
)
def test_actions_of_a_canary_are_worse_than_both_those_beside_it_and_those_before(
    watching: Watching, was: tuple[int, int], beside: tuple[int, int], end: str
) -> None:
    """A network that broke fails the actions of both programs; a relay that was broken before is no news."""
    for node in NODES:
        watching.tells(node, watching.old, 2_000, 0, acted=was)
    watching.deploy({"strategy": "canary"})
    watching.stage(*NODES)
    for number in range(5):
        for node in NODES:
            done = tuple(one + number * more for one, more in zip(was, beside, strict=True))
            watching.tells(node, watching.old, 2_000 + 1_000 * number, 0, acted=done, slot="active")
            watching.tells(node, watching.id, 1_000 * number, 0, acted=(10 * number, 10 * number), slot="candidate")
        shown = watching.look()
    assert shown["state"] == end, shown["reason"]


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


def test_what_a_candidate_did_counts_although_a_node_took_it_back(watching: Watching) -> None:
    for node in NODES:
        watching.tells(node, watching.old, 100, 0)
    watching.deploy({"strategy": "canary"})
    watching.stage(*NODES)
    watching.look()
    watching.tells("node-a", watching.id, 30, 30, slot="candidate", standing="rolledBack", reason="30 of 30")
    shown = watching.look()
    assert shown["reason"] == "node-a: it went back by itself: 30 of 30"
    assert (shown["verdict"]["executions"], shown["verdict"]["failures"]) == (30, 30)


def test_a_node_that_is_not_heard_of_is_no_good_news(watching: Watching) -> None:
    watching.deploy({"strategy": "rolling", "options": {"observeS": 60}})
    watching.answer("node-a")
    watching.tells("node-a", watching.id, 500, 0)
    assert watching.look()["verdict"]["kind"] == "inconclusive"
    shown = watching.look(70)
    assert (shown["state"], "not heard of: node-a" in shown["paused"][0]["text"]) == ("observing", True)
    watching.tells("node-a", watching.id, 600, 0)
    assert watching.look()["nodes"][1]["state"] == "waiting", "it goes on once the node is heard of"


@pytest.mark.parametrize(("strategy", "ends"), [("rolling", "installing"), ("canary", "rollingBack")])
def test_a_pass_waits_for_actions_that_have_not_ended(watching: Watching, strategy: str, ends: str) -> None:
    """Messages that will all run into time-outs are no good ones: only a failure comes at once."""
    watching.deploy({"strategy": strategy, "options": {"observeS": 2, "samplesMin": 20}})
    watching.stage("node-a") if strategy == "canary" else watching.answer("node-a")
    watching.tells("node-a", watching.id, 100, 0, acted=(9, 0), pending=91)
    shown = watching.look(10)
    assert (shown["state"], shown["verdict"]["kind"]) == ("observing", "inconclusive")
    assert shown["verdict"]["missing"] == {"executions": 0, "executionsBefore": 0, "pending": 91}
    assert shown["paused"][0]["text"].endswith("; actions of 91 executions have not ended")
    failed = 50 if ends == "rollingBack" else 0
    watching.tells("node-a", watching.id, 100, 0, acted=(50, failed), pending=50)
    shown = watching.look()
    assert (shown["state"], shown["phase"]) == (ends, int(ends == "installing"))


def test_a_node_tells_the_executions_whose_actions_have_not_ended(full: Any) -> None:
    counts = (1, 0, 40, 30, 10, 0, 0, 0, 0, 0, 0, 0)
    told = m.Evidence("overheat", Slot.ACTIVE, "a" * 64, "d-1", *counts, m.EvidenceStanding.TRIAL)
    (row,) = evidence_rows("node-a", (told,), 1)
    assert (row.pending, row.tally) == (10, Tally(Outcomes(40, 0), Outcomes(30, 0)))


def test_a_crash_loop_fails_it_at_once(watching: Watching) -> None:
    watching.deploy({"strategy": "rolling"})
    watching.answer("node-a")
    watching.tells("node-a", watching.id, 3, 0, boots=4)
    shown = watching.look()
    assert (shown["state"], "started again 4 times" in shown["reason"]) == ("rollingBack", True)


def test_a_node_that_tells_of_one_place_twice_stops_nobody_and_its_failure_counts(full: Any) -> None:
    """Evidence is a node's own word. Kept as two rows of one key, it would end the step of whoever looks at it."""
    counts = (1, 0, 40, 40, 0, 0, 0, 0, 0, 0, 0, 0)
    failed, runs = (
        m.Evidence("overheat", Slot.ACTIVE, program * 64, "d-1", *counts, standing)
        for program, standing in (("a", m.EvidenceStanding.ROLLED_BACK), ("b", m.EvidenceStanding.PASSED))
    )
    for told in ((failed, runs), (runs, failed)):
        (row,) = evidence_rows("node-a", told, 1)
        assert (row.program_id, row.standing) == ("a" * 64, "rolledBack")
        full.hub.nodes.health["node-a"] = m.Status(1, 1, 1, 1, (), told)
        full.hub.nodes.seen_us["node-a"] = full.clock()
        full.tick()
        made = full.ask("POST", "/api/rules/overheat/deploy", json={"all": True})
        assert made.status_code == 202, made.text
