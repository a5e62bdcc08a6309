"""Each strategy as a pure function: which nodes change when, what a verdict does, and what a failure leaves behind."""

from __future__ import annotations

from dataclasses import replace

import pytest

from eyeflow.evidence.verdict import Kind
from eyeflow.rollout import strategies
from eyeflow.rollout.deployment import INSTALL_S, DeploymentState, NodeState, Options, Pause, Rollback
from unit.rollout.board import AS_OLD, CANDIDATE, DEADLINE_S, OBSERVE_S, SECOND, Board

WATCHING = [name for name in strategies.STRATEGIES if name != "immediate"]


def installed(board: Board) -> set[str]:
    return {name for name, one in board.nodes.items() if one.state is NodeState.INSTALLED}


def test_rolling_changes_one_batch_and_watches_it_before_the_next() -> None:
    board = Board.started("abcde", strategy="rolling", options=Options(batch=2, observe_s=OBSERVE_S))
    assert board.states == {"a": "waiting", "b": "waiting", "c": "held", "d": "held", "e": "held"}
    board.done("a", "b")
    assert board.state is DeploymentState.OBSERVING
    board.sees(Kind.PASS, OBSERVE_S - 1)
    assert board.states["c"] == "held", "the time to watch is not over"
    board.sees(Kind.PASS, 1)
    assert board.states == {"a": "installed", "b": "installed", "c": "waiting", "d": "waiting", "e": "held"}
    board.done("c", "d")
    board.sees(Kind.PASS)
    board.done("e")
    board.sees(Kind.PASS)
    assert (board.state, board.good) == (DeploymentState.SUCCEEDED, set("abcde"))


def test_rolling_stops_at_a_failed_verdict_and_takes_all_back() -> None:
    board = Board.started("abc", strategy="rolling")
    board.done("a")
    board.sees(Kind.PASS)
    board.done("b")
    board.sees(Kind.FAIL, 1)
    assert board.state is DeploymentState.ROLLING_BACK
    assert board.states == {"a": "returning", "b": "returning", "c": "returned"}
    board.answer("a")
    board.answer("b")
    assert (board.state, board.good) == (DeploymentState.FAILED, set())
    assert board.plain == dict.fromkeys("abc", AS_OLD)


def test_rolling_without_rollback_stops_too_and_leaves_what_changed() -> None:
    board = Board.started("abc", Rollback.NEVER, strategy="rolling")
    board.done("a")
    board.sees(Kind.FAIL, 1)
    assert board.state is DeploymentState.FAILED
    assert (board.runs("a"), board.runs("b")) == (("new", ""), ("old", ""))


def test_rolling_takes_nodes_without_a_link_last_and_never_more_than_a_batch() -> None:
    board = Board.started("abcd", strategy="rolling", away="ab")
    assert board.states == {"a": "away", "b": "away", "c": "waiting", "d": "held"}
    board.done("c")
    board.sees(Kind.PASS)
    board.done("d")
    board.sees(Kind.PASS)
    assert board.state is DeploymentState.OBSERVING, "it watches on while all others are away"
    board.linked("a")
    board.linked("b")
    assert board.states == {"a": "waiting", "b": "held", "c": "installed", "d": "installed"}
    board.done("a")
    board.sees(Kind.PASS)
    board.done("b")
    board.sees(Kind.PASS)
    assert board.state is DeploymentState.SUCCEEDED


def test_a_share_of_nodes_is_a_batch() -> None:
    board = Board.started("abcdefghij", strategy="rolling", options=Options(batch_share=3_000, observe_s=1))
    assert sum(state == "waiting" for state in board.states.values()) == 3


