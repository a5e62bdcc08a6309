"""What each event makes of a deployment and of one of its nodes, and what people are told of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from eyeflow.rollout import actions, progress, strategies
from eyeflow.rollout.actions import NAMED_MAX, Begin, Enter, GoBack, InStates, KnownGood, Mark, Nodes, Situation
from eyeflow.rollout.deployment import (
    BACK,
    CHANGED,
    INSTALL_S,
    NOT_BACK,
    NOT_BEGUN,
    RETURN_S,
    TERMINAL,
    Deployment,
    DeploymentState,
    NodeProgress,
    NodeState,
    Place,
    Rollback,
    Target,
)
from eyeflow.rollout.immediate import immediate
from eyeflow.rollout.progress import AWAITED, Ordered, Report

SECOND = 1_000_000
NOW_US = 1_790_000_000 * SECOND
TARGETS = (("pump", Target("2" * 64, "d-1")),)
DEPLOYMENT = Deployment("d-1", TARGETS, "immediate", Rollback.ON_ERROR, NOW_US, NOW_US + SECOND)
PREVIOUS = (("pump", Target("1" * 64, "d-0")),)
NODE = NodeProgress(
    "a", NodeState.WAITING, previous=PREVIOUS, place=Place.ACTIVE, manifest_version=7, touched_us=3, revision=2
)
EVERY_STATE = pytest.mark.parametrize("state", NodeState)
ALL = Nodes(("a",))
COUNTING = AWAITED | CHANGED | NOT_BEGUN


def situation(*nodes: NodeProgress, deployment: Deployment = DEPLOYMENT, overdue: tuple[str, ...] = ()) -> Situation:
    states = {one.state for one in nodes}
    of = {state: tuple(one for one in nodes if one.state is state) for state in states}
    return Situation(deployment, {state: len(of[state]) for state in states}, overdue, of)


def nodes(count: int, state: NodeState, reason: str = "") -> list[NodeProgress]:
    return [NodeProgress(f"n{number:02}", state, reason) for number in range(count)]


# --- a node ------------------------------------------------------------------------------------------------------


@EVERY_STATE
def test_a_node_that_begins_starts_from_nothing(state: NodeState) -> None:
    """Also one that began before: as when a strategy tries again."""
    before = replace(NODE, state=state, reason="not granted", due_us=9)
    assert progress.ordered(Begin(ALL, Place.CANDIDATE, phase=3), before) == Ordered(
        replace(NODE, state=NodeState.WAITING, place=Place.CANDIDATE, phase=3), wants=True
    )


@EVERY_STATE
def test_a_mark_puts_a_node_into_a_state_and_wants_nothing_of_it(state: NodeState) -> None:
    marked = progress.ordered(Mark(ALL, state, "why"), replace(NODE, due_us=9))
    assert marked == Ordered(replace(NODE, state=state, reason="why"), wants=False)


@EVERY_STATE
def test_a_node_that_passed_stays_what_it_is(state: NodeState) -> None:
    assert progress.ordered(KnownGood(ALL), replace(NODE, state=state)) == Ordered(replace(NODE, state=state))


@EVERY_STATE
def test_no_answer_is_due_of_a_node_that_goes_back(state: NodeState) -> None:
    """Its deadline is that of the deployment; and one that is on its way back, or was, is told nothing again."""
    before = replace(NODE, state=state, reason="why", due_us=9)
    went = progress.ordered(GoBack(ALL), before)
    if state in BACK:
        assert went == Ordered(before)
        return
    after = NodeState.REFUSED if state is NodeState.REFUSED else NodeState.RETURNING
    assert went == Ordered(replace(before, state=after, due_us=0, place=Place.NOTHING), wants=True)


def test_the_answer_to_a_manifest_is_due_from_when_it_went_out() -> None:
    sent = progress.sent(replace(NODE, touched_us=0), NOW_US)
    assert sent == replace(NODE, state=NodeState.SENT, due_us=NOW_US + INSTALL_S * SECOND, touched_us=NOW_US)
    assert progress.sent(NODE, NOW_US).touched_us == 3, "when something else first went out stays known"
    assert progress.lost(sent) == replace(sent, state=NodeState.WAITING, due_us=0), "it cannot answer while it is away"


@EVERY_STATE
def test_only_a_node_that_is_waited_for_is_sent_or_lost(state: NodeState) -> None:
    one = replace(NODE, state=state, due_us=9)
    if state is not NodeState.WAITING:
        assert progress.sent(one, NOW_US) == one
    if state not in {NodeState.SENT, NodeState.HELD}:
        assert progress.lost(one) == one
    assert progress.linked(one) == (replace(one, state=NodeState.HELD) if state is NodeState.AWAY else one)


@EVERY_STATE
@pytest.mark.parametrize("refused", ["", "not granted"])
def test_an_answer_counts_once(state: NodeState, refused: str) -> None:
    before = replace(NODE, state=state, reason="why", due_us=9)
    after = progress.reported(before, Report(7, refused))
    if state is NodeState.RETURNING:
        reason = "could not go back: not granted" if refused else "why"
        assert after == replace(before, state=NodeState.RETURNED, reason=reason)
    elif state in AWAITED:
        said = NodeState.REFUSED if refused else NodeState.INSTALLED
        assert after == replace(before, state=said, reason=refused, due_us=0)
    else:
        assert after == before
    assert progress.reported(before, Report(6, refused)) == before, "of an older manifest"


@EVERY_STATE
def test_what_cannot_count_is_refused_also_when_it_was_reported_already(state: NodeState) -> None:
    before = replace(NODE, state=state, reason="why", due_us=9)
    counts = replace(before, state=NodeState.REFUSED, reason="in doubt", due_us=0)
    assert progress.disowned(before, "in doubt") == (counts if state in COUNTING else before)


# --- a deployment ------------------------------------------------------------------------------------------------


def test_a_clock_that_was_set_moves_the_deadlines_and_nothing_else() -> None:
    assert actions.moved(DEPLOYMENT, 5) == replace(DEPLOYMENT, deadline_us=DEPLOYMENT.deadline_us + 5)
    going_back = replace(DEPLOYMENT, state_deadline_us=NOW_US)
    assert actions.moved(going_back, -5) == replace(
        going_back, deadline_us=DEPLOYMENT.deadline_us - 5, state_deadline_us=NOW_US - 5
    )


def test_a_cancelled_deployment_takes_every_node_back_and_ends_as_cancelled() -> None:
    until_us = NOW_US + RETURN_S * SECOND
    back, enter = strategies.cancel(DEPLOYMENT, NOW_US)
    assert back == GoBack(InStates(NOT_BACK))
    assert enter == Enter(DeploymentState.ROLLING_BACK, "cancelled", until_us, DeploymentState.CANCELLED)
    assert isinstance(enter, Enter)
    cancelled = actions.entered(DEPLOYMENT, enter, NOW_US)
    assert (cancelled.state, cancelled.state_deadline_us) == (DeploymentState.ROLLING_BACK, until_us)
    assert cancelled.updated_us == NOW_US, "people are told since when"
    away = situation(replace(NODE, state=NodeState.RETURNING), deployment=cancelled)
    assert immediate(away, until_us - 1) == ()
    (end,) = immediate(away, until_us)
    assert end == Enter(DeploymentState.CANCELLED, "cancelled; still to return when back: a")
    assert immediate(situation(deployment=cancelled), NOW_US) == (Enter(DeploymentState.CANCELLED, "cancelled"),)


@pytest.mark.parametrize("state", DeploymentState)
def test_a_newer_deployment_ends_an_older_one_that_is_open(state: DeploymentState) -> None:
    ended = strategies.supersede(replace(DEPLOYMENT, state=state), "d-2", NOW_US)
    if state in TERMINAL:
        assert ended == ()
        return
    back, enter = ended
    assert back == GoBack(InStates(NOT_BACK)), "what the newer one does not bring goes back"
    assert isinstance(enter, Enter) and enter.reason == "superseded by deployment d-2"
    assert (enter.state, enter.outcome) == (DeploymentState.ROLLING_BACK, DeploymentState.SUPERSEDED)


def test_what_a_newer_deployment_brings_is_not_taken_back() -> None:
    two = (*PREVIOUS, ("valve", None))
    one = replace(NODE, previous=two, due_us=9)
    assert progress.taken_over(one, frozenset({"pump"}), "d-2") == replace(one, previous=(("valve", None),))
    gone = progress.taken_over(one, frozenset({"pump", "valve"}), "d-2")
    assert (gone.state, gone.previous, gone.due_us) == (NodeState.RETURNED, (), 0)
    assert gone.reason == "taken over by deployment d-2"


def test_a_state_without_a_reason_keeps_the_one_there_was() -> None:
    failing = replace(DEPLOYMENT, reason="b: not granted")
    assert actions.entered(failing, Enter(DeploymentState.FAILED), NOW_US).reason == "b: not granted"
    assert actions.entered(failing, Enter(DeploymentState.FAILED, "other"), NOW_US).reason == "other"


# --- what people are told ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [0, 1, 5])
def test_a_reason_names_a_few_nodes_and_counts_the_others(more: int) -> None:
    many = nodes(NAMED_MAX + more, NodeState.REFUSED, "no")
    seen = situation(*many)
    tail = [f"and {more} more"] if more else []
    assert seen.names(NodeState.REFUSED).split(", ") == [one.node for one in many[:NAMED_MAX]] + tail
    named = ", ".join(one.node for one in many[:NAMED_MAX])
    assert seen.names(NodeState.REFUSED, reasons=True) == f"{named}: no" + (f"; also {more} more" if more else "")


def test_a_reason_is_told_once_and_those_of_other_nodes_stay_with_them() -> None:
    first, second, third = nodes(3, NodeState.REFUSED, "no")
    seen = situation(first, replace(second, reason="7 of 20 failed"), third)
    assert seen.names(NodeState.REFUSED, reasons=True) == "n00, n02: no; also n01"


@pytest.mark.parametrize("state", [DeploymentState.PENDING, DeploymentState.INSTALLING])
@pytest.mark.parametrize("rollback", Rollback)
def test_a_failure_is_told_with_the_reason_of_each_node(state: DeploymentState, rollback: Rollback) -> None:
    failing = replace(DEPLOYMENT, state=state, rollback=rollback)
    *_, enter = immediate(situation(*nodes(2, NodeState.REFUSED, "no"), deployment=failing), NOW_US)
    if state is DeploymentState.PENDING and rollback is Rollback.NEVER:
        assert enter == Enter(DeploymentState.FAILED, "n00, n01: no"), "nobody else is left"
        return
    assert isinstance(enter, Enter) and enter.reason == "n00, n01: no"
    wanted = DeploymentState.ROLLING_BACK if rollback is Rollback.ON_ERROR else DeploymentState.FAILED
    assert (enter.state, enter.outcome) == (wanted, DeploymentState.FAILED)


def test_a_deadline_that_passed_is_told_with_the_nodes_that_were_away() -> None:
    installing = replace(DEPLOYMENT, state=DeploymentState.INSTALLING)
    away = situation(*nodes(2, NodeState.WAITING), deployment=installing)
    assert immediate(away, installing.deadline_us - 1) == ()
    *_, enter = immediate(away, installing.deadline_us)
    assert isinstance(enter, Enter)
    assert enter.reason == "the deadline passed before these nodes came back: n00, n01"
