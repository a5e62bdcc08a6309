"""Work side by side that one may cancel at any moment."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


async def side_by_side(first: Coroutine[Any, Any, None], *others: Coroutine[Any, Any, None]) -> None:
    """Run all until `first` ends or one of them fails; then end the rest and raise what failed first.

    Who is cancelled meanwhile is so in any case. `asyncio.TaskGroup` forgets that up to Python 3.12 where a task of it
    fails in the same moment (https://github.com/python/cpython/issues/116720). One that dials again after each failure
    would then go on for ever.
    """
    tasks = [asyncio.ensure_future(one) for one in (first, *others)]
    pending, failed = set(tasks), None
    try:
        while tasks[0] in pending and failed is None:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            failed = next((error for one in tasks if one in done and (error := _failure(one))), None)
    finally:
        for one in tasks:
            one.cancel()
        await asyncio.wait(tasks)
        for one in tasks:
            _failure(one)  # else asyncio prints the trace back of one that fails while it is ended
    if failed is not None:
        raise failed


def _failure(task: asyncio.Future[None]) -> BaseException | None:
    return None if task.cancelled() else task.exception()
