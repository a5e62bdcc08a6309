"""72 hours alone: the coordinator then keeps every record of the node once, in order, and unaltered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pytest import MonkeyPatch

from eyeflow.coordinator.archive.archive import Archive
from eyeflow.coordinator.archive.sqlite_archive import SqliteArchive
from simulation.outage import EVENT_S, OUTAGE_S, Outage
from simulation.records import BrokenPromise


def test_after_72_hours_alone_every_execution_is_kept_once_and_in_order(tmp_path: Path) -> None:
    outage = Outage(tmp_path)
    outage.run()
    assert outage.copied > OUTAGE_S / EVENT_S


def loses_a_bundle(patch: MonkeyPatch) -> None:
    """Says that a bundle is kept, and keeps nothing of it."""
    real = SqliteArchive._write

    def write(self: Any, owner: Any, first_seq: int, kept: Any, tail: Any, rows: Any) -> None:
        real(self, owner, first_seq, kept, tail, rows if rows[0].seq < 100 else rows[1:])

    patch.setattr(SqliteArchive, "_write", write)


def keeps_nothing(patch: MonkeyPatch) -> None:
    """Takes every bundle for kept before it is."""

    async def append(self: Any, bundle: Any) -> Any:
        answer = await real(self, bundle)
        raise RuntimeError("lost") if answer.seq > 100 else AssertionError

    real = Archive.append
    patch.setattr(Archive, "append", append)


@pytest.mark.parametrize("fault", [loses_a_bundle, keeps_nothing])
def test_control_a_record_that_is_missing_is_noticed(
    fault: Callable[[MonkeyPatch], None], tmp_path: Path, monkeypatch: MonkeyPatch
) -> None:
    fault(monkeypatch)
    with pytest.raises(BrokenPromise, match="35:"):
        Outage(tmp_path).run()
