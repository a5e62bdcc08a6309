"""The process that copies the audit to Kafka: it gives way, ends with its node, and is started again when it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from components.waiting import running, until, wait_until
from eyeflow.node.io.kafka import copying
from eyeflow.node.io.kafka.copy_process import GIVES_WAY
from eyeflow.node.io.kafka.copying import CopyProcess, NodeAudit
from eyeflow.node.store.cursors import KAFKA
from eyeflow.node.store.types import StorageError
from eyeflow.protocol.audit import ZERO_HASH, Record, encode_record, record_hash
from eyeflow.protocol.audit_bodies import ExecutionBody
from eyeflow.protocol.collecting import KeptHead

BROKERS = {"test.mock.num.brokers": 1, "bootstrap.servers": "", "log_level": 0}
"""librdkafka's own: they live in the process that copies."""
AWAY = {"bootstrap.servers": "127.0.0.1:1", "log_level": 0}


class Node:
    """A node with records; its disk may fail."""

    def __init__(self, count: int = 40) -> None:
        self.records: list[bytes] = []
        self.kept: KeptHead | None = None
        self.fails = False
        self.grown = asyncio.Event()
        self.add(count)

    def add(self, count: int) -> None:
        head = record_hash(self.records[-1]) if self.records else ZERO_HASH
        for _ in range(count):
            body = ExecutionBody("r", bytes(32), 0, 1, 0, 1, inputs=(len(self.records),))
            self.records.append(encode_record(Record("n", 1, len(self.records) + 1, head, 1, body)))
            head = record_hash(self.records[-1])
        self.grown.set()

    async def records_after(self, seq: int, bytes_max: int) -> tuple[int, Sequence[bytes]]:
        if self.fails:
            raise StorageError("the disk failed", cause="It is a test.", next_step="", full=False)
        return seq + 1, self.records[seq : seq + 10]

    async def grows_beyond(self, seq: int) -> None:
        while len(self.records) <= seq:
            self.grown.clear()
            await self.grown.wait()

    async def note_kept(self, destination: str, kept: KeptHead) -> bool:
        assert destination == KAFKA
        self.kept = kept
        return True

    def kept_by(self, destination: str) -> KeptHead | None:
        return self.kept

    async def stored_program(self, program_id: bytes) -> bytes | None:
        return None

    @property
    def is_copied(self) -> bool:
        return self.kept is not None and self.kept.seq == len(self.records)


@asynccontextmanager
async def copies(node: Node, settings: dict[str, object] = BROKERS) -> AsyncIterator[CopyProcess]:
    process = CopyProcess(settings, "the brokers", "n", NodeAudit(node, 1))
    async with running(process.run()) as task:
        await until(lambda: task.done() or process.status.counters["pid"])
        yield process
        assert not task.done()


def test_it_gives_way_goes_on_behind_the_cursor_when_it_was_killed_and_is_gone_with_its_node(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = list[str]()
    real = NodeAudit.show
    monkeypatch.setattr(NodeAudit, "show", lambda audit, *what: (told.append(what[1]), real(audit, *what)))

    async def scenario() -> int:
        node = Node()
        async with copies(node) as process:
            counters = process.status.counters
            await until(lambda: node.is_copied)
            assert psutil.Process(counters["pid"]).nice() == GIVES_WAY
            files = {Path(one.path).suffix for one in psutil.Process(counters["pid"]).open_files()}
            assert not files & {".db", ".db-wal", ".db-shm"}, "it would hold up the log of the store"
            for number in (signal.SIGINT, signal.SIGTERM):  # a terminal and systemd send them to all
                os.kill(counters["pid"], number)
            node.add(5)
            await until(lambda: node.is_copied and process.status.state == "up")
            assert counters == {"copied": 45, "seq": 45, "starts": 1, "pid": counters["pid"]}
            os.kill(counters["pid"], signal.SIGKILL)
            await until(lambda: any("was ended by SIGKILL; next attempt in" in one for one in told))
            node.add(5)
            await until(lambda: node.is_copied)
            assert counters == {"copied": 50, "seq": 50, "starts": 2, "pid": counters["pid"]}
            return counters["pid"]

    assert not psutil.pid_exists(asyncio.run(scenario()))


def test_a_disk_that_fails_and_brokers_that_are_away_show_in_the_status() -> None:
    async def scenario() -> None:
        node = Node()
        node.fails = True
        async with copies(node) as process:
            await until(lambda: process.status.detail == "the brokers: the disk failed: It is a test")
            assert process.status.state == "failed"
            node.fails = False
            await until(lambda: node.is_copied and process.status.state == "up")
        async with copies(Node(), AWAY) as process:
            await until(lambda: process.status.state == "connecting" and "the brokers: " in process.status.detail)

    asyncio.run(scenario())


def test_one_that_cannot_run_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "COMMAND", (sys.executable, "-c", "raise SystemExit('no memory')"))

    async def scenario() -> None:
        process = CopyProcess(BROKERS, "the brokers", "n", NodeAudit(Node(), 1))
        async with running(process.run()):
            await until(lambda: "ended with code 1: no memory; next attempt in" in process.status.detail)
            assert process.status.state == "failed"

    asyncio.run(scenario())


PARENT = """
import asyncio, sys
sys.path.insert(0, "tests")
from components.waiting import until
from unit.node.io.kafka.test_copying import Node, copies
async def main():
    node = Node()
    async with copies(node) as process:
        await until(lambda: node.is_copied and process.status.state == "up")
        print(process.status.counters["pid"], flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


def test_it_ends_when_its_node_is_killed_also_where_it_has_nothing_to_say() -> None:
    root = Path(__file__).parents[5]
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, cwd=root)
    assert parent.stdout is not None
    with parent.stdout as told:
        pid = int(told.readline())
        parent.kill()
        parent.wait()
        wait_until(lambda: not psutil.pid_exists(pid), "it has ended")
