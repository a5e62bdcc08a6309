"""The two threads of a running coordinator's store: who is answered, who is told, and how they end."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from eyeflow.coordinator.store.cluster_store import Reading
from eyeflow.coordinator.store.coordination import ALONE
from eyeflow.coordinator.store.sqlite_store import InlineStore, SqliteStore

from .test_commits import Counted, append


async def subjects(store: Any) -> list[str]:
    return await store.read(lambda reading: [one.subject for one in reading.changes(0, 100)])


def move_a_cursor(writing: Any) -> None:
    writing.move_cursor("x", 1)


@pytest.mark.parametrize("kind", [InlineStore, SqliteStore])
def test_a_store_on_a_file_is_of_one_coordinator_that_leads(tmp_path: Path, kind: Any) -> None:
    async def scenario() -> None:
        store = kind(tmp_path / "store.sqlite")
        assert store.identity is store.file.identity and store.coordinator_id == store.file.coordinator_id != ""
        assert (store.own_id, store.is_shared, await store.stand()) == ("0", False, ALONE)
        store.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("kind", [InlineStore, SqliteStore])
def test_of_changes_from_before_the_start_nobody_is_told(tmp_path: Path, kind: Any) -> None:
    async def scenario() -> list[str]:
        store, told = kind(tmp_path / "store.sqlite"), []
        store.on_change(lambda: told.append("told"))
        await store.write(move_a_cursor)
        before = list(told)
        await store.write(append("a"))
        store.close()
        return [*before, "and then", *told]

    assert asyncio.run(scenario()) == ["and then", "told"]
    assert asyncio.run(scenario()) == ["and then", "told"], "the feed has a change by now"


def test_one_who_has_gone_takes_no_answer_from_the_others(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = SqliteStore(tmp_path / "store.sqlite")
        counted = Counted(store)
        answers = [asyncio.ensure_future(store.write(append(name))) for name in "abcd"]
        answers[1].cancel()
        counted.go_on.set()
        done = await asyncio.gather(*answers, return_exceptions=True)
        assert [one for one in done if isinstance(one, str)] == ["a", "c", "d"]
        assert await subjects(store) == ["a", "b", "c", "d"], "the step itself was handed over"
        store.close()

    asyncio.run(scenario())


def test_one_whose_event_loop_has_ended_ends_no_thread(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.sqlite")
    counted = Counted(store)

    async def goes() -> None:
        store.write(append("a"))

    async def comes() -> None:
        counted.go_on.set()
        assert await asyncio.wait_for(store.write(append("b")), 60) == "b"
        assert await subjects(store) == ["a", "b"]

    asyncio.run(goes())
    asyncio.run(comes())
    store.close()


def test_all_looks_run_in_one_thread_that_is_not_the_event_loops(tmp_path: Path) -> None:
    """The connection may be used by one thread at a time."""

    async def scenario() -> None:
        store = SqliteStore(tmp_path / "store.sqlite")
        go_on = threading.Event()

        def look(reading: Reading) -> threading.Thread:
            go_on.wait(60)
            return threading.current_thread()

        check_room, checked = store.file.check_room, []

        def recorded() -> None:
            checked.append(threading.current_thread())
            check_room()

        store.file.check_room = recorded  # type: ignore[method-assign]
        looks = [asyncio.ensure_future(store.read(look)) for _ in range(3)]
        checking = asyncio.ensure_future(store.check())
        await asyncio.sleep(0)
        go_on.set()
        threads = await asyncio.gather(*looks)
        await checking
        (thread,) = {*threads, *checked}
        assert thread is not threading.current_thread()
        writer = await store.write(lambda writing: threading.current_thread())
        assert writer not in (thread, threading.current_thread())
        assert writer.daemon, "a coordinator that ends by an error must not wait for it"
        store.close()

    asyncio.run(scenario())


def test_closing_commits_what_was_handed_over_and_waits_for_looks(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = SqliteStore(tmp_path / "store.sqlite")
        counted, looks, looked = Counted(store), threading.Event(), []

        def look(reading: Reading) -> list[str]:
            looks.wait(60)
            names = reading.node_names()
            looked.append("looked")
            return names

        close_reader = store._readable.close

        def close() -> None:
            looked.append("closed")
            close_reader()

        store._readable.close = close  # type: ignore[method-assign]
        answers = [asyncio.ensure_future(store.write(append("0")))]
        assert counted.entered.wait(60), "the writer holds the first"
        answers += [asyncio.ensure_future(store.write(append(str(number)))) for number in range(1, 5)]
        looking = asyncio.ensure_future(store.read(look))
        closing = asyncio.ensure_future(asyncio.to_thread(store.close))
        while store._waiting.qsize() < 5:  # four steps, and the word that no more come
            await asyncio.sleep(0)
        counted.go_on.set()
        assert await asyncio.gather(*answers) == ["0", "1", "2", "3", "4"]
        await asyncio.to_thread(store._writer.join)
        looks.set()
        assert await looking == []
        await asyncio.wait_for(closing, 60)
        assert looked == ["looked", "closed"]

    asyncio.run(scenario())
