"""Brings a board what it shall run, over a line that is up: each program is pushed, and then asked for."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Protocol

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.board_link import conversations
from eyeflow.board_link.async_line import AsyncLine
from eyeflow.board_link.conversations import Status
from eyeflow.board_link.messages import Hello, Request, text
from eyeflow.board_link.port import UNKNOWN_RULE
from eyeflow.board_link.push import Progress, push
from eyeflow.board_link.session import Ask
from eyeflow.node.boards.programs import BoardPrograms, Fate, Wanted, went_back
from eyeflow.svm.container import decode
from eyeflow.svm.program import Param, Program, TypeTag

STORAGE = "board_storage"


class Board(Protocol):
    """What is needed of a board."""

    programs: BoardPrograms
    hello: Hello | None
    found: Status | None

    @property
    def running(self) -> dict[str, str]:
        """The ids of the programs that the board said it runs, by rule."""
        ...

    def show_update(self, text: str) -> None:
        """Show that a program is on its way, empty for not any more."""
        ...

    def show_flash_failure(self, text: str) -> None:
        """Show that the board's flash failed, empty once it took something again."""
        ...

    async def look_again(self, line: AsyncLine) -> None:
        """Ask the board what it runs now."""
        ...


class Bringing:
    """One look at what a board runs and shall run.

    A refusal of the board is its answer. A line that fails is none: the next look tries again, and a transfer goes on
    where it stopped.
    """

    def __init__(self, board: Board, line: AsyncLine) -> None:
        self._board, self._line = board, line

    async def bring(self) -> None:
        """Bring what the board has not said anything of yet. Raises EyeflowError when the line fails."""
        programs = self._board.programs
        for wanted in programs.open(self._there):
            if not programs.is_wanted(wanted):  # something else was, in the minutes of bringing those before it
                continue
            try:
                await self._bring(wanted)
                await programs.ended(wanted)
                self._board.show_flash_failure("")
            except EyeflowError as error:
                if error.code == STORAGE:
                    self._board.show_flash_failure(error.brief)
                elif error.exit_code is not ExitCode.PROBLEMS:
                    raise
                await programs.ended(wanted, error)
            finally:
                self._board.show_update("")

    @property
    def _there(self) -> dict[str, str]:
        found = self._board.found
        return {} if found is None else {one.rule: one.program_id for one in found.programs}

    async def _bring(self, wanted: Wanted) -> None:
        hello = self._board.hello
        assert hello is not None
        now = self._there.get(wanted.rule)
        if not wanted.program_id:
            if now is not None:
                await self._remove(wanted.rule, hello)
            return
        if now not in (None, wanted.program_id) and wanted.fate is not Fate.OPEN:
            raise went_back(wanted)
        data = self._board.programs.program(wanted.program_id)
        if now != wanted.program_id:
            self._board.show_update(f"{wanted.rule} {wanted.program_id[:12]} is on its way")
            await self._line.converse(push(data, hello, self._progress(wanted)))
        await self._board.programs.took(wanted)
        await self._set_params(wanted, decode(data).program, hello)
        await self._board.look_again(self._line)
        if self._there.get(wanted.rule) not in (None, wanted.program_id):
            raise went_back(wanted)
        if self._board.running.get(wanted.rule) != wanted.program_id:
            raise _not_running(wanted, self._board.found)

    async def _remove(self, rule: str, hello: Hello) -> None:
        try:
            await self._line.converse(conversations.done(Ask(Request.REMOVE, text(rule), slow=True), hello, rule))
        except EyeflowError as error:
            if error.code != UNKNOWN_RULE:  # else it is gone: the answer of a request that worked was lost
                raise
        await self._board.look_again(self._line)

    def _progress(self, wanted: Wanted) -> Progress:
        def show(done_bytes: int, total_bytes: int) -> None:
            self._board.show_update(f"{wanted.rule}: {done_bytes} of {total_bytes} bytes")

        return show

    async def _set_params(self, wanted: Wanted, program: Program, hello: Hello) -> None:
        for index, bits in param_bits(program, dict(wanted.params)):
            ask = Ask(Request.SET_PARAM, text(wanted.rule) + bytes([index]) + bits, slow=True)
            await self._line.converse(conversations.done(ask, hello, wanted.rule))


def param_bits(program: Program, given: dict[str, object]) -> Iterator[tuple[int, bytes]]:
    """Return index and value of each parameter that a host can set; one that is not given gets its default.

    A board keeps parameters by name: without that, what an earlier deployment set would go on. Raises EyeflowError for
    a text: no request of the link sets one.
    """
    for index, param in enumerate(program.params):
        if param.type.tag is not TypeTag.TEXT:
            yield index, _bits(param, given.get(param.name, param.default))
        elif given.get(param.name, param.default) != param.default:
            raise EyeflowError(
                f"a board takes no texts as parameters, and `{param.name}` of {program.rule} is one",
                cause="the link to a board has no request for it",
                next_step="Write the text into the rule.",
                code="bad_params",
                exit_code=ExitCode.PROBLEMS,
            )


def _bits(param: Param, value: object) -> bytes:
    if param.type.tag is TypeTag.FLOAT:
        return struct.pack("<d", float(str(value)))
    return struct.pack("<q", int(value))  # type: ignore[call-overload]


def _not_running(wanted: Wanted, found: Status | None) -> EyeflowError:
    """Return why a program that arrived does not run."""
    pairs = () if found is None else found.pairs
    counters = next((counters for program, counters in pairs if program.rule == wanted.rule), None)
    cause = "it says that it has no program of this rule"
    if counters is not None:
        cause = f"it was stopped after faults; the last trap was number {counters.trap} at {counters.pc}"
    return EyeflowError(
        f"the board does not run {wanted.rule} {wanted.program_id[:12]}",
        cause=cause,
        next_step="Repair the rule, raise its version and deploy it.",
        code="not_running",
        exit_code=ExitCode.PROBLEMS,
    )
