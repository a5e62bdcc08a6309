"""What the verbs promise: counts that are kept, what is open of a node, what goes with a node, what is due."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from eyeflow.coordinator.histories import History
from eyeflow.coordinator.store.cluster_store import Writing
from eyeflow.coordinator.store.facts import NodeReport
from eyeflow.coordinator.store.lists import DeploymentsAsked
from eyeflow.protocol.messages import Head, RuleResult, RuleState
from eyeflow.rollout.actions import InStates
from eyeflow.rollout.deployment import (
    DeploymentState,
    NodeProgress,
    NodeState,
    Options,
    Pause,
    Place,
    Target,
    Trial,
    Wanted,
)


def test_a_deployment_and_its_nodes_come_back_as_they_were(kept: Any, helpers: Any) -> None:
    made = kept.deployed(["b", "a"])
    assert kept.file.read(lambda reading: reading.deployment("d-1")) == made
    previous = (("pump", Target("2" * 64, "d-0", (("limit", 1.0), ("count", 3), ("on", True)))), ("valve", None))
    (one, _) = kept.file.read(lambda reading: reading.progress("d-1"))
    changed = replace(
        one,
        state=NodeState.SENT,
        reason="x",
        previous=previous,
        place=Place.SWITCHED,
        manifest_version=4,
        due_us=9,
        touched_us=8,
    )
    saved = kept.do(lambda writing: writing.save_progress("d-1", one, changed, 1))
    assert saved == replace(changed, revision=1)
    assert kept.file.read(lambda reading: reading.progress("d-1"))[0] == saved


def test_what_a_deployment_is_about_comes_back_as_it_was(kept: Any) -> None:
    made = kept.deployed(["a"])
    changed = replace(
        made,
        options=Options(3, 250, 60, (1_000, 5_000), 30, 100, 7),
        targets=(*made.targets, ("valve", None)),
        phase=2,
        phase_since_us=5,
        paused=(Pause("user", "paused by ada", 6),),
        waived=1,
        judgement=[2, [1, 0], [3, 4], "{}"],
        judged_us=7,
    )
    saved = kept.do(lambda writing: writing.save_deployment(changed))
    assert saved == replace(changed, revision=1)
    assert kept.file.read(lambda reading: reading.deployment("d-1")) == saved


def test_what_a_node_shall_run_comes_back_slot_by_slot(kept: Any) -> None:
    active = Wanted("pump", "active", Target("1" * 64, "d-1", (("limit", 2),)), is_return=True)
    candidate = Wanted("pump", "candidate", Target("2" * 64, "d-2"), 1_000, True, Trial(60, 20, 500, 3, False))

    def step(writing: Writing) -> None:
        writing.register_node("a", bytes(32), 1)
        for one in (candidate, active):
            writing.want("a", one)

    kept.do(step)
    assert kept.file.read(lambda reading: reading.wanted("a")) == [active, candidate]
    kept.do(lambda writing: writing.unwant("a", "pump", "candidate"))
    assert kept.file.read(lambda reading: reading.wanted("a")) == [active]


moves = st.lists(st.tuples(st.integers(0, 4), st.sampled_from([*NodeState, None])), max_size=25)


@seed(5)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(script=moves)
def test_kept_counts_are_what_counting_would_give(script: list[tuple[int, NodeState | None]], kept: Any, helpers: Any) -> None:  # fmt: skip
    deployment_id = f"d-{kept.file.newest_change}"

    def step(writing: Writing) -> None:
        nodes = [NodeProgress(name) for name in helpers.names(5)]
        writing.add_deployment(helpers.deployment(deployment_id), nodes)
        for index, state in script:
            rows = {one.node: one for one in writing.progress(deployment_id)}
            one = rows.get(helpers.names(5)[index])
            if one is not None and state is None:
                writing.drop_progress(deployment_id, one.node)
            elif one is not None and state is not None:
                writing.save_progress(deployment_id, one, replace(one, state=state), 1)

    kept.do(step)
    counted = Counter(one.state for one in kept.file.read(lambda reading: reading.progress(deployment_id)))
    assert kept.file.read(lambda reading: reading.counts(deployment_id)) == counted
    for state in NodeState:
        which = InStates(frozenset({state}))
        found = kept.file.read(lambda reading, which=which: reading.progress(deployment_id, which))
        assert len(found) == counted[state]


def test_what_has_ended_is_open_for_nobody(kept: Any) -> None:
    made = kept.deployed(["a"])
    assert [one.id for one, _ in kept.file.read(lambda reading: reading.open_progress("a"))] == ["d-1"]
    kept.do(lambda writing: writing.save_deployment(replace(made, state=DeploymentState.FAILED)))
    assert kept.file.read(lambda reading: reading.open_progress("a")) == []
    assert kept.file.read(lambda reading: reading.open_deployments()) == []
    assert len(kept.file.read(lambda reading: reading.progress("d-1"))) == 1, "it can still be looked at"


def test_what_is_taken_back_after_its_end_is_open_again(kept: Any) -> None:
    made = kept.deployed(["a"])
    ended = kept.do(lambda writing: writing.save_deployment(replace(made, state=DeploymentState.SUCCEEDED)))
    kept.do(lambda writing: writing.save_deployment(replace(ended, state=DeploymentState.ROLLING_BACK)))
    assert [one.id for one, _ in kept.file.read(lambda reading: reading.open_progress("a"))] == ["d-1"]


def test_only_what_is_due_is_due(kept: Any, helpers: Any) -> None:
    made = kept.deployed(["a", "b"])
    (a, _) = kept.file.read(lambda reading: reading.progress("d-1"))

    def due(now_us: int) -> list[str]:
        return kept.file.read(lambda reading: reading.due_deployments(now_us))

    assert due(made.deadline_us - 1) == []
    assert due(made.deadline_us) == ["d-1"]
    kept.do(lambda writing: writing.save_progress("d-1", a, replace(a, state=NodeState.SENT, due_us=500), 1))
    assert (due(499), due(500)) == ([], ["d-1"])
    assert kept.file.read(lambda reading: reading.overdue("d-1", 500)) == ("a",)
    assert kept.file.read(lambda reading: reading.awaited()) == [("d-1", "a")]
    kept.do(lambda writing: writing.save_deployment(replace(made, state=DeploymentState.FAILED)))
    assert (due(500), due(made.deadline_us)) == ([], [])


def test_old_deployments_are_forgotten_with_their_nodes(kept: Any, helpers: Any) -> None:
    def step(writing: Writing) -> None:
        for number in range(6):
            made = helpers.deployment(f"d-{number}")
            writing.add_deployment(made, [])
            if number != 1:
                writing.save_deployment(replace(made, state=DeploymentState.SUCCEEDED))
        writing.forget_old_deployments(2, 1)

    kept.do(step)
    left = kept.file.read(lambda reading: reading.deployment_page(DeploymentsAsked(9)).rows)
    assert [one.id for one in left] == ["d-5", "d-4", "d-1"]


def test_what_was_wanted_and_known_of_a_node_goes_with_it_and_its_versions_go_on(kept: Any, helpers: Any) -> None:
    def step(writing: Writing) -> None:
        writing.register_node("a", bytes(32), 1)
        writing.want("a", Wanted("pump", "active", Target("1" * 64, "d-1")))
        writing.keep_known_good("a", "pump", Target("1" * 64, "d-1"))
        writing.record_histories({"a": History(Head(b"", 1, 2, bytes(32)))}, 1)
        writing.record_report(NodeReport("a", 1, (RuleResult("pump", "1" * 64, RuleState.INSTALLED),)), 1)
        writing.next_manifest_version("a")
        writing.keep_manifest("a", b"body", b"signature", 1)
        writing.remove_node("a", 1)

    kept.do(step)
    assert kept.file.read(lambda reading: reading.wanted("a")) == []
    assert kept.file.read(lambda reading: reading.known_good("a", "pump")) is None
    assert kept.file.read(lambda reading: reading.history("a")) == History()
    assert kept.file.read(lambda reading: (reading.said("a"), reading.manifest("a"))) == ([], None)
    kept.do(lambda writing: writing.register_node("a", bytes(32), 2))
    assert kept.do(lambda writing: writing.next_manifest_version("a")) == 2, "an older manifest must stay older"


def test_a_report_of_an_older_manifest_changes_nothing(kept: Any) -> None:
    kept.do(lambda writing: writing.register_node("a", bytes(32), 1))
    for version, state in ((5, RuleState.INSTALLED), (4, RuleState.REFUSED)):
        report = NodeReport("a", version, (RuleResult("pump", "1" * 64, state),))
        kept.do(lambda writing, report=report: writing.record_report(report, 1))
    (said,) = kept.file.read(lambda reading: reading.said("a"))
    assert said.state is RuleState.INSTALLED


def test_a_rule_that_a_node_removed_is_forgotten(kept: Any) -> None:
    kept.do(lambda writing: writing.register_node("a", bytes(32), 1))
    results = (RuleResult("lamp", "2" * 64, RuleState.INSTALLED), RuleResult("pump", "", RuleState.REMOVED))
    kept.do(lambda writing: writing.record_report(NodeReport("a", 2, results), 1))
    assert [one.rule for one in kept.file.read(lambda reading: reading.said("a"))] == ["lamp"]


def test_of_a_node_that_is_not_in_the_cluster_no_history_is_kept(kept: Any) -> None:
    kept.do(lambda writing: writing.record_histories({"ghost": History(Head(b"", 1, 2, bytes(32)))}, 1))
    assert kept.file.read(lambda reading: reading.history("ghost")) == History()
