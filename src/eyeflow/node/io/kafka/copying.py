"""Runs the process that copies the audit to Kafka, and answers what it asks of the node.

In a process of its own the copies take nothing of the interpreter in which rules run, and the system lets it give way
to them (docs/decisions/0029). It ends with the node, and is started again when it ends by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import Sequence
from random import Random
from typing import Any, Protocol

from eyeflow.base.reasons import why
from eyeflow.node.backoff import Backoff
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
from eyeflow.node.io.ports import PortStatus
from eyeflow.node.store.cursors import KAFKA
from eyeflow.node.store.types import StorageError
from eyeflow.protocol.collecting import KeptHead

PAGE_BYTES = 256 * 1024
"""How much is copied at once: so much the process holds in memory, and as much again as JSON."""
STOP_S = 5.0
LINES_MAX = 20
COMMAND = (sys.executable, "-P", "-m", "eyeflow.node.io.kafka.copy_process")

_log = logging.getLogger("eyeflow.node")


class Node(Protocol):
    """What copies need of a node."""

    async def records_after(self, seq: int, bytes_max: int) -> tuple[int, Sequence[bytes]]:
        """Return the first seq behind `seq`, and the records from there."""
        ...

    async def grows_beyond(self, seq: int) -> None:
        """Return once there is a record behind `seq`."""
        ...

    async def note_kept(self, destination: str, kept: KeptHead) -> bool:
        """Take note of what a destination holds."""
        ...

    def kept_by(self, destination: str) -> KeptHead | None:
        """Return what a destination holds."""
        ...

    async def stored_program(self, program_id: bytes) -> bytes | None:
        """Return a program of the store."""
        ...


class NodeAudit:
    """Answers the copies out of the node's store: it satisfies `copies.Audit`, but for the kind of its errors."""

    def __init__(self, node: Node, epoch: int) -> None:
        self.status = PortStatus("kafka_copies", counters={"copied": 0, "seq": 0})
        self._node, self._epoch, self._handed = node, epoch, 0

    async def begin(self) -> KeptHead:
        """Return what the brokers hold. From now on nothing is dropped as handed on that is not there, too."""
        known = self._node.kept_by(KAFKA)
        if known is None:
            known = KeptHead(self._epoch)
            await self._node.note_kept(KAFKA, known)
        self._handed, self.status.counters["seq"] = 0, known.seq
        return known

    async def after(self, kept: KeptHead) -> Sequence[bytes]:
        """Take note of what the brokers hold; return what follows once there is some. Raises StorageError."""
        if kept.seq > self.status.counters["seq"]:
            await self._node.note_kept(KAFKA, kept)
            self.status.counters["copied"] += self._handed
            self.status.counters["seq"] = kept.seq
        await self._node.grows_beyond(kept.seq)
        _, records = await self._node.records_after(kept.seq, PAGE_BYTES)
        self._handed = len(records)
        return records

    async def program(self, program_id: bytes) -> bytes | None:
        """Return a program that the node has stored. Raises StorageError."""
        return await self._node.stored_program(program_id)

    def show(self, state: str, detail: str) -> None:
        """Show how the copies do."""
        self.status.state, self.status.detail = state, detail


class CopyProcess:
    """The process: `run` runs it for ever. `settings` of librdkafka and `where` are what `AuditCopies` gets."""

    def __init__(
        self, settings: dict[str, Any], where: str, name: str, audit: NodeAudit, random: Random | None = None
    ) -> None:
        self.status = audit.status
        self.status.counters |= {"starts": 0, "pid": 0}
        self._settings, self._where, self._name, self._audit = settings, where, name, audit
        self._backoff = Backoff(random)
        self._lines: deque[str] = deque(maxlen=LINES_MAX)

    async def run(self) -> None:
        """Run until cancelled. A process that ends is started again, after a wait that grows with each failure."""
        loop = asyncio.get_running_loop()
        while True:
            began_s = loop.time()
            reason = await self._once()
            wait_s = self._backoff.after_s(loop.time() - began_s)
            self._audit.show("failed", f"{reason}; next attempt in {wait_s:.1f} s")
            _log.error("kafka_copies: %s", reason)
            await asyncio.sleep(wait_s)

    async def _once(self) -> str:
        """Run it once; return why it ended."""
        begin = Begin(self._settings, self._where, self._name, await self._audit.begin())
        self._lines.clear()
        try:
            process = await asyncio.create_subprocess_exec(*COMMAND, stdin=PIPE, stdout=PIPE, stderr=PIPE)
        except OSError as error:
            return f"the process that copies cannot be started: {why(error)}"
        self.status.counters["starts"] += 1
        self.status.counters["pid"] = process.pid
        reading = asyncio.ensure_future(self._read_lines(process))
        serving = asyncio.ensure_future(self._serve(process, begin))
        ending = asyncio.ensure_future(process.wait())
        try:
            await asyncio.wait({serving, ending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            serving.cancel()
            await _end(process)
            self.status.counters["pid"] = 0
            await asyncio.wait({reading, serving, ending})
        if not serving.cancelled():
            serving.result()  # raises what went wrong here
        return f"the process that copies {self._ended(process.returncode or 0)}"

    async def _serve(self, process: Process, begin: Begin) -> None:
        """Answer what it asks until it asks no more."""
        assert process.stdin is not None and process.stdout is not None
        answer: Begin | Page | Stored | CannotRead | None = begin
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                if answer is not None:
                    process.stdin.write(framed(TO_PROCESS.encode(answer)))
                    await process.stdin.drain()
                answer = await self._answer(TO_NODE.decode(await next_message(process.stdout)))

    async def _answer(self, question: After | WantedProgram | Shown) -> Page | Stored | CannotRead | None:
        try:
            if isinstance(question, After):
                return Page(tuple(await self._audit.after(question.kept)))
            if isinstance(question, WantedProgram):
                return Stored(await self._audit.program(question.program_id))
        except StorageError as error:
            return CannotRead(error.brief)
        self._audit.show(question.state, question.detail)
        return None

    async def _read_lines(self, process: Process) -> None:
        """Keep what it says before it ends."""
        assert process.stderr is not None
        while True:
            try:
                line = await process.stderr.readline()
            except ValueError:  # longer than the stream's bound
                continue
            if not line:
                return
            self._lines.append(line.decode("utf-8", "replace").strip())

    def _ended(self, code: int) -> str:
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        return f"{how}: {self._lines[-1]}" if self._lines else how


async def _end(process: Process) -> None:
    """Let it see that nobody asks it any more, and wait until it has ended."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        async with asyncio.timeout(STOP_S):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
