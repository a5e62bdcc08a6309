"""A program that passed and begins to fail later: an alarm with its numbers, once, and a way to take it back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from eyeflow.coordinator import aftercare
from eyeflow.coordinator.aftercare import LOOK_S
from eyeflow.coordinator.judging import Seen, _dump
from eyeflow.coordinator.store.cases import CASES_MAX
from eyeflow.evidence.outcomes import Outcomes, Tally
from eyeflow.protocol import executions as e
from eyeflow.protocol import messages as m
from eyeflow.protocol.slot import Slot


class Passed:
    """A deployment that succeeded on two nodes, and what they tell of it."""

    def __init__(self, api: Any) -> None:
        self.api = api
        made = api.ask("POST", "/api/rules/overheat/deploy", json={"all": True}).json()
        self.id = made["id"]
        for node in ("node-a", "node-b"):
            version = api.look(lambda reading, node=node: reading.node(node).manifest_version)
            result = m.ManifestResult(version, (m.RuleResult("overheat", api.program_id, m.RuleState.INSTALLED),))
            api.run(lambda node=node, result=result: api.hub.deployments.reported(node, result, api.clock()))
        assert self.shown()["state"] == "succeeded"

    def tells(self, executions: int, traps: int, standing: m.EvidenceStanding = m.EvidenceStanding.PASSED) -> None:
        """Both nodes tell these totals, and the coordinator looks at them."""
        values: list[Any] = [self.api.program_id, self.id, 1, 0, executions, executions, traps, *[0] * 6, standing]
        one = m.Evidence("overheat", Slot.ACTIVE, *values)
        for node in ("node-a", "node-b"):
            self.api.hub.nodes.health[node] = m.Status(1, 1, 1, 1, (), (one,))
            self.api.hub.nodes.seen_us[node] = self.api.clock()
        self.api.clock.pass_s(LOOK_S)
        self.api.tick()

    def shown(self) -> Any:
        return self.api.ask("GET", f"/api/deployments/{self.id}").json()

    def alarms(self) -> list[Any]:
        entries = self.api.look(lambda reading: reading.log_entries(100))
        return [one for one in entries if one.action == "alarm"]

    def was_judged(self, decisions: Outcomes) -> None:
        """The verdict of this deployment saw these executions."""

        def step(writing: Any) -> None:
            judgement = _dump(Seen(0, new=Tally(decisions)))
            writing.save_deployment(replace(writing.deployment(self.id), judgement=judgement))

        self.api.do(step)

    def fails(self, *times_us: int) -> None:
        """The first node tells of these executions that failed."""
        who = ("overheat", Slot.ACTIVE, self.api.program_id, self.id, e.FailureKind.TRAP)
        said = tuple(e.Failure(*who, time_us, "trap", e.Trace(time_us)) for time_us in times_us)
        self.api.hub.cases.told("node-a", e.Failures(1, said))
        self.api.tick()

    def failed(self) -> list[int]:
        return [one["seq"] for one in self.shown()["failures"]]


@pytest.fixture
def passed(full: Any) -> Passed:
    return Passed(full)


def test_a_program_that_begins_to_fail_raises_one_alarm_with_its_numbers(passed: Passed) -> None:
    passed.tells(1_000, 2)
    passed.tells(1_040, 20)
    reason = passed.shown()["reason"]
    assert reason.startswith("it began to fail after it had passed: 36 of 80 executions failed"), reason
    assert passed.shown()["state"] == "succeeded", "nothing is taken back by itself"
    passed.tells(1_100, 60)
    assert len(passed.alarms()) == 1
    taken = passed.api.ask("POST", f"/api/deployments/{passed.id}/rollback").json()
    assert taken["state"] in {"rollingBack", "rolledBack"}


def test_control_one_that_goes_on_as_it_passed_raises_none(passed: Passed) -> None:
    """Also where it fails often: it did so while it passed."""
    passed.tells(1_000, 300)
    for number in range(1, 6):
        passed.tells(1_000 + 100 * number, 300 + 30 * number)
    assert (passed.alarms(), passed.shown()["reason"]) == ([], "")


@pytest.mark.parametrize(("failed", "alarms"), [(0, 1), (30, 0)])
def test_one_that_fails_before_the_first_look_is_held_against_what_it_did_while_it_was_judged(
    passed: Passed, failed: int, alarms: int
) -> None:
    """Half a minute may pass until that look. Were it the measure, a program could fail from its first minute on."""
    passed.was_judged(Outcomes(100, failed))
    passed.tells(1_000, 300)
    passed.tells(1_200, 360)
    assert len(passed.alarms()) == alarms, passed.shown()["reason"]


def test_one_on_trial_is_its_deployments_matter(passed: Passed) -> None:
    passed.tells(100, 0, m.EvidenceStanding.TRIAL)
    passed.tells(200, 100, m.EvidenceStanding.TRIAL)
    assert passed.alarms() == []


def test_totals_that_fall_because_a_node_is_gone_say_nothing(passed: Passed) -> None:
    passed.tells(1_000, 100)
    passed.tells(100, 0)
    passed.tells(200, 0)
    assert passed.alarms() == []


def test_an_alarm_keeps_the_executions_that_failed_and_nothing_else_does(passed: Passed) -> None:
    """People ask which. Of a program that fails as often as it may, each one would be a row in the store."""
    passed.fails(1)
    assert passed.failed() == [], "it passed, and nobody looked at it yet"
    passed.tells(1_000, 2)
    passed.fails(2, 3)
    passed.fails(4)
    assert passed.failed() == []
    passed.tells(1_040, 20)
    assert passed.failed() == [4, 3, 2]
    passed.fails(5)
    assert passed.failed() == [4, 3, 2], "those that raised it, and no row for each that follows"


def test_what_waits_for_an_alarm_is_bounded(passed: Passed, monkeypatch: pytest.MonkeyPatch) -> None:
    passed.tells(1_000, 2)
    passed.fails(*range(1, 20))
    passed.fails(*range(20, 40))
    assert [len(one) for one in passed.api.hub.aftercare._failed.values()] == [CASES_MAX]
    monkeypatch.setattr(aftercare, "FAILED_MAX", CASES_MAX - 1)
    passed.fails(40)
    assert passed.api.hub.aftercare._failed == {}
