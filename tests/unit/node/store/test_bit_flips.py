"""A bit of the file flips: each flip in a record is reported, what came before it is readable, and nothing else breaks."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import SimpleNamespace

import pytest

from eyeflow.base.errors import EyeflowError
from eyeflow.node.run_key import active
from eyeflow.node.store.file import STORE_NAME
from eyeflow.node.store.reader import AuditReader
from eyeflow.node.store.types import Batch, PendingRow, StateRow
from eyeflow.protocol.audit import ChainReport, decode_record, verify_stored
from eyeflow.protocol.audit_bodies import AuditError
from eyeflow.protocol.collecting import KeptHead
from eyeflow.protocol.slot import Slot
from unit.node.store.stores import KEY, PROGRAM, draft, open_store, slot

FLIPS = 10_000 if os.environ.get("EYEFLOW_FUZZ") == "full" else 300
RECORDS = 60


@dataclass(frozen=True)
class Original:
    """A store that was closed in good order: its file and its records."""

    data: bytes
    records: list[bytes]

    def flipped(self, place: int, bit: int) -> bytes:
        return self.data[:place] + bytes([self.data[place] ^ 1 << bit]) + self.data[place + 1 :]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Original:
    path = tmp_path_factory.mktemp("original")
    store = open_store(path)
    for number in range(RECORDS):
        state = StateRow(active("r"), PROGRAM, b"%d" % number)
        pending = [PendingRow(0, 0, active("r"), PROGRAM, 0, ("HIGH",))] if number > RECORDS - 5 else []
        slots = [slot("r", Slot.ACTIVE, {"limit": 3})] if number == 0 else []
        store.commit(Batch([draft(number, 10 + number * 7 % 300)], [state], pending, put_slots=slots))
    store.note_kept("coordinator", KeptHead(store.epoch, *store.head, 1))
    records = store.audit_range(1, 1000)
    store.close(clean=True)
    return Original((path / STORE_NAME).read_bytes(), records)


def place_of(original: Original, record: bytes, tmp_path: Path) -> int:
    """Return where a record is read from: older copies of it may lie in pages that hold nothing any more."""
    place = original.data.find(record)
    while read_all(laid_out(tmp_path / "look", original.flipped(place, 0)))[0] == original.records:
        place = original.data.index(record, place + 1)
    return place


def laid_out(path: Path, data: bytes) -> Path:
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    (path / STORE_NAME).write_bytes(data)
    return path


def read_all(path: Path) -> tuple[list[bytes], ChainReport | None]:
    """Return the records that can be read, and what is said of them; None where reading ends with damage."""
    found: list[bytes] = []

    def kept(rows: Iterator[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
        for row in rows:
            found.append(row[1])
            yield row

    try:
        with AuditReader(path) as reader:
            return found, verify_stored(kept(reader.rows()), KEY.public_key, reader.tip)
    except EyeflowError:
        return found, None


def prefix_of(found: list[bytes], records: list[bytes]) -> int:
    """Return how many records at the beginning are what they were."""
    return next((n for n, (a, b) in enumerate(zip(found, records, strict=False)) if a != b), min(len(found), RECORDS))


def test_each_flip_in_a_record_is_reported_and_what_came_before_is_readable(tmp_path: Path, original: Original) -> None:
    rng, places = Random(1), [place_of(original, one, tmp_path) for one in original.records]
    for _ in range(FLIPS):
        number = rng.randrange(RECORDS)
        place = places[number] + rng.randrange(len(original.records[number]))
        bit = rng.randrange(8)
        found, report = read_all(laid_out(tmp_path / "flipped", original.flipped(place, bit)))
        told = f"bit {bit} of byte {place}, record {number + 1}"
        assert report is None or not report.holds, f"nobody reports {told}"
        assert prefix_of(found, original.records) >= number, f"what came before {told} cannot be read"


def test_whatever_flips_nothing_is_read_as_another_thing_and_nothing_ends_in_a_bug(
    tmp_path: Path, original: Original
) -> None:
    """Any bit of the file: either all is there, or damage is said. A start says damage, too, or works on."""
    rng, told, untold = Random(2), 0, 0
    for _ in range(FLIPS):
        path = laid_out(tmp_path / "flipped", flipped_anywhere(original, rng))
        is_told, is_other = told_and_other(path, original)
        assert is_told or not is_other
        told, untold = told + is_told, untold + (not is_told)
        starts(path)
    assert told and untold, "some flips hit what no record needs"


def flipped_anywhere(original: Original, rng: Random) -> bytes:
    return original.flipped(rng.randrange(len(original.data)), rng.randrange(8))


def told_and_other(path: Path, original: Original) -> tuple[bool, bool]:
    """Return whether damage is said, and whether something is read that was not written, or not all of it."""
    found, report = read_all(path)
    return report is None or not report.holds, found != original.records


def test_control_records_that_are_not_compared_with_the_chain_are_read_as_others(
    tmp_path: Path, original: Original, monkeypatch: pytest.MonkeyPatch
) -> None:
    def verify(rows: Iterator[tuple[int, bytes]], *unused: object) -> SimpleNamespace:
        with suppress(AuditError):
            return SimpleNamespace(holds=all(decode_record(data) for _, data in rows))
        return SimpleNamespace(holds=False)

    monkeypatch.setitem(globals(), "verify_stored", verify)
    rng = Random(2)
    flips = (laid_out(tmp_path / "flipped", flipped_anywhere(original, rng)) for _ in range(300))
    assert (False, True) in (told_and_other(path, original) for path in flips)


def starts(path: Path) -> None:
    with suppress(EyeflowError):
        store = open_store(path)
        try:
            store.restore()
            store.commit(Batch([draft(RECORDS)]))
            store.close(clean=True)
        finally:
            store.abandon()


def test_control_a_chain_that_is_not_compared_with_the_store_says_nothing_of_its_last_record(
    tmp_path: Path, original: Original
) -> None:
    last = original.records[-1]
    place = place_of(original, last, tmp_path) + last.index(b"x" * 10)
    path = laid_out(tmp_path / "flipped", original.flipped(place, 0))
    with AuditReader(path) as reader:
        assert verify_stored(reader.rows(), KEY.public_key).holds
        assert not verify_stored(reader.rows(), KEY.public_key, reader.tip).holds
