"""The records of one board in an audit of its own: read over its line, committed, and only then acknowledged.

The audit is that of a node (`eyeflow.node.store`), in the directory of the board, with the board's name and key.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

from eyeflow.base.clock import ClockWatch
from eyeflow.base.errors import EyeflowError
from eyeflow.base.machine import Machine
from eyeflow.base.reading import Unreadable, parse_toml
from eyeflow.base.reasons import internal
from eyeflow.board_link import conversations
from eyeflow.board_link.async_line import AsyncLine
from eyeflow.board_link.messages import Installed
from eyeflow.board_link.records import acknowledge, fetch_records
from eyeflow.board_link.session import Ask
from eyeflow.node.boards.chain import CURSOR_KEY, Cursor, Naming, Reading, steps_of, unpack_cursor
from eyeflow.node.boards.installed import INSTALLED_KEY, Installs
from eyeflow.node.clock import Clock
from eyeflow.node.control import AuditHead
from eyeflow.node.own_key import load_identity
from eyeflow.node.store.quarantine import PREFIX, set_aside
from eyeflow.node.store.store import Store
from eyeflow.node.store.types import Batch, BufferLimits, Draft, StorageError, StoreDamaged
from eyeflow.node.store.writer import ThreadWriter, Writer
from eyeflow.protocol.audit import decode_record
from eyeflow.protocol.audit_bodies import LOSSES, BoardRecordBody, Body, CheckpointBody, StartBody, StopBody
from eyeflow.protocol.board_records import NUMBER_MAX
from eyeflow.protocol.collecting import BUNDLE_RECORDS_MAX, KeptHead

SIZE_BYTES_MAX = 64 << 20
"""Bound of the audit of one board, where that of the node allows more: about 200,000 of its records."""
AUDIT_LIMITS = BufferLimits(SIZE_BYTES_MAX, 72 * 3600 * 1_000_000)
"""Bounds of an audit that nobody has given any."""
CHECKPOINT_RECORDS = 1000
WAIT_FIRST_S, WAIT_MIN_S, WAIT_MAX_S = 0.5, 0.1, 3.0
FOUND_WANTED = 3
"""How many records a reading shall find: the smallest ring holds seven, and a reading may be late."""
RETRY_S = 5.0
"""When a disk that refused is tried again."""
AGED_S = 60.0
SETTLE_US = 600_000_000
"""As `engine.disk.SETTLE_US`: nothing is dropped for its age before."""
DROPS_PER_VISIT = 16
SEARCHED_MAX = 1000
PROGRAMS_KEY, PROGRAMS_MAX = "board_programs", 32
"""Programs that were seen on the board: records of one that was replaced may come later."""
NO_HEAD = AuditHead(0, bytes(32))

T = TypeVar("T")
MakeWriter = Callable[[Store], Writer]

_log = logging.getLogger("eyeflow.node")


@dataclass(frozen=True, slots=True)
class KnownBoard:
    """What records are read with: the device they must be of, and the rules of the programs it may run, by id.

    `running` are those that it runs, by rule; `installs` makes the records of that.
    """

    device: str
    programs: dict[str, str]
    running: Mapping[str, Installed] = field(default_factory=dict)
    installs: Installs | None = None


class BoardRecords:
    """The audit of the board `name` in `directory`. `open` and `close` it; between them `follow` a line."""

    def __init__(
        self,
        name: str,
        directory: Path,
        limits: BufferLimits,
        clock: Clock,
        machine: Machine,
        make_writer: MakeWriter = ThreadWriter,
    ) -> None:
        self.name, self.trouble = name, ""
        self.wait_s = WAIT_FIRST_S
        """How long to wait before the next reading."""
        self.grown = asyncio.Event()
        """Set whenever the chain may have grown; whoever waits for that clears it first."""
        self._tried = asyncio.Event()
        """Set once the store is open, or the disk has refused it for the first time."""
        self._directory, self._clock, self._machine = directory, clock, machine
        self._limits = replace(limits, size_bytes_max=min(limits.size_bytes_max, SIZE_BYTES_MAX))
        self._make_writer = make_writer
        self._writer: Writer | None = None
        self._opening: asyncio.Future[Store] | None = None
        self._cursor: Cursor | None = None
        """None: to be read from the store. What became of a commit that failed, or was cancelled, it alone knows."""
        self._seen = Cursor()
        """Where the records ended when the board was asked last: what is between this and the cursor may be lost."""
        self._programs: dict[str, str] = {}
        self._installed: dict[str, str] = {}
        """Which programs run, by rule, as the last INSTALL and REMOVE records say."""
        self._unvouched = 0
        self._aged_s = 0.0

    @property
    def writer(self) -> Writer:
        """What writes the store. Raises EyeflowError while it is not open."""
        if self._writer is None:
            raise EyeflowError(
                f"the audit of {self.name} is not open", cause=self.trouble or "not yet", code="store_closed"
            )
        return self._writer

    @property
    def is_open(self) -> bool:
        """Whether there is a chain."""
        return self._writer is not None

    @property
    def epoch(self) -> int:
        """The epoch of the chain, 0 before it is open."""
        return self._writer.store.epoch if self._writer is not None else 0

    @property
    def head(self) -> AuditHead:
        """The last durable record."""
        return AuditHead(*self._writer.store.head) if self._writer is not None else NO_HEAD

    @property
    def lost(self) -> dict[str, int]:
        """How many records nobody has, by reason, since the epoch began."""
        dropped = self._writer.store.depth.dropped if self._writer is not None else {}
        return {reason: count for reason, count in dropped.items() if reason in LOSSES}

    async def open(self) -> None:
        """Open the store, or make it, and record that. A disk that refuses is tried again for ever."""
        while self._writer is None:
            try:
                self._opening = asyncio.ensure_future(asyncio.to_thread(self._opened))
                self._writer = self._make_writer(await asyncio.shield(self._opening))
            except EyeflowError as error:
                self._in_trouble(error)
                self._tried.set()
                await self._clock.sleep(RETRY_S)
        self._tried.set()
        self._opened_us, self._watch = self._clock.steady_us(), ClockWatch(self._clock.now_us, self._clock.steady_us)
        self.trouble = ""

    def _opened(self) -> Store:
        """Open the store in the thread of the caller, and write the record of that. Raises EyeflowError."""
        with suppress(OSError):  # `load_identity` says what is wrong with it
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        identity = load_identity(self._directory, self._machine)

        def store() -> Store:
            how = {"now_us": self._clock.now_us, "vfs": self._machine.vfs, "free_bytes": self._machine.free_bytes}
            return Store(self._directory, self.name, identity, self._limits, **how)  # type: ignore[arg-type]

        try:
            opened = store()
        except StoreDamaged as error:
            folder = set_aside(self._directory, self._clock.now_us())
            opened = store()
            _log.error("%s: %s. It is kept in %s; epoch %d begins", error.message, error.cause, folder, opened.epoch)
        restored = opened.restore()
        replaced_epoch = opened.replaced_epoch if opened.head[0] == 0 else 0
        start = StartBody(version("eyeflow"), identity.public_key, restored.clean, (), replaced_epoch)
        opened.commit(Batch([Draft(self._clock.now_us(), start)]))
        self._public_key = identity.public_key
        return opened

    async def close(self) -> None:
        """Record the end and close the store. Raises nothing: what it took is safe."""
        if self._writer is None and self._opening is not None:  # it was cancelled while its thread goes on
            with suppress(EyeflowError):
                self._writer = self._make_writer(await self._opening)
        writer, self._writer = self._writer, None
        if writer is None:
            return
        try:
            now_us = self._clock.now_us()
            bodies: tuple[Body, ...] = (StopBody("stopped"), CheckpointBody(self._public_key))
            await writer.run(lambda store: _ended(store, Batch([Draft(now_us, body) for body in bodies])))
        except StorageError as error:
            _log.warning("board %s: its audit did not close: %s", self.name, error.brief)
        finally:
            writer.stop()

    async def follow(self, line: AsyncLine, known: Callable[[], KnownBoard | None], board_text: str) -> None:
        """Take the records that come over a line until cancelled. What is wrong with the line, others find and show.

        Nothing is asked while `known` returns None.
        """
        while True:
            await self._clock.sleep(self.wait_s)
            await self.catch_up(line, known, board_text)

    async def catch_up(self, line: AsyncLine, known: Callable[[], KnownBoard | None], board_text: str) -> None:
        """Take the records that wait on the board, as `follow` does each time."""
        await self._tried.wait()
        try:
            if self.is_open and (board := known()) is not None:
                await self.take(line, board, output_names(board_text))
        except EyeflowError:
            pass  # the line says so itself, in the state of the board
        except Exception as error:  # a bug here must not end the line of the board
            _log.exception("board %s: its records are not taken", self.name)
            self.trouble, self.wait_s = internal(error), RETRY_S

    async def take(self, line: AsyncLine, board: KnownBoard, outputs: tuple[str, ...] = ()) -> None:
        """Read once, commit what is new, and acknowledge it then. Raises EyeflowError for what the line says."""
        reading = await line.converse(_reading(line.url))
        if reading is None or reading.hello.device != board.device:
            return  # it started meanwhile, or is another board
        count = len(reading.batch.records)
        self.wait_s = min(max(self.wait_s * FOUND_WANTED / max(count, 1.5), WAIT_MIN_S), WAIT_MAX_S)
        try:
            await self._keep_programs(board.programs)
            await self._keep_installed(board)
            await self._keep(reading, outputs)
            await self._drop_aged()
        except StorageError as error:
            self._cursor, self.wait_s = None, RETRY_S
            self._in_trouble(error)
            return
        self.trouble = ""
        if count:
            await self._acknowledge(line, reading)

    async def add(self, body: Body) -> bool:
        """Commit a record of the gateway's own; False while the disk refuses."""
        if self._writer is None or self.trouble:
            return False
        try:
            await self._commit(Batch([Draft(self._clock.now_us(), body)]))
        except StorageError as error:
            self._cursor = None
            self._in_trouble(error)
            return False
        return True

    async def _keep(self, reading: Reading, outputs: tuple[str, ...]) -> None:
        cursor = await self._read_cursor()
        hello = reading.hello
        there = Cursor(hello.device, hello.boot, reading.batch.next_sequence)
        if cursor.is_same_start(there):
            self._seen = there
        seen = self._seen.next - cursor.next & NUMBER_MAX if cursor.is_same_start(self._seen) else 0
        now_us = self._clock.now_us()
        for step in steps_of(cursor, reading, seen, Naming(self._program_of, outputs), now_us):
            self._cursor = None
            await self._commit(step.batch(now_us))
            self._cursor = step.cursor
        self._seen = there

    async def _commit(self, batch: Batch) -> None:
        self._unvouched += len(batch.drafts)
        if self._unvouched >= CHECKPOINT_RECORDS:
            now_us = self._clock.now_us()
            batch = replace(batch, drafts=[*batch.drafts, Draft(now_us, CheckpointBody(self._public_key))])
            self._unvouched = 0
        await self.writer.commit(batch)
        self.grown.set()

    async def _read_cursor(self) -> Cursor:
        """Return the cursor; after a failure the file is opened anew, and says what of it was written."""
        if self._cursor is None:
            if self.trouble:
                await self.writer.run(lambda store: store.recover())
            kept = (await self.writer.run(lambda store: store.restore())).kept
            self._cursor = unpack_cursor(kept[CURSOR_KEY]) if CURSOR_KEY in kept else Cursor()
            self._programs = json.loads(kept.get(PROGRAMS_KEY, b"{}"))
            self._installed = json.loads(kept.get(INSTALLED_KEY, b"{}"))
        return self._cursor

    async def _keep_programs(self, there: dict[str, str]) -> None:
        """Remember which programs the board had, by id."""
        await self._read_cursor()
        if there.items() <= self._programs.items():
            return
        known = dict(list((self._programs | there).items())[-PROGRAMS_MAX:])
        await self._commit(Batch(put_meta=((PROGRAMS_KEY, json.dumps(known).encode()),)))
        self._programs = known

    async def _keep_installed(self, board: KnownBoard) -> None:
        """Record which programs began to run and which ones went, in the transaction that also keeps what runs."""
        running = {rule: one.program_id for rule, one in board.running.items()}
        if board.installs is None or running == self._installed:
            return
        bodies = await asyncio.to_thread(board.installs.bodies, self._installed, board.running)
        now_us = self._clock.now_us()
        drafts = [Draft(now_us, body) for body in bodies]
        cursor, self._cursor = self._cursor, None  # what became of a commit that fails, the store knows
        await self._commit(Batch(drafts, put_meta=((INSTALLED_KEY, json.dumps(running).encode()),)))
        self._cursor, self._installed = cursor, running

    def _program_of(self, key: bytes) -> tuple[str, bytes | None]:
        found = next((one for one in self._programs if one.startswith(key.hex())), "")
        return (self._programs[found], bytes.fromhex(found)) if found else ("", None)

    async def _acknowledge(self, line: AsyncLine, reading: Reading) -> None:
        """Let the board forget what is committed. An answer that is lost costs nothing: the next reading asks again."""
        try:
            await line.converse(_acknowledgement(line.url, reading))
        except EyeflowError as error:
            if error.code != "board_silent":
                raise

    async def _drop_aged(self) -> None:
        now_s = self._clock.steady_us() / 1e6
        if now_s - self._aged_s < AGED_S:
            return
        self._aged_s = now_s
        if step_us := self._watch.step_us():
            await self.writer.run(lambda store: store.clock_was_set(step_us))
        if self._clock.steady_us() - self._opened_us >= SETTLE_US:
            for _ in range(DROPS_PER_VISIT):
                if not await self.writer.run(lambda store: store.drop_aged()):
                    return
                self.grown.set()

    def _in_trouble(self, error: EyeflowError) -> None:
        if not self.trouble:
            _log.error("board %s: its records are not taken: %s", self.name, error.whole)
        self.trouble = error.brief

    async def newest(self, count: int) -> list[BoardRecordBody]:
        """Return the newest records of the board, in order, of the last `SEARCHED_MAX` of its audit."""
        first = max(1, self.head.seq - SEARCHED_MAX + 1)
        stored = await self.writer.run(lambda store: store.audit_range(first, SEARCHED_MAX))
        found = [body for one in stored if isinstance(body := decode_record(one).body, BoardRecordBody)]
        return found[-count:]

    async def audit_range(self, from_seq: int, limit: int) -> Sequence[bytes]:
        """Return records as stored; see `NodeControl`."""
        count = max(0, min(limit, BUNDLE_RECORDS_MAX))
        return await self.writer.run(lambda store: store.audit_range(from_seq, count))

    async def records_after(self, seq: int, bytes_max: int) -> tuple[int, Sequence[bytes]]:
        """Return records to hand on; see `NodeControl`."""
        return await self.writer.run(lambda store: store.records_after(seq, bytes_max, BUNDLE_RECORDS_MAX))

    async def grows_beyond(self, seq: int) -> None:
        """Return once the chain has a record with a higher seq; see `NodeControl`."""
        while self.head.seq <= seq:
            self.grown.clear()
            await self.grown.wait()

    async def note_kept(self, destination: str, kept: KeptHead) -> bool:
        """Take note of what a destination holds; see `NodeControl`."""
        return await self.writer.run(lambda store: store.note_kept(destination, kept))

    def view(self) -> dict[str, object]:
        """Return how far its audit is, as JSON-able data (docs/reference/node-status.md)."""
        return {"epoch": self.epoch, "last_seq": self.head.seq, "lost": self.lost, "trouble": self.trouble}


