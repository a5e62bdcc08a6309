"""The store's one thread: what is handed over happens in its order, and its end reaches whoever waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from eyeflow.node.store.store import Store
from eyeflow.node.store.types import Batch, BufferLimits, Committed, Draft
from eyeflow.node.store.writer import InlineWriter, ThreadWriter, Writer
from eyeflow.protocol.audit_bodies import StopBody
from eyeflow.protocol.identity import Identity

KEY = Identity(bytes(range(32)))
BATCH = Batch([Draft(1, StopBody("x"))])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path, "n1", KEY, BufferLimits(64 * 1024 * 1024, 10**18))
    yield made
    made.close(clean=True)


@pytest.mark.parametrize("kind", [ThreadWriter, InlineWriter])
def test_a_writer_commits_and_runs_in_order(store: Store, kind: type[Writer]) -> None:
    writer = kind(store)  # type: ignore[call-arg]
    assert writer.store is store

    async def scenario() -> None:
        assert await writer.commit(BATCH) == Committed(1)
        heads = await asyncio.gather(
            writer.run(lambda one: one.head[0]), writer.commit(BATCH), writer.run(lambda one: one.head[0])
        )
        assert heads == [1, Committed(2), 2]
        with pytest.raises(ZeroDivisionError):
            await writer.run(lambda one: 1 // 0)
        assert await writer.run(lambda one: one) is store, "an error ends one job only"

    asyncio.run(scenario())
    writer.stop()


def test_all_jobs_run_in_one_thread_that_does_not_keep_the_process_alive(store: Store) -> None:
    writer = ThreadWriter(store)

    async def scenario() -> None:
        (one, other) = [await writer.run(lambda _: threading.current_thread()) for _ in range(2)]
        assert one is other is not threading.current_thread()
        assert one.daemon and one.name == "eyeflow-store", "its name stands in a stack dump"

    asyncio.run(scenario())
    writer.stop()


def test_what_was_handed_over_is_done_before_the_end_and_nothing_after_it(store: Store) -> None:
    writer = ThreadWriter(store)
    started, go_on = threading.Event(), threading.Event()

    def slow(one: Store) -> str:
        started.set()
        assert go_on.wait(60)
        return "slow"

    async def scenario() -> None:
        first, second = asyncio.ensure_future(writer.run(slow)), asyncio.ensure_future(writer.commit(BATCH))
        await asyncio.to_thread(started.wait)
        stopping = asyncio.ensure_future(asyncio.to_thread(writer.stop))
        go_on.set()
        await stopping
        assert (await first, await second) == ("slow", Committed(1))
        with pytest.raises(RuntimeError, match="has ended"):
            await writer.run(lambda one: None)

    asyncio.run(scenario())


def test_a_job_goes_on_when_nobody_waits_for_it_any_more(store: Store) -> None:
    """Neither a cancelled caller nor a closed loop ends the thread, or another one would wait for ever."""
    writer = ThreadWriter(store)
    started, go_on = threading.Event(), threading.Event()

    def slow(one: Store) -> None:
        started.set()
        assert go_on.wait(60)

    async def gives_up() -> None:
        waiting = asyncio.ensure_future(writer.run(slow))
        await asyncio.to_thread(started.wait)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    async def cancelled_meanwhile() -> None:
        failures: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: failures.append(context))
        await gives_up()
        go_on.set()
        await writer.run(lambda one: None)
        await asyncio.sleep(0)
        assert failures == []

    asyncio.run(cancelled_meanwhile())
    started.clear()
    go_on.clear()
    asyncio.run(gives_up())  # and its loop is closed
    go_on.set()

    async def another() -> None:
        assert await writer.commit(BATCH) == Committed(1)

    asyncio.run(another())
    writer.stop()
