"""A store that commits where a step is handed over, and what both stores on a file do about a disk in trouble."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from components.failing_disk import Disk, registered_disk
from eyeflow.base.errors import EyeflowError
from eyeflow.base.machine import Machine
from eyeflow.coordinator.store.cluster_store import Writing
from eyeflow.coordinator.store.facts import ChangeKind
from eyeflow.coordinator.store.sqlite_store import InlineStore, SqliteStore


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with registered_disk(f"inline-{tmp_path.name}") as disk:
        yield disk


def append(subject: str) -> Callable[[Writing], str]:
    def step(writing: Writing) -> str:
        writing.add_change(1, ChangeKind.NODE, subject)
        return subject

    return step


async def subjects(store: Any) -> list[str]:
    return await store.read(lambda reading: [one.subject for one in reading.changes(0, 100)])


def test_a_step_is_committed_before_the_answer_is_asked_for(tmp_path: Path) -> None:
    def fails(writing: Writing) -> None:
        writing.add_change(1, ChangeKind.NODE, "never")
        raise ZeroDivisionError

    async def scenario() -> None:
        store, told = InlineStore(tmp_path / "store.sqlite"), []
        store.on_change(lambda: told.append(store.file.newest_change))
        answer = store.write(append("a"))
        assert await subjects(store) == ["a"] and told == [1]
        assert await answer == "a"
        with pytest.raises(ZeroDivisionError):
            await store.write(fails)
        assert await subjects(store) == ["a"]
        await store.check()
        store.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("kind", [InlineStore, SqliteStore])
def test_trouble_lasts_until_the_disk_takes_a_change_again(tmp_path: Path, disk: Disk, kind: Any) -> None:
    async def scenario() -> None:
        machine = Machine(vfs=disk.name, free_bytes=disk.free_bytes)
        store = kind(tmp_path / "store.sqlite", machine)
        await store.check()
        disk.full = True
        with pytest.raises(EyeflowError) as full:
            await store.check()
        assert "0 bytes left" in full.value.cause and not store.trouble, "nothing was lost yet"
        disk.full, disk.write_errors = False, True
        with pytest.raises(EyeflowError):
            await store.write(append("lost"))
        for _ in range(2):
            with pytest.raises(EyeflowError):
                await store.check()
            assert store.trouble, "the disk has room, and takes nothing all the same"
        disk.write_errors = False
        await store.check()
        assert not store.trouble
        assert await store.write(append("kept")) == "kept" and await subjects(store) == ["kept"]
        store.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("kind", [InlineStore, SqliteStore])
def test_a_check_writes_nothing_while_all_is_well(tmp_path: Path, disk: Disk, kind: Any) -> None:
    """It comes every few seconds: writing would wear a flash card out."""

    async def scenario() -> None:
        store = kind(tmp_path / "store.sqlite", Machine(vfs=disk.name))
        before = disk.writes
        await store.check()
        assert disk.writes == before
        store.close()

    asyncio.run(scenario())
