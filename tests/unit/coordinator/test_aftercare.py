"""A program that passed and begins to fail later: an alarm with its numbers, once, and a way to take it back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from eyeflow.coordinator import aftercare
from eyeflow.coordinator.aftercare import LOOK_S
from eyeflow.coordinator.judging import Seen, _dump, settings_of
from eyeflow.coordinator.store.cases import CASES_MAX, Case, CaseKind
from eyeflow.evidence.outcomes import Outcomes, Tally
from eyeflow.protocol import executions as e
from eyeflow.protocol import messages as m
from eyeflow.protocol.boards import BoardStatus
from eyeflow.protocol.slot import Slot
from eyeflow.rollout.deployment import DeploymentState
from unit.protocol.examples import BOARD

CHIP_PROGRAM = (("STM32F401CC", "ab" * 32),)
NOTHING = (Tally(), Tally())


class Passed:
    """A deployment that succeeded on two nodes, and what they tell of it."""

    def __init__(self, api: Any, **how: Any) -> None:
        self.api = api
        made = api.ask("POST", "/api/rules/overheat/deploy", json={"all": True} | how).json()
        self.id = made["id"]
        for node in ("node-a", "node-b"):
            version = api.look(lambda reading, node=node: reading.node(node).manifest_version)
            result = m.ManifestResult(version, (m.RuleResult("overheat", api.program_id, m.RuleState.INSTALLED),))
            api.run(lambda node=node, result=result: api.hub.deployments.reported(node, result, api.clock()))
        assert self.shown()["state"] == "succeeded"

    def tells(
        self,
        executions: int,
        traps: int,
        standing: m.EvidenceStanding = m.EvidenceStanding.PASSED,
        failed_actions: int = 0,
    ) -> None:
        """Both nodes tell these totals, and the coordinator looks at them."""
        for node in ("node-a", "node-b"):
            self.counts(node, executions, traps, standing, failed_actions)
        self.look()

    def counts(self, node: str, executions: int, traps: int, *how: Any, board: BoardStatus | None = None) -> None:
        """A node tells these totals, or a board does."""
        standing, failed_actions = how or (m.EvidenceStanding.PASSED, 0)
        counts = (executions, executions, 0, traps, failed_actions, *[0] * 5)
        values: list[Any] = [self.api.program_id, self.id, 1, 0, *counts, standing]
        one = m.Evidence("overheat", Slot.ACTIVE, *values)
        self.api.hub.nodes.health[node] = m.Status(1, 1, 1, 1, (), (one,), board)
        self.api.hub.nodes.seen_us[node] = self.api.clock()

    def look(self) -> None:
        self.api.clock.pass_s(LOOK_S)
        self.api.tick()

    def goes_to_boards_too(self) -> None:
        def step(writing: Any) -> None:
            deployment = writing.deployment(self.id)
            targets = tuple((rule, replace(one, board_programs=CHIP_PROGRAM)) for rule, one in deployment.targets)
            writing.save_deployment(replace(deployment, targets=targets))

        self.api.do(step)

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
    passed.tells(1_200, 160)
    assert passed.api.hub.trouble == "", "it is not looked at again"
    (alarm,) = passed.alarms()
    assert (alarm.actor, alarm.subject, alarm.detail) == ("coordinator", passed.id, reason)
    assert passed.shown()["updatedUs"] == alarm.time_us
    taken = passed.api.ask("POST", f"/api/deployments/{passed.id}/rollback").json()
    assert taken["state"] in {"rollingBack", "rolledBack"}


def test_one_whose_actions_begin_to_fail_says_so(passed: Passed) -> None:
    passed.tells(1_000, 2)
    passed.tells(1_040, 2, failed_actions=30)
    assert "60 of 80 executions failed in their actions" in passed.shown()["reason"]


def test_nothing_is_said_before_as_many_executions_as_the_deployment_asked_for(full: Any) -> None:
    passed = Passed(full, options={"samplesMin": 200})
    passed.tells(1_000, 2)
    passed.tells(1_040, 20)
    assert passed.alarms() == [], "80 of 200"
    passed.tells(1_110, 55)
    assert len(passed.alarms()) == 1


def test_what_it_did_in_fewer_executions_than_that_excuses_nothing(full: Any) -> None:
    passed = Passed(full, options={"samplesMin": 200})
    passed.was_judged(Outcomes(100, 30))
    passed.tells(1_000, 300)
    passed.tells(1_200, 360)
    assert len(passed.alarms()) == 1


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


@pytest.mark.parametrize(("bad", "who"), [("node-b", "boards"), ("node-a", "nodes")])
def test_boards_are_judged_apart_so_that_busy_nodes_hide_no_bad_one(passed: Passed, bad: str, who: str) -> None:
    passed.goes_to_boards_too()
    totals = {"node-a": (100_000, 0), "node-b": (100_000, 0)}
    for change in ({}, {"node-a": (200_000, 0), "node-b": (200_000, 0)} | {bad: (100_060, 60)}):
        for node, told in (totals | change).items():
            passed.counts(node, *told, board=BOARD if node == "node-b" else None)
        passed.look()
        assert bool(passed.alarms()) is bool(change)
    assert passed.shown()["reason"].startswith(f"it began to fail after it had passed: {who}: 60 of 60 executions")


def test_two_that_are_judged_apart_have_half_of_the_chance_of_a_false_alarm_each(passed: Passed) -> None:
    find = lambda: aftercare._begun(passed.api.look(lambda reading: reading.deployment(passed.id)), NOTHING)  # noqa: E731
    alone, _ = find(), passed.goes_to_boards_too()
    both = find()
    assert alone is not None and both is not None
    assert both.settings.alarm_e == 2 * alone.settings.alarm_e


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
    assert passed.api.hub.aftercare._failed == {}
    passed.fails(5)
    assert passed.failed() == [4, 3, 2], "those that raised it, and no row for each that follows"


def test_what_waits_for_an_alarm_is_bounded(passed: Passed, monkeypatch: pytest.MonkeyPatch) -> None:
    passed.tells(1_000, 2)
    passed.fails(*range(1, 20))
    passed.fails(*range(20, 40))
    assert [len(one) for one in passed.api.hub.aftercare._failed.values()] == [CASES_MAX]
    monkeypatch.setattr(aftercare, "FAILED_MAX", CASES_MAX)
    passed.fails(39)
    assert [len(one) for one in passed.api.hub.aftercare._failed.values()] == [CASES_MAX], "so many, and no fewer"
    monkeypatch.setattr(aftercare, "FAILED_MAX", CASES_MAX - 1)
    passed.fails(40)
    assert passed.api.hub.aftercare._failed == {}


def test_what_was_looked_at_counts_once(passed: Passed) -> None:
    """Two failures that are counted with each look would be a program that always fails, after some looks."""
    passed.tells(1_000, 0)
    passed.tells(1_020, 2)
    for _ in range(40):
        passed.tells(1_020, 2)
    assert passed.alarms() == []


def test_it_looks_once_in_half_a_minute(passed: Passed) -> None:
    hub = passed.api.hub
    passed.tells(1_000, 0)
    looked_us = hub.aftercare._looked_us
    one = m.Evidence("overheat", Slot.ACTIVE, *_values(passed, 1_200, 200))
    told = {node: m.Status(1, 1, 1, 1, (), (one,)) for node in ("node-a", "node-b")}
    for after_us in (0, 1, LOOK_S * 1_000_000 - 1):
        passed.api.run(lambda after_us=after_us: hub.aftercare.look(told, looked_us + after_us))
        assert passed.alarms() == [], after_us
    passed.api.run(lambda: hub.aftercare.look(told, looked_us + LOOK_S * 1_000_000))
    assert len(passed.alarms()) == 1, "a control: what it would have seen is an alarm"


def test_what_few_failures_do_not_show_many_looks_do(passed: Passed) -> None:
    passed.was_judged(Outcomes(1_000, 0))
    passed.tells(1_000, 0)
    for number in range(1, 60):
        passed.tells(1_000 + 10 * number, 2 * number)
        if number == 1:
            assert passed.alarms() == [], "4 of 20 say nothing yet"
    assert len(passed.alarms()) == 1


def _values(passed: Passed, executions: int, traps: int) -> list[Any]:
    return [
        passed.api.program_id, passed.id, 1, 0, executions, executions, 0, traps, *[0] * 6, m.EvidenceStanding.PASSED
    ]  # fmt: skip


def test_only_what_passed_and_was_not_told_of_is_watched(passed: Passed) -> None:
    deployment = passed.api.look(lambda reading: reading.deployment(passed.id))
    rolling = replace(deployment, strategy="rolling")
    begun = aftercare._begun(rolling, NOTHING)
    assert begun is not None and begun.settings == settings_of(rolling, 1) != settings_of(rolling, 2)
    for other in (None, replace(deployment, state=DeploymentState.ROLLING_BACK), replace(deployment, reason="told")):
        assert aftercare._begun(other, NOTHING) is None
        writing = Writes(other)
        aftercare._raise_alarm(writing, passed.id, "why", [], 7)
        assert writing.written == [], "somebody was faster"
    writing = Writes(deployment)
    aftercare._raise_alarm(writing, passed.id, "why", [], 7)
    assert len(writing.written) == 3, "a control"


class Writes:
    """A step that finds `deployment`, and notes what is written."""

    def __init__(self, deployment: Any) -> None:
        self.deployment = lambda _: deployment
        self.written: list[Any] = []
        self.save_deployment = self.record_cases = self.add_log_entry = self.written.append


def test_it_takes_failures_of_what_it_watches_and_nothing_else(passed: Passed) -> None:
    takes = passed.api.hub.aftercare.takes
    failed = Case(passed.id, CaseKind.FAILED, "node-a", 1, "{}")
    assert not takes(failed), "nobody looked at it yet"
    passed.tells(1_000, 2)
    assert takes(failed)
    assert not takes(replace(failed, deployment_id="d-other"))
    assert not takes(replace(failed, kind=CaseKind.DIFFERING))
    passed.tells(1_040, 20)
    assert takes(failed), "it was told: no row for each that follows"
