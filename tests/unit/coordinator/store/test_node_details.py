"""What is told of several nodes at once is what is told of each by itself, and of no other node."""

from __future__ import annotations

from typing import Any

from eyeflow.coordinator.histories import Doubt, Finding, History
from eyeflow.coordinator.store.cluster_store import Reading, Writing
from eyeflow.coordinator.store.coordination import Link
from eyeflow.coordinator.store.facts import NodeReport, Seen
from eyeflow.coordinator.store.lists import NodeDetails, NodeSums
from eyeflow.protocol.messages import Head, RuleResult, RuleState
from eyeflow.protocol.slot import Slot
from eyeflow.rollout.deployment import Target, Wanted

SILENT_US = 100


def fill(writing: Writing) -> None:
    """Two nodes of one site with everything, one without anything, and one of another site."""
    for number, name in enumerate(("full", "other", "plain", "far")):
        writing.register_node(name, bytes(32), 1)
        if name == "plain":
            continue
        writing.set_labels(name, {"site": "nice" if name == "far" else "lyon", "line": name}, 2)
        writing.take_link(Link(name, "mine" if name == "other" else "yours", number, 3))
        for rule, slot in (("pump", "candidate"), ("pump", "active"), ("lamp", "active")):
            writing.want(name, Wanted(rule, slot, Target(f"{number}" * 64, name)))
        results = [RuleResult("pump", "9" * 64, RuleState.REFUSED, name, one) for one in (Slot.CANDIDATE, Slot.ACTIVE)]
        writing.record_report(NodeReport(name, 1, (*results, RuleResult("lamp", "8" * 64, RuleState.INSTALLED))), 4)
        findings = (Finding(Doubt.NEW_EPOCH, 5, 6, name), Finding(Doubt.FORKED, 7, 8, name))
        writing.record_histories({name: History(Head(b"", number, 2, bytes(32)), (), findings)}, 5)
        rates = (10.0 + number, 0.5 + number)
        writing.record_seen([Seen(name, 1, 2, 200, f'[{{"name": "{name}"}}]', 0, 3 + number, *rates)])
        writing.set_drained(name, number, 6)


def one_by_one(reading: Reading, name: str) -> NodeDetails:
    known = (reading.link(name), reading.history(name), reading.health(name), reading.labels(name))
    return NodeDetails(*known, reading.wanted(name), reading.said(name))


def test_details_of_several_nodes_are_those_of_each(kept: Any) -> None:
    kept.do(fill)
    asked = ["plain", "full", "other"]
    found = kept.file.read(lambda reading: reading.node_details(asked))
    assert list(found) == asked
    assert found == kept.file.read(lambda reading: {name: one_by_one(reading, name) for name in asked})
    assert [one.kind for one in found["full"].history.findings] == [Doubt.NEW_EPOCH, Doubt.FORKED], "as they came"
    assert list(found["full"].labels) == ["line", "site"] and found["full"].health == [{"name": "full"}]
    assert found["plain"] == NodeDetails(None, History(), [], {}, [], [])
    assert kept.file.read(lambda reading: reading.node_details([])) == {}


def test_sums_are_of_nodes_with_the_labels_and_rates_of_those_that_others_hold(kept: Any) -> None:
    kept.do(fill)

    def sums(**more: Any) -> NodeSums:
        return kept.file.read(lambda reading: reading.node_sums(SILENT_US, "mine", **more))

    all_nodes, lyon = sums(), sums(labels=(("site", "lyon"),))
    assert (all_nodes.nodes, all_nodes.active, all_nodes.drained, all_nodes.failing) == (4, 3, 2, 3)
    assert (all_nodes.waiting, all_nodes.executions_a_minute, all_nodes.errors_a_minute) == (3 + 6, 10 + 13, 0.5 + 3.5)
    assert (lyon.nodes, lyon.active, lyon.drained) == (2, 2, 1)
    assert (lyon.waiting, lyon.executions_a_minute, lyon.errors_a_minute) == (3, 10, 0.5)
    assert lyon.pending * 3 == all_nodes.pending * 2 > 0, "each of the three has as many"
    assert sums(labels=(("site", "lyon"), ("line", "far"))) == NodeSums(0, 0, 0, 0, 0, 0, 0.0, 0.0)
