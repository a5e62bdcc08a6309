"""Two writers of one store: whoever decided from what is no longer true is told so, and loses nobody's update."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from eyeflow.coordinator.store.cluster_store import ConflictError, Writing
from eyeflow.coordinator.store.sql_writing import SqlWriting
from eyeflow.rollout.actions import Nodes
from eyeflow.rollout.deployment import DeploymentState, NodeState


class CarelessWriting(SqlWriting):
    """The control: it writes whatever the row is now."""

    def _unchanged(self, revision: int) -> tuple[str, tuple[Any, ...]]:
        return "", ()


def written_twice(kept: Any, other: Any) -> list[str]:
    """Both read the same rows; the other writes first. Returns what is stored in the end."""
    kept.deployed(["a", "b"])
    deployment = kept.file.read(lambda reading: reading.deployment("d-1"))
    (progress,) = kept.file.read(lambda reading: reading.progress("d-1", Nodes(("a",))))

    def first(writing: Writing) -> None:
        failed = replace(deployment, state=DeploymentState.INSTALLING, reason="first")
        writing.save_deployment(failed)
        writing.save_progress("d-1", progress, replace(progress, state=NodeState.REFUSED, reason="first"), 1)

    other.do(first)
    for late in (
        lambda writing: writing.save_deployment(replace(deployment, reason="late")),
        lambda writing: writing.save_progress("d-1", progress, replace(progress, reason="late"), 2),
    ):
        error = kept.file.commit([late])[0].error
        assert error is None or isinstance(error, ConflictError), error
    now = kept.file.read(lambda reading: reading.deployment("d-1"))
    (row,) = kept.file.read(lambda reading: reading.progress("d-1", Nodes(("a",))))
    other.file.close()
    return [now.reason, row.reason]


def test_a_late_writer_is_told_and_the_first_update_stays(kept: Any) -> None:
    assert written_twice(kept, kept.another()) == ["first", "first"]


def test_control_without_the_revision_the_first_update_is_lost(kept: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SqlWriting, "_unchanged", CarelessWriting._unchanged)
    assert written_twice(kept, kept.another()) == ["late", "late"]


def test_a_conflict_undoes_the_whole_step_and_says_what_to_do(kept: Any) -> None:
    kept.deployed(["a", "b"])
    (a, b) = kept.file.read(lambda reading: reading.progress("d-1"))
    kept.do(lambda writing: writing.save_progress("d-1", b, replace(b, state=NodeState.SENT), 1))

    def step(writing: Writing) -> None:
        writing.save_progress("d-1", a, replace(a, state=NodeState.REFUSED), 2)
        writing.save_progress("d-1", b, replace(b, state=NodeState.REFUSED), 2)

    with pytest.raises(ConflictError) as error:
        kept.do(step)
    assert "node b of deployment d-1" in error.value.message and "repeat" in error.value.next_step
    assert kept.file.read(lambda reading: reading.counts("d-1")) == {NodeState.HELD: 1, NodeState.SENT: 1}
    (a, b) = kept.file.read(lambda reading: reading.progress("d-1"))
    assert (a.state, b.state) == (NodeState.HELD, NodeState.SENT)


def test_what_one_writer_committed_the_other_reads(kept: Any) -> None:
    kept.deployed(["a"])
    other = kept.another()
    (a,) = other.file.read(lambda reading: reading.progress("d-1"))
    other.do(lambda writing: writing.save_progress("d-1", a, replace(a, state=NodeState.SENT), 1))
    (seen,) = kept.file.read(lambda reading: reading.progress("d-1"))
    assert (seen.state, seen.revision) == (NodeState.SENT, 1)
    other.file.close()
