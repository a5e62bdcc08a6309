"""One bit of a kept record flips on the coordinator's disk: it is reported, and the records before it are readable."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from eyeflow.base.errors import EyeflowError
from eyeflow.base.machine import Machine
from eyeflow.coordinator.archive import checking
from eyeflow.coordinator.archive.checking import Checker
from eyeflow.coordinator.archive.database import DAMAGED
from eyeflow.coordinator.archive.sqlite_archive import ARCHIVE_FILE, DAMAGED_FILE, SqliteArchive
from unit.coordinator.archive.chains import EPOCH, NODE, Chain, cosign

FLIPS = 10_000 if os.environ.get("EYEFLOW_FUZZ") == "full" else 200
RECORDS = 90
LOOKS = 4
"""One suspects a record, the next one is sure; two more would do no harm."""


@dataclass(frozen=True)
class Original:
    """An archive that was closed in good order: its file, its records, and where each of them is."""

    data: bytes
    records: list[bytes]
    places: list[int]

    def flipped(self, place: int, bit: int) -> bytes:
        return self.data[:place] + bytes([self.data[place] ^ 1 << bit]) + self.data[place + 1 :]


def opened(path: Path, data: bytes) -> SqliteArchive:
    """Open a file with this content. Raises EyeflowError."""
    for old in path.iterdir():
        old.unlink()
    (path / ARCHIVE_FILE).write_bytes(data)
    return SqliteArchive(path / ARCHIVE_FILE, Machine(), cosign)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Original:
    path, chain = tmp_path_factory.mktemp("original"), Chain()
    archive = SqliteArchive(path / ARCHIVE_FILE, Machine(), cosign)
    while len(chain.records) < RECORDS:
        first = len(chain.records) + 1 if len(chain.records) > 1 else 1
        chain.run(7).checkpoint()
        assert archive.append([chain.bundle(first, len(chain.records))])[0].kept is not None
    archive.close()
    made = Original((path / ARCHIVE_FILE).read_bytes(), chain.records, [])
    made.places.extend(place_of(made, record, path) for record in chain.records)
    return made


def place_of(original: Original, record: bytes, path: Path) -> int:
    """Return where a record is read from: older copies of it may lie in pages that hold nothing any more."""
    place = original.data.index(record)
    while prefix_of(opened(path, original.flipped(place, 0)), original.records) == len(original.records):
        place = original.data.index(record, place + 1)
    return place


def prefix_of(archive: SqliteArchive, records: list[bytes]) -> int:
    """Return how many records at the beginning can be read and are what they were; close the archive."""
    intact = 0
    for number, record in enumerate(records):
        try:
            rows = archive.page(NODE, EPOCH, number, 1)
        except EyeflowError:
            break
        if [row.data for row in rows] != [record]:
            break
        intact += 1
    archive.close()
    return intact


def is_reported(path: Path, data: bytes) -> bool:
    """Say whether the look through all that is kept finds something, or a start or a read says damage."""
    archive = opened(path, data)
    checker = Checker()
    try:
        if (path / DAMAGED_FILE).exists():
            return True
        return any(checker.look(archive) is not None for _ in range(LOOKS))
    except EyeflowError as error:
        return error.code == DAMAGED
    finally:
        archive.close()


def unreported(original: Original, path: Path, flips: int) -> list[str]:
    """Flip bits; return those that nobody reports, and those before which something cannot be read."""
    rng, found = Random(1), list[str]()
    for _ in range(flips):
        number = rng.randrange(len(original.records))
        place = original.places[number] + rng.randrange(len(original.records[number]))
        bit = rng.randrange(8)
        data = original.flipped(place, bit)
        told = f"bit {bit} of byte {place}, record {number + 1}"
        if not is_reported(path, data):
            found.append(f"nobody reports {told}")
        if prefix_of(opened(path, data), original.records) < number:
            found.append(f"what came before {told} cannot be read")
    return found


def test_each_flip_in_a_kept_record_is_reported_and_what_came_before_is_readable(
    tmp_path: Path, original: Original
) -> None:
    assert not is_reported(tmp_path, original.data)
    assert unreported(original, tmp_path, FLIPS) == []


def test_control_a_look_that_compares_no_hashes_misses_some(
    tmp_path: Path, original: Original, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not what every flip breaks: the form of a record, or what it is filed as."""
    monkeypatch.setattr(checking, "record_hash", lambda data: None)
    assert any("nobody reports" in one for one in unreported(original, tmp_path, 100))
