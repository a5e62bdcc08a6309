"""Questions of a board for a language model: asked of the gateway's `[llm]`, recorded, and only then answered."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from eyeflow.base.errors import EyeflowError
from eyeflow.base.reasons import internal
from eyeflow.base.threads import InThread
from eyeflow.board_link import conversations
from eyeflow.board_link.async_line import AsyncLine
from eyeflow.board_link.conversations import Status
from eyeflow.board_link.messages import Installed, LlmRequest, Request
from eyeflow.board_link.questions import ANSWER_BYTES_MAX, answer_payload
from eyeflow.board_link.session import Ask
from eyeflow.node.boards.records import BoardRecords
from eyeflow.node.clock import Clock
from eyeflow.node.io.ports import Driver
from eyeflow.protocol.audit_bodies import BoardAnswerBody
from eyeflow.svm.arguments import named_arguments
from eyeflow.svm.container import decode
from eyeflow.svm.execution import CapabilityFailure
from eyeflow.svm.program import Program, Site, SiteKind, Value

MINUTE_US = 60_000_000
UNDER_WAY_MAX = 2
"""Questions of one board that the model is asked at once: one, and an earlier one whose time is over."""

_log = logging.getLogger("eyeflow.node")


@dataclass(frozen=True, slots=True)
class ModelAccess:
    """What a gateway lets its boards ask: `driver` is that of `[llm]`, None without one.

    `is_granted` tells which capabilities `[grants]` allow. `calls_per_minute` bounds the questions of one board.
    """

    driver: Driver | None = None
    is_granted: Callable[[str], bool] = lambda capability: False
    calls_per_minute: int = 30


class Unanswerable(Exception):  # noqa: N818 - an answer that is missing
    """Why a question gets no answer; the rule takes its fallback."""


@dataclass(slots=True)
class ModelCounts:
    """What became of the questions of a board since the node started; `refused`: more than the bound, not recorded."""

    answered: int = 0
    failed: int = 0
    refused: int = 0


class BoardModels:
    """Answers the questions of one board. `program_of` returns the bytes of a wanted program. Raises EyeflowError."""

    def __init__(
        self,
        name: str,
        access: ModelAccess,
        program_of: Callable[[str], bytes],
        records: BoardRecords,
        clock: Clock,
        in_thread: InThread,
    ) -> None:
        self.counts = ModelCounts()
        self._name, self._access, self._program_of = name, access, program_of
        self._records, self._clock, self._in_thread = records, clock, in_thread
        self._asked_us: deque[int] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._last: tuple[object, str | int | None] = (None, None)
        """The last question with its answer: over a new line a board asks the same again."""

    def asked(self, question: LlmRequest, line: AsyncLine, status: Status) -> None:
        """Take a question; it is answered by a task of its own."""
        if len(self._tasks) >= UNDER_WAY_MAX:
            self.counts.refused += 1
            return
        task = asyncio.create_task(self._answer(question, line, status))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Give up what is under way: its line ended."""
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _answer(self, question: LlmRequest, line: AsyncLine, status: Status) -> None:
        known = (status.hello.boot, question)
        try:
            if self._last[0] != known:
                # Asked now: the program that asks may have begun after the last look at the board.
                installed = await line.converse(conversations.program_in(question.place))
                self._last = (known, await self._found(question, status, installed))
            payload = answer_payload(question.number, self._last[1])
            done = conversations.done(Ask(Request.LLM_ANSWER, payload), status.hello, "")
            await line.converse(done)
        except EyeflowError as error:  # the line: the board asks again, or takes its fallback
            _log.debug("board %s: an answer did not reach it: %s", self._name, error.brief)
        except Exception:  # a bug here must cost the board no more than one answer
            _log.exception("board %s: a question for the language model failed", self._name)

    async def _found(self, question: LlmRequest, status: Status, installed: Installed | None) -> str | int | None:
        """Return what goes to the board, once it is recorded; None for a failure."""
        began_us = self._clock.steady_us()
        if installed is None or not self._may_ask(began_us):
            self.counts.refused += 1
            return None
        try:
            site, answer = await self._ask(question, installed)
            error, wire = "", _on_wire(site, answer)
        except Unanswerable as reason:
            answer, error, wire = None, str(reason), None
        took_us = max(0, self._clock.steady_us() - began_us)
        about = (installed.rule, bytes.fromhex(installed.program_id), status.hello.boot, question.number)
        body = BoardAnswerBody(*about, question.site, question.args, took_us, answer, error)
        if not await self._records.add(body):
            self.counts.failed += 1
            return None  # what nobody recorded decides nothing
        self.counts.answered += wire is not None
        self.counts.failed += wire is None
        return wire

    def _may_ask(self, now_us: int) -> bool:
        while self._asked_us and now_us - self._asked_us[0] >= MINUTE_US:
            self._asked_us.popleft()
        if len(self._asked_us) >= self._access.calls_per_minute:
            return False
        self._asked_us.append(now_us)
        return True

    async def _ask(self, question: LlmRequest, installed: Installed) -> tuple[Site, Value]:
        """Return the call and the model's answer. Raises Unanswerable."""
        site, named = self._call(question, await asyncio.to_thread(self._program, installed))
        if self._access.driver is None:
            raise Unanswerable("the gateway has no section [llm]")
        if not self._access.is_granted(site.capability):
            raise Unanswerable(f"[grants] allow of the gateway has no {site.capability}")
        read = partial(self._access.driver.read, site.capability, named, site.timeout_us)
        try:
            return site, await self._in_thread(read)
        except CapabilityFailure as error:
            raise Unanswerable(str(error)) from error
        except Exception as error:  # a bug of the driver: the rule has an answer for a failure
            _log.exception("driver of %s failed in an unforeseen way", site.capability)
            raise Unanswerable(f"in the driver: {internal(error)}") from error

    def _program(self, installed: Installed) -> Program:
        try:
            return decode(self._program_of(installed.program_id)).program
        except EyeflowError as error:
            text = "the gateway has not this program: deploy it, or push it again while the gateway has the port"
            raise Unanswerable(text) from error

    def _call(self, question: LlmRequest, program: Program) -> tuple[Site, dict[str, Value]]:
        site = program.sites[question.site] if question.site < len(program.sites) else None
        if site is None or site.kind is not SiteKind.LLM or site.result is None:
            raise Unanswerable(f"site {question.site} of the program asks no language model")
        try:
            named = named_arguments(site, question.args, program.pins)
        except (ValueError, TypeError, LookupError) as error:
            raise Unanswerable("its arguments are not those of the call") from error
        if "max" in named:
            named["max"] = min(int(named["max"]), ANSWER_BYTES_MAX)  # a longer one does not go over the line
        return site, named

    def view(self) -> dict[str, object]:
        """Return what became of the questions, as JSON-able data (docs/reference/node-status.md)."""
        counts = self.counts
        return {"answered": counts.answered, "failed": counts.failed, "refused": counts.refused}


def _on_wire(site: Site, answer: Value) -> str | int:
    """Return what LLM_ANSWER has: the ordinal of a member, or the text."""
    assert site.result is not None
    members = site.result.members
    return members.index(str(answer)) if members else str(answer)