def _ended(store: Store, last: Batch) -> None:
    try:
        store.commit(last)
    except StorageError:
        store.close(clean=False)
        raise
    store.close(clean=True)


def _reading(url: str) -> Generator[Ask, bytes, Reading | None]:
    """Fetch what waits, between two questions who answers: a board that starts meanwhile begins to count anew."""
    hello = yield from conversations.hello(url)
    batch = yield from fetch_records()
    again = yield from conversations.hello(url)
    return Reading(hello, batch) if (hello.device, hello.boot) == (again.device, again.boot) else None


def _acknowledgement(url: str, reading: Reading) -> Generator[Ask, bytes, None]:
    hello = yield from conversations.hello(url)
    if (hello.device, hello.boot) == (reading.hello.device, reading.hello.boot):
        yield from acknowledge(reading.batch.next_sequence, once=True)


def is_audit(name: str) -> bool:
    """Say whether a file or folder in the directory of a board is of its audit: it stays when the board is released."""
    return name.startswith(("node.", PREFIX))


def output_names(board_text: str) -> tuple[str, ...]:
    """Return the names of the outputs in a board file, in the order of their bits; nothing for one that is none."""
    try:
        pins = parse_toml(board_text).get("pins", {}) if board_text else {}
    except Unreadable:
        return ()
    named = pins.items() if isinstance(pins, dict) else ()
    return tuple(name for name, pin in named if isinstance(pin, dict) and pin.get("direction") == "output")
