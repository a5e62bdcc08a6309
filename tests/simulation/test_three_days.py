"""Three days alone with each backend: the coordinator then has each execution once and in order, and Kafka each record.

`make test` runs some hours of it for the backends of Kafka; `make days` runs all 72, for each backend and from many
seeds. With sqlite `test_outage` runs all 72 always.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaException
from pytest import MonkeyPatch

from eyeflow.node.io.kafka import copies
from eyeflow.node.io.kafka.copies import AuditCopies
from eyeflow.node.io.kafka.copying import NodeAudit
from eyeflow.protocol.collecting import KeptHead
from simulation.mutants import check_found
from simulation.records import BrokenPromise
from simulation.three_days import ALONE_S, ThreeDays

IS_FULL = os.environ.get("EYEFLOW_FUZZ") == "full"
ALONE_FOR_S = ALONE_S if IS_FULL else 5 * 3600.0
SEEDS = {"sqlite": 3, "kafka": 1, "kafka_embedded": 2}
CONTROL_S, SEEDS_MAX = 2 * 3600.0, 40
FOUND_BY = {"notes_what_is_not_confirmed": 2, "leaves_out_what_was_refused": 2}
"""The seed that found a fault last: the search begins with it."""


@pytest.mark.parametrize("backend", SEEDS if IS_FULL else [one for one in SEEDS if one != "sqlite"])
def test_after_days_alone_each_execution_is_there_once_and_in_order(tmp_path: Path, backend: str) -> None:
    days = ThreeDays(SEEDS[backend], tmp_path, backend, ALONE_FOR_S)
    days.run()
    assert days.order == list(range(1, days.count + 1))
    assert days.happened["crash_worker"] and days.happened["fail_a_disk"], days.happened


def broken_by(seed: int, directory: Path, backend: str = "kafka") -> str:
    """Run some hours; return the promise that was broken, empty when all held."""
    directory.mkdir()
    try:
        ThreeDays(seed, directory, backend, CONTROL_S).run()
    except BrokenPromise as broken:
        return str(broken)
    return ""


def notes_what_is_not_confirmed(patch: MonkeyPatch) -> None:
    """Takes a page for copied that is only on its way."""

    async def confirmed(self: Any, producer: Any, failed: Any) -> None:
        return None

    patch.setattr(AuditCopies, "_confirmed", confirmed)


def leaves_out_what_was_refused(patch: MonkeyPatch) -> None:
    """Goes on behind a record that the brokers refused."""
    real = AuditCopies._confirmed

    async def confirmed(self: Any, producer: Any, failed: Any) -> None:
        await real(self, producer, ())

    patch.setattr(AuditCopies, "_confirmed", confirmed)


def begins_behind_what_is_there(patch: MonkeyPatch) -> None:
    """After a start it goes on with what comes from now on."""
    real = NodeAudit.begin

    async def begin(self: Any) -> KeptHead:
        await self._node.note_kept("kafka", KeptHead(self._epoch, *self._node.writer.store.head))
        return await real(self)

    patch.setattr(NodeAudit, "begin", begin)


QUICK = [notes_what_is_not_confirmed, begins_behind_what_is_there]
SLOW = [leaves_out_what_was_refused]
"""`make fuzz` puts this in, too."""


@pytest.mark.parametrize("mutant", QUICK + (SLOW if IS_FULL else []))
def test_control_a_fault_in_the_copies_is_found(mutant: Callable[[MonkeyPatch], None], tmp_path: Path) -> None:
    check_found(mutant, SEEDS_MAX, FOUND_BY.get(mutant.__name__, 1), broken_by, tmp_path)


def test_a_clock_that_was_ahead_holds_up_no_copy(tmp_path: Path) -> None:
    """Brokers take no record whose time is an hour ahead of theirs (KIP-1030); the node's clock may have been wrong."""
    days = ThreeDays(1, tmp_path, "kafka", 1200.0, is_calm=True)
    days.worker.clock.ahead_us += 10 * 86_400_000_000
    days.run()
    assert days.order == list(range(1, days.count + 1))
    assert days.worker.brokers.refused, "the brokers refuse such times"  # type: ignore[attr-defined]


def test_control_copies_that_insist_on_that_time_never_catch_up(tmp_path: Path, monkeypatch: MonkeyPatch) -> None:
    deaf = SimpleNamespace(KafkaException=KafkaException, KafkaError=SimpleNamespace(INVALID_TIMESTAMP=None))
    monkeypatch.setattr(copies, "ck", deaf)
    days = ThreeDays(1, tmp_path, "kafka", 1200.0, is_calm=True)
    days.worker.clock.ahead_us += 10 * 86_400_000_000
    with pytest.raises(BrokenPromise, match="never catch up"):
        days.run()
