"""The process that copies a node's audit to Kafka: `copying` starts it, and it ends with the pipe from there.

It has no files of the node open: a reader of the store that gives way would hold up the store's write-ahead log.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from eyeflow.node.io.kafka.copies import AuditCopies, Unread
from eyeflow.node.io.kafka.copy_pipe import (
    TO_NODE,
    TO_PROCESS,
    After,
    Begin,
    CannotRead,
    Page,
    Shown,
    Stored,
    WantedProgram,
    framed,
    next_message,
)
from eyeflow.protocol.collecting import KeptHead

OUTPUT, ERRORS = 1, 2
GIVES_WAY = 19
"""The least of the system's priorities (nice): live events go first."""


class AskedNode:
    """Satisfies `Audit`: asks the node over the pipes."""

    def __init__(self, from_node: asyncio.StreamReader, to_node: int) -> None:
        self._from_node, self._to_node = from_node, to_node
        self._answers: asyncio.Queue[Any] = asyncio.Queue(1)

    async def read(self) -> None:
        """Read answers until the node closes its end, so that this is seen also while the brokers are away."""
        with suppress(asyncio.IncompleteReadError):
            while True:
                await self._answers.put(TO_PROCESS.decode(await next_message(self._from_node)))

    async def begin(self) -> Begin:
        """Return what is to be done."""
        begin: Begin = await self._answers.get()
        return begin

    async def after(self, kept: KeptHead) -> Sequence[bytes]:
        """See `Audit`."""
        page: Page = await self._ask(After(kept))
        return page.records

    async def program(self, program_id: bytes) -> bytes | None:
        """See `Audit`."""
        stored: Stored = await self._ask(WantedProgram(program_id))
        return stored.program

    def show(self, state: str, detail: str) -> None:
        """See `Audit`."""
        self._say(Shown(state, detail))

    async def _ask(self, question: After | WantedProgram) -> Any:
        self._say(question)
        answer = await self._answers.get()
        if isinstance(answer, CannotRead):
            raise Unread(answer.reason)
        return answer

    def _say(self, message: After | WantedProgram | Shown) -> None:
        data = framed(TO_NODE.encode(message))
        while data:  # short, so that it waits for a node that stops reading, and for nothing else
            data = data[os.write(self._to_node, data) :]


async def work(to_node: int) -> None:
    """Copy until the node closes its end."""
    from_node = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(from_node)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    node = AskedNode(from_node, to_node)

    async def copy() -> None:
        begin = await node.begin()
        await AuditCopies(begin.settings, begin.where, begin.node, node).run(begin.kept)

    reading, copying = asyncio.create_task(node.read()), asyncio.create_task(copy())
    await asyncio.wait({reading, copying}, return_when=asyncio.FIRST_COMPLETED)
    if not reading.done():
        copying.result()  # raises


def main() -> None:
    """Run, and end at once with the node: whatever librdkafka still holds is copied after the next start."""
    for number in (signal.SIGINT, signal.SIGTERM):  # a terminal and systemd send them to all; the node says when
        signal.signal(number, signal.SIG_IGN)
    with suppress(OSError):  # a sandbox may forbid it
        os.nice(GIVES_WAY)
    to_node = os.dup(OUTPUT)
    os.dup2(ERRORS, OUTPUT)  # a library that prints must not speak to the node
    asyncio.run(work(to_node))


if __name__ == "__main__":
    main()
