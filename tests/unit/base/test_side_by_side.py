"""Work side by side: the first failure ends it, and who is cancelled is so in any case."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import pytest

from eyeflow.base.side_by_side import side_by_side


class WorkError(Exception):
    pass


async def fails(told: asyncio.Event) -> None:
    await told.wait()
    raise WorkError


async def waits(ended: list[str], name: str = "waits") -> None:
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0)
        ended.append(name)


async def fails_at_its_end() -> None:
    try:
        await asyncio.Event().wait()
    finally:
        raise WorkError


async def ends() -> None:
    await asyncio.sleep(0)


async def steps_pass(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


def test_it_ends_with_the_first_and_ends_the_others() -> None:
    async def test() -> None:
        ended: list[str] = []
        await side_by_side(ends(), waits(ended), ends())
        assert ended == ["waits"]

    run(test())


def test_another_that_ends_does_not_end_it_and_one_that_fails_does() -> None:
    async def test() -> None:
        ended: list[str] = []
        told = asyncio.Event()
        work = asyncio.ensure_future(side_by_side(waits(ended), ends(), fails(told)))
        await steps_pass(20)
        assert not work.done()
        told.set()
        with pytest.raises(WorkError):
            await work
        assert ended == ["waits"]

    run(test())


def test_a_failure_of_the_first_is_raised() -> None:
    async def test() -> None:
        told = asyncio.Event()
        told.set()
        with pytest.raises(WorkError):
            await side_by_side(fails(told), waits([]))

    run(test())


@pytest.mark.parametrize("steps", range(8))
@pytest.mark.parametrize("who", ["first", "other"])
def test_who_is_cancelled_when_one_fails_is_cancelled(steps: int, who: str) -> None:
    """However many steps of the loop lie between the failure and the cancel, up to the end of it all."""

    async def test() -> None:
        told = asyncio.Event()
        both = [fails(told), waits([])]
        work = asyncio.ensure_future(side_by_side(*both) if who == "first" else side_by_side(*reversed(both)))
        await steps_pass(20)
        told.set()
        await steps_pass(steps)
        if work.cancel():
            with pytest.raises(asyncio.CancelledError):
                await work
        else:
            assert isinstance(work.exception(), WorkError), "it had ended before"

    run(test())


def test_nothing_is_printed_of_those_that_fail_while_they_are_ended() -> None:
    async def test() -> None:
        printed: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, told: printed.append(told))
        told = asyncio.Event()
        told.set()
        with suppress(WorkError):  # `pytest.raises` would keep the tasks
            await side_by_side(fails(told), fails_at_its_end())
        gc.collect()
        assert not printed

    run(test())
