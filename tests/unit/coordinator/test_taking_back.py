"""What was deployed is taken back: by a person, by a newer deployment, or by a node alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from eyeflow.coordinator.store.sql_writing import SqlWriting
from eyeflow.protocol.messages import Evidence, EvidenceStanding, Status
from eyeflow.protocol.slot import Slot
from eyeflow.rollout.deployment import Rollback
from unit.coordinator.seen import OLDER_PROGRAM, PROGRAM, Seen


@pytest.fixture
def seen(tmp_path: Path) -> Iterator[Seen]:
    with closing(Seen(tmp_path / "store.sqlite")) as made:
        yield made


def test_a_deployment_that_goes_back_leaves_to_a_newer_one_what_that_brings(seen: Seen) -> None:
    """Else the node would be asked for the older program again, or blamed for not having it."""
    first = seen.deploy(OLDER_PROGRAM)
    for node in "ab":
        seen.run(lambda node=node: seen.hub.deployments.sent(node, 99, seen.now_us))  # type: ignore[misc]
    seen.run(lambda: seen.hub.deployments.cancel(first.id, seen.now_us, "test"))
    assert seen.states(first) == ("rollingBack", ["returning", "returning"])
    second = seen.deploy(nodes="a")
    assert seen.states(first) == ("rollingBack", ["returned", "returning"])
    assert seen.progress(first)["a"].reason == f"taken over by deployment {second.id}"
    seen.answer("a")
    assert seen.states(second) == ("succeeded", ["installed"])
    seen.answer("b", "")
    assert seen.states(first) == ("cancelled", ["returned", "returned"])


def test_a_deployment_that_succeeded_is_taken_back_and_ends_when_its_nodes_are_back(seen: Seen) -> None:
    older = seen.deploy(OLDER_PROGRAM)
    for node in "ab":
        seen.answer(node, OLDER_PROGRAM)
    taken = seen.deploy()
    for node in "ab":
        seen.answer(node)
    seen.run(lambda: seen.hub.deployments.take_back(taken.id, seen.now_us, "ada"))
    assert seen.states(taken) == ("rollingBack", ["returning", "returning"])
    for node in "ab":
        seen.answer(node, OLDER_PROGRAM)
    assert seen.states(taken) == ("rolledBack", ["returned", "returned"])
    for node in "ab":
        good = seen.look(lambda reading, node=node: reading.known_good(node, "pump"))
        assert good is not None and good.deployment_id == older.id


def test_nobody_goes_back_to_what_was_taken_back_meanwhile(seen: Seen) -> None:
    taken = seen.deploy(OLDER_PROGRAM)
    for node in "ab":
        seen.answer(node, OLDER_PROGRAM)
    newer = seen.deploy(nodes="b")
    seen.run(lambda: seen.hub.deployments.take_back(taken.id, seen.now_us, "ada"))
    seen.run(lambda: seen.hub.deployments.cancel(newer.id, seen.now_us, "ada"))
    assert seen.look(lambda reading: [reading.wanted(node) for node in "ab"]) == [[], []], "nothing had passed before"


def test_a_removal_that_succeeded_is_taken_back_and_the_rule_is_known_good_again(seen: Seen) -> None:
    """Else the next deployment that fails would leave the node without the rule."""
    older = seen.deploy(nodes="a")
    seen.answer("a")
    removal = seen.deploy(None, nodes="a")
    seen.answer("a", "")
    assert seen.states(removal)[0] == "succeeded"
    assert seen.look(lambda reading: reading.known_good("a", "pump")) is None
    seen.run(lambda: seen.hub.deployments.take_back(removal.id, seen.now_us, "ada"))
    seen.answer("a")
    good = seen.look(lambda reading: reading.known_good("a", "pump"))
    assert good is not None and (good.program_id, good.deployment_id) == (PROGRAM, older.id)
    newer = seen.deploy(OLDER_PROGRAM, nodes="a")
    seen.run(lambda: seen.hub.deployments.cancel(newer.id, seen.now_us, "ada"))
    assert [one.target.program_id for one in seen.look(lambda reading: reading.wanted("a"))] == [PROGRAM]


@pytest.mark.parametrize("between", [0, 1, 3])
def test_newer_deployments_that_are_taken_back_do_not_go_back_to_what_was_taken_back(seen: Seen, between: int) -> None:
    older = seen.deploy(OLDER_PROGRAM, nodes="a")
    seen.answer("a", OLDER_PROGRAM)
    newer = []
    for number in range(between + 2):
        program_id = f"{number + 3:064x}"
        newer.append(seen.deploy(program_id, nodes="a"))
        seen.answer("a", program_id)
    bad, *newer = newer
    seen.run(lambda: seen.hub.deployments.take_back(bad.id, seen.now_us, "ada"))
    assert [one.target.deployment_id for one in seen.look(lambda reading: reading.wanted("a"))] == [newer[-1].id]
    for one in reversed(newer):
        seen.run(lambda one=one: seen.hub.deployments.take_back(one.id, seen.now_us, "ada"))  # type: ignore[misc]
        (wanted,) = seen.look(lambda reading: reading.wanted("a"))
        seen.answer("a", wanted.target.program_id)
    assert wanted.target.deployment_id == older.id


def test_what_was_removed_again_since_stays_removed(seen: Seen) -> None:
    seen.deploy(nodes="a")
    seen.answer("a")
    first = seen.deploy(None, nodes="a")
    seen.answer("a", "")
    seen.deploy(OLDER_PROGRAM, nodes="a")
    seen.answer("a", OLDER_PROGRAM)
    seen.deploy(None, nodes="a")
    seen.answer("a", "")
    seen.run(lambda: seen.hub.deployments.take_back(first.id, seen.now_us, "ada"))
    assert seen.look(lambda reading: reading.known_good("a", "pump")) is None, "the last removal has passed"


def told(program_id: str, deployment_id: str, *, is_back: bool) -> Status:
    """A status of a node that runs a program, or took it back."""
    counts = (1, 0, 10, 0, 0, 4 if is_back else 0, 0, 0, 0, 0, 0, 0)
    standing = EvidenceStanding.ROLLED_BACK if is_back else EvidenceStanding.PASSED
    one = Evidence("pump", Slot.ACTIVE, program_id, deployment_id, *counts, standing, "4 of 10 failed" * is_back)
    return Status(1, 10, 9, 2, evidence=(one,))


def shown(seen: Seen) -> tuple[str, str, int]:
    """What node a said of the rule, why, and how many rules it has refused."""
    (said,) = seen.look(lambda reading: reading.said("a"))
    node = seen.look(lambda reading: reading.node("a"))
    assert node is not None
    return said.state.value, said.reason, node.failing_since_us


def test_a_node_that_takes_back_alone_shows_it_also_when_no_deployment_is_open(seen: Seen) -> None:
    made = seen.deploy(nodes="a", rollback=Rollback.NEVER)
    seen.answer("a")
    assert seen.states(made)[0] == "succeeded"
    for name, program_id, deployment_id, is_back in (
        ("it runs", PROGRAM, made.id, False),
        ("another program", OLDER_PROGRAM, made.id, True),
        ("in another deployment", PROGRAM, "d-other", True),
    ):
        seen.hub.nodes.saw("a", told(program_id, deployment_id, is_back=is_back), seen.now_us)
        seen.tick()
        assert shown(seen) == ("installed", "", 0), name
        seen.now_us += 1_000_000
    seen.hub.nodes.saw("a", told(PROGRAM, made.id, is_back=True), seen.now_us)
    newest = seen.look(lambda reading: reading.newest_change())
    seen.tick()
    assert shown(seen) == ("refused", "it went back by itself: 4 of 10 failed", seen.now_us)
    changes = seen.look(lambda reading: reading.changes(newest, 9))
    assert [(one.kind.value, one.subject) for one in changes] == [("node", "a")], "people who watch see it"


def test_what_a_node_took_back_is_written_once(seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    """It tells of it with each status until it is told otherwise."""
    made = seen.deploy(nodes="a", rollback=Rollback.NEVER)
    seen.answer("a")
    written = []
    real = SqlWriting.record_taken_back
    monkeypatch.setattr(SqlWriting, "record_taken_back", lambda *how: (written.append(how[1]), real(*how)))
    for _ in range(3):
        seen.hub.nodes.saw("a", told(PROGRAM, made.id, is_back=True), seen.now_us)
        seen.tick()
        seen.now_us += 1_000_000
    assert written == ["a"]
