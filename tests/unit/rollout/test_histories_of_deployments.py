"""The strategy as a pure function, and the state machines of all strategies under any order of events."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from operator import attrgetter

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from eyeflow.evidence.verdict import Kind
from eyeflow.rollout import deployment as d
from eyeflow.rollout import progress, strategies
from eyeflow.rollout.actions import NAMED_MAX, Begin, Enter, GoBack, InStates
from eyeflow.rollout.deployment import (
    INSTALL_S,
    RETURN_S,
    TERMINAL,
    DeploymentState,
    NodeProgress,
    NodeState,
    Place,
    Rollback,
)
from eyeflow.rollout.immediate import immediate
from eyeflow.rollout.progress import Report
from unit.rollout.board import ACTIVE, AS_OLD, DEADLINE_S, NEW, OLD, RULE, SECOND, Board


def shall(board: Board) -> dict[str, object]:
    """What each node shall run."""
    return {name: one[ACTIVE].target for name, one in board.wanted.items()}


def test_it_wants_the_program_on_all_nodes_at_once() -> None:
    board = Board()
    board.now_us = 0
    begin = Begin(InStates(d.NOT_BEGUN), Place.ACTIVE)
    assert immediate(board.situation(), 0) == (begin, Enter(DeploymentState.INSTALLING, phase=0))
    board.run(0)
    assert shall(board) == {"a": NEW, "b": NEW}


def test_it_succeeds_and_only_then_moves_the_last_known_good() -> None:
    board = Board.started()
    board.answer("a")
    assert (board.state, board.good) == (DeploymentState.INSTALLING, set())
    board.answer("b")
    assert (board.state, board.good) == (DeploymentState.SUCCEEDED, {"a", "b"})


def test_a_refusal_takes_every_node_back() -> None:
    board = Board.started()
    board.sent("a")
    board.answer("a")
    board.answer("b", "not granted")
    assert board.state is DeploymentState.ROLLING_BACK
    assert shall(board) == {"a": OLD, "b": OLD}
    assert board.states == {"a": "returning", "b": "refused"}
    board.answer("a")
    assert (board.state, board.deployment.reason) == (DeploymentState.FAILED, "b: not granted")


def test_without_rollback_the_others_keep_the_program() -> None:
    board = Board.started(rollback=Rollback.NEVER)
    board.answer("b", "not granted")
    assert board.state is DeploymentState.INSTALLING, "the other node may still install it"
    board.answer("a")
    assert board.state is DeploymentState.FAILED
    assert board.states == {"a": "installed", "b": "refused"}
    assert shall(board) == {"a": NEW, "b": NEW}


def test_a_connected_node_must_answer_in_time_and_an_offline_one_need_not() -> None:
    def unanswered() -> Board:
        board = Board.started()
        board.answer("b")
        board.sent("a", 1)
        return board

    board = unanswered()
    board.run(INSTALL_S * SECOND)
    assert board.state is DeploymentState.INSTALLING
    board.run(INSTALL_S * SECOND + 1)
    assert board.state is DeploymentState.ROLLING_BACK
    assert "a: no answer within 60 s" in board.deployment.reason
    offline = unanswered()
    offline.lost("a", SECOND)
    offline.run((DEADLINE_S - 1) * SECOND)
    assert offline.state is DeploymentState.INSTALLING
    offline.run(DEADLINE_S * SECOND)
    assert offline.state is DeploymentState.ROLLING_BACK
    offline.run((DEADLINE_S + RETURN_S) * SECOND)
    assert offline.state is DeploymentState.FAILED
    assert "still to return when back: a, b" in offline.deployment.reason


def test_a_node_that_was_never_reached_has_nothing_to_return_from() -> None:
    board = Board.started()
    board.sent("b")
    board.answer("b", "no")
    assert board.states == {"a": "returned", "b": "refused"}
    assert board.state is DeploymentState.FAILED


def test_a_node_that_may_have_changed_without_telling_goes_back_too() -> None:
    """SENT: the program is on its way, or runs, and its answer is not here yet."""
    board = Board.started("abcd")
    board.sent("a", 1)
    board.sent("b", 1)
    board.lost("b", 2)  # b got it, too, and its link broke
    board.sent("d", 1)
    board.answer("c", "no")
    assert shall(board) == dict.fromkeys("abcd", OLD)
    assert board.states == {"a": "returning", "b": "returning", "c": "refused", "d": "returning"}
    assert board.state is DeploymentState.ROLLING_BACK, "it is not over before all are back"
    for name in "abd":
        board.answer(name)
    assert board.state is DeploymentState.FAILED


def test_a_silent_node_goes_back_too() -> None:
    board = Board.started()
    board.answer("b")
    board.sent("a", 1)
    board.run(INSTALL_S * SECOND + 1)
    assert shall(board) == {"a": OLD, "b": OLD}
    assert board.states == {"a": "returning", "b": "returning"}


@pytest.mark.parametrize("state", sorted(set(NodeState) - d.BACK, key=attrgetter("value")))
def test_going_back_leaves_no_state_out(state: NodeState) -> None:
    """Whatever a node was told to run, it is told to run its last known good again."""
    one = NodeProgress("a", state, previous=((RULE, OLD),), manifest_version=7, touched_us=1)
    assert state in d.NOT_BACK
    ordered = progress.ordered(GoBack(InStates(d.NOT_BACK)), one)
    assert ordered.wants
    assert ordered.progress.state in {NodeState.RETURNING, NodeState.REFUSED}


def test_a_node_that_was_told_nothing_is_told_nothing_again() -> None:
    """A node whose history is in doubt is refused before the start; then no node changes."""
    board = Board("ab")
    board.nodes["a"] = replace(board.nodes["a"], state=NodeState.REFUSED, reason="in doubt")
    board.run(0)
    assert (board.state, board.version) == (DeploymentState.FAILED, 0)
    assert board.states == {"a": "refused", "b": "returned"}


def test_cancelling_takes_back_a_node_that_was_sent_the_program() -> None:
    board = Board.started()
    board.sent("a")
    board.cancel()
    assert shall(board) == {"a": OLD, "b": OLD}
    assert board.states == {"a": "returning", "b": "returned"}


def test_an_answer_to_an_older_manifest_does_not_count() -> None:
    one = NodeProgress("a", NodeState.WAITING, place=Place.ACTIVE, manifest_version=5)
    assert progress.reported(one, Report(4)) == one
    assert progress.reported(one, Report(5)).state is NodeState.INSTALLED


def test_what_is_over_stays_over() -> None:
    board = Board.started()
    board.answer("a")
    board.answer("b")
    assert strategies.cancel(board.deployment, SECOND) == ()
    assert strategies.supersede(board.deployment, "d-2", SECOND) == ()
    assert immediate(board.situation(), 10**15) == ()


def test_a_reason_names_a_few_nodes_and_counts_the_others() -> None:
    names = "".join(chr(ord("a") + number) for number in range(NAMED_MAX + 5))
    board = Board.started(names, Rollback.NEVER)
    for name in names:
        board.answer(name, "no")
    assert board.deployment.reason.startswith("a, b, ")
    assert board.deployment.reason.endswith(": no; also 5 more")


USUAL = [("all do", ""), ("sees", Kind.PASS), *(("does", name) for name in "abc"), ("wait", 1)]
RARE = [
    *((what, name) for what in ("sent", "lost", "linked", "refused", "took back") for name in "abc"),
    *(("sees", kind) for kind in Kind),
    *(("wait", span_s) for span_s in (INSTALL_S, RETURN_S)),
    *((what, "") for what in ("cancel", "supersede", "pause", "resume", "promote")),
]
EVENTS = st.sampled_from(USUAL * 20 + RARE)  # else nearly every script fails before anything is judged
SCRIPTS = st.one_of(st.lists(EVENTS, max_size=8), st.lists(EVENTS, min_size=12, max_size=40))
HAPPENED: Counter[str] = Counter()


def happens(board: Board, what: str, which: object) -> None:
    node = str(which)
    if what in {"sent", "lost", "linked", "answer"}:
        getattr(board, what)(node)
    elif what == "all do":
        for name in "abc":
            happens(board, "does", name)
    elif what == "does":
        board.linked(node)
        board.done(node)
    elif what == "refused":
        board.answer(node, "no")
    elif what == "took back":
        board.took_back(node, "it fails")
    elif what == "wait":
        board.run(board.now_us + int(node) * SECOND)
    elif what == "sees":
        assert isinstance(which, Kind)
        board.sees(which)
    elif what == "cancel":
        board.cancel()
    elif not board.deployment.over:
        at = board.deployment
        steers = {
            "supersede": lambda: strategies.supersede(at, "d-2", board.now_us),
            "pause": lambda: strategies.pause(at, "ada", board.now_us),
            "resume": lambda: strategies.resume(at),
            "promote": strategies.promote,
        }
        board.steer(steers[what]())


@pytest.mark.parametrize("strategy", strategies.STRATEGIES)
@seed(7)
@settings(max_examples=400, deadline=None)
@given(script=SCRIPTS, rollback=st.sampled_from(Rollback), away=st.sampled_from(["", "", "c"]))
def test_no_order_of_events_leaves_a_deployment_open_or_a_node_on_what_failed(
    strategy: str, script: list[tuple[str, object]], rollback: Rollback, away: str
) -> None:
    board = Board.started("abc", rollback, strategy=strategy, away=away)
    for what, which in script:
        before = board.deployment
        happens(board, what, which)
        if before.over:
            assert board.state is before.state, "a terminal state is final"
        check_always(board, strategy)
    for wait_s in (DEADLINE_S, RETURN_S, RETURN_S):
        board.run(board.now_us + wait_s * SECOND)
    assert board.state in TERMINAL
    HAPPENED[f"{strategy} {board.state.value}"] += 1
    passes = board.state is DeploymentState.SUCCEEDED and strategy != "shadow"
    assert board.good == (set("abc") if passes else set())
    if passes:
        assert {board.runs(name) for name in "abc"} == {("new", "")}
    elif board.state is not DeploymentState.FAILED or rollback is Rollback.ON_ERROR:
        assert board.plain == dict.fromkeys("abc", AS_OLD), "no node is left on the bad program, whatever it had told"
        assert not any(one.state in d.CHANGED for one in board.nodes.values())


def check_always(board: Board, strategy: str) -> None:
    """What holds at any moment, whatever happened."""
    shall_run = [board.runs(name) for name in "abc"]
    changing = [one for one in board.nodes.values() if one.state in {NodeState.WAITING, NodeState.SENT}]
    if strategy == "rolling" and board.state is DeploymentState.INSTALLING:
        assert len(changing) <= board.deployment.options.batch, "more nodes change than allowed"
    if strategy == "shadow":
        assert {active for active, _ in shall_run} == {"old"}, "a shadow acts nowhere"
    if strategy == "blue_green" and board.state is not DeploymentState.FAILED:
        assert len({active for active, _ in shall_run}) == 1, "some nodes switched and others did not"
    if board.state is DeploymentState.ROLLING_BACK:
        assert board.plain == dict.fromkeys("abc", AS_OLD), "it starts something new"


@pytest.mark.parametrize("strategy", strategies.STRATEGIES)
def test_control_the_scripts_above_reach_what_they_are_about(strategy: str) -> None:
    """A property that never meets a success, a failure or an end by hand says nothing of them."""
    test_no_order_of_events_leaves_a_deployment_open_or_a_node_on_what_failed(strategy)
    found = {end: HAPPENED[f"{strategy} {end}"] for end in ("succeeded", "failed", "cancelled", "superseded")}
    assert all(count >= 2 for count in found.values()), found
