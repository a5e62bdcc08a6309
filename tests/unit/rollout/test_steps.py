"""What each strategy asks for at each of its steps, and what people do to a deployment meanwhile."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from eyeflow.evidence.outcomes import Outcomes
from eyeflow.evidence.verdict import Kind, Verdict
from eyeflow.rollout import actions, progress, strategies
from eyeflow.rollout.actions import (
    Action,
    Begin,
    Enter,
    GoBack,
    InStates,
    KnownGood,
    Mark,
    Nodes,
    SetPauses,
    Situation,
    Waive,
)
from eyeflow.rollout.deployment import (
    INSTALL_S,
    NOT_BACK,
    NOT_BEGUN,
    RETURN_S,
    TERMINAL,
    Deployment,
    DeploymentState,
    NodeProgress,
    NodeState,
    Options,
    Pause,
    Place,
    Rollback,
    Target,
    Trial,
    Wanted,
)
from eyeflow.rollout.rolling import batch_size
from eyeflow.rollout.stepwise import APPROVAL, EVIDENCE, USER
from eyeflow.rollout.wanting import as_before, begun, is_same, passed

SECOND = 1_000_000
NOW_US = 1_790_000_000 * SECOND
OLD, NEW = Target("1" * 64, "d-0"), Target("2" * 64, "d-1")
OPTIONS = Options(observe_s=60, steps=(1_000, 5_000))
TRIAL = Trial(60, 20, 500, 3, rollback=True, judges=2)
BESIDE = frozenset({NodeState.HELD, NodeState.WAITING, NodeState.STAGED})
SHARING = BESIDE | {NodeState.SENT}
SUCCEED = (KnownGood(InStates(frozenset({NodeState.INSTALLED}))), Enter(DeploymentState.SUCCEEDED))


def deployment(strategy: str, **more: Any) -> Deployment:
    made = Deployment("d-1", (("pump", NEW),), strategy, Rollback.ON_ERROR, NOW_US, NOW_US + 10**12, options=OPTIONS)
    return replace(made, **more)


def decided(one: Deployment, *states: NodeState, now_us: int = NOW_US) -> tuple[Action, ...]:
    rows = [NodeProgress(f"n{number}", state) for number, state in enumerate(states)]
    counts = {state: states.count(state) for state in states}
    named = {state: tuple(row for row in rows if row.state is state) for state in states}
    return strategies.STRATEGIES[one.strategy](Situation(one, counts, (), named), now_us)


def begins(which: InStates, place: Place, phase: int, share: int = 0, trial: Trial | None = None) -> tuple[Action, ...]:
    return (Begin(which, place, share, trial, phase), Enter(DeploymentState.INSTALLING, phase=phase))


@pytest.mark.parametrize(
    ("strategy", "first"),
    [
        ("immediate", begins(InStates(NOT_BEGUN), Place.ACTIVE, 0, trial=TRIAL)),
        ("rolling", begins(InStates(frozenset({NodeState.HELD}), 1), Place.ACTIVE, 0, trial=TRIAL)),
        ("canary", begins(InStates(SHARING), Place.CANDIDATE, 0, 1_000, TRIAL)),
        ("blue_green", begins(InStates(NOT_BEGUN), Place.CANDIDATE, 0)),
        ("shadow", begins(InStates(BESIDE), Place.CANDIDATE, 0, trial=TRIAL)),
    ],
)
def test_the_first_step(strategy: str, first: tuple[Action, ...]) -> None:
    assert decided(deployment(strategy), NodeState.HELD, NodeState.HELD) == first


STAGED, INSTALLED = NodeState.STAGED, NodeState.INSTALLED
GOES_BACK = (
    GoBack(InStates(NOT_BACK)),
    Enter(DeploymentState.ROLLING_BACK, "", NOW_US + RETURN_S * SECOND, DeploymentState.SUCCEEDED),
)


@pytest.mark.parametrize(
    ("strategy", "phase", "state", "following"),
    [
        ("immediate", 0, INSTALLED, SUCCEED),
        ("rolling", 0, INSTALLED, SUCCEED),
        ("canary", 0, STAGED, begins(InStates(SHARING), Place.CANDIDATE, 1, 5_000, TRIAL)),
        ("canary", 1, STAGED, begins(InStates(SHARING | {NodeState.AWAY}), Place.ACTIVE, 2)),
        ("canary", 2, INSTALLED, SUCCEED),
        ("blue_green", 0, STAGED, begins(InStates(frozenset({STAGED})), Place.SWITCHED, 1, trial=TRIAL)),
        ("blue_green", 1, INSTALLED, SUCCEED),
        ("shadow", 0, STAGED, GOES_BACK),
    ],
)
def test_the_step_after_one_that_passed(
    strategy: str, phase: int, state: NodeState, following: tuple[Action, ...]
) -> None:
    observed = deployment(strategy, state=DeploymentState.OBSERVING, phase=phase, waived=phase)
    assert decided(observed, state, state) == following


@pytest.mark.parametrize(
    ("strategy", "options", "nodes", "steps"),
    [
        ("rolling", Options(batch=3), 10, 4),
        ("rolling", Options(batch_share=5_000), 10, 2),
        ("rolling", Options(), 0, 1),
        ("canary", Options(steps=(1_000, 5_000)), 10, 2),
        ("immediate", Options(), 10, 1),
        ("blue_green", Options(), 10, 1),
        ("shadow", Options(steps=(1_000, 5_000)), 10, 1),
    ],
)
def test_steps_that_are_judged_are_known_from_the_beginning(
    strategy: str, options: Options, nodes: int, steps: int
) -> None:
    assert strategies.steps_of(deployment(strategy, options=options), nodes) == steps


def test_rolling_goes_on_with_the_next_batch() -> None:
    observed = deployment("rolling", state=DeploymentState.OBSERVING, waived=0)
    following = begins(InStates(frozenset({NodeState.HELD}), 1), Place.ACTIVE, 1, trial=TRIAL)
    assert decided(observed, INSTALLED, NodeState.HELD) == following
    assert decided(observed, INSTALLED, NodeState.AWAY) == (), "its turn comes when it is back"


@pytest.mark.parametrize(
    ("strategy", "state", "waits"),
    [
        ("immediate", INSTALLED, True),
        ("rolling", INSTALLED, True),
        ("blue_green", STAGED, True),
        ("canary", STAGED, False),
        ("shadow", STAGED, False),
    ],
)
def test_who_waits_for_nodes_without_a_link(strategy: str, state: NodeState, waits: bool) -> None:
    """A candidate shows on one node what it does; whoever changes all nodes must hear of all."""
    installing = deployment(strategy, state=DeploymentState.INSTALLING)
    goes_on = (Enter(DeploymentState.OBSERVING),)
    assert decided(installing, state, NodeState.WAITING) == (() if waits else goes_on)
    assert decided(installing, state, NodeState.SENT) == (), "an answer is on its way"
    assert decided(installing, state, state) == goes_on


@pytest.mark.parametrize(
    ("batch", "share", "total", "size"),
    [(3, 0, 10, 3), (3, 2_000, 10, 2), (3, 2_000, 14, 2), (3, 2_000, 15, 3), (3, 2_000, 4, 1), (3, 10_000, 7, 7)],
)
def test_a_batch_is_a_number_of_nodes_or_a_share_of_all_and_at_least_one(
    batch: int, share: int, total: int, size: int
) -> None:
    assert batch_size(Options(batch=batch, batch_share=share), total) == size


# --- people ------------------------------------------------------------------------------------------------------

APPROVE, NO_EVIDENCE = Pause(APPROVAL, "waits for approval", 1), Pause(EVIDENCE, "3 of 20 executions", 2)
PAUSED = Pause(USER, "paused by ann", NOW_US)


def test_a_pause_is_kept_once_beside_the_others_until_it_is_taken_away() -> None:
    waiting = deployment("rolling", paused=(APPROVE, NO_EVIDENCE))
    (first,) = strategies.pause(waiting, "ann", NOW_US)
    assert first == SetPauses((APPROVE, NO_EVIDENCE, PAUSED))
    paused = actions.paused(waiting, first, NOW_US)
    assert paused == replace(waiting, paused=(APPROVE, NO_EVIDENCE, PAUSED), updated_us=NOW_US)
    again = Pause(USER, "paused by bob", NOW_US + 1)
    assert strategies.pause(paused, "bob", NOW_US + 1) == (SetPauses((APPROVE, NO_EVIDENCE, again)),)
    assert strategies.resume(paused) == (SetPauses((APPROVE, NO_EVIDENCE)),)
    assert strategies.approve(paused) == (SetPauses((NO_EVIDENCE, PAUSED)),)


def test_a_waived_verdict_is_that_of_the_present_phase() -> None:
    one = deployment("canary", phase=1)
    assert strategies.promote() == (Waive(),)
    assert actions.waived(one, NOW_US) == replace(one, waived=1, updated_us=NOW_US)


@pytest.mark.parametrize("state", DeploymentState)
def test_only_an_open_deployment_is_cancelled(state: DeploymentState) -> None:
    assert bool(strategies.cancel(deployment("rolling", state=state), NOW_US)) is (state not in TERMINAL)


def test_a_deployment_that_succeeded_can_be_taken_back() -> None:
    until_us = NOW_US + RETURN_S * SECOND
    back = Enter(DeploymentState.ROLLING_BACK, "taken back by ann", until_us, DeploymentState.ROLLED_BACK)
    done = deployment("rolling", state=DeploymentState.SUCCEEDED)
    assert strategies.take_back(done, "ann", NOW_US) == (GoBack(InStates(NOT_BACK)), back)


def test_a_clock_that_was_set_moves_every_time_that_was_taken() -> None:
    one = deployment("canary", state_deadline_us=NOW_US + 1, phase_since_us=NOW_US + 2, judged_us=NOW_US + 3)
    times = ("deadline_us", "state_deadline_us", "phase_since_us", "judged_us")
    assert actions.moved(one, 7) == replace(one, **{name: getattr(one, name) + 7 for name in times})
    none = deployment("canary")
    assert actions.moved(none, 7) == replace(none, deadline_us=none.deadline_us + 7), "what never was stays"


@pytest.mark.parametrize(
    ("paused", "states", "says"),
    [
        ((), (INSTALLED, NodeState.AWAY), "the deadline passed before these nodes came back: n1"),
        ((), (NodeState.WAITING, NodeState.AWAY), "the deadline passed before these nodes came back: n0, n1"),
        ((), (INSTALLED,), "the deadline passed while it was observing"),
        ((APPROVE,), (INSTALLED,), "the deadline passed while it was observing and paused: waits for approval"),
        (
            (APPROVE, NO_EVIDENCE),
            (INSTALLED,),
            "the deadline passed while it was observing and paused: waits for approval; 3 of 20 executions",
        ),
    ],
)
def test_a_deadline_that_passed_is_told_with_what_was_waited_for(
    paused: tuple[Pause, ...], states: tuple[NodeState, ...], says: str
) -> None:
    late = deployment("rolling", state=DeploymentState.OBSERVING, paused=paused)
    *_, enter = decided(late, *states, now_us=late.deadline_us)
    assert isinstance(enter, Enter) and enter.reason == says


# --- nodes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", NodeState)
def test_links_come_and_go(state: NodeState) -> None:
    one = NodeProgress("a", state, "why", touched_us=3)
    left = {NodeState.HELD: NodeState.AWAY, NodeState.SENT: NodeState.WAITING}
    assert progress.lost(one) == replace(one, state=left.get(state, state))
    assert progress.linked(one) == replace(one, state=NodeState.HELD if state is NodeState.AWAY else state)


@pytest.mark.parametrize("state", NodeState)
def test_a_node_that_went_back_by_itself_has_refused(state: NodeState) -> None:
    one = NodeProgress("a", state, "why", due_us=9)
    counts = {INSTALLED, STAGED, NodeState.WAITING, NodeState.SENT, NodeState.SILENT}
    refused = replace(one, state=NodeState.REFUSED, reason="traps", due_us=0)
    assert progress.took_back(one, "traps") == (refused if state in counts else one)


def test_a_program_is_the_same_with_the_same_parameters_only() -> None:
    assert is_same(NEW, replace(NEW, deployment_id="d-9"))
    assert not is_same(NEW, OLD) and not is_same(NEW, replace(NEW, params=(("limit", 1.0),)))
    assert not is_same(NEW, None)


def test_a_program_that_passed_is_on_trial_no_more_and_nothing_is_kept_beside_it() -> None:
    one = deployment("blue_green")
    active = Wanted("pump", "active", NEW, trial=TRIAL)
    now = {("pump", "active"): active, ("pump", "candidate"): Wanted("pump", "candidate", OLD)}
    assert passed(one, now) == {("pump", "active"): replace(active, trial=None)}
    assert passed(one, {}) == {}


SAME, OTHER = replace(OLD, deployment_id="d-1"), Target("3" * 64, "d-1")
TARGETS = (("gone", None), ("lamp", OTHER), ("new", NEW), ("pump", SAME))
BEFORE = NodeProgress("a", previous=(("gone", OLD), ("lamp", OLD), ("new", None), ("pump", OLD)))


def wants(*wanted: Wanted) -> dict[tuple[str, str], Wanted]:
    return {(one.rule, one.slot): one for one in wanted}


def test_what_a_node_shall_run_of_each_rule() -> None:
    """A rule that is taken away, one that gets another program, a new one, and one whose program stays the same."""
    one = deployment("canary", targets=TARGETS)

    def shall(place: Place, now: Any = wants()) -> Any:
        return begun(one, Begin(InStates(BESIDE), place, 1_000, TRIAL), BEFORE, now, keyless=True)

    beside = [Wanted(rule, "active", OLD) for rule in ("gone", "lamp", "pump")]
    candidates = [Wanted(rule, "candidate", target, 1_000, True, TRIAL) for rule, target in TARGETS[1:3] if target]
    assert shall(Place.CANDIDATE) == wants(*beside, *candidates), "who stays the same needs no candidate"
    superseded = wants(*beside[1:], Wanted("gone", "active", OTHER, trial=TRIAL))
    back = Wanted("gone", "active", OLD, is_return=True)
    assert shall(Place.CANDIDATE, superseded) == wants(back, *beside[1:], *candidates), "what ran there never passed"
    active = [Wanted(rule, "active", target, trial=TRIAL) for rule, target in TARGETS if target]
    assert shall(Place.ACTIVE) == wants(*active)
    assert shall(Place.SWITCHED) == wants(*active, Wanted("lamp", "candidate", OLD)), "warm, to switch back"


def test_what_a_node_shall_run_that_goes_back_in_place_of_what() -> None:
    """Only of a rule that it is to run otherwise now, the way back is said to be one, and stays so."""
    before = NodeProgress("a", previous=(("gone", OLD), ("lamp", OLD), ("new", None), ("pump", OLD)))
    now = wants(
        Wanted("lamp", "active", OTHER, trial=TRIAL), Wanted("new", "active", NEW), Wanted("pump", "active", OLD)
    )
    back = as_before(before, now)
    gone, pump = Wanted("gone", "active", OLD), Wanted("pump", "active", OLD)
    assert back == wants(gone, Wanted("lamp", "active", OLD, is_return=True), pump)
    assert as_before(before, back) == back
    assert passed(deployment("rolling", targets=(("lamp", OTHER),)), now) == wants(Wanted("lamp", "active", OTHER))


def test_a_state_begins_anew() -> None:
    one = deployment("canary", reason="why", phase=1, paused=(APPROVE,), judged_us=5, phase_since_us=3)
    kept = actions.entered(one, Enter(DeploymentState.OBSERVING), NOW_US)
    assert kept == replace(one, state=DeploymentState.OBSERVING, phase_since_us=NOW_US, updated_us=NOW_US, judged_us=0)
    assert actions.entered(one, Enter(DeploymentState.INSTALLING, phase=2), NOW_US).phase == 2
    for state in (DeploymentState.ROLLING_BACK, *TERMINAL):
        assert actions.entered(one, Enter(state), NOW_US).paused == (), "nothing holds it up any more"


def test_a_node_that_does_not_answer_is_told_as_the_reason() -> None:
    installing = deployment("immediate", state=DeploymentState.INSTALLING)
    seen = Situation(installing, {NodeState.SENT: 1}, ("n0",), {})
    assert strategies.STRATEGIES["immediate"](seen, NOW_US) == (
        Mark(Nodes(("n0",)), NodeState.SILENT, f"no answer within {INSTALL_S} s"),
    )


def test_without_rollback_a_refusal_ends_nothing_while_others_may_still_install() -> None:
    refused, failed = NodeState.REFUSED, DeploymentState.FAILED
    pending = deployment("immediate", rollback=Rollback.NEVER)
    (begin, enter) = decided(pending, refused, NodeState.HELD)
    assert isinstance(begin, Begin) and begin.trial == replace(TRIAL, rollback=False), "nor does the node go back"
    assert isinstance(enter, Enter) and enter.state is DeploymentState.INSTALLING
    assert [one.state for one in decided(pending, refused) if isinstance(one, Enter)] == [failed], "nobody is left"
    installing = replace(pending, state=DeploymentState.INSTALLING)
    assert decided(installing, refused, NodeState.SENT) == ()
    assert [one.state for one in decided(installing, refused, INSTALLED) if isinstance(one, Enter)] == [failed]


def test_too_little_evidence_is_said_once_and_anew_when_it_changes() -> None:
    observed = deployment("rolling", state=DeploymentState.OBSERVING, paused=(APPROVE, NO_EVIDENCE))
    now_us = observed.phase_since_us + OPTIONS.observe_s * SECOND

    def seen(reason: str, one: Deployment = observed) -> tuple[Action, ...]:
        verdict = Verdict(Kind.INCONCLUSIVE, reason, 0.0, Outcomes(), None, 1.0, 20.0)
        looked = Situation(one, {INSTALLED: 1}, (), {}, verdict)
        return strategies.STRATEGIES["rolling"](looked, now_us)

    assert seen(NO_EVIDENCE.text) == ()
    assert seen("4 of 20 executions") == (SetPauses((APPROVE, Pause(EVIDENCE, "4 of 20 executions", now_us))),)
    waits = replace(observed, paused=(APPROVE,))
    assert seen(APPROVE.text, waits) == (SetPauses((APPROVE, Pause(EVIDENCE, APPROVE.text, now_us))),)
