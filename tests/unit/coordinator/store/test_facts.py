"""Each fact comes back as it was written, in the promised order, and a change of one leaves all others as they were."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from msgspec.structs import replace as replace_struct

from eyeflow.coordinator.histories import Dial, Doubt, Finding, History, Proof
from eyeflow.coordinator.store import sql_writing
from eyeflow.coordinator.store.cluster_store import ConflictError, Reading, Writing, doubt
from eyeflow.coordinator.store.coordination import Link
from eyeflow.coordinator.store.facts import (
    ApiToken,
    Change,
    ChangeKind,
    JoinToken,
    LogEntry,
    NodeRecord,
    NodeReport,
    ProgramRecord,
    Seen,
    SignedManifest,
)
from eyeflow.coordinator.store.facts import Kept as Counted
from eyeflow.coordinator.store.lists import DeploymentsAsked
from eyeflow.protocol.messages import BOOT_BYTES, Head, RuleResult, RuleState
from eyeflow.protocol.node_facts import NodeFacts
from eyeflow.protocol.slot import Slot
from eyeflow.rollout.actions import InStates, Nodes
from eyeflow.rollout.deployment import (
    LOOK_S,
    DeploymentState,
    NodeProgress,
    NodeState,
    Rollback,
    Target,
    Wanted,
)

A, B = bytes(range(32)), bytes(range(1, 33))
OLD, NEW = Target("1" * 64, "d-0", (("limit", 1.5),)), Target("2" * 64, "d-1")


def shall(rule: str, target: Target) -> Wanted:
    return Wanted(rule, "active", target)


def look(kept: Any, question: Callable[[Reading], Any]) -> Any:
    return kept.file.read(question)


def told(kept: Any, step: Callable[[Writing], object]) -> list[tuple[ChangeKind, str, str]]:
    """Do a step; return what it appended to the feed, without alarms: they have tests of their own."""
    before = look(kept, lambda reading: reading.newest_change())
    kept.do(step)
    changes: list[Change] = look(kept, lambda reading: reading.changes(before, 100))
    assert all(change.time_us == 9 for change in changes), "when it happened"
    return [(one.kind, one.subject, one.node) for one in changes if one.kind is not ChangeKind.ALARM]


def program(name: str, rule: str, uploaded_us: int) -> ProgramRecord:
    about = {"signers": [A.hex()], "sites": [{"x": name}]}
    return ProgramRecord(name * 64, rule, f"{name}.0.0", int(name), "linux", about, uploaded_us, f"user-{name}", 3)


def test_programs(kept: Any) -> None:
    records = [program("1", "pump", 20), program("2", "pump", 30), program("3", "lamp", 10), program("4", "pump", 30)]
    kept.do(lambda writing: [writing.add_program(one, b"<" + one.id[:1].encode() + b">") for one in records])
    one, two, three, four = records
    assert look(kept, lambda reading: reading.programs_of("pump")) == [four, two, one], "the last uploaded first"
    assert look(kept, lambda reading: reading.rules()) == ["lamp", "pump"]
    assert look(kept, lambda reading: (reading.program(three.id), reading.program("5" * 64))) == (three, None)
    assert three.signers == (A,)
    kept.do(lambda writing: writing.resign_program(one.id, {"signers": []}, b"longer", 2))
    assert look(kept, lambda reading: reading.program(one.id)) == replace(one, about={"signers": []}, size_bytes=6)
    data = look(kept, lambda reading: [reading.program_bytes(name * 64) for name in "1235"])
    assert data == [b"longer", b"<2>", b"<3>", b""]


def node(name: str, **more: Any) -> NodeRecord:
    return replace(NodeRecord(name, A, 9, 0, "", 0, 0, 0, 0, "", 0), **more)


def test_nodes(kept: Any) -> None:
    joined = told(kept, lambda writing: [writing.register_node(name, A, 9) for name in ("b", "a")])
    assert joined == [(ChangeKind.NODE, "b", ""), (ChangeKind.NODE, "a", "")]
    assert look(kept, lambda reading: reading.nodes()) == [node("a"), node("b")]
    assert look(kept, lambda reading: (reading.node_names(), reading.node("c"))) == (["a", "b"], None)
    assert told(kept, lambda writing: writing.record_problem("a", "why", 9)) == [(ChangeKind.NODE, "a", "")]
    assert told(kept, lambda writing: writing.record_problem("a", "why", 9)) == [], "it is known already"
    assert look(kept, lambda reading: reading.node("a")) == node("a", problem="why")
    assert told(kept, lambda writing: writing.record_hello("a", "1.2.3", 3, 9, None)) == [(ChangeKind.NODE, "a", "")]
    up = node("a", last_seen_us=9, software="1.2.3", protocol=3)
    assert look(kept, lambda reading: reading.node("a")) == up, "a link that is up is no problem"
    assert told(kept, lambda writing: writing.record_seen([Seen("a", 5, 6, 7), Seen("c", 1, 1, 1)])) == []
    assert look(kept, lambda reading: reading.node("a")) == replace(up, last_seen_us=7, epoch=5, next_seq=6)
    news = [Seen("a", 5, 6, 9, is_news=True), Seen("c", 1, 1, 9, is_news=True)]
    assert told(kept, lambda writing: writing.record_seen(news)) == [(ChangeKind.NODE, "a", "")], "of no stranger"
    assert look(kept, lambda reading: reading.node("b")) == node("b"), "nothing of it is another node's"
    assert told(kept, lambda writing: writing.remove_node("a", 9)) == [(ChangeKind.NODE, "a", "")]
    assert look(kept, lambda reading: reading.nodes()) == [node("b")]


def test_what_nodes_said(kept: Any) -> None:
    kept.do(lambda writing: [writing.register_node(name, A, 9) for name in "ab"])
    results = (
        RuleResult("pump", "1" * 64, RuleState.INSTALLED),
        RuleResult("lamp", "2" * 64, RuleState.REFUSED, "why", Slot.CANDIDATE),
        RuleResult("lamp", "3" * 64, RuleState.INSTALLED),
    )
    heard = told(kept, lambda writing: writing.record_report(NodeReport("a", 5, results), 9))
    assert heard == [(ChangeKind.NODE, "a", "")]
    kept.do(lambda writing: writing.record_report(NodeReport("b", 1, results[:1]), 8))
    assert look(kept, lambda reading: reading.said("a")) == [results[2], results[1], results[0]], "by rule and slot"
    assert look(kept, lambda reading: reading.node("a")) == node("a", last_seen_us=9, applied_version=5)
    assert told(kept, lambda writing: writing.record_report(NodeReport("a", 4, ()), 9)) == [], "of an older manifest"
    kept.do(lambda writing: writing.record_report(NodeReport("a", 5, results[:1]), 9))
    assert look(kept, lambda reading: reading.said("a")) == [results[0]], "the same manifest again"
    gone = (RuleResult("door", "", RuleState.REMOVED), *results)
    kept.do(lambda writing: writing.record_report(NodeReport("a", 6, gone), 9))
    assert look(kept, lambda reading: len(reading.said("a"))) == 3, (
        "of what is removed nothing is told, of the rest all"
    )
    kept.do(lambda writing: writing.record_report(NodeReport("a", 7, results[:1]), 9))
    kept.do(lambda writing: writing.forget_applied("a"))
    assert look(kept, lambda reading: (reading.node("a").applied_version, reading.node("b").applied_version)) == (0, 1)
    assert look(kept, lambda reading: reading.said("b")) == [results[0]]


def test_what_nodes_shall_run(kept: Any) -> None:
    kept.do(lambda writing: [writing.register_node(name, A, 9) for name in "ab"])
    kept.do(lambda writing: [writing.want(name, shall(rule, OLD)) for name in "ba" for rule in ("pump", "lamp")])
    kept.do(lambda writing: (writing.want("a", shall("pump", NEW)), writing.unwant("b", "lamp", "active")))
    assert look(kept, lambda reading: reading.wanted("a")) == [shall("lamp", OLD), shall("pump", NEW)]
    assert look(kept, lambda reading: reading.wanted("b")) == [shall("pump", OLD)]
    assert look(kept, lambda reading: reading.wanted_of_rule("pump")) == [
        ("a", shall("pump", NEW)),
        ("b", shall("pump", OLD)),
    ]
    kept.do(lambda writing: [writing.keep_known_good(name, "pump", OLD) for name in "ab"])
    kept.do(lambda writing: (writing.keep_known_good("a", "pump", NEW), writing.keep_known_good("a", "lamp", OLD)))
    kept.do(lambda writing: writing.forget_known_good("b", "pump"))
    known = [("a", "pump"), ("a", "lamp"), ("b", "pump")]
    assert look(kept, lambda reading: [reading.known_good(*one) for one in known]) == [NEW, OLD, None]


def test_manifests(kept: Any) -> None:
    kept.do(lambda writing: [writing.register_node(name, A, 9) for name in "ab"])
    assert kept.do(lambda writing: [writing.next_manifest_version(name) for name in "aabc"]) == [1, 2, 1, 0]
    kept.do(lambda writing: (writing.want("a", shall("pump", OLD)), writing.want("a", shall("lamp", NEW))))
    made = told(kept, lambda writing: writing.keep_manifest("a", b"body", b"signature", 9))
    assert made == [(ChangeKind.MANIFEST, "a", "")]
    ids = frozenset({OLD.program_id, NEW.program_id})
    assert look(kept, lambda reading: reading.manifest("a")) == SignedManifest(2, b"body", b"signature", ids)
    kept.do(lambda writing: (writing.next_manifest_version("a"), writing.keep_manifest("a", b"new", b"too", 9)))
    assert look(kept, lambda reading: reading.manifest("a")) == SignedManifest(3, b"new", b"too", ids)
    assert look(kept, lambda reading: (reading.manifest("b"), reading.manifest("c"))) == (None, None)


def test_histories(kept: Any) -> None:
    kept.do(lambda writing: [writing.register_node(name, A, 9) for name in "ab"])
    boots = (bytes(BOOT_BYTES), bytes(range(BOOT_BYTES)))
    dials = (Dial(boots[0], "192.0.2.1", 7), Dial(boots[1], "", 8))
    forked = Finding(Doubt.FORKED, 1, 2, "why", Proof(5, 6, A, B, dials[:1]))
    findings = (forked, Finding(Doubt.NEW_EPOCH, 3, 4, "also"))
    whole = History(Head(b"", 5, 6, A), boots, findings, dials)
    new_epoch = History(None, (), findings[1:])
    heard = told(kept, lambda writing: writing.record_histories({"b": new_epoch, "a": whole}, 9))
    assert heard == [(ChangeKind.NODE, "a", ""), (ChangeKind.NODE, "b", "")]
    assert look(kept, lambda reading: (reading.history("a"), reading.history("b"))) == (whole, new_epoch)
    assert look(kept, lambda reading: reading.in_doubt()) == 1, "a new epoch blocks nothing"
    assert look(kept, lambda reading: doubt(reading, "a")) == whole.reason and whole.reason
    assert told(kept, lambda writing: writing.record_histories({"a": whole}, 9)) == [], "nothing new of it"
    moved = replace(whole, head=Head(b"", 5, 7, B), boots=boots[:1])
    assert told(kept, lambda writing: writing.record_histories({"a": moved}, 9)) == [], "that happens each second"
    assert look(kept, lambda reading: reading.history("a")) == moved
    assert told(kept, lambda writing: writing.record_histories({"a": History()}, 9)) == [(ChangeKind.NODE, "a", "")]
    assert look(kept, lambda reading: (reading.history("a"), reading.history("b"))) == (History(), new_epoch)


def test_only_a_person_begins_and_ends_a_quarantine(kept: Any) -> None:
    """Another coordinator may write down at the same time what the node told: it has not heard of it yet."""
    kept.do(lambda writing: writing.register_node("a", A, 9))
    by_hand = Finding(Doubt.QUARANTINED, 4, 4, "ada set it aside")
    set_aside = told(kept, lambda writing: writing.set_quarantine("a", by_hand, 9))
    assert (ChangeKind.NODE, "a", "") in set_aside
    assert look(kept, lambda reading: (reading.history("a").findings, reading.in_doubt())) == ((by_hand,), 1)
    forked = Finding(Doubt.FORKED, 1, 2, "why")
    kept.do(lambda writing: writing.record_histories({"a": History(Head(b"", 5, 6, A), (), (forked,))}, 9))
    assert look(kept, lambda reading: reading.history("a")).findings == (forked, by_hand)
    kept.do(lambda writing: writing.record_histories({"a": History()}, 9))
    assert look(kept, lambda reading: reading.history("a")) == History(findings=(by_hand,))
    kept.do(lambda writing: writing.set_quarantine("a", None, 9))
    assert look(kept, lambda reading: (reading.history("a"), reading.in_doubt())) == (History(), 0)
    kept.do(lambda writing: writing.record_histories({"a": History(findings=(by_hand,))}, 9))
    assert look(kept, lambda reading: reading.history("a")) == History(), "nor does a memory of it bring it back"


def test_the_log_of_who_did_what_is_bounded(kept: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [LogEntry(number, f"actor-{number}", "did", "subject", "detail") for number in range(6)]
    kept.do(lambda writing: [writing.add_log_entry(one) for one in entries])
    assert look(kept, lambda reading: reading.log_entries(2)) == [entries[5], entries[4]], "the newest first"
    monkeypatch.setattr(sql_writing, "LOG_ENTRIES_MAX", 3)
    kept.do(lambda writing: None)
    assert look(kept, lambda reading: reading.log_entries(9)) == [entries[5], entries[4], entries[3]]


def test_counts_of_what_is_kept(kept: Any) -> None:
    def step(writing: Writing) -> None:
        for number in range(4):
            writing.register_node(str(number), A, 9)
        for name in "123":
            writing.add_program(program(name, "pump", 1), b"x")
        for name in "ab":
            writing.add_api_token(ApiToken(name, "n", "admin", A, 1))
        writing.add_join_token(JoinToken("a", A, 1, 2))
        writing.take_link(Link("0", "x", 1, 9))

    kept.do(step)
    counted = look(kept, lambda reading: {one: reading.count(one) for one in Counted})
    assert counted == {
        Counted.NODES: 4,
        Counted.PROGRAMS: 3,
        Counted.API_TOKENS: 2,
        Counted.JOIN_TOKENS: 1,
        Counted.LINKS: 1,
        Counted.RULES: 1,
        Counted.OPEN_DEPLOYMENTS: 0,
    }


def test_cursors(kept: Any) -> None:
    kept.do(lambda writing: (writing.move_cursor("a", 7), writing.move_cursor("b", 1), writing.move_cursor("a", 8)))
    assert look(kept, lambda reading: [reading.cursor(name) for name in "abc"]) == [8, 1, 0]


def test_deployments(kept: Any, helpers: Any) -> None:
    made = [
        replace(helpers.deployment(f"d-{number}"), created_us=9, rollback=rollback, targets=(("pump", target),))
        for number, rollback, target in ((2, Rollback.NEVER, OLD), (1, Rollback.ON_ERROR, NEW))
    ]
    begun = told(kept, lambda writing: [writing.add_deployment(one, []) for one in made])
    assert begun == [(ChangeKind.DEPLOYMENT, one.id, "") for one in made]
    assert look(kept, lambda reading: reading.deployment_page(DeploymentsAsked(9)).rows) == [*reversed(made)], (
        "the newest first"
    )
    assert look(kept, lambda reading: reading.deployment_page(DeploymentsAsked(1)).rows) == made[1:]
    assert look(kept, lambda reading: reading.open_deployments()) == made, "the oldest first"
    assert look(kept, lambda reading: (reading.deployment("d-1"), reading.deployment("d-3"))) == (made[1], None)
    changed = replace(
        made[0],
        state=DeploymentState.ROLLING_BACK,
        reason="why",
        updated_us=9,
        state_deadline_us=11,
        outcome=DeploymentState.CANCELLED,
    )
    saved = kept.do(lambda writing: writing.save_deployment(changed))
    assert saved == replace(changed, revision=1)
    assert look(kept, lambda reading: (reading.deployment("d-2"), reading.deployment("d-1"))) == (saved, made[1])
    with pytest.raises(ConflictError) as error:
        kept.do(lambda writing: writing.save_deployment(changed))
    assert error.value.code == "conflict" and "d-2" in error.value.message


def test_a_deployment_that_is_watched_is_looked_at_from_time_to_time(kept: Any, helpers: Any) -> None:
    watched = replace(helpers.deployment("d-1"), state=DeploymentState.OBSERVING, judged_us=7)
    installing = replace(helpers.deployment("d-2"), state=DeploymentState.INSTALLING, judged_us=7)
    kept.do(lambda writing: [writing.add_deployment(one, []) for one in (watched, installing)])
    again_us = 7 + LOOK_S * 1_000_000

    def due(now_us: int) -> list[str]:
        return look(kept, lambda reading: reading.due_deployments(now_us))

    assert due(again_us - 1) == [] and due(again_us) == ["d-1"]
    assert due(installing.deadline_us) == ["d-1", "d-2"]


def test_nodes_of_a_deployment(kept: Any, helpers: Any) -> None:
    states = [NodeState.SENT, NodeState.WAITING, NodeState.SENT, NodeState.INSTALLED]
    rows = [NodeProgress(name, state, due_us=5) for name, state in zip("dcba", states, strict=True)]

    def step(writing: Writing) -> None:
        for name in "abcd":
            writing.register_node(name, A, 9)
        writing.add_deployment(helpers.deployment("d-1"), rows)
        writing.add_deployment(helpers.deployment("d-2"), rows[:1])

    kept.do(step)
    a, b, c, d = reversed(rows)

    def found(*given: Any) -> list[NodeProgress]:
        return look(kept, lambda reading: reading.progress("d-1", *given))

    assert found() == [a, b, c, d] and found(None, 2) == [a, b]
    assert found(Nodes(("d", "a", "x"))) == [a, d] and found(Nodes(("d", "a")), 1) == [a]
    both = InStates(frozenset({NodeState.SENT, NodeState.INSTALLED}))
    assert found(both) == [a, b, d] and found(both, 2) == [a, b]
    assert found(replace(both, limit=1)) == [a], "a batch of a strategy"
    assert look(kept, lambda reading: reading.awaited()) == [*(("d-1", name) for name in "abcd"), ("d-2", "d")]
    assert look(kept, lambda reading: reading.overdue("d-1", 5)) == ("a", "b", "c", "d")
    assert look(kept, lambda reading: reading.overdue("d-2", 4)) == ()
    parts = look(kept, lambda reading: reading.open_progress("d"))
    assert [(deployment.id, one) for deployment, one in parts] == [("d-1", d), ("d-2", d)], "the oldest first"
    after = replace(d, state=NodeState.INSTALLED, due_us=0)
    moved = told(kept, lambda writing: writing.save_progress("d-1", d, after, 9))
    assert moved == [(ChangeKind.PROGRESS, "d-1", "d")]
    assert look(kept, lambda reading: reading.progress("d-2")) == [d], "that of another deployment stays"
    with pytest.raises(ConflictError) as error:
        kept.do(lambda writing: writing.save_progress("d-1", d, after, 9))
    assert "node d" in error.value.message and "d-1" in error.value.message
    counts = {NodeState.INSTALLED: 2, NodeState.SENT: 1, NodeState.WAITING: 1}
    assert look(kept, lambda reading: reading.counts("d-1")) == counts
    kept.do(lambda writing: writing.drop_progress("d-1", "d"))
    assert found() == [a, b, c] and look(kept, lambda reading: reading.progress("d-2")) == [d]
    assert look(kept, lambda reading: reading.counts("d-1")) == counts | {NodeState.INSTALLED: 1}


def test_rules_of_open_deployments_are_watched(kept: Any, helpers: Any) -> None:
    first = replace(helpers.deployment("d-1"), targets=(("lamp", NEW), ("pump", NEW)))
    second = replace(helpers.deployment("d-2"), targets=(("door", NEW),))
    kept.do(lambda writing: [writing.add_deployment(one, []) for one in (first, second)])
    assert look(kept, lambda reading: reading.watched_rules()) == {"lamp", "pump", "door"}
    kept.do(lambda writing: writing.save_deployment(replace(first, state=DeploymentState.FAILED)))
    assert look(kept, lambda reading: reading.watched_rules()) == {"door"}


def test_a_node_that_is_gone_keeps_no_other_from_its_history(kept: Any) -> None:
    kept.do(lambda writing: writing.register_node("b", A, 9))
    seen = History(Head(b"", 5, 6, A))
    kept.do(lambda writing: writing.record_histories({"a": seen, "b": seen}, 9))
    assert look(kept, lambda reading: (reading.history("a"), reading.history("b"))) == (History(), seen)


def test_what_a_node_tells_of_itself(kept: Any) -> None:
    kept.do(lambda writing: writing.register_node("a", A, 9))
    told_facts = NodeFacts("linux", "", "x86_64", 10**9, 1, ("log.*",), ("gpio", "log"), None)
    for facts in (told_facts, None, replace_struct(told_facts, sources=())):
        kept.do(lambda writing, facts=facts: writing.record_hello("a", "1.2.3", 3, 9, facts))
        assert look(kept, lambda reading: reading.node("a").facts) == facts


def test_a_manifest_version_never_goes_down(kept: Any) -> None:
    kept.do(lambda writing: [writing.register_node(name, A, 9) for name in "ab"])
    for version, now in ((5, 5), (4, 5), (5, 5), (6, 6)):
        kept.do(lambda writing, version=version: writing.raise_manifest_version("a", version))
        assert look(kept, lambda reading: reading.node("a").manifest_version) == now
    assert look(kept, lambda reading: reading.node("b").manifest_version) == 0


def test_how_far_a_node_is_ahead_is_kept_until_it_is_forgotten_or_removed(kept: Any) -> None:
    kept.do(lambda writing: [writing.register_node(name, A, 9) for name in "ab"])
    for version in (7, 9, 8):
        kept.do(lambda writing, version=version: writing.record_ahead("a", version, 1))
        assert look(kept, lambda reading: (reading.ahead("a"), reading.ahead("b"))) == (version, 0)
    kept.do(lambda writing: writing.record_ahead("a", 0, 1))
    assert look(kept, lambda reading: reading.ahead("a")) == 0
    kept.do(lambda writing: [writing.record_ahead("b", 5, 1), writing.record_ahead("unknown", 5, 1)])
    assert look(kept, lambda reading: (reading.ahead("b"), reading.ahead("unknown"))) == (5, 0)
    kept.do(lambda writing: writing.remove_node("b", 9))
    kept.do(lambda writing: writing.register_node("b", A, 9))
    assert look(kept, lambda reading: reading.ahead("b")) == 0


def test_a_deployment_that_succeeded_is_open_again_while_it_is_taken_back(kept: Any) -> None:
    made = kept.deployed(["a", "b"])

    def saved(state: DeploymentState) -> list[str]:
        now = look(kept, lambda reading: reading.deployment("d-1"))
        kept.do(lambda writing: writing.save_deployment(replace(now, state=state)))
        return [one.id for one, _ in look(kept, lambda reading: reading.open_progress("a"))]

    assert saved(DeploymentState.SUCCEEDED) == []
    assert saved(DeploymentState.ROLLING_BACK) == [made.id]
    assert saved(DeploymentState.ROLLED_BACK) == []
