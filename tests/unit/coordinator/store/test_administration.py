"""What people set for nodes and cluster comes back as it was set: labels, drained nodes, the policy, the root's list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from eyeflow.coordinator.store import sql_writing
from eyeflow.coordinator.store.cluster_store import Reading
from eyeflow.coordinator.store.facts import AppliedPolicy, Change, ChangeKind


def look(kept: Any, question: Callable[[Reading], Any]) -> Any:
    return kept.file.read(question)


def joined(kept: Any, *names: str) -> int:
    """Register nodes; return the number of the last change."""
    kept.do(lambda writing: [writing.register_node(name, bytes(32), 1) for name in names])
    return look(kept, lambda reading: reading.newest_change())


def test_labels_of_a_node_take_the_place_of_those_before(kept: Any) -> None:
    before = joined(kept, "a", "b")
    kept.do(lambda writing: writing.set_labels("a", {"site": "lyon", "line": "1"}, 7))
    kept.do(lambda writing: writing.set_labels("b", {"site": "lyon"}, 8))
    assert look(kept, lambda reading: list(reading.labels("a").items())) == [("line", "1"), ("site", "lyon")]
    kept.do(lambda writing: writing.set_labels("a", {"site": "nice"}, 9))
    assert look(kept, lambda reading: (reading.labels("a"), reading.labels("b"))) == (
        {"site": "nice"},
        {"site": "lyon"},
    )
    assert look(kept, lambda reading: reading.labels("nobody")) == {}
    assert look(kept, lambda reading: reading.changes(before, 9)) == [
        Change(before + place, time_us, ChangeKind.NODE, node)
        for place, (time_us, node) in enumerate([(7, "a"), (8, "b"), (9, "a")], start=1)
    ]


def test_a_node_is_found_by_all_of_the_labels_that_are_asked_for(kept: Any) -> None:
    joined(kept, "c", "b", "a", "plain")
    labels = {
        "a": {"site": "lyon", "line": "1"},
        "b": {"site": "lyon", "line": "2"},
        "c": {"site": "nice", "line": "1"},
    }
    kept.do(lambda writing: [writing.set_labels(node, one, 1) for node, one in labels.items()])

    def labelled(**wanted: str) -> list[str]:
        return look(kept, lambda reading: reading.labelled(wanted))

    assert labelled(site="lyon") == ["a", "b"] and labelled(line="1") == ["a", "c"]
    assert labelled(site="lyon", line="1") == ["a"] and labelled(line="1", site="lyon") == ["a"]
    assert labelled(site="nice", line="2") == [] and labelled(site="1") == [] and labelled(room="1") == []
    assert labelled() == ["a", "b", "c", "plain"], "who asks for no label asks for all"
    assert look(kept, lambda reading: reading.label_values()) == [
        ("line", "1"),
        ("line", "2"),
        ("site", "lyon"),
        ("site", "nice"),
    ], "each once"


def test_a_drained_node_is_drained_until_it_is_told_otherwise(kept: Any) -> None:
    before = joined(kept, "a", "b")
    assert look(kept, lambda reading: reading.drained()) == frozenset()
    kept.do(lambda writing: (writing.set_drained("a", 5, 6), writing.set_drained("b", 1, 7)))
    assert look(kept, lambda reading: reading.drained()) == {"a", "b"}
    assert look(kept, lambda reading: (reading.node("a").drained_us, reading.node("b").drained_us)) == (5, 1)
    kept.do(lambda writing: writing.set_drained("a", 0, 8))
    assert look(kept, lambda reading: reading.drained()) == {"b"}
    assert look(kept, lambda reading: reading.changes(before, 9)) == [
        Change(before + place, time_us, ChangeKind.NODE, node)
        for place, (time_us, node) in enumerate([(6, "a"), (7, "b"), (8, "a")], start=1)
    ]


def test_the_last_policy_holds_and_as_many_as_the_bound_are_kept(kept: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql_writing, "POLICIES_MAX", 3)
    assert look(kept, lambda reading: reading.policy()) is None
    for number in range(1, 6):
        one = AppliedPolicy(f"text {number}", number * 10, f"actor {number}")
        kept.do(lambda writing, one=one: writing.keep_policy(one))
        assert look(kept, lambda reading: reading.policy()) == one
    texts = look(kept, lambda reading: reading._rows("SELECT text FROM policies ORDER BY number"))
    assert texts == [("text 3",), ("text 4",), ("text 5",)]


def test_the_list_of_signers_that_was_published_last_is_kept(kept: Any) -> None:
    assert look(kept, lambda reading: reading.signer_list()) is None
    for text in (b"first", b"second", b"third"):
        kept.do(lambda writing, text=text: writing.keep_signer_list(text))
        assert look(kept, lambda reading: reading.signer_list()) == text
