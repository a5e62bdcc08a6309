"""Waiting for something real to happen, without a fixed sleep: the loop looks again and again until it did."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

HANG_S = 60.0
"""Far beyond anything a test needs: only a hang reaches it."""


async def until(condition: Callable[[], bool], within_s: float = HANG_S) -> None:
    """Return when the condition is true."""
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.005)


def wait_until(condition: Callable[[], bool], what: str, within_s: float = HANG_S) -> None:
    """Return when the condition, of another process or thread, is true; fails with `what` was waited for."""
    ends = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < ends, f"waited in vain: {what}"
        time.sleep(0.02)


@contextlib.asynccontextmanager
async def running(coroutine: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Run a coroutine in a task for the length of the block; what it raised is raised here."""
    task = asyncio.create_task(coroutine)
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
