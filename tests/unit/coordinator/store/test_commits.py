"""Commits happen in a thread, many steps in one, in their order; an answer comes only after its commit."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from components.failing_disk import registered_disk
from components.slow_disk import slow_disk
from eyeflow.base.errors import EyeflowError
from eyeflow.base.machine import Machine
from eyeflow.coordinator.store import threaded_store
from eyeflow.coordinator.store.cluster_store import Writing
from eyeflow.coordinator.store.facts import ChangeKind
from eyeflow.coordinator.store.sql_reading import SqlReading
from eyeflow.coordinator.store.sql_writing import SqlWriting
from eyeflow.coordinator.store.sqlite_file import SqliteFile
from eyeflow.coordinator.store.sqlite_store import SqliteStore
from eyeflow.coordinator.store.threaded_store import GROUP_STEPS_MAX

TESTS = Path(__file__).parents[3]
STEPS = 40
SYNC_MS = 400
BEATS = 5
"""Beats of the event loop, one each 10 ms, during a sync of 400 ms."""


def append(subject: str) -> Callable[[Writing], str]:
    def step(writing: Writing) -> str:
        writing.add_change(1, ChangeKind.NODE, subject)
        return subject

    return step


def fails(writing: Writing) -> None:
    writing.add_change(1, ChangeKind.NODE, "never")
    raise ZeroDivisionError


class Counted:
    """Counts the commits of a store, and holds the writer until told."""

    def __init__(self, store: SqliteStore) -> None:
        self.groups: list[int] = []
        self.entered, self.go_on = threading.Event(), threading.Event()
        commit = store.file.commit

        def counted(steps: Any) -> Any:
            self.entered.set()
            self.go_on.wait(60)
            self.groups.append(len(steps))
            return commit(steps)

        store.file.commit = counted  # type: ignore[method-assign]


def test_a_store_that_cannot_be_opened_again_takes_changes_once_it_can(tmp_path: Path) -> None:
    """An I/O error closes the file. A disk that went away then must neither end the writer nor get a new, empty store."""
    here, away = tmp_path / "here", tmp_path / "away"
    with registered_disk("coordinator") as disk:
        store = SqliteFile(here / "store.sqlite", Machine(vfs=disk.name))
        disk.write_errors = True
        (failed,) = store.commit([append("lost")])
        here.rename(away)
        disk.write_errors = False
        for _ in range(2):
            (refused,) = store.commit([append("lost")])
            assert isinstance(refused.error, EyeflowError) and store.trouble
        assert isinstance(failed.error, EyeflowError) and not here.exists()
        away.rename(here)
        (outcome,) = store.commit([append("kept")])
        assert (outcome.result, outcome.error, store.trouble) == ("kept", None, "")
        store.close()


def test_steps_that_wait_together_become_one_commit_in_their_order(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = SqliteStore(tmp_path / "store.sqlite")
        counted = Counted(store)
        answers = [store.write(append(str(number))) for number in range(STEPS)]
        counted.go_on.set()
        assert await asyncio.gather(*answers) == [str(number) for number in range(STEPS)]
        assert len(counted.groups) <= 2 and sum(counted.groups) == STEPS, (
            "perhaps the first alone, then all that waited"
        )
        changes = await store.read(lambda reading: reading.changes(0, 100))
        assert [one.subject for one in changes] == [str(number) for number in range(STEPS)]
        store.close()

    asyncio.run(scenario())


def test_one_commit_has_a_bounded_number_of_steps(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = SqliteStore(tmp_path / "store.sqlite")
        counted = Counted(store)
        answers = [store.write(append(str(number))) for number in range(GROUP_STEPS_MAX * 2)]
        counted.go_on.set()
        await asyncio.gather(*answers)
        assert max(counted.groups) == GROUP_STEPS_MAX
        store.close()

    asyncio.run(scenario())


def test_a_step_that_fails_undoes_itself_and_no_other(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = SqliteStore(tmp_path / "store.sqlite")
        counted = Counted(store)
        answers = [store.write(append("a")), store.write(append("b")), store.write(fails), store.write(append("c"))]
        counted.go_on.set()
        done = await asyncio.gather(*answers, return_exceptions=True)
        assert done[:2] == ["a", "b"] and isinstance(done[2], ZeroDivisionError) and done[3] == "c"
        changes = await store.read(lambda reading: reading.changes(0, 100))
        assert [one.subject for one in changes] == ["a", "b", "c"]
        store.close()

    asyncio.run(scenario())


def test_a_commit_that_fails_answers_nobody_with_success(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = SqliteStore(tmp_path / "store.sqlite")
        counted = Counted(store)
        store.file._db.pragma("max_page_count", store.file._db.pragma("page_count"))
        answers = [store.write(append("x" * 5000)) for _ in range(3)]
        counted.go_on.set()
        done = await asyncio.gather(*answers, return_exceptions=True)
        assert all(isinstance(one, EyeflowError) and one.code == "store" for one in done), done
        assert "the disk is full" in store.trouble
        store.file._db.pragma("max_page_count", 1_000_000)
        assert await store.write(append("again")) == "again"
        assert store.trouble == ""
        store.close()

    asyncio.run(scenario())


def test_a_disk_that_fails_to_tell_the_newest_change_calls_no_kept_step_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(reading: SqlReading) -> int:
        raise apsw.IOError("the test's disk failed")

    store = SqliteFile(tmp_path / "store.sqlite", Machine())
    with monkeypatch.context() as broken:
        broken.setattr(SqlReading, "newest_change", unreadable)
        (lost,) = store.commit([append("lost")])
    (kept,) = store.commit([append("kept")])
    assert isinstance(lost.error, EyeflowError) and kept.error is None
    assert [one.subject for one in store.read(lambda reading: reading.changes(0, 10))] == ["kept"]
    assert store.newest_change == 1
    store.close()


@pytest.mark.parametrize("error", [apsw.CantOpenError, apsw.BusyError])
def test_what_disk_and_system_refuse_is_no_bug(tmp_path: Path, error: type[apsw.Error]) -> None:
    async def test() -> None:
        def step(writing: Writing) -> None:
            raise error("in the test")

        store = SqliteStore(tmp_path / "c.sqlite")
        with pytest.raises(EyeflowError) as refused:
            await store.write(step)
        assert refused.value.code == "store" and store.trouble
        assert await store.write(append("after")) == "after" and not store.trouble
        store.close()

    asyncio.run(test())


def test_an_error_that_nobody_foresaw_reaches_who_asked_and_ends_no_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its thread the store answers nobody any more: nodes, API and the coordinator's stop wait for ever."""

    async def test() -> None:
        store = SqliteStore(tmp_path / "c.sqlite")
        with monkeypatch.context() as patched:
            patched.setattr(SqlWriting, "compact", lambda self: {}["a bug"])
            answers = [store.write(append(name)) for name in ("a", "b")]
            for answer in answers:
                with pytest.raises(KeyError, match="a bug"):
                    await asyncio.wait_for(answer, 60)
        assert await asyncio.wait_for(store.write(append("after")), 60) == "after"
        found = await store.read(lambda reading: reading.changes(0, 10))
        assert [one.subject for one in found] == ["after"], "nothing of what failed is kept"
        store.close()

    asyncio.run(test())


