"""Events that rules on a board emit, on their way to the rules of the gateway: each at most once, in their order."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from eyeflow.base.errors import EyeflowError
from eyeflow.base.reasons import why
from eyeflow.board_link import conversations
from eyeflow.board_link.async_line import AsyncLine
from eyeflow.board_link.messages import EmittedEvent
from eyeflow.svm.arguments import event_payload
from eyeflow.svm.container import decode
from eyeflow.svm.failure import ProgramError
from eyeflow.svm.program import Program, SiteKind

WAITING_MAX = 64
"""Events that wait while a program goes over the line, or while rules of the gateway have no room."""
PROGRAMS_MAX = 8

DeliverEvent = Callable[[str, Mapping[str, object], str], Awaitable[bool]]
"""Gives an event to the rules that listen: its name, its fields, its board. False: no rule listens."""

_log = logging.getLogger("eyeflow.node")


@dataclass(slots=True)
class EventCounts:
    """What became of the events of a board since the node started.

    `unheard`: no rule listens. `dropped`: there was no room, or the gateway does not know the program.
    """

    taken: int = 0
    unheard: int = 0
    dropped: int = 0


class BoardEvents:
    """Takes the events of one board. `program_of` returns the bytes of a program by its id, and raises EyeflowError."""

    def __init__(self, name: str, deliver: DeliverEvent, program_of: Callable[[str], bytes]) -> None:
        self.counts = EventCounts()
        self._name, self._deliver, self._program_of = name, deliver, program_of
        self._waiting: deque[EmittedEvent] = deque()
        self._come = asyncio.Event()
        self._programs: dict[str, Program] = {}

    def heard(self, event: EmittedEvent) -> None:
        """Queue an event; with a full queue it is dropped."""
        if len(self._waiting) >= WAITING_MAX:
            self.counts.dropped += 1
            return
        self._waiting.append(event)
        self._come.set()

    async def follow(self, line: AsyncLine) -> None:
        """Hand on what comes over a line until cancelled. What still waits then is dropped."""
        try:
            while True:
                self._come.clear()
                while self._waiting:
                    await self._take(line, self._waiting.popleft())
                await self._come.wait()
        finally:
            self.counts.dropped += len(self._waiting)
            self._waiting.clear()

    async def _take(self, line: AsyncLine, event: EmittedEvent) -> None:
        try:
            # Asked now: the program may have begun after the last look at the board.
            installed = await line.converse(conversations.program_in(event.place))
            program = await self._program(installed.program_id) if installed is not None else None
            site = program.sites[event.site] if program is not None else None
            if program is None or site is None or site.kind is not SiteKind.EMIT:
                raise LookupError("no event of the program")
            payload = event_payload(site, event.args, program.pins)
            is_heard = await self._deliver(site.capability, payload, self._name)
        except (EyeflowError, ProgramError, LookupError, ValueError, TypeError) as error:
            _log.debug("board %s: an event is dropped: %s", self._name, why(error))
            self.counts.dropped += 1
        except Exception:  # a bug here must cost the board no more than one event
            _log.exception("board %s: an event was not handed on", self._name)
            self.counts.dropped += 1
        else:
            self.counts.taken += is_heard
            self.counts.unheard += not is_heard

    async def _program(self, program_id: str) -> Program:
        if program_id not in self._programs:
            program = decode(await asyncio.to_thread(self._program_of, program_id)).program
            self._programs = dict(list(self._programs.items())[1 - PROGRAMS_MAX :]) | {program_id: program}
        return self._programs[program_id]

    def view(self) -> dict[str, object]:
        """Return the counts as JSON-able data (docs/reference/node-status.md)."""
        counts = self.counts
        return {"taken": counts.taken, "unheard": counts.unheard, "dropped": counts.dropped}
