"""The power goes below the archive at any write and any sync: what the coordinator has signed for is there, and whole."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from eyeflow.coordinator.archive import sqlite_archive
from eyeflow.coordinator.archive.sql_archive import SpoiledRowError
from eyeflow.coordinator.archive.sqlite_archive import SqliteArchive
from unit.coordinator.archive.power import Lives

CUTS = 10_000 if os.environ.get("EYEFLOW_FUZZ") == "full" else 200
SEED = int(os.environ.get("EYEFLOW_SEED", "1"))
DISK_LIVES = 40
"""After so many lives another disk begins: what is kept would else take ever longer to look at."""


def problems_of(
    directory: Path, seed: int, cuts: int, fault: Callable[[SqliteArchive], None] = lambda archive: None
) -> str:
    """Cut the power so often; return the first problem, with the seed that shows it."""
    done = 0
    while done < cuts:
        lives = Lives(directory / str(seed), seed, fault)
        count = min(DISK_LIVES, cuts - done)
        for _ in range(count):
            done += 1
            if problem := lives.live():
                return f"seed {seed}, life {lives.lives}: {problem}"
        assert lives.deaths > 0.3 * count, "many lives end in a write"
        seed += 1
    return ""


def test_whenever_the_power_goes_what_was_signed_for_is_there(tmp_path: Path) -> None:
    assert problems_of(tmp_path, SEED, CUTS) == ""


@pytest.mark.parametrize("synchronous", ["off", "normal"])
def test_control_an_archive_that_does_not_sync_each_commit_loses_some(tmp_path: Path, synchronous: str) -> None:
    def fault(archive: SqliteArchive) -> None:
        archive._db.pragma("synchronous", synchronous)

    assert problems_of(tmp_path, SEED, 1000, fault) != ""


def test_control_an_archive_that_is_begun_anew_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that takes a whole file for damaged loses no record for ever, and yet it is wrong."""
    real, starts = sqlite_archive._open, iter(range(10_000))

    def breaks(path: Path, vfs: str | None) -> object:
        if next(starts) == 5:
            raise sqlite_archive._trouble(path, SpoiledRowError())
        return real(path, vfs)

    monkeypatch.setattr(sqlite_archive, "_open", breaks)
    assert "takes its file for damaged" in problems_of(tmp_path, SEED, 20)
