"""A thread for a question whose answer may be minutes away, and how a thread answers an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Protocol, TypeVar

T = TypeVar("T")


class InThread(Protocol):
    """Runs a job beside the event loop: `in_thread`, unless a simulation hands in its own."""

    def __call__(self, job: Callable[[], T], /) -> Awaitable[T]:
        """Return what `job` returns."""
        ...


async def in_thread(job: Callable[[], T], /) -> T:
    """Return what `job` returns, run in a thread that does not keep the process alive: its end may be minutes away."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()
    run = partial(answer_from, loop, answer, job)
    threading.Thread(target=run, name="eyeflow-beside", daemon=True).start()
    return await answer


def answer_from(loop: asyncio.AbstractEventLoop, answer: asyncio.Future[T], job: Callable[[], T]) -> None:
    """Run a job in this thread and give its result to the loop of `answer`."""
    try:
        result = job()
    except BaseException as error:
        _hand_over(loop, answer, partial(answer.set_exception, error))
    else:
        _hand_over(loop, answer, partial(answer.set_result, result))


def _hand_over(loop: asyncio.AbstractEventLoop, answer: asyncio.Future[T], act: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits any more
        loop.call_soon_threadsafe(lambda: None if answer.done() else act())
