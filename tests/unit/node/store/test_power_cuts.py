"""The power goes at any write and any sync, again and again: nothing that was acknowledged is lost or half there."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from eyeflow.node.store.store import Store
from eyeflow.node.store.types import StorageError, StoreDamaged
from unit.node.store.power import Lives
from unit.node.store.stores import open_store

CUTS = 10_000 if os.environ.get("EYEFLOW_FUZZ") == "full" else 300
SEED = int(os.environ.get("EYEFLOW_SEED", "1"))
DISK_LIVES = 100
"""After so many lives another disk begins: what is written would else take ever longer to look at."""


def problems_of(directory: Path, seed: int, cuts: int, fault: Callable[[Store], None] = lambda store: None) -> str:
    """Cut the power so often; return the first problem, with the seed that shows it."""
    done = 0
    while done < cuts:
        lives = Lives(directory / str(seed), seed, fault)
        for _ in range(min(DISK_LIVES, cuts - done)):
            done += 1
            if problem := lives.live():
                return f"seed {seed}, life {lives.lives}: {problem}"
        assert lives.deaths > 0.3 * lives.lives, "most lives end in a write"
        seed += 1
    return ""


def test_whenever_the_power_goes_what_was_acknowledged_is_there(tmp_path: Path) -> None:
    assert problems_of(tmp_path, SEED, CUTS) == ""


@pytest.mark.parametrize("synchronous", ["off", "normal"])
def test_control_a_store_that_does_not_sync_each_commit_loses_some(tmp_path: Path, synchronous: str) -> None:
    def fault(store: Store) -> None:
        store._file.db.pragma("synchronous", synchronous)

    assert problems_of(tmp_path, SEED, 1000, fault) != ""


@pytest.mark.parametrize(
    "error", [StoreDamaged(Path("node.db"), "cut"), StorageError("failed", cause="", next_step="", full=False)]
)
def test_control_a_store_that_cannot_be_opened_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: StorageError
) -> None:
    """The disk is well then; one that dies in this very life is forgiven all but damage."""
    opened = count()

    def breaks(*args: Any, **options: Any) -> Store:
        if next(opened) == 5:
            raise error
        return open_store(*args, **options)

    monkeypatch.setattr("unit.node.store.power.open_store", breaks)
    assert "life 6: the disk is well, and the store is not" in problems_of(tmp_path, SEED, 20)
