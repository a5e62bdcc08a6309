"""Of the executions that failed or differed a deployment keeps the newest, of as many nodes as there are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, seed, settings
from hypothesis import strategies as st

from eyeflow.coordinator.store.cases import CASES_MAX, Case, CaseKind, kept
from eyeflow.coordinator.store.cluster_store import Writing
from eyeflow.rollout.deployment import DeploymentState


def case(node: str, time_us: int, kind: CaseKind = CaseKind.FAILED, body: str = "{}", of: str = "d-1") -> Case:
    return Case(of, kind, node, time_us, body)


def shown(store: Any, kind: CaseKind = CaseKind.FAILED, of: str = "d-1") -> list[Case]:
    found: list[Case] = store.file.read(lambda reading: reading.cases(of, kind))
    return found


CASES = st.lists(st.builds(case, st.sampled_from("abc"), st.integers(0, 50)), max_size=70)


@seed(7)
@settings(max_examples=200, deadline=None)
@given(CASES, CASES)
def test_the_newest_of_each_node_stay(first: list[Case], then: list[Case]) -> None:
    found = kept([*kept(first), *then])
    assert len(found) == min(CASES_MAX, len({*first, *then})) or {*first, *then} - {*found} <= {*first} - {*kept(first)}
    assert len(found) <= CASES_MAX and len(set(found)) == len(found)
    assert found == sorted(found, key=lambda one: one.time_us, reverse=True)
    for one in {*kept(first), *then} - {*found}:
        mine = [other for other in found if other.node == one.node]
        assert all(other.time_us >= one.time_us for other in mine), "the oldest of its node went"
        assert len(mine) + 1 >= max(sum(other.node == name for other in found) for name in "abc"), "none hides others"


def test_cases_are_kept_with_their_deployment(kept: Any, helpers: Any) -> None:
    kept.deployed(["a", "b"])
    kept.do(lambda writing: writing.record_cases([case("a", 5, body='"ü"'), case("b", 9), case("a", 7)]))
    kept.do(lambda writing: writing.record_cases([case("a", 7), case("b", 8, CaseKind.DIFFERING)]))
    assert shown(kept) == [case("b", 9), case("a", 7), case("a", 5, body='"ü"')], "none comes twice"
    assert shown(kept, CaseKind.DIFFERING) == [case("b", 8, CaseKind.DIFFERING)]
    again = kept.another()
    assert shown(again) == shown(kept)
    again.file.close()
    kept.do(lambda writing: writing.record_cases([case("a", time_us) for time_us in range(20, 90)]))
    assert len(shown(kept)) == CASES_MAX and case("b", 9) in shown(kept), "one node hides nobody"
    assert shown(kept)[0].time_us == 89

    def end(writing: Writing) -> None:
        deployment = writing.deployment("d-1")
        assert deployment is not None
        writing.save_deployment(replace(deployment, state=DeploymentState.FAILED))
        writing.add_deployment(helpers.deployment("d-2"), [])
        writing.forget_old_deployments(1, 1)

    kept.do(end)
    assert shown(kept) == shown(kept, CaseKind.DIFFERING) == []


def test_a_node_can_tell_nothing_of_a_deployment_that_is_not_its_own(kept: Any) -> None:
    kept.deployed(["a"])
    kept.do(lambda writing: writing.record_cases([case("x", 5), case("a", 6), case("a", 7, of="d-9")]))
    assert shown(kept) == [case("a", 6)] and shown(kept, of="d-9") == []


def test_a_verdict_takes_the_place_of_the_one_before(kept: Any) -> None:
    kept.deployed(["a"])
    for time_us in (9, 5):
        kept.do(lambda writing, time_us=time_us: writing.record_cases([case("", time_us, CaseKind.VERDICT)]))
    assert shown(kept, CaseKind.VERDICT) == [case("", 5, CaseKind.VERDICT)]