def test_a_canary_acts_for_a_share_then_for_more_then_for_all() -> None:
    board = Board.started("abcd", strategy="canary", options=Options(steps=(1_000, 5_000), observe_s=OBSERVE_S))
    assert {board.runs(name) for name in "abcd"} == {("old", "new")}
    assert {board.wanted[name][CANDIDATE].share for name in "abcd"} == {1_000}
    first = {name for name in "abcd" if board.wanted[name][CANDIDATE].keyless}
    assert len(first) == 1, "events without a key go to one node's candidate at least"
    board.done(*"abcd")
    board.sees(Kind.PASS)
    assert {board.wanted[name][CANDIDATE].share for name in "abcd"} == {5_000}
    second = {name for name in "abcd" if board.wanted[name][CANDIDATE].keyless}
    assert first < second
    board.done(*"abcd")
    board.sees(Kind.PASS)
    assert {board.runs(name) for name in "abcd"} == {("new", "")}
    assert {one.trial for name in "abcd" for one in board.wanted[name].values()} == {None}, "it has been judged"
    board.done(*"abcd")
    assert (board.state, board.good) == (DeploymentState.SUCCEEDED, set("abcd"))


def test_a_canary_goes_on_without_nodes_that_are_away_and_waits_for_them_at_its_end() -> None:
    board = Board.started("abc", strategy="canary", away="c")
    assert board.states["c"] == "away"
    board.done("a", "b")
    board.lost("b")
    board.sees(Kind.PASS)
    assert {board.runs(name) for name in "abc"} == {("new", "")}
    board.done("a", "b")
    assert board.state is DeploymentState.INSTALLING
    board.done("c")
    assert board.state is DeploymentState.SUCCEEDED


@pytest.mark.parametrize("steps", [(1_000,), (1_000, 5_000)])
def test_a_canary_takes_along_who_is_back_but_has_not_answered_when_a_step_passes(steps: tuple[int, ...]) -> None:
    """Its link broke as it was sent the first step: without it the candidate would stay there, and act for a share."""
    observe_s = INSTALL_S // 2
    board = Board.started("ab", strategy="canary", options=Options(steps=steps, observe_s=observe_s))
    for step in steps:
        assert board.wanted["b"][CANDIDATE].share == step
        board.done("a")
        board.sent("b")
        board.lost("b")
        board.sent("b")
        assert (board.state, board.states["b"]) == (DeploymentState.OBSERVING, "sent")
        board.sees(Kind.PASS, observe_s)
    assert board.runs("b") == ("new", "")
    board.done("a", "b")
    assert (board.state, board.good) == (DeploymentState.SUCCEEDED, set("ab"))


def test_blue_green_switches_none_before_all_have_staged() -> None:
    board = Board.started("abc", strategy="blue_green")
    board.done("a", "b")
    assert {board.runs(name) for name in "abc"} == {("old", "new")}, "nobody has switched"
    board.done("c")
    assert {board.runs(name) for name in "abc"} == {("new", "old")}, "the old ones stay warm"
    board.done(*"abc")
    board.sees(Kind.PASS)
    assert board.state is DeploymentState.SUCCEEDED
    assert {board.runs(name) for name in "abc"} == {("new", "")}


def test_blue_green_switches_none_if_one_cannot_stage() -> None:
    board = Board.started("abc", strategy="blue_green")
    board.done("a", "b")
    board.sent("c")
    board.answer("c", "no memory")
    assert board.state is DeploymentState.ROLLING_BACK
    assert {board.runs(name) for name in "abc"} == {("old", "")}


def test_blue_green_switches_back_at_once() -> None:
    board = Board.started("ab", strategy="blue_green")
    board.done(*"ab")
    board.done(*"ab")
    board.sees(Kind.FAIL, 1)
    assert {board.runs(name) for name in "ab"} == {("old", "")}


def test_shadow_changes_nothing_and_ends_without_a_trace() -> None:
    board = Board.started("ab", strategy="shadow")
    assert {board.wanted[name][CANDIDATE].share for name in "ab"} == {0}
    board.done(*"ab")
    board.sees(Kind.PASS)
    assert board.plain == dict.fromkeys("ab", AS_OLD)
    board.done(*"ab")
    assert (board.state, board.good) == (DeploymentState.SUCCEEDED, set())


