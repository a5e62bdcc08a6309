"""What several coordinators agree on: who holds a link, who was forgotten, and that a former leader writes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from eyeflow.coordinator.store.cluster_store import Writing
from eyeflow.coordinator.store.coordination import Link, NotLeadingError
from eyeflow.coordinator.store.facts import ChangeKind, Seen


def joined(kept: Any, *names: str) -> None:
    def step(writing: Writing) -> None:
        for name in names:
            writing.register_node(name, bytes(32), 1)

    kept.do(step)


def told(kept: Any, cursor: int) -> list[tuple[ChangeKind, str]]:
    return [(one.kind, one.subject) for one in kept.file.read(lambda reading: reading.changes(cursor, 100))]


def test_the_last_coordinator_that_takes_a_link_holds_it_and_only_it_can_drop_it(kept: Any) -> None:
    joined(kept, "n")
    before = kept.file.newest_change
    kept.do(lambda writing: writing.take_link(Link("n", "a", 1, 5)))
    kept.do(lambda writing: writing.take_link(Link("n", "b", 7, 6)))
    assert kept.do(lambda writing: writing.drop_link("n", "a", 8)) is False
    assert kept.file.read(lambda reading: (reading.link("n"), reading.links())) == (
        Link("n", "b", 7, 6),
        [Link("n", "b", 7, 6)],
    )
    assert kept.do(lambda writing: writing.drop_link("n", "b", 9)) is True
    assert kept.file.read(lambda reading: reading.link("n")) is None
    assert told(kept, before) == [(ChangeKind.LINK, "n")] * 3, "who follows the feed hears of each"


def test_a_stranger_gets_no_link_and_a_removed_node_has_none(kept: Any) -> None:
    joined(kept, "n")
    kept.do(lambda writing: writing.take_link(Link("ghost", "a", 1, 5)))
    kept.do(lambda writing: writing.take_link(Link("n", "a", 1, 5)))
    kept.do(lambda writing: writing.remove_node("n", 6))
    assert kept.file.read(lambda reading: reading.links()) == []


def test_a_coordinator_that_is_forgotten_leaves_its_nodes_without_links(kept: Any) -> None:
    joined(kept, "x", "y", "z")
    for node, coordinator in (("x", "a"), ("y", "b"), ("z", "a")):
        kept.do(lambda writing, link=Link(node, coordinator, 1, 5): writing.take_link(link))
    for coordinator in ("b", "a", "a"):
        kept.do(lambda writing, one=coordinator: writing.register_coordinator(one, 4))
    assert kept.file.read(lambda reading: reading.coordinators()) == ["a", "b"]
    assert kept.do(lambda writing: writing.forget_coordinator("a", 9)) == ["x", "z"]
    assert kept.do(lambda writing: writing.forget_coordinator("a", 9)) == []
    assert kept.file.read(lambda reading: reading.coordinators()) == ["b"]
    assert [one.node for one in kept.file.read(lambda reading: reading.links())] == ["y"]


def test_each_leader_has_an_epoch_of_its_own_and_an_older_one_writes_nothing(kept: Any) -> None:
    assert kept.file.read(lambda reading: reading.lead_epoch()) == 0
    first = kept.do(lambda writing: writing.take_lead("a"))
    second = kept.do(lambda writing: writing.take_lead("b"))
    assert (first, second) == (1, 2)

    def step(writing: Writing) -> None:
        writing.register_node("late", bytes(32), 1)
        writing.check_lead(first)

    with pytest.raises(NotLeadingError) as refused:
        kept.do(step)
    assert refused.value.code == "not_leading" and "epoch 1, and epoch 2" in refused.value.cause
    assert kept.file.read(lambda reading: reading.node("late")) is None
    kept.do(lambda writing: writing.check_lead(second))


def test_what_a_node_told_of_its_health_is_there_for_all(kept: Any) -> None:
    joined(kept, "n")
    assert kept.file.read(lambda reading: reading.health("n")) == []
    for state in ("ok", "failed"):
        health = f'[{{"name": "rule", "state": "{state}"}}]'
        kept.do(
            lambda writing, text=health: writing.record_seen([Seen("n", 1, 2, 3, text), Seen("ghost", 1, 2, 3, text)])
        )
    kept.do(lambda writing: writing.record_seen([Seen("n", 1, 2, 3)]))
    assert kept.file.read(lambda reading: reading.health("n")) == [{"name": "rule", "state": "failed"}]
    assert kept.file.read(lambda reading: reading.health("ghost")) == []
