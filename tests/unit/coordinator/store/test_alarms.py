"""Alarms begin and end in the step that writes what they are about; they last over a restart, and are bounded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from eyeflow.coordinator.histories import Doubt, Finding, History
from eyeflow.coordinator.store import sql_alarms
from eyeflow.coordinator.store.alarms import Alarm, AlarmKind, AlarmsAsked
from eyeflow.coordinator.store.cluster_store import Writing
from eyeflow.coordinator.store.facts import ChangeKind, NodeReport, Seen
from eyeflow.protocol.messages import RuleResult, RuleState
from eyeflow.protocol.slot import Slot
from eyeflow.rollout.deployment import DeploymentState, NodeProgress, Target, Wanted

OLDER = History(findings=(Finding(Doubt.OLDER, 3, 3, "its last record is 2, and was 9 before"),))
LOST = History(findings=(Finding(Doubt.NEW_EPOCH, 3, 3, "it lost its store"),))


def alarms(kept: Any, **asked: Any) -> list[Alarm]:
    return list(kept.file.read(lambda reading: reading.alarm_page(AlarmsAsked(100, **asked))).rows)


def told(kept: Any) -> list[tuple[str, str, bool]]:
    return [(one.kind.value, one.subject, not one.ended_us) for one in alarms(kept)]


def histories(history: History, now_us: int) -> Callable[[Writing], None]:
    return lambda writing: writing.record_histories({"a": history}, now_us)


def seen(gaps: int, lost: int, seen_us: int, *, is_news: bool = True) -> Callable[[Writing], None]:
    one = Seen("a", 1, 5, seen_us, gaps=gaps, lost_records=lost, is_news=is_news)
    return lambda writing: writing.record_seen([one])


def goes_back(writing: Writing, state: RuleState, now_us: int, **wanted: Any) -> None:
    writing.want("a", Wanted("pump", "active", Target("1" * 64, "d-1"), **{"is_return": True} | wanted))
    reason = "untrusted: `pump` is stopped" if state is RuleState.REFUSED else ""
    beside = RuleResult("pump", "3" * 64, RuleState.REFUSED, "of a candidate", Slot.CANDIDATE)
    said = (RuleResult("lamp", "2" * 64, RuleState.REFUSED, "no driver"), RuleResult("pump", "1" * 64, state, reason))
    writing.record_report(NodeReport("a", 3, (*said, beside)), now_us)


BEGIN_AND_END: dict[str, tuple[Callable[[Writing], Any], Callable[[Writing], Any], str, str]] = {
    "nodeInDoubt": (histories(OLDER, 7), histories(History(), 9), "its last record is 2, and was 9 before", "accepted"),
    "storeLost": (histories(LOST, 7), histories(History(), 9), "it lost its store", "accepted"),
    "nodeAhead": (
        lambda writing: writing.record_ahead("a", 8, 7),
        lambda writing: writing.record_ahead("a", 0, 9),
        "it has manifest 8, which this store never knew",
        "newer",
    ),
    "lastGoodRefused": (
        lambda writing: goes_back(writing, RuleState.REFUSED, 7),
        lambda writing: goes_back(writing, RuleState.INSTALLED, 9),
        "pump: untrusted: `pump` is stopped",
        "refuses no last known good",
    ),
    "recordsLost": (
        seen(2, 40, 7),
        seen(0, 0, 9),
        "40 audit records dropped, in 2 gaps, since its last start",
        "nothing",
    ),
}


@pytest.mark.parametrize("kind", BEGIN_AND_END)
def test_an_alarm_of_a_node_begins_and_ends_with_what_it_is_about(kept: Any, kind: str) -> None:
    begin, end, evidence, why = BEGIN_AND_END[kind]
    kept.do(lambda writing: [writing.register_node(name, bytes(32), 1) for name in ("a", "b")])
    assert alarms(kept) == []
    kept.do(begin)
    (one,) = alarms(kept)
    assert (one.kind, one.subject, one.since_us, one.evidence) == (AlarmKind(kind), "a", 7, evidence)
    assert "a" in one.next_step.split() or kind == "recordsLost"
    before = kept.file.read(lambda reading: reading.newest_change())
    kept.do(begin)
    assert alarms(kept) == [one], "it is the same alarm"
    another = kept.another()
    assert alarms(another) == [one], "it lasts over a restart"
    kept.do(end)
    (ended,) = alarms(kept)
    assert ended.ended_us == 9 and why in ended.ended
    changes = kept.file.read(lambda reading: reading.changes(before, 99))
    assert [one.subject for one in changes if one.kind is ChangeKind.ALARM] == [str(one.number)]
    kept.do(begin)
    assert told(kept) == [(kind, "a", True), (kind, "a", False)], "another one"
    kept.do(lambda writing: writing.remove_node("a", 11))
    assert told(kept) == [(kind, "a", False)] * 2 and "removed" in alarms(kept)[0].ended
    another.file.close()


def test_only_a_program_that_a_node_goes_back_to_raises_an_alarm_when_it_is_refused(kept: Any) -> None:
    """A new one that is refused fails its deployment, and what runs goes on."""
    kept.do(lambda writing: [writing.register_node(name, bytes(32), 1) for name in ("a", "b")])
    kept.do(lambda writing: goes_back(writing, RuleState.REFUSED, 7, is_return=False))
    assert alarms(kept) == []


def test_newer_evidence_takes_the_place_of_older_and_it_stays_acknowledged(kept: Any) -> None:
    kept.do(lambda writing: writing.register_node("a", bytes(32), 1))
    kept.do(seen(1, 5, 7))
    (one,) = alarms(kept)
    kept.do(lambda writing: writing.acknowledge_alarm(one.number, "anna", "the disk is small", 8))
    kept.do(seen(2, 9, 9, is_news=False))
    (newer,) = alarms(kept)
    assert (newer.number, newer.since_us) == (one.number, 7) and newer.evidence.startswith("9 audit records")
    assert (newer.seen_us, newer.seen_by, newer.note) == (8, "anna", "the disk is small")
    kept.do(lambda writing: writing.acknowledge_alarm(one.number, "bob", "", 12))
    assert alarms(kept) == [replace(newer, seen_us=12, seen_by="bob", note="")]


def test_deployments_fail_late_and_early_and_a_later_one_ends_it(kept: Any, helpers: Any) -> None:
    def made(number: int, rules: str, state: DeploymentState, nodes: str, reason: str = "") -> None:
        name = f"d-{number}"
        targets = tuple((rule, Target("1" * 64, name)) for rule in rules)
        one = replace(helpers.deployment(name), targets=targets)

        def step(writing: Writing) -> None:
            writing.add_deployment(one, [NodeProgress(node) for node in nodes])
            writing.save_deployment(replace(one, state=state, reason=reason, updated_us=number))

        kept.do(step)

    kept.do(lambda writing: [writing.register_node(name, bytes(32), 1) for name in "abc"])
    made(1, "p", DeploymentState.FAILED, "ab", "2 of 2 nodes refused it")
    made(2, "q", DeploymentState.SUCCEEDED, "a")
    late = replace(kept.file.read(lambda reading: reading.deployment("d-2")), reason="it began to fail", updated_us=5)
    kept.do(lambda writing: writing.save_deployment(late))
    assert told(kept) == [("lateFailure", "d-2", True), ("deploymentFailed", "d-1", True)]
    assert [one.evidence for one in alarms(kept)] == ["it began to fail", "2 of 2 nodes refused it"]
    made(3, "p", DeploymentState.SUCCEEDED, "a")
    made(4, "r", DeploymentState.SUCCEEDED, "abc")
    assert [lasts for *_, lasts in told(kept)] == [True, True], "not on all of its nodes, and not of its rule"
    kept.do(lambda writing: writing.remove_node("b", 9))
    made(6, "pr", DeploymentState.SUCCEEDED, "a")
    assert [lasts for *_, lasts in told(kept)] == [True, False], "the other node is gone"
    assert "d-6" in alarms(kept)[1].ended
    back = replace(kept.file.read(lambda reading: reading.deployment("d-2")), state=DeploymentState.ROLLED_BACK)
    kept.do(lambda writing: writing.save_deployment(back))
    assert "taken back" in alarms(kept)[0].ended
    made(7, "s", DeploymentState.FAILED, "a", "no")
    made(8, "t", DeploymentState.SUCCEEDED, "a")
    kept.do(lambda writing: writing.forget_old_deployments(1, 20))
    assert "forgotten" in alarms(kept)[0].ended and told(kept)[0] == ("deploymentFailed", "d-7", False)


def test_what_is_asked_for_is_found_and_pages_are_the_whole_list(kept: Any) -> None:
    def fill(writing: Writing) -> None:
        for number in range(9):
            writing.raise_alarm(AlarmKind.RECORDS_LOST, f"n{number}", "e", number)
            writing.raise_alarm(AlarmKind.LATE_FAILURE, f"d-{number}", "e", number)
        for number in range(0, 9, 2):
            writing.end_alarm(AlarmKind.RECORDS_LOST, f"n{number}", "w", 20)
        writing.acknowledge_alarm(1, "anna", "", 21)

    kept.do(fill)
    assert {one.subject for one in alarms(kept, is_open=False)} == {"n0", "n2", "n4", "n6", "n8"}
    assert len(alarms(kept, is_open=True)) == 13 == len(kept.file.read(lambda reading: reading.open_alarms()))
    assert [one.subject for one in alarms(kept, node="n3")] == ["n3"] and alarms(kept, node="d-3") == []
    assert [one.number for one in alarms(kept, is_seen=True)] == [1] and len(alarms(kept, is_seen=False)) == 17
    assert len(alarms(kept, kinds=frozenset({AlarmKind.LATE_FAILURE}), since_us=5)) == 4
    found, asked = [], AlarmsAsked(4)
    while True:
        page = kept.file.read(lambda reading, asked=asked: reading.alarm_page(asked))
        found += page.rows
        if page.after is None:
            break
        asked = replace(asked, after=page.after)
    assert found == alarms(kept) and [one.number for one in found] == list(range(18, 0, -1))


def test_what_has_ended_is_forgotten_beyond_a_bound_and_what_lasts_is_not(
    kept: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_alarms, "ALARMS_MAX", 5)
    kept.do(lambda writing: writing.raise_alarm(AlarmKind.LATE_FAILURE, "lasts", "e", 1))
    for number in range(20):
        kept.do(lambda writing, number=number: writing.raise_alarm(AlarmKind.RECORDS_LOST, "n", str(number), number))
        kept.do(lambda writing: writing.end_alarm(AlarmKind.RECORDS_LOST, "n", "w", 9))
    assert [one.number for one in alarms(kept)] == [21, 20, 19, 18, 17, 1]