@pytest.mark.parametrize("strategy", WATCHING)
@pytest.mark.parametrize("kind", [Kind.INCONCLUSIVE, Kind.NO_DATA])
def test_too_little_evidence_pauses_and_never_passes(strategy: str, kind: Kind) -> None:
    board = Board.started("ab", strategy=strategy)
    board.done(*"ab")
    if strategy == "blue_green":
        board.done(*"ab")
    phase = board.deployment.phase
    board.sees(kind)
    board.sees(kind, 10 * OBSERVE_S)
    assert (board.state, board.deployment.phase) == (DeploymentState.OBSERVING, phase)
    assert [one.code for one in board.deployment.paused] == ["evidence"]
    board.sees(Kind.PASS, 1)
    assert board.deployment.paused == ()
    assert board.deployment.phase != phase or board.state is not DeploymentState.OBSERVING


@pytest.mark.parametrize("strategy", WATCHING)
def test_promoting_lets_it_go_on_without_a_verdict_but_not_past_a_failure(strategy: str) -> None:
    board = Board.started("ab", strategy=strategy)
    board.done(*"ab")
    if strategy == "blue_green":
        board.done(*"ab")
    phase = board.deployment.phase
    board.sees(Kind.INCONCLUSIVE, 1)
    board.steer(strategies.promote())
    assert (board.state, board.deployment.phase) != (DeploymentState.OBSERVING, phase)
    failing = Board.started("ab", strategy=strategy)
    failing.done(*"ab")
    if strategy == "blue_green":
        failing.done(*"ab")
    failing.verdict = None
    failing.sees(Kind.FAIL, 1)
    assert failing.state is DeploymentState.ROLLING_BACK


@pytest.mark.parametrize("strategy", WATCHING)
def test_who_pauses_it_holds_it_up_and_a_failure_takes_it_back_all_the_same(strategy: str) -> None:
    board = Board.started("abc", strategy=strategy)
    board.done(*"abc" if strategy != "rolling" else "a")
    if strategy == "blue_green":
        board.done(*"abc")
    phase = board.deployment.phase
    board.steer(strategies.pause(board.deployment, "ada", board.now_us))
    board.sees(Kind.PASS)
    assert (board.state, board.deployment.phase) == (DeploymentState.OBSERVING, phase)
    board.steer(strategies.resume(board.deployment))
    assert (board.state, board.deployment.phase) != (DeploymentState.OBSERVING, phase)


def test_an_approval_is_waited_for_before_anything_begins() -> None:
    board = Board("ab")
    pause = Pause("approval", "a second person must agree", 0)
    board.deployment = replace(board.deployment, paused=(pause,))
    board.run(0)
    assert (board.state, board.version) == (DeploymentState.PENDING, 0)
    board.steer(strategies.approve(board.deployment))
    assert board.state is DeploymentState.INSTALLING


@pytest.mark.parametrize("strategy", strategies.STRATEGIES)
def test_a_node_that_goes_back_by_itself_fails_it(strategy: str) -> None:
    board = Board.started("ab", strategy=strategy)
    board.done("a") if strategy == "rolling" else board.sent("a")
    board.took_back("a", "12 of 40 executions failed")
    assert board.state in {DeploymentState.ROLLING_BACK, DeploymentState.FAILED}
    assert "a: 12 of 40 executions failed" in board.deployment.reason
    assert board.plain == dict.fromkeys("ab", AS_OLD)


@pytest.mark.parametrize("strategy", strategies.STRATEGIES)
def test_every_deployment_ends_at_its_deadline(strategy: str) -> None:
    for away in ("", "b", "ab"):
        board = Board.started("ab", strategy=strategy, away=away)
        if not away:
            board.done(*"ab" if strategy != "rolling" else "a")
            board.sees(Kind.NO_DATA)
        if board.state is DeploymentState.SUCCEEDED:
            continue
        board.run(DEADLINE_S * SECOND)
        board.run((DEADLINE_S + 1_000) * SECOND)
        assert board.state is DeploymentState.FAILED, (strategy, away)
        assert board.plain == dict.fromkeys("ab", AS_OLD)


@pytest.mark.parametrize("strategy", WATCHING)
def test_a_node_that_does_not_answer_while_it_is_watched_fails_it(strategy: str) -> None:
    board = Board.started("ab", strategy=strategy)
    board.sent("a", 1)
    board.run(INSTALL_S * SECOND + 1)
    assert board.state is DeploymentState.ROLLING_BACK
