"""The strategy as a pure function, and the state machine under any order of events."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, seed, settings
from hypothesis import strategies as st

from eyeflow.rollout import plan
from eyeflow.rollout.immediate import immediate
from eyeflow.rollout.plan import (
    INSTALL_S,
    RETURN_S,
    TERMINAL,
    Deployment,
    DeploymentState,
    Enter,
    KnownGood,
    NodeProgress,
    NodeState,
    Report,
    Rollback,
    Target,
    Want,
)

SECOND = 1_000_000
OLD, NEW = Target("1" * 64, "d-0"), Target("2" * 64, "d-1")
DEADLINE_S = 1_000


def start(rollback: Rollback = Rollback.ON_ERROR, names: str = "ab") -> Deployment:
    nodes = tuple(NodeProgress(name, previous=OLD) for name in names)
    made = Deployment("d-1", "pump", NEW, "immediate", rollback, 0, DEADLINE_S * SECOND, nodes)
    return run(made, 0)[0]


def run(deployment: Deployment, now_us: int) -> tuple[Deployment, list[plan.Action]]:
    """Decide until nothing is left to decide, as the coordinator does."""
    taken: list[plan.Action] = []
    for _ in range(8):
        actions = immediate(deployment, now_us)
        if not actions:
            return deployment, taken
        for action in actions:
            deployment = plan.decide(deployment, action, now_us)
        taken += actions
    raise AssertionError("the strategy does not come to rest")


def answer(deployment: Deployment, node: str, refused: str = "", now_us: int = SECOND) -> Deployment:
    return run(plan.reported(deployment, node, Report(1, refused), now_us), now_us)[0]


def test_it_wants_the_program_on_all_nodes_at_once() -> None:
    pending = replace(start(), state=DeploymentState.PENDING)
    assert immediate(pending, 0) == (
        Want("a", NEW, NodeState.WAITING),
        Want("b", NEW, NodeState.WAITING),
        Enter(DeploymentState.INSTALLING),
    )


def test_it_succeeds_and_only_then_moves_the_last_known_good() -> None:
    deployment = answer(start(), "a")
    assert deployment.state is DeploymentState.INSTALLING
    both = plan.reported(deployment, "b", Report(1), SECOND)
    ended, actions = run(both, SECOND)
    assert ended.state is DeploymentState.SUCCEEDED
    assert actions[:2] == [KnownGood("a"), KnownGood("b")]


def test_a_refusal_takes_every_node_back() -> None:
    deployment = answer(plan.sent(start(), "a", 1), "a")
    refused = plan.reported(deployment, "b", Report(1, "not granted"), SECOND)
    rolling, actions = run(refused, SECOND)
    assert rolling.state is DeploymentState.ROLLING_BACK
    assert [one for one in actions if isinstance(one, Want)] == [
        Want("a", OLD, NodeState.RETURNING),
        Want("b", OLD, NodeState.REFUSED, "not granted"),
    ]
    ended = answer(rolling, "a")
    assert ended.state is DeploymentState.FAILED
    assert ended.reason == "b: not granted"


def test_without_rollback_the_others_keep_the_program() -> None:
    deployment = answer(start(Rollback.NEVER), "b", "not granted")
    assert deployment.state is DeploymentState.INSTALLING, "the other node may still install it"
    ended = answer(deployment, "a")
    assert ended.state is DeploymentState.FAILED
    assert [node.state for node in ended.nodes] == [NodeState.INSTALLED, NodeState.REFUSED]


def test_a_connected_node_must_answer_in_time_and_an_offline_one_need_not() -> None:
    deployment = plan.sent(answer(start(), "b"), "a", 1)
    assert run(deployment, INSTALL_S * SECOND)[0].state is DeploymentState.INSTALLING
    silent = run(deployment, INSTALL_S * SECOND + 1)[0]
    assert silent.state is DeploymentState.ROLLING_BACK
    assert "a: no answer within 60 s" in silent.reason
    offline = plan.lost(deployment, "a", SECOND)
    assert run(offline, (DEADLINE_S - 1) * SECOND)[0].state is DeploymentState.INSTALLING
    late = run(offline, DEADLINE_S * SECOND)[0]
    assert late.state is DeploymentState.ROLLING_BACK
    ended = run(late, (DEADLINE_S + RETURN_S) * SECOND)[0]
    assert ended.state is DeploymentState.FAILED
    assert "still to return when back: a" in ended.reason


def test_a_node_that_was_never_reached_has_nothing_to_return_from() -> None:
    deployment = answer(plan.sent(start(), "b", 1), "b", "no")
    assert [node.state for node in deployment.nodes] == [NodeState.RETURNED, NodeState.REFUSED]
    assert deployment.state is DeploymentState.FAILED


def test_a_node_that_may_have_changed_without_telling_goes_back_too() -> None:
    """SENT: the program is on its way, or runs, and its answer is not here yet."""
    deployment = plan.sent(plan.sent(start(names="abc"), "a", 1), "b", 1)
    deployment = plan.lost(deployment, "b", 2)  # b got it, too, and its link broke
    deployment, taken = run(plan.reported(deployment, "c", Report(1, "no"), SECOND), SECOND)
    assert [one for one in taken if isinstance(one, Want)] == [
        Want("a", OLD, NodeState.RETURNING),
        Want("b", OLD, NodeState.RETURNING),
        Want("c", OLD, NodeState.REFUSED, "no"),
    ]
    assert deployment.state is DeploymentState.ROLLING_BACK, "it is not over before both are back"
    assert answer(answer(deployment, "a"), "b").state is DeploymentState.FAILED


def test_cancelling_takes_back_a_node_that_was_sent_the_program() -> None:
    deployment = plan.sent(start(), "a", 1)
    wants = [one for one in plan.cancel(deployment, SECOND) if isinstance(one, Want)]
    assert wants == [Want("a", OLD, NodeState.RETURNING), Want("b", OLD, NodeState.RETURNED)]


def test_an_answer_to_an_older_manifest_does_not_count() -> None:
    deployment = plan.with_node(start(), "a", 0, manifest_version=5)
    assert plan.reported(deployment, "a", Report(4), SECOND) == deployment
    later = plan.reported(deployment, "a", Report(5), SECOND).node("a")
    assert later is not None and later.state is NodeState.INSTALLED


def test_what_is_over_stays_over() -> None:
    ended = answer(answer(start(), "a"), "b")
    assert plan.cancel(ended, SECOND) == ()
    assert plan.supersede(ended, "d-2") == ()
    assert immediate(ended, 10**15) == ()


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
    deployment, now_us = start(rollback, "abc"), 0
    good: set[str] = set()
    for what, which in script:
        before = deployment
        if what == "sent":
            deployment = plan.sent(deployment, str(which), now_us)
        elif what == "lost":
            deployment = plan.lost(deployment, str(which), now_us)
        elif what in {"installed", "refused"}:
            deployment = plan.reported(deployment, str(which), Report(1, "no" if what == "refused" else ""), now_us)
        elif what == "wait":
            now_us += int(str(which)) * SECOND
        else:
            actions = plan.cancel(deployment, now_us) if what == "cancel" else plan.supersede(deployment, "d-2")
            for action in actions:
                deployment = plan.decide(deployment, action, now_us)
        deployment, taken = run(deployment, now_us)
        good |= {action.node for action in taken if isinstance(action, KnownGood)}
        if before.over:
            assert deployment.state is before.state, "a terminal state is final"
    for wait_s in (DEADLINE_S, RETURN_S, RETURN_S):
        now_us += wait_s * SECOND
        deployment, taken = run(deployment, now_us)
        good |= {action.node for action in taken if isinstance(action, KnownGood)}
    assert deployment.state in TERMINAL
    assert good == (set("abc") if deployment.state is DeploymentState.SUCCEEDED else set())
    if deployment.state is DeploymentState.FAILED and rollback is Rollback.ON_ERROR:
        assert not any(node.state is NodeState.INSTALLED for node in deployment.nodes)
