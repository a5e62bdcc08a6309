"""Stores of the tests, and what is written to them."""

from __future__ import annotations

from pathlib import Path

from eyeflow.base.machine import FreeBytes, free_bytes_of
from eyeflow.node.run_key import RunKey
from eyeflow.node.store.store import Store
from eyeflow.node.store.types import (
    Batch,
    BufferLimits,
    Draft,
    OnFull,
    SlotRow,
)
from eyeflow.protocol.audit import decode_record
from eyeflow.protocol.audit_bodies import ExecutionBody
from eyeflow.protocol.identity import Identity
from eyeflow.protocol.slot import Slot

KEY = Identity(bytes(range(32)))
PROGRAM = bytes(range(32))
MB = 1024 * 1024
FOREVER = 10**18


class Time:
    def __init__(self) -> None:
        self.us = 1_700_000_000_000_000

    def now(self) -> int:
        return self.us


def limits(size_mb: int = 64, age_us: int = FOREVER, on_full: OnFull = OnFull.DROP_OLDEST) -> BufferLimits:
    return BufferLimits(size_mb * MB, age_us, on_full)


def open_store(
    path: Path,
    bounds: BufferLimits | None = None,
    *,
    time: Time | None = None,
    vfs: str | None = None,
    free_bytes: FreeBytes = free_bytes_of,
) -> Store:
    return Store(path, "n1", KEY, bounds or limits(), now_us=(time or Time()).now, vfs=vfs, free_bytes=free_bytes)


def draft(number: int, size: int = 10) -> Draft:
    return Draft(1_700_000_000_000_000 + number, ExecutionBody("r", PROGRAM, 0, number, 0, 9, inputs=("x" * size,)))


def batch(*numbers: int, size: int = 10) -> Batch:
    return Batch([draft(number, size) for number in numbers])


def numbers_of(records: list[bytes]) -> list[int]:
    bodies = [decode_record(record).body for record in records]
    return [body.event_time_us for body in bodies if isinstance(body, ExecutionBody)]


def slot(rule: str, place: Slot, params: dict[str, bool | int | float | str] | None = None) -> SlotRow:
    return SlotRow(RunKey(rule, place), PROGRAM, b"program", params or {}, "d1", 3, 17)
