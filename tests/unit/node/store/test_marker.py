"""The note of the highest epoch, beside the store."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest

from eyeflow.node.store.marker import MARKER_NAME, mark_epoch, marked_epoch
from eyeflow.node.store.store import Store
from eyeflow.node.store.types import BufferLimits
from eyeflow.protocol.identity import Identity

KEY = Identity(bytes(range(1, 33)))
S = 1_000_000


def epoch_of(path: Path, time_us: int) -> int:
    store = Store(path, "n1", KEY, BufferLimits(64 * S, 10**18), now_us=lambda: time_us)
    store.close(clean=True)
    return store.epoch


def test_no_epoch_comes_twice_although_an_older_store_was_restored_in_between(tmp_path: Path) -> None:
    """The coordinator would take the second one for a fork or an old copy of the first."""
    data, backup = tmp_path / "data", tmp_path / "node.db"
    data.mkdir()
    first = epoch_of(data, 100 * S)
    shutil.copy(data / "node.db", backup)
    (data / "node.db").unlink()
    second = epoch_of(data, 50 * S)
    shutil.copy(backup, data / "node.db")
    assert epoch_of(data, 50 * S) == first
    (data / "node.db").unlink()
    assert (first, second, epoch_of(data, 50 * S)) == (100, 101, 102)


def test_the_marker_never_goes_back(tmp_path: Path) -> None:
    for epoch in (7, 9, 5):
        mark_epoch(tmp_path, epoch)
    assert marked_epoch(tmp_path) == 9


@pytest.mark.parametrize(
    ("content", "epoch"),
    [
        (b"7\n", 7),
        (b" 7 ", 7),
        (b"9" * 19, 10**19 - 1),
        (b"9" * 19 + b"\n", 10**19 - 1),
        (b"7".ljust(20), 7),
        (b"7".ljust(21), 0),
        (b"9" * 20, 0),
        (b"9" * 100, 0),
        (b"", 0),
        (b"-7", 0),
        (b"7 8", 0),
        (b"seven", 0),
        (b"\xff7", 0),
    ],
)
def test_what_no_node_wrote_is_no_epoch(tmp_path: Path, content: bytes, epoch: int) -> None:
    (tmp_path / MARKER_NAME).write_bytes(content)
    assert marked_epoch(tmp_path) == epoch


def test_a_directory_that_never_had_a_store_has_no_epoch(tmp_path: Path) -> None:
    assert marked_epoch(tmp_path) == 0


def test_the_marker_is_its_owners_and_written_only_when_it_grows(tmp_path: Path) -> None:
    mark_epoch(tmp_path, 7)
    before = (tmp_path / MARKER_NAME).stat()
    assert (tmp_path / MARKER_NAME).read_bytes() == b"7\n" and stat.S_IMODE(before.st_mode) == 0o600
    mark_epoch(tmp_path, 7)
    assert (tmp_path / MARKER_NAME).stat().st_ino == before.st_ino, "each start comes here"
    mark_epoch(tmp_path, 8)
    assert marked_epoch(tmp_path) == 8


def test_a_disk_that_refuses_the_marker_is_told_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / MARKER_NAME).mkdir()
    mark_epoch(tmp_path, 7)
    (said,) = caplog.records
    assert said.levelname == "WARNING" and str(tmp_path / MARKER_NAME) in said.getMessage()
    assert "a lost store would not be noticed" in said.getMessage() and "irectory" in said.getMessage()
