"""A gateway in a process of its own that kills itself at a chosen step: python gateway_process.py DIR PORT STEP NUMBER.

STEP: `read`, `committed` or `acknowledged`: the kill comes right behind it, when it has happened NUMBER times; `none`:
no kill, and the process ends when the board waits for nothing more. With `hasty` as fifth argument it is the control:
it acknowledges before it commits.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from eyeflow.base.machine import Machine
from eyeflow.node.boards.boards import Boards
from eyeflow.node.boards.records import BoardRecords
from eyeflow.node.boards.settings import BoardSection
from eyeflow.node.clock import SystemClock

Step = Callable[..., Awaitable[Any]]


def killed_after(step: Step, number: int) -> Step:
    left = [number]

    async def run(*args: Any) -> Any:
        result = await step(*args)
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return run


def killed_before(step: Step, number: int) -> Step:
    async def nothing(*args: Any) -> None:
        return None

    kill = killed_after(nothing, number)

    async def run(*args: Any) -> Any:
        await kill()
        return await step(*args)

    return run


async def hasty_keep(records: Any, reading: Any, outputs: Any) -> None:
    """The control: what was read is acknowledged first."""
    await BoardRecords._acknowledge(records, records.line, reading)
    await KEEP(records, reading, outputs)


KEEP = BoardRecords._keep


async def main(directory: str, port: str, step: str, number: str, *how: str) -> None:
    if how:
        take = BoardRecords.take

        async def taking(records: Any, line: Any, *more: Any) -> None:
            records.line = line
            await take(records, line, *more)

        BoardRecords.take = taking  # type: ignore[method-assign]
        BoardRecords._keep = hasty_keep  # type: ignore[method-assign, assignment]
    count = int(number)
    if step == "read":
        BoardRecords._commit = killed_before(BoardRecords._commit, count)  # type: ignore[method-assign]
    elif step == "committed":
        BoardRecords._commit = killed_after(BoardRecords._commit, count)  # type: ignore[method-assign]
    elif step == "acknowledged":
        BoardRecords._acknowledge = killed_after(BoardRecords._acknowledge, count)  # type: ignore[method-assign]
    place = BoardSection("node-mcu-01", port)
    boards = Boards("gateway", (place,), Path(directory), SystemClock(), Machine(), ZoneInfo("UTC"))
    serving = asyncio.create_task(boards.run())
    await asyncio.to_thread(sys.stdin.readline)
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
