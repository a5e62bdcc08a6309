"""What nodes told of their programs comes back as sums: of a step of a deployment, beside it, and before it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from eyeflow.coordinator.store.cluster_store import Writing
from eyeflow.coordinator.store.facts import EvidenceRow, EvidenceSums
from eyeflow.evidence.outcomes import Outcomes, Tally
from eyeflow.rollout.deployment import Deployment, NodeProgress, NodeState, Place, Target
from unit.coordinator.store.test_facts import NEW, A, look


def told_of(name: str, rule: str, slot: str, by: str, executions: int, failures: int, **more: Any) -> EvidenceRow:
    """`failures` are of decisions; each second execution acted, and as many actions failed as `failed`."""
    tally = Tally(Outcomes(executions, failures), Outcomes(executions // 2, more.pop("failed", 0)))
    return replace(EvidenceRow(name, rule, slot, "1" * 64, by, tally, 0, 0, 0, "trial", "", seen_us=50), **more)


def tally(*numbers: int) -> Tally:
    return Tally(Outcomes(*numbers[:2]), Outcomes(*numbers[2:]))


def two_rules(helpers: Any, phase: int) -> Deployment:
    return replace(helpers.deployment("d-1"), targets=(("lamp", NEW), ("pump", NEW)), phase=phase)


def test_evidence_is_summed_for_a_step_of_a_deployment_and_beside_it(kept: Any, helpers: Any) -> None:
    """Of two rules on the nodes of step 1, and of a node, a rule and a step that are none of its business."""
    mine = two_rules(helpers, 1)
    nodes = [NodeProgress(name, NodeState.INSTALLED, phase=1) for name in "abc"]
    nodes += [NodeProgress("d", NodeState.INSTALLED, phase=0), NodeProgress("x", NodeState.SENT, phase=1)]

    def step(writing: Writing) -> None:
        for name in "abcdx":
            writing.register_node(name, A, 9)
        writing.add_deployment(mine, nodes)
        writing.record_evidence(
            [
                told_of("a", "pump", "candidate", "d-1", 100, 1, failed=7, boots=2, differing=5, pending=4),
                told_of("a", "lamp", "candidate", "d-1", 10, 2, boots=1, differing=1),
                told_of("b", "pump", "active", "d-1", 1, 0, boots=3, pending=1, seen_us=20),
                told_of("d", "pump", "active", "d-1", 10**6, 10**5, boots=9, differing=9, pending=9, seen_us=0),
                told_of("a", "pump", "active", "d-0", 1000, 3, failed=2, pending=9),
                told_of("a", "lamp", "active", "d-0", 10, 1),
                told_of("b", "lamp", "candidate", "d-0", 50, 1, failed=4),
                told_of("c", "lamp", "active", "d-0", 10**6, 10**5, standing="rolledBack"),
                told_of("d", "lamp", "active", "d-0", 10**6, 10**5),
                told_of("x", "lamp", "active", "d-0", 10**6, 10**5),
                told_of("a", "door", "active", "d-0", 10**6, 10**5),
            ]
        )

    kept.do(step)

    def sums(since_us: int) -> EvidenceSums:
        return look(kept, lambda reading: reading.evidence_sums(mine, since_us))

    by_node = look(kept, lambda reading: reading.tallies("d-1", ["a", "b", "c", "x"]))
    assert by_node == {"a": tally(110, 3, 55, 7), "b": tally(1, 0, 0, 0)}
    assert look(kept, lambda reading: reading.tallies("d-1", [])) == {}
    control = tally(1060, 5, 530, 6)
    assert sums(10) == EvidenceSums(tally(111, 3, 55, 7), control, Tally(), 3, 6, ("c",), None, Tally(), pending=5)
    assert sums(19).unheard == ("c",) and sums(20).unheard == ("b", "c") and sums(50).unheard == ("a", "b", "c")
    empty = replace(helpers.deployment("d-9"), targets=mine.targets)
    nothing = look(kept, lambda reading: reading.evidence_sums(empty, 0))
    assert nothing == EvidenceSums(None, None, Tally(), 0, 0, (), None, Tally())


def test_of_a_node_that_switched_only_what_its_program_did_since_then_counts(kept: Any, helpers: Any) -> None:
    """What it told last may be of before the switch. Then the program only watched, and no action of it could fail."""
    mine = replace(helpers.deployment("d-1"), phase=1)

    def step(writing: Writing) -> None:
        for name in "ab":
            writing.register_node(name, A, 9)
        switched = [NodeProgress(name, NodeState.INSTALLED, phase=1, place=Place.SWITCHED) for name in "ab"]
        writing.add_deployment(mine, switched)
        writing.record_evidence([told_of(name, "pump", "candidate", "d-1", 100, 0) for name in "ab"])

    def candidate() -> Tally | None:
        return look(kept, lambda reading: reading.evidence_sums(mine, 0)).candidate

    kept.do(step)
    assert candidate() == Tally()
    kept.do(lambda writing: writing.record_evidence([told_of("a", "pump", "active", "d-1", 4, 0, failed=2)]))
    assert candidate() == tally(4, 0, 2, 2)


def test_what_programs_did_before_is_kept_for_the_nodes_where_the_new_ones_run(kept: Any, helpers: Any) -> None:
    """Only what passed counts, in its slot; of each node only once its new program has run, or acted."""
    mine = two_rules(helpers, 0)

    def start(writing: Writing) -> None:
        for name in "abcd":
            writing.register_node(name, A, 9)
        writing.add_deployment(
            mine, [NodeProgress(name, NodeState.INSTALLED, phase=int(name > "c")) for name in "abcd"]
        )
        writing.add_deployment(helpers.deployment("d-2"), [NodeProgress("a")])
        writing.record_evidence(
            [
                told_of("a", "pump", "active", "d-0", 1000, 3, failed=2, standing="passed"),
                told_of("a", "lamp", "active", "d-0", 10, 1, standing="passed"),
                told_of("a", "door", "active", "d-0", 10**6, 10**5, standing="passed"),
                told_of("b", "lamp", "active", "d-0", 50, 1, failed=4, standing="passed"),
                told_of("b", "pump", "active", "d-0", 10**6, 10**5, standing="trial"),
                told_of("b", "pump", "candidate", "d-7", 10**6, 10**5, standing="passed"),
                told_of("c", "pump", "active", "d-0", 10**6, 10**5, standing="passed"),
                told_of("d", "pump", "active", "d-0", 10**6, 10**5, standing="passed"),
            ]
        )
        writing.keep_baselines(mine, 0)
        writing.record_evidence([told_of(name, "pump", "active", "d-1", 0, 0) for name in "abcd"])

    kept.do(start)

    def before(*told: EvidenceRow) -> Tally:
        kept.do(lambda writing: writing.record_evidence(told))
        return look(kept, lambda reading: reading.evidence_sums(mine, 0)).before

    assert before() == Tally(), "nothing has run yet"
    assert before(told_of("a", "pump", "active", "d-1", 1, 0)) == tally(1010, 4, 0, 0), "it has not acted"
    assert before(told_of("a", "pump", "active", "d-1", 2, 0)) == tally(1010, 4, 505, 2)
    assert before(told_of("b", "pump", "active", "d-1", 2, 0), told_of("d", "pump", "active", "d-1", 2, 0)) == tally(
        1060, 5, 530, 6
    )


def test_evidence_of_a_rule_takes_the_place_of_what_was_told_before(kept: Any, helpers: Any) -> None:
    mine = helpers.deployment("d-1")

    def step(writing: Writing) -> None:
        for name in "ab":
            writing.register_node(name, A, 9)
        writing.add_deployment(mine, [NodeProgress(name, NodeState.INSTALLED, phase=0) for name in "ab"])
        writing.record_evidence([told_of(name, "pump", "active", "d-1", 100, 10) for name in "ab"])
        writing.record_evidence([told_of("a", "lamp", "active", "d-1", 5, 0)])
        writing.record_evidence(
            [told_of("a", "pump", "candidate", "d-1", 1, 0), told_of("gone", "pump", "active", "d-1", 9, 9)]
        )

    kept.do(step)
    assert look(kept, lambda reading: reading.evidence_sums(mine, 0)).candidate.decisions == Outcomes(106, 10)


def test_nodes_that_took_a_program_back_by_themselves_are_told_with_their_reason(kept: Any) -> None:
    def step(writing: Writing) -> None:
        for name in "abc":
            writing.register_node(name, A, 9)
        writing.record_evidence(
            [
                told_of("a", "pump", "active", "d-1", 1, 1, standing="rolledBack", reason="traps"),
                told_of("a", "lamp", "active", "d-1", 1, 1, standing="rolledBack", reason="boots"),
                told_of("b", "pump", "active", "d-1", 1, 1),
                told_of("c", "pump", "active", "d-2", 1, 1, standing="rolledBack", reason="of another"),
            ]
        )

    kept.do(step)
    assert look(kept, lambda reading: reading.taken_back("d-1")) == [("a", "boots")], "each node once"


def test_boards_are_summed_beside_nodes_and_programs_for_their_chips_are_kept(kept: Any, helpers: Any) -> None:
    target = Target("c" * 64, "d-1", (("limit", 2.5),), (("RP2040", "d" * 64),))
    mine = replace(helpers.deployment("d-1"), targets=(("lamp", target), ("pump", NEW)), phase=1)

    def step(writing: Writing) -> None:
        for name in "abc":
            writing.register_node(name, A, 9)
        writing.record_board("b", "a", "0001020304050607")
        writing.record_board("c", "a", "0001020304050608")
        writing.add_deployment(mine, [NodeProgress(name, NodeState.INSTALLED, phase=1) for name in "abc"])
        writing.record_evidence(
            [
                told_of("a", "pump", "active", "d-1", 100, 1, boots=1),
                told_of("b", "pump", "active", "d-1", 10, 2, boots=3),
                told_of("b", "lamp", "active", "d-1", 10, 0, differing=2),
            ]
        )

    kept.do(step)
    sums = look(kept, lambda reading: reading.evidence_sums(mine, 0))
    assert (sums.candidate, sums.board_candidate) == (tally(100, 1, 50, 0), tally(20, 2, 10, 0))
    assert (sums.starts_max, sums.differing, sums.unheard) == (3, 2, ("c",))
    found = look(kept, lambda reading: reading.deployment("d-1"))
    assert found.targets == mine.targets
    assert found.on("RP2040").targets[0][1] == Target("d" * 64, "d-1", (("limit", 2.5),))
    assert found.on("").targets == (("lamp", Target("c" * 64, "d-1", (("limit", 2.5),))), ("pump", NEW))
