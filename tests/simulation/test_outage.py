"""72 hours alone: the coordinator then keeps every record of the node once, in order, and unaltered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pytest import MonkeyPatch

from eyeflow.coordinator.archive import chain, sql_archive
from eyeflow.coordinator.archive.archive import Archive
from eyeflow.protocol import collecting
from eyeflow.protocol.audit import decode_record, record_hash
from eyeflow.protocol.collecting import KeptHead, unbundled
from simulation.outage import EVENT_S, OUTAGE_S, Outage
from simulation.records import BrokenPromise


def test_after_72_hours_alone_every_execution_is_kept_once_and_in_order(tmp_path: Path) -> None:
    outage = Outage(tmp_path)
    outage.run()
    assert outage.copied > OUTAGE_S / EVENT_S


def loses_a_bundle(patch: MonkeyPatch) -> None:
    """Says that a bundle is kept, and keeps nothing of it."""
    real = sql_archive.write

    def write(db: Any, owner: Any, first_seq: int, kept: Any, tail: Any, rows: Any) -> None:
        real(db, owner, first_seq, kept, tail, rows if len(rows) < 50 else rows[1:])

    patch.setattr(sql_archive, "write", write)


def acknowledges_too_much(patch: MonkeyPatch) -> None:
    """Takes a bundle for kept as soon as it is here, and loses it."""

    async def append(self: Any, bundle: Any) -> Any:
        *_, last = records = unbundled(bundle.records)
        if len(records) < 50:
            return await real(self, bundle)
        return KeptHead(bundle.owner.epoch, decode_record(last).seq, record_hash(last), bundle.now_us)

    real = Archive.append
    patch.setattr(Archive, "append", append)


def compares_no_hash(patch: MonkeyPatch) -> None:
    """Takes whatever comes, and the node sends one record changed."""

    def bundled(records: Any) -> bytes:
        return real([record[:-1] + b"\x01" if place == 7 else record for place, record in enumerate(records)])

    real = collecting.bundled
    patch.setattr("eyeflow.node.cluster.sender.bundled", bundled)
    patch.setattr(chain, "_check_place", lambda tail, record: None)


@pytest.mark.parametrize("fault", [loses_a_bundle, acknowledges_too_much, compares_no_hash])
def test_control_a_record_that_is_missing_is_noticed(
    fault: Callable[[MonkeyPatch], None], tmp_path: Path, monkeypatch: MonkeyPatch
) -> None:
    fault(monkeypatch)
    with pytest.raises(BrokenPromise, match="35:"):
        Outage(tmp_path, outage_s=7200.0).run()
