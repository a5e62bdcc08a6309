"""The strategy as a pure function, and the state machine under any order of events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from eyeflow.rollout import plan
from eyeflow.rollout.immediate import immediate
from eyeflow.rollout.plan import (
    INSTALL_S,
    NAMED_MAX,
    RETURN_S,
    TERMINAL,
    Action,
    Begin,
    Deployment,
    DeploymentState,
    Enter,
    GoBack,
    InStates,
    KnownGood,
    NodeProgress,
    Nodes,
    NodeState,
    Report,
    Rollback,
    Situation,
    Target,
)

SECOND = 1_000_000
OLD, NEW = Target("1" * 64, "d-0"), Target("2" * 64, "d-1")
DEADLINE_S = 1_000


class Board:
    """A deployment and its nodes in memory, carried out as the coordinator does; `wanted` is what nodes shall run."""

    def __init__(self, names: str = "ab", rollback: Rollback = Rollback.ON_ERROR) -> None:
        self.deployment = Deployment("d-1", "pump", NEW, "immediate", rollback, 0, DEADLINE_S * SECOND)
        self.nodes = {name: NodeProgress(name, previous=OLD) for name in names}
        self.wanted: dict[str, Target | None] = dict.fromkeys(names, OLD)
        self.good: set[str] = set()
        self.version = 0

    @classmethod
    def started(cls, names: str = "ab", rollback: Rollback = Rollback.ON_ERROR) -> Board:
        board = cls(names, rollback)
        board.run(0)
        return board

    def situation(self, now_us: int) -> Situation:
        counts: dict[NodeState, int] = {}
        named: dict[NodeState, tuple[NodeProgress, ...]] = {}
        for one in self.nodes.values():
            counts[one.state] = counts.get(one.state, 0) + 1
            named[one.state] = (*named.get(one.state, ()), one)[:NAMED_MAX]
        overdue = tuple(name for name, one in self.nodes.items() if 0 < one.due_us <= now_us)
        return Situation(self.deployment, counts, overdue, named)

    def run(self, now_us: int) -> None:
        """Decide until nothing is left to decide."""
        for _ in range(8):
            actions = immediate(self.situation(now_us), now_us)
            if not actions:
                return
            self.carry_out(actions, now_us)
        raise AssertionError("the strategy does not come to rest")

    def carry_out(self, actions: tuple[Action, ...], now_us: int) -> None:
        for action in actions:
            if isinstance(action, Enter):
                self.deployment = plan.entered(self.deployment, action, now_us)
                continue
            for one in [one for one in self.nodes.values() if self.meant(action.which, one)]:
                self.order(action, one)

    def meant(self, which: plan.Which, one: NodeProgress) -> bool:
        return one.node in which.names if isinstance(which, Nodes) else one.state in which.states

    def order(self, action: plan.NodeAction, one: NodeProgress) -> None:
        ordered = plan.ordered(action, one)
        self.nodes[one.node] = ordered.progress
        if isinstance(action, KnownGood):
            self.good.add(one.node)
        target = NEW if isinstance(action, Begin) else one.previous
        if ordered.wants and (one.touched_us or self.wanted[one.node] != target):
            self.version += 1
            self.wanted[one.node] = target
            self.nodes[one.node] = replace(ordered.progress, manifest_version=self.version)

    def change(self, node: str, change: Callable[[NodeProgress], NodeProgress], now_us: int = SECOND) -> None:
        self.nodes[node] = change(self.nodes[node])
        self.run(now_us)

    def sent(self, node: str, now_us: int = 1) -> None:
        self.change(node, lambda one: plan.sent(one, now_us), now_us)

    def lost(self, node: str, now_us: int = SECOND) -> None:
        self.change(node, plan.lost, now_us)

    def answer(self, node: str, refused: str = "", now_us: int = SECOND) -> None:
        self.change(node, lambda one: plan.reported(one, Report(one.manifest_version, refused)), now_us)

    def cancel(self, now_us: int) -> None:
        self.carry_out(plan.cancel(self.deployment, now_us), now_us)
        self.run(now_us)

    @property
    def state(self) -> DeploymentState:
        return self.deployment.state

    @property
    def states(self) -> dict[str, str]:
        return {name: one.state.value for name, one in self.nodes.items()}


def test_it_wants_the_program_on_all_nodes_at_once() -> None:
    board = Board()
    waiting = InStates(frozenset({NodeState.WAITING}))
    assert immediate(board.situation(0), 0) == (Begin(waiting), Enter(DeploymentState.INSTALLING))
    board.run(0)
    assert board.wanted == {"a": NEW, "b": NEW}


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
    assert board.wanted == {"a": OLD, "b": OLD}
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
    assert board.wanted == {"a": NEW, "b": NEW}


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
    assert board.wanted == dict.fromkeys("abcd", OLD)
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
    assert board.wanted == {"a": OLD, "b": OLD}
    assert board.states == {"a": "returning", "b": "returning"}


@pytest.mark.parametrize("state", sorted(set(NodeState) - plan.BACK, key=lambda one: one.value))
def test_going_back_leaves_no_state_out(state: NodeState) -> None:
    """Whatever a node was told to run, it is told to run its last known good again."""
    one = NodeProgress("a", state, previous=OLD, manifest_version=7, touched_us=1)
    assert state in plan.NOT_BACK
    ordered = plan.ordered(GoBack(InStates(plan.NOT_BACK)), one)
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
    board.cancel(SECOND)
    assert board.wanted == {"a": OLD, "b": OLD}
    assert board.states == {"a": "returning", "b": "returned"}


def test_an_answer_to_an_older_manifest_does_not_count() -> None:
    one = NodeProgress("a", manifest_version=5)
    assert plan.reported(one, Report(4)) == one
    assert plan.reported(one, Report(5)).state is NodeState.INSTALLED


def test_what_is_over_stays_over() -> None:
    board = Board.started()
    board.answer("a")
    board.answer("b")
    assert plan.cancel(board.deployment, SECOND) == ()
    assert plan.supersede(board.deployment, "d-2") == ()
    assert immediate(board.situation(10**15), 10**15) == ()


def test_a_reason_names_a_few_nodes_and_counts_the_others() -> None:
    names = "".join(chr(ord("a") + number) for number in range(NAMED_MAX + 5))
    board = Board.started(names, Rollback.NEVER)
    for name in names:
        board.answer(name, "no")
    assert board.deployment.reason.startswith("a: no; b: no; ")
    assert board.deployment.reason.endswith("; and 5 more")


events = st.one_of(
    st.tuples(st.just("sent"), st.sampled_from("abc")),
    st.tuples(st.just("lost"), st.sampled_from("abc")),
    st.tuples(st.just("installed"), st.sampled_from("abc")),
    st.tuples(st.just("refused"), st.sampled_from("abc")),
    st.tuples(st.just("wait"), st.sampled_from([1, INSTALL_S, RETURN_S])),
    st.tuples(st.just("cancel"), st.just("")),
    st.tuples(st.just("supersede"), st.just("")),
)


@seed(7)
@settings(max_examples=500, deadline=None)
@given(st.lists(events, max_size=30), st.sampled_from(Rollback))
def test_no_order_of_events_leaves_a_deployment_open_for_ever(
    script: list[tuple[str, object]], rollback: Rollback
) -> None:
    board, now_us = Board.started("abc", rollback), 0
    for what, which in script:
        before = board.deployment
        if what == "sent":
            board.sent(str(which), now_us)
        elif what == "lost":
            board.lost(str(which), now_us)
        elif what in {"installed", "refused"}:
            board.answer(str(which), "no" if what == "refused" else "", now_us)
        elif what == "wait":
            now_us += int(str(which)) * SECOND
            board.run(now_us)
        elif what == "cancel":
            board.cancel(now_us)
        else:
            board.carry_out(plan.supersede(board.deployment, "d-2"), now_us)
        if before.over:
            assert board.state is before.state, "a terminal state is final"
    for wait_s in (DEADLINE_S, RETURN_S, RETURN_S):
        now_us += wait_s * SECOND
        board.run(now_us)
    assert board.state in TERMINAL
    assert board.good == (set("abc") if board.state is DeploymentState.SUCCEEDED else set())
    taken_back = board.state is DeploymentState.FAILED and rollback is Rollback.ON_ERROR
    if taken_back or board.state is DeploymentState.CANCELLED:
        assert board.wanted == dict.fromkeys("abc", OLD), "no node is left on the bad program, whatever it had told"
        assert not any(one.state is NodeState.INSTALLED for one in board.nodes.values())