def test_what_is_answered_is_committed_and_told_after_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = SqliteStore(tmp_path / "store.sqlite")
        seen: list[str] = []
        store.on_change(lambda: seen.append("told"))
        other = SqliteStore(tmp_path / "store.sqlite")
        await store.write(append("a"))
        changes = await other.read(lambda reading: reading.changes(0, 10))
        assert [one.subject for one in changes] == ["a"], "another connection sees it"
        await asyncio.sleep(0)
        assert seen == ["told"]
        await store.write(lambda writing: writing.move_cursor("x", 1))
        await asyncio.sleep(0)
        assert seen == ["told"], "nothing was appended to the feed"
        other.close()
        store.close()

    asyncio.run(scenario())


def test_too_many_steps_are_refused_and_a_closed_store_takes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threaded_store, "WAITING_STEPS_MAX", 2)

    async def scenario() -> None:
        store = SqliteStore(tmp_path / "store.sqlite")
        counted = Counted(store)
        answers = [store.write(append("first"))]
        assert counted.entered.wait(60), "the writer holds the first, and takes no other"
        with pytest.raises(EyeflowError) as busy:
            for number in range(3):
                answers.append(store.write(append(str(number))))
        assert busy.value.code == "store_busy" and "2 changes wait" in busy.value.cause
        counted.go_on.set()
        await asyncio.gather(*answers)
        store.close()
        with pytest.raises(EyeflowError) as closed:
            store.write(append("late"))
        assert closed.value.code == "store_closed"

    asyncio.run(scenario())


PROCESS = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from eyeflow.coordinator.store.facts import ChangeKind
from eyeflow.coordinator.store.sql_writing import SqlWriting
from eyeflow.coordinator.store.sqlite_store import InlineStore, SqliteStore

beats = 0

async def beat():
    global beats
    while True:
        await asyncio.sleep(0.01)
        beats += 1

async def main():
    store = {"product": SqliteStore, "control": InlineStore}[sys.argv[3]](Path(sys.argv[2]) / "store.sqlite")
    heart = asyncio.create_task(beat())
    await asyncio.sleep(0)
    before = beats
    await store.write(lambda writing: writing.add_change(1, ChangeKind.NODE, "a"))
    print(beats - before)
    heart.cancel()
    store.close()

asyncio.run(main())
"""


def beats(tmp_path: Path, variant: str) -> int:
    """Return how often the event loop beat during one commit on a slow disk."""
    done = subprocess.run(
        [sys.executable, "-c", PROCESS, str(TESTS), str(tmp_path), variant],
        env=slow_disk(tmp_path, SYNC_MS),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return int(done.stdout)


def test_the_event_loop_runs_while_the_disk_syncs(tmp_path: Path) -> None:
    assert beats(tmp_path, "product") >= BEATS


def test_control_a_commit_on_the_event_loop_stops_it(tmp_path: Path) -> None:
    assert beats(tmp_path, "control") < BEATS
