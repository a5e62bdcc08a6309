"""One board behind this node: finds its port, keeps its line, looks how it does, and never gives up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from random import Random
from typing import TypeVar
from zoneinfo import ZoneInfo

from eyeflow.base.errors import EyeflowError
from eyeflow.base.reasons import internal
from eyeflow.board_link import conversations
from eyeflow.board_link.async_line import AsyncLine
from eyeflow.board_link.conversations import Status
from eyeflow.board_link.messages import Counters, EmittedEvent, Hello, Installed, LlmRequest, LogLine
from eyeflow.board_link.port import FoundPort
from eyeflow.board_link.session import Ask, Heard, Patience
from eyeflow.node.backoff import Backoff
from eyeflow.node.boards.bringing import Bringing
from eyeflow.node.boards.events import BoardEvents
from eyeflow.node.boards.evidence import BoardEvidence, trap_text
from eyeflow.node.boards.hold import Hold
from eyeflow.node.boards.installed import Installs
from eyeflow.node.boards.keeping import KeptBoard, facts_of
from eyeflow.node.boards.models import BoardModels
from eyeflow.node.boards.programs import BoardPrograms
from eyeflow.node.boards.records import BoardRecords, KnownBoard
from eyeflow.node.boards.said import Said
from eyeflow.node.boards.standing import FIRMWARE, SILENT, Contact, Standing, judge
from eyeflow.node.boards.wanted import There
from eyeflow.node.clock import Clock
from eyeflow.node.control import Link

BEAT_S = 3.0
"""How often a board is asked how it does, unless its link would count as lost before."""
RETRY_LAST_S = 5.0
"""Longest wait before a port is tried again: a board that is plugged in shows soon."""
STARTS_MAX = 16
LET_GO_S = 0.02
"""How often it is looked whether the line is closed."""

T = TypeVar("T")
Scan = Callable[[], Sequence[FoundPort]]
Pin = Callable[[KeptBoard], None]

_log = logging.getLogger("eyeflow.node")


@dataclass(frozen=True, slots=True)
class Frames:
    """How the line does, as the gateway counted since the port was opened: damaged frames, and questions sent again."""

    received_bad: int = 0
    asked_again: int = 0


class GatewayBoard:
    """A board as its gateway sees it. `scan` lists the ports of this machine, `pin` keeps which chip took the name.

    Both may block and are called in a thread. The board is told the time of `zone`. Whatever goes wrong here is
    shown by `standing`; nothing of it reaches the node's own rules.
    """

    def __init__(
        self,
        kept: KeptBoard,
        scan: Scan,
        pin: Pin,
        clock: Clock,
        random: Random,
        zone: ZoneInfo,
        programs: BoardPrograms,
        records: BoardRecords,
        models: BoardModels,
        events: BoardEvents,
        patience: Patience | None = None,
    ) -> None:
        self.kept, self.programs, self.records, self.models = kept, programs, records, models
        self.events = events
        self.standing = Standing(since_us=clock.now_us())
        self.hello: Hello | None = None
        self.found: Status | None = None
        self.evidence = BoardEvidence(self.programs.line_of)
        self.answered_us = 0
        """When it answered last, on the wall clock."""
        self.url = ""
        self.starts = 0
        """How often it was found to have started since this node did."""
        self.frames = Frames()
        self.link: Link | None = None
        """Its link to the coordinator, when the gateway has one."""
        self.changed = asyncio.Event()
        """Its state changed since somebody cleared this: the coordinator is told at once."""
        self.said, self.hold = Said(clock.now_us()), Hold()
        self._scan, self._pin, self._clock, self._zone = scan, pin, clock, zone
        self._patience = patience or Patience()
        self._backoff = Backoff(random, last_s=RETRY_LAST_S)
        self._contact = Contact()
        self._line: AsyncLine | None = None
        self._has_port = False

    @property
    def name(self) -> str:
        """Its name in the cluster."""
        return self.kept.name

    async def run(self) -> None:
        """Keep the line until cancelled."""
        while True:
            await self.hold.over(self._clock)
            self._contact.updating = ""
            try:
                await self._serve()
            except EyeflowError as error:
                self._in_trouble(error)
            except Exception as error:  # a bug here must stop neither the other boards nor the rules of the node
                _log.exception("board %s: its line failed in an unforeseen way", self.name)
                told = EyeflowError("this node failed in serving the board", cause=internal(error), code="internal")
                self._in_trouble(told)
            await self._clock.sleep(self._backoff.next_s())

    async def _serve(self) -> None:
        if self.kept.trouble is not None:
            raise self.kept.trouble
        self.url = await self._place()
        self._line = line = await AsyncLine.open(self.url, self.kept.place.baud, self._patience, self._heard)
        self._has_port = True
        tasks = [asyncio.create_task(self.events.follow(line))]
        try:
            while not self.hold.why:
                try:
                    await self._look(line)
                    self._backoff.reset()
                    if len(tasks) == 1:
                        # First its records: a push takes seconds, in which a full ring would lose the oldest ones.
                        how = (line, self._known, self.kept.board_text)
                        await self.records.catch_up(*how)
                        tasks.append(asyncio.create_task(self.records.follow(*how)))
                    await Bringing(self, line).bring()
                except EyeflowError as error:
                    if error.code not in FIRMWARE | SILENT:
                        raise
                    self._in_trouble(error)
                await self._rest()
        finally:
            self._line = None
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, self.models.stop(), return_exceptions=True)
            line.close()
            await asyncio.sleep(0)  # its descriptors are closed in the next turn of the loop, and with them the lock
            self._has_port = False
            if self.hold.why:
                self._let_go()

    def _let_go(self) -> None:
        """Nothing is known of the board until it is asked again: it may have other firmware then."""
        self.hello, self._contact.trouble = None, None
        self._contact.updating = self.hold.why
        self._judge()

    async def let_go(self, why: str) -> None:
        """Give the port back until `take_back`, and show why. Returns once it is closed."""
        self.hold.begin(why, self._clock)
        self.programs.changed.set()
        while self._has_port:
            await asyncio.sleep(LET_GO_S)
        self._let_go()

    def take_back(self) -> None:
        """Own the port again."""
        self.hold.end()
        self._backoff.reset()

    async def converse(self, conversation: Generator[Ask, bytes, T]) -> T:
        """Return what a conversation over the line ends with. Raises EyeflowError, also while there is no line."""
        line = self._line
        if line is None:
            raise EyeflowError(
                f"the board {self.name} cannot be asked",
                cause=f"it is {self.standing.state.value} ({self.standing.reason}): {self.standing.evidence}",
                next_step="`eyeflow node boards list` shows how it is.",
                code="board_away",
            )
        return await line.converse(conversation)

    async def refresh(self) -> None:
        """Ask the board what it runs now, and let its records say so."""
        if self.hello is not None:
            self._found(await self.converse(conversations.status(self.hello)))

    async def _rest(self) -> None:
        """Wait for the next beat, or until there is a program to bring."""
        waits = {
            asyncio.ensure_future(self._clock.sleep(self._beat_s)),
            asyncio.ensure_future(self.programs.changed.wait()),
        }
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()
        self.programs.changed.clear()

    @property
    def now_us(self) -> int:
        """The wall clock of the gateway, in microseconds since 1970 UTC."""
        return self._clock.now_us()

    @property
    def is_answering(self) -> bool:
        """Whether the newest question was answered."""
        return self._line is not None and self._contact.answered_us > 0 and self._contact.trouble is None

    @property
    def _answered(self) -> Status | None:
        """What it said last, None unless it answered just now."""
        return self.found if self.is_answering else None

    def _known(self) -> KnownBoard | None:
        """Return what its records are read with; None unless it answered just now."""
        found = self._answered
        if found is None:
            return None
        programs = {one.program_id: one.rule for one in (*found.programs, *found.previous, *found.staged)}
        on_the_way = {one.program_id: one.rule for one in self.programs.wanted.values() if one.program_id}
        running = {one.rule: one for one in found.programs}
        installs = Installs(self.programs.program, self.programs.runs)
        return KnownBoard(self.kept.device, programs | on_the_way, running, installs)

    @property
    def there(self) -> There:
        """The programs that the board has, without those that it stopped; none while it does not answer."""
        return There.of(self._answered).without_stopped(self._answered)

    def show_update(self, text: str) -> None:
        """Show that a program is on its way, empty for not any more."""
        self._contact.updating = text
        self._judge()

    def show_flash_failure(self, text: str) -> None:
        """Show that the board's flash failed, empty once it took something again."""
        self._contact.flash_failure = text
        self._judge()

    async def look_again(self, line: AsyncLine) -> None:
        """Ask the board what it runs now."""
        assert self.hello is not None
        self._found(await line.converse(conversations.status(self.hello)))

    def _found(self, found: Status) -> None:
        self.found = found
        self.evidence.saw(found, self.programs.wanted.values(), self._clock.now_us())

    @property
    def _beat_s(self) -> float:
        """Ask three times before the board itself takes the link for lost."""
        return min(BEAT_S, facts_of(self.kept.board_text).lost_after_ms / 3000)

    async def _place(self) -> str:
        wanted = self.kept.place
        if wanted.port:
            return wanted.port
        found = await asyncio.to_thread(self._scan)
        device = next((port.device for port in found if port.usb_serial == wanted.usb_serial), "")
        if not device:
            raise EyeflowError(
                f"no port of this machine has the USB serial number {wanted.usb_serial}",
                cause="the board or its adapter is not plugged in",
                next_step="Plug it in; `eyeflow node boards list` shows the ports that are there.",
                code="port_missing",
            )
        return device

    async def _look(self, line: AsyncLine) -> None:
        """Ask who the board is, and then all the rest: it may have been started or changed since the last look."""
        hello = await line.converse(conversations.hello(self.url))
        await self._recognise(hello)
        if self.hello is None or hello.boot != self.hello.boot or self._contact.trouble is not None:
            await self._tell_time(line, hello)
        if self.hello is not None and (hello.device, hello.boot) != (self.hello.device, self.hello.boot):
            self._contact.starts = [*self._contact.starts, self._clock.steady_us()][-STARTS_MAX:]
            self.starts += 1
        found = await line.converse(conversations.status(hello))
        await self._learn(hello, found)
        self.hello = hello
        self._found(found)
        self.answered_us = self._contact.answered_wall_us = self._clock.now_us()
        self.frames = Frames(line.line.receiver.bad, line.line.resent)
        contact = self._contact
        contact.answered_us, contact.trouble, contact.good_frames = self._clock.steady_us(), None, 0
        contact.stopped = self._stopped(found)
        contact.reset_cause = found.health.reset_cause
        self._judge()

    async def _recognise(self, hello: Hello) -> None:
        """Take no other chip for this board: its programs, records and name belong to one device."""
        kept = self.kept
        chip = facts_of(kept.board_text).chip
        if chip and chip.casefold() != hello.chip.casefold():
            raise EyeflowError(
                f"the board at {self.url} has the chip {hello.chip}, and its board file says {chip}",
                cause="the board file is that of another board, or another board is plugged in",
                next_step=f"Correct the board file of {kept.name}, or plug in the right board.",
                code="other_chip",
            )
        if kept.device and kept.device != hello.device:
            raise EyeflowError(
                f"another board answers at {self.url}: device {hello.device}, and {kept.name} is {kept.device}",
                cause="boards were exchanged, or the port belongs to another one now",
                next_step=f"Plug in the right board, or let this one take the name: `eyeflow node boards release "
                f"{kept.name}`, then adopt it.",
                code="other_device",
            )

    async def _learn(self, hello: Hello, found: Status) -> None:
        """Keep which chip took the name, and what it can run: its link tells that, also while the board is away."""
        ram_bytes = found.health.ram_bytes
        learnt = replace(self.kept, device=hello.device, chip=hello.chip, abi=hello.abi, ram_bytes=ram_bytes)
        if learnt != self.kept:
            await asyncio.to_thread(self._pin, learnt)
            self.kept = learnt
            self.changed.set()

    async def _tell_time(self, line: AsyncLine, hello: Hello) -> None:
        now_us = self._clock.now_us()
        offset = datetime.fromtimestamp(now_us / 1e6, self._zone).utcoffset()
        await line.converse(conversations.set_time(now_us, int(offset.total_seconds()) if offset else 0, hello))

    def _in_trouble(self, error: EyeflowError) -> None:
        self._contact.trouble = error
        if self._line is not None:
            self._contact.good_frames = self._line.line.since_answer
        self._judge()

    def _judge(self) -> None:
        state, reason, evidence = judge(self._contact, self._clock.steady_us())
        before = self.standing
        self.standing = before.then(self._clock.now_us(), state, reason, evidence)
        if (before.state, before.reason) != (state, reason):
            self.changed.set()

    def _heard(self, heard: Heard) -> None:
        if isinstance(heard, LogLine | LlmRequest):
            self.said.add(heard, self._clock.now_us())
        if isinstance(heard, LogLine):
            _log.debug("board %s logs: %s", self.name, heard.text)
        elif isinstance(heard, LlmRequest) and self._line is not None and self.found is not None:
            self.models.asked(heard, self._line, self.found)
        elif isinstance(heard, EmittedEvent):
            self.events.heard(heard)

    def view(self) -> dict[str, object]:
        """Return what is known of the board, as JSON-able data (docs/reference/node-status.md)."""
        kept, standing = self.kept, self.standing
        return {
            "name": kept.name,
            "state": standing.state.value,
            "reason": standing.reason,
            "since_us": standing.since_us,
            "evidence": standing.evidence,
            "answered_us": self.answered_us,
            "place": kept.place.place,
            "url": self.url,
            "device": kept.device,
            "is_declared": kept.is_declared,
            "coordinator": _link_view(self.link),
            "has_board_file": bool(kept.board_text),
            **_hello_view(self.hello),
            "starts": self.starts,
            "received_bad": self.frames.received_bad,
            "asked_again": self.frames.asked_again,
            "records": self.records.view(),
            "models": self.models.view(),
            "events": self.events.view(),
            "health": asdict(self.found.health) if self.found is not None else None,
            "rules": [] if self.found is None else [self._rule_view(*pair) for pair in self.found.pairs],
        }

    def fault(self, program: Installed, counters: Counters) -> str:
        """Return the last fault of a program on the board, with the line of its rule where that is known."""
        return trap_text(counters, self.programs.line_of(program.program_id, counters.pc) if counters.trap else 0)

    def _stopped(self, found: Status) -> tuple[str, ...]:
        """Return which rules the board has stopped after faults, and by what."""
        stopped = [(one, counters) for one, counters in found.pairs if not counters.running]
        return tuple(f"{one.rule} {one.version} is stopped: {self.fault(one, counters)}" for one, counters in stopped)

    def _rule_view(self, program: Installed, counters: Counters) -> dict[str, object]:
        return {
            "rule": program.rule,
            "version": program.version,
            "program_id": program.program_id,
            "place": program.place,
            "state": "running" if counters.running else "stopped",
            "good": program.good,
            "has_previous": program.has_previous,
            "has_staged": program.has_staged,
            "executions": counters.executions,
            "traps": counters.traps,
            "failures": counters.failures,
            "last_error": self.fault(program, counters),
        }


def _link_view(link: Link | None) -> dict[str, object]:
    if link is None:
        return {"state": "none", "detail": ""}
    return {"state": link.status.state, "detail": link.status.detail}


def _hello_view(hello: Hello | None) -> dict[str, object]:
    if hello is None:
        return {"chip": "", "firmware": "", "abi": 0, "boot": 0, "delegates_llm": False}
    told = {"chip": hello.chip, "firmware": hello.firmware, "abi": hello.abi}
    return told | {"boot": hello.boot, "delegates_llm": hello.delegates_llm}
