"""Brings a board what it shall run, over a line that is up.

What the board keeps already it is told to switch or to go back to. All else is pushed or staged, and then asked for.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.board_link import conversations
from eyeflow.board_link.async_line import AsyncLine
from eyeflow.board_link.conversations import Status
from eyeflow.board_link.messages import Hello, Request, text
from eyeflow.board_link.port import UNKNOWN_RULE
from eyeflow.board_link.push import Progress, push
from eyeflow.board_link.refusals import NO_SLOTS, NOT_KEPT, not_kept
from eyeflow.board_link.session import Ask
from eyeflow.node.boards.programs import BoardPrograms, went_back
from eyeflow.node.boards.wanted import Fate, There, Wanted
from eyeflow.svm.container import decode
from eyeflow.svm.program import Param, Program, TypeTag

STORAGE = "board_storage"
EXCHANGED_MAX = 4
"""Programs that one request to switch or to go back names."""


class Board(Protocol):
    """What is needed of a board."""

    programs: BoardPrograms
    hello: Hello | None
    found: Status | None

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
        await self._prove()
        await self._exchange(Request.BACK, self._waiting(self._there.previous))
        await self._exchange(Request.SWITCH, self._waiting(self._there.staged))
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
        await self._drop_staged()

    @property
    def _there(self) -> There:
        return There.of(self._board.found)

    @property
    def _hello(self) -> Hello:
        assert self._board.hello is not None, "nothing is brought before the board has said who it is"
        return self._board.hello

    async def _prove(self) -> None:
        """Before another program comes, say that the running one is good, if it has passed.

        A board that has not counted enough of its executions would keep an older one to go back to.
        """
        found, programs = self._board.found, self._board.programs
        unproven = {one.program_id for one in found.programs if not one.good} if found is not None else set()
        ids = [one.after for one in programs.open(self._there) if programs.is_to_run(one) and one.after in unproven]
        for at in range(0, len(ids), EXCHANGED_MAX):
            try:
                ask = conversations.exchange(Request.GOOD, ids[at : at + EXCHANGED_MAX], self._hello)
                await self._line.converse(ask)
            except EyeflowError as error:
                if error.code not in (NOT_KEPT, NO_SLOTS, STORAGE):  # then it keeps what it thinks best
                    raise

    def _waiting(self, slot: Mapping[str, str]) -> list[Wanted]:
        """Return the programs that shall run now and that the board keeps in a slot."""
        programs = self._board.programs
        return [
            one
            for one in programs.open(self._there)
            if programs.is_to_run(one)
            and one.fate is Fate.OPEN
            and self._there.running.get(one.rule) != one.program_id == slot.get(one.rule)
        ]

    async def _exchange(self, request: Request, waiting: Sequence[Wanted]) -> None:
        """Let the board run programs that it keeps, all from the same scan on. One that it lost is brought after it."""
        for at in range(0, len(waiting), EXCHANGED_MAX):
            some = waiting[at : at + EXCHANGED_MAX]
            self._board.show_update(f"{', '.join(one.rule for one in some)}: {request.name.lower()}")
            ids = [one.program_id for one in some]
            try:
                await self._line.converse(conversations.exchange(request, ids, self._hello))
                await self._board.look_again(self._line)
                self._board.show_flash_failure("")
            except EyeflowError as error:
                if error.code == STORAGE:
                    self._board.show_flash_failure(error.brief)
                    for one in some:
                        await self._board.programs.ended(one, error)
                elif error.code not in (NOT_KEPT, NO_SLOTS):
                    raise
            finally:
                self._board.show_update("")

    async def _drop_staged(self) -> None:
        """Let the board give up what waits there and is wanted no more, of the rules that are the cluster's."""
        programs, dropped = self._board.programs, False
        for rule, program_id in self._there.staged.items():
            wanted = {one.program_id for one in programs.wanted.values() if one.rule == rule}
            if wanted - {""} and program_id not in wanted:
                await self._line.converse(conversations.drop(program_id, self._hello))
                dropped = True
        if dropped:
            await self._board.look_again(self._line)

    async def _bring(self, wanted: Wanted) -> None:
        if not wanted.program_id:
            await self._remove(wanted.rule)
        elif self._board.programs.is_to_run(wanted):
            await self._run(wanted)
        else:
            await self._stage(wanted)

    async def _run(self, wanted: Wanted) -> None:
        now = self._there.running.get(wanted.rule)
        if now not in (None, wanted.program_id) and wanted.fate is not Fate.OPEN:
            raise went_back(wanted)
        data = self._program(wanted, may_lack=now == wanted.program_id and not wanted.params)
        if now != wanted.program_id:
            self._board.show_update(f"{wanted.rule} {wanted.program_id[:12]} is on its way")
            await self._line.converse(push(data, self._hello, self._progress(wanted)))
        await self._board.programs.took(wanted)
        if data:
            await self._set_params(wanted, decode(data).program, self._hello)
        await self._board.look_again(self._line)
        if self._there.running.get(wanted.rule) not in (None, wanted.program_id):
            raise went_back(wanted)
        if self._there.without_stopped(self._board.found).running.get(wanted.rule) != wanted.program_id:
            raise _not_running(wanted, self._board.found)

    def _program(self, wanted: Wanted, *, may_lack: bool) -> bytes:
        """Return the bytes of a program; empty when only the board has it, which went back to it."""
        try:
            return self._board.programs.program(wanted.program_id)
        except EyeflowError:
            if may_lack:
                return b""
            raise

    async def _stage(self, wanted: Wanted) -> None:
        """Let the board keep a program that waits. It keeps by itself the one that ran before."""
        if self._there.has(wanted.rule, wanted.program_id):
            return
        data = self._board.programs.program(wanted.program_id)
        self._board.show_update(f"{wanted.rule} {wanted.program_id[:12]} is on its way, to wait there")
        await self._line.converse(push(data, self._hello, self._progress(wanted), staged=True))
        await self._board.look_again(self._line)
        if not self._there.has(wanted.rule, wanted.program_id):
            raise not_kept(True, [wanted.program_id])

    async def _remove(self, rule: str) -> None:
        if not self._there.knows(rule):
            return
        ask = Ask(Request.REMOVE, text(rule), slow=True)
        try:
            await self._line.converse(conversations.done(ask, self._hello, rule))
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


def param_value(param: Param, value: bool | int | float) -> bytes:
    """Return the bytes of a value as the link sets it. Raises EyeflowError when it is not of the parameter's type."""
    is_whole = param.type.tag is TypeTag.FLOAT or float(value).is_integer()
    if param.type.tag is TypeTag.TEXT or not is_whole or (param.type.tag is TypeTag.BOOL and value not in (0, 1)):
        raise EyeflowError(
            f"{value} is no value of the parameter `{param.name}`",
            cause=f"its type is {param.type.tag.name.lower()}",
            code="bad_params",
            exit_code=ExitCode.PROBLEMS,
        )
    return _bits(param, value)


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
