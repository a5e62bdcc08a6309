"""`GET /api/executions/{id}/why`: a program runs again on what it saw. In a thread, for half of the time, in bounds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import TypeVar

from eyeflow.audit.execution_id import parse_execution_id
from eyeflow.audit.why import PAGE_RECORDS, explain
from eyeflow.base.errors import EyeflowError
from eyeflow.coordinator.api import Call, Reply
from eyeflow.coordinator.archive.archive import Archive
from eyeflow.coordinator.archive.database import ArchiveReader
from eyeflow.coordinator.choosing import found_node
from eyeflow.coordinator.collecting import Copies
from eyeflow.coordinator.executions_api import archive_of
from eyeflow.coordinator.hub import Hub
from eyeflow.coordinator.problem import Problem
from eyeflow.coordinator.store.cluster_store import Reading
from eyeflow.protocol.audit import decode_record
from eyeflow.protocol.audit_bodies import InstallBody
from eyeflow.protocol.collecting import KeptHead

RECORDS_MAX = 50_000
"""Records of a rule that are run again at most for one answer."""
SECONDS_MAX = 20.0
"""When the records before are left as they are, and the answer is made of what was read."""
ASKED_MAX = 8
"""Explanations that are under way or wait for their turn; who asks for one more is refused."""
RETRY_S = 20
"""When who was refused asks again."""
T = TypeVar("T")


class ArchiveHistory:
    """Satisfies `History`: the copy of one chain, read from a thread through the event loop that owns the archive."""

    def __init__(self, hub: Hub, archive: Archive, node: str, epoch: int, loop: asyncio.AbstractEventLoop) -> None:
        self.node, self.epoch = node, epoch
        self._hub, self._archive, self._loop = hub, archive, loop

    def _wait(self, work: Awaitable[T]) -> T:
        async def waiting() -> T:
            return await work

        return asyncio.run_coroutine_threadsafe(waiting(), self._loop).result()

    def _look(self, look: Callable[[ArchiveReader], T]) -> T:
        return self._wait(self._archive.look(look))

    def _read(self, look: Callable[[Reading], T]) -> T:
        return self._wait(self._hub.store.read(look))

    def record(self, seq: int) -> bytes | None:
        """Return one record."""
        rows = self._look(lambda reader: reader.page(self.node, self.epoch, seq - 1, 1))
        return rows[0].data if rows and rows[0].seq == seq else None

    def of_rule(self, rule: str, after_seq: int, until_seq: int) -> Iterator[bytes]:
        """Yield records of a rule and of none; between two pages it rests as long as the last one took."""
        while True:
            page = self._look(
                lambda reader, after=after_seq: reader.of_rule(  # type: ignore[misc]
                    self.node, self.epoch, rule, after, until_seq, PAGE_RECORDS
                )
            )
            began_s = time.monotonic()
            yield from page
            if len(page) < PAGE_RECORDS:
                return
            after_seq = decode_record(page[-1]).seq
            time.sleep(time.monotonic() - began_s)

    def begin(self, rule: str, until_seq: int, count: int) -> int:
        """Return the seq before the last `count` records of a rule."""
        return self._look(lambda reader: reader.begin_of_rule(self.node, self.epoch, rule, until_seq, count))

    def install(self, rule: str, program_id: bytes, until_seq: int) -> bytes | None:
        """Return the record by which a program was installed last."""
        for data in self._look(lambda reader: reader.changes_of_rule(self.node, self.epoch, rule, until_seq)):
            body = decode_record(data).body
            if isinstance(body, InstallBody) and body.program == program_id:
                return data
        return None

    def holes(self, after_seq: int, until_seq: int) -> list[int]:
        """Return where records are missing."""
        return self._look(lambda reader: reader.holes(self.node, self.epoch, after_seq, until_seq))

    def program(self, program_id: bytes) -> bytes | None:
        """Return a signed program."""
        return self._read(lambda reading: reading.program_bytes(program_id.hex())) or None

    def signer(self, public_key: bytes) -> str:
        """Return the name with which the cluster trusts a key, or trusted it."""
        names = self._read(lambda reading: {one.public_key: one.name for one in reading.signers()})
        return names.get(public_key, "")

    def kept(self) -> KeptHead | None:
        """Return the head that this coordinator has signed."""
        chain = self._look(lambda reader: reader.chain(self.node, self.epoch))
        return chain.kept if chain is not None else None


async def explain_execution(hub: Hub, call: Call) -> Reply:
    """Explain an execution: what went in, the way through its rule, what came of it, and whether it is so again."""
    archive, asked = archive_of(hub), parse_execution_id(call.path["id"])
    if asked is None or not asked.node:
        detail = f"`{call.path['id'][:128]}` is no id of an execution."
        raise Problem("execution_not_found", detail, "an id is NODE:EPOCH:SEQ; NODE:SEQ is of the newest epoch")
    await hub.store.read(lambda reading: found_node(reading, asked.node))
    epoch = asked.epoch if asked.epoch is not None else await _newest_epoch(archive, asked.node)
    history = ArchiveHistory(hub, archive, asked.node, epoch, asyncio.get_running_loop())
    async with _turn(hub.copies):
        ends_s = time.monotonic() + SECONDS_MAX
        try:
            found = await asyncio.to_thread(explain, history, asked.seq, RECORDS_MAX, lambda: time.monotonic() < ends_s)
        except EyeflowError as error:
            if error.code != "execution_not_found":
                raise
            raise Problem("execution_not_found", f"{error.message}.", error.next_step) from error
    return Reply(200, found)


@asynccontextmanager
async def _turn(copies: Copies) -> AsyncIterator[None]:
    """Wait for the turn of one explanation; raises Problem when too many wait."""
    if copies.explanations >= ASKED_MAX:
        detail = f"{ASKED_MAX} executions are explained or wait for it."
        raise Problem("too_many_explanations", detail, f"ask again in {RETRY_S} s", retry_after_s=RETRY_S)
    copies.explanations += 1
    try:
        async with copies.explaining:
            yield
    finally:
        copies.explanations -= 1


async def _newest_epoch(archive: Archive, node: str) -> int:
    found = await archive.look(lambda reader: reader.copies(node))
    return found[0].kept.epoch if found else 0
