"""What the cluster wants a board to run, kept durably at its gateway, and what became of each program there.

The programs wait here while the board is away, also over a restart of the gateway. What is reported is what the board
says that it runs.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.machine import WriteWhole
from eyeflow.base.reading import Unreadable, parse_json, read_at_once
from eyeflow.base.reasons import why
from eyeflow.node.control import HeldProgram, InstallOutcome, InstallResult
from eyeflow.protocol.slot import Slot
from eyeflow.protocol.wire import PROGRAM_ID
from eyeflow.svm.program import Value

FILE, FOLDER = "wanted.json", "programs"
FILE_BYTES_MAX, PROGRAM_BYTES_MAX = 64 * 1024, 64 * 1024
RULES_MAX = 16
WENT_BACK = "went_back"

_log = logging.getLogger("eyeflow.node")


class Fate(StrEnum):
    """Whether the board ever had a wanted program, with these parameters: one that it gave up is not pushed again."""

    OPEN = "open"
    TAKEN = "taken"
    GIVEN_UP = "givenUp"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A program that a board shall run; `program_id` empty: the rule shall go. `params` ascend by name."""

    rule: str
    program_id: str
    params: tuple[tuple[str, Value], ...] = ()
    manifest_version: int = 0
    fate: Fate = field(default=Fate.OPEN, compare=False)

    def is_same_program(self, other: Wanted | None) -> bool:
        """Whether another manifest wants the same: the same program with the same parameters."""
        return other is not None and (self.program_id, self.params) == (other.program_id, other.params)


class BoardPrograms:
    """The wanted programs of one board, in its `directory`. `changed` is set when there is something to bring."""

    def __init__(self, directory: Path, write: WriteWhole) -> None:
        self._directory, self._write = directory, write
        self.wanted: dict[str, Wanted] = {}
        self.results: dict[str, tuple[Wanted, InstallResult]] = {}
        """What the board said of a wanted program, by rule. A refusal holds until something else is wanted."""
        self.changed = asyncio.Event()
        self._unkept: list[Wanted] = []
        """Those of `wanted` that are not on the disk yet: they are not brought before they are."""
        self._waiting: list[tuple[Wanted, asyncio.Future[InstallResult]]] = []
        self._writing = asyncio.Lock()

    def load(self) -> None:
        """Read what was wanted when the gateway ended. Raises EyeflowError."""
        path = self._directory / FILE
        try:
            plain = parse_json(read_at_once(path, FILE_BYTES_MAX))
            found = [_wanted(one) for one in plain]
        except FileNotFoundError:
            return
        except (OSError, Unreadable, KeyError, TypeError, ValueError) as error:
            raise EyeflowError(
                f"{path} cannot be used",
                cause=why(error),
                next_step="Move the file away: the coordinator tells again what the board shall run.",
                code="board_kept",
            ) from error
        self.wanted = {one.rule: one for one in found}
        self.results = {one.rule: (one, _given_up(one)) for one in found if one.fate is Fate.GIVEN_UP}
        if self.wanted:
            self.changed.set()

    async def want(self, wanted: Wanted, program: bytes = b"") -> InstallResult:
        """Want a program from now on, durably, and return what the board says of it, whenever that is.

        One that the board gave up is refused at once. Raises EyeflowError and changes nothing when the disk fails.
        """
        before = self.wanted.get(wanted.rule)
        if before is None and len(self.wanted) >= RULES_MAX:
            return _refused(wanted, "too_many", f"more than {RULES_MAX} rules are wanted on one board")
        if len(program) > PROGRAM_BYTES_MAX:
            return _refused(wanted, "too_big", f"the program has {len(program)} bytes, and no board takes so many")
        if before is not None and before.is_same_program(wanted):
            wanted = replace(wanted, fate=before.fate)
        answer: asyncio.Future[InstallResult] = asyncio.get_running_loop().create_future()
        self._waiting.append((wanted, answer))
        try:
            self._set(wanted)
            # It goes on when the caller is cancelled: what is wanted later must be written later.
            await asyncio.shield(asyncio.create_task(self._keep_new(wanted, before, program)))
            self.changed.set()
            if wanted.fate is Fate.GIVEN_UP:
                return _given_up(wanted)
            return await answer
        finally:
            self._waiting.remove((wanted, answer))

    def _set(self, wanted: Wanted) -> None:
        self.wanted[wanted.rule] = wanted
        self.results.pop(wanted.rule, None)
        if wanted.fate is Fate.GIVEN_UP:
            self.results[wanted.rule] = (wanted, _given_up(wanted))

    async def _keep_new(self, wanted: Wanted, before: Wanted | None, program: bytes) -> None:
        self._unkept.append(wanted)
        try:
            await self._keep(wanted.program_id, program)
        except EyeflowError:
            if self.is_wanted(wanted) and before is not None:
                self._set(before)
            elif self.is_wanted(wanted):
                del self.wanted[wanted.rule]
            raise
        finally:
            self._unkept.remove(wanted)

    async def _keep(self, program_id: str = "", program: bytes = b"") -> None:
        """Write down what is wanted when its turn comes. Raises EyeflowError."""
        async with self._writing:
            rules = tuple(self.wanted.values())
            await asyncio.to_thread(self._write_down, rules, program_id, program)

    async def close(self) -> None:
        """Wait until all is written: then the directory may be moved or removed."""
        async with self._writing:
            pass

    def _write_down(self, rules: tuple[Wanted, ...], program_id: str, program: bytes) -> None:
        try:
            if program:
                (self._directory / FOLDER).mkdir(parents=True, exist_ok=True, mode=0o700)
                self._write(self._path(program_id), program, 0o600)  # before anything names it
            self._write(self._directory / FILE, json.dumps([_plain(one) for one in rules]).encode(), 0o600)
            self._forget_others({one.program_id for one in rules})
        except OSError as error:
            raise EyeflowError(
                f"cannot keep what the board shall run in {self._directory}",
                cause=why(error),
                next_step="Check that the disk is not full, and that the node may write there.",
                code="storage",
            ) from error

    def _forget_others(self, wanted: set[str]) -> None:
        folder = self._directory / FOLDER
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.stem not in wanted:
                path.unlink(missing_ok=True)

    def _path(self, program_id: str) -> Path:
        assert re.fullmatch(PROGRAM_ID, program_id)
        return self._directory / FOLDER / f"{program_id}.svm"

    def program(self, program_id: str) -> bytes:
        """Return a wanted program. Raises EyeflowError when it is not here any more."""
        try:
            return read_at_once(self._path(program_id), PROGRAM_BYTES_MAX)
        except OSError as error:
            raise EyeflowError(
                f"the program {program_id[:12]} for the board is not here any more",
                cause=why(error),
                next_step="Deploy it again.",
                code="program_lost",
                exit_code=ExitCode.PROBLEMS,
            ) from error

    def is_wanted(self, wanted: Wanted) -> bool:
        """Whether nothing else was wanted of its rule since."""
        return self.wanted.get(wanted.rule) == wanted

    def open(self, there: Mapping[str, str]) -> list[Wanted]:
        """Return what is to be brought to a board that has the programs `there`: their ids by rule.

        That is what it has said nothing of since this process began, and what it took and does not have any more: it
        was flashed anew, or it went back to an earlier program by itself.
        """
        return [one for _, one in sorted(self.wanted.items()) if one not in self._unkept and self._is_open(one, there)]

    def _is_open(self, wanted: Wanted, there: Mapping[str, str]) -> bool:
        found, result = self.results.get(wanted.rule, (None, None))
        if found != wanted or result is None:
            return True
        now = there.get(wanted.rule)
        if result.code == WENT_BACK:
            return now in (None, wanted.program_id)
        return result.outcome is InstallOutcome.INSTALLED and now != wanted.program_id

    async def took(self, wanted: Wanted) -> None:
        """The board has the program: when it has another one later, it gave this one up."""
        await self._mark(wanted, Fate.TAKEN)

    async def ended(self, wanted: Wanted, refusal: EyeflowError | None = None) -> None:
        """The board runs a wanted program, removed the rule, or refuses it."""
        if refusal is None:
            result = InstallResult(InstallOutcome.INSTALLED, wanted.rule, wanted.program_id)
        else:
            result = _refused(wanted, refusal.code, refusal.brief, refusal.next_step)
        if self.is_wanted(wanted):
            self.results[wanted.rule] = (wanted, result)
            if refusal is None and not wanted.program_id:
                del self.wanted[wanted.rule], self.results[wanted.rule]
                await self._keep_or_log()
            elif result.code == WENT_BACK:
                await self._mark(wanted, Fate.GIVEN_UP)
        for one, waiting in self._waiting:
            if one == wanted and not waiting.done():
                waiting.set_result(result)

    async def _mark(self, wanted: Wanted, fate: Fate) -> None:
        if self.is_wanted(wanted) and self.wanted[wanted.rule].fate is not fate:
            self.wanted[wanted.rule] = replace(wanted, fate=fate)
            await self._keep_or_log()

    async def _keep_or_log(self) -> None:
        """Keep what the board said. It holds in memory when the disk fails, so its line goes on."""
        try:
            await asyncio.shield(asyncio.create_task(self._keep()))
        except EyeflowError as error:
            _log.error("%s", error.whole)

    def held(self, running: Mapping[str, str]) -> tuple[HeldProgram, ...]:
        """Return the wanted programs; `running` are the ids of the programs that the board runs now, by rule.

        One that the board does not run, or not with these parameters as far as this process knows, has that as refusal.
        So has a rule that shall go, without a program, until the board has removed it.
        """
        return tuple(
            HeldProgram(
                one.rule, Slot.ACTIVE, one.program_id, one.params, one.manifest_version, self._refusal(one, running)
            )
            for _, one in sorted(self.wanted.items())
        )

    def _refusal(self, wanted: Wanted, running: Mapping[str, str]) -> str:
        found, result = self.results.get(wanted.rule, (None, None))
        if found != wanted or result is None:
            return f"the board has not said yet that it {'runs' if wanted.program_id else 'removed'} it"
        if result.outcome is InstallOutcome.REFUSED:
            return result.message
        return "" if running.get(wanted.rule) == wanted.program_id else "the board does not say that it runs it"


def _plain(one: Wanted) -> dict[str, object]:
    plain: dict[str, object] = {"rule": one.rule, "programId": one.program_id, "params": one.params}
    return plain | {"version": one.manifest_version, "fate": one.fate.value}


def _wanted(plain: Any) -> Wanted:
    """Return what was written down. Raises Unreadable for what this module never wrote."""
    rule, program_id, version, fate = plain["rule"], plain["programId"], plain["version"], Fate(plain["fate"])
    params = tuple((name, value) for name, value in plain["params"])
    if type(rule) is not str or type(version) is not int or not re.fullmatch(f"({PROGRAM_ID})?", program_id):
        raise Unreadable("a value has the wrong type")
    return Wanted(rule, program_id, params, version, fate)


def went_back(wanted: Wanted) -> EyeflowError:
    """Return the error for a program that the board took and runs no more: it runs another one of the rule."""
    return EyeflowError(
        f"the board gave up {wanted.rule} {wanted.program_id[:12]}",
        cause="it went back to an earlier program after repeated faults, or somebody pushed another one",
        next_step="Repair the rule, raise its version and deploy it.",
        code=WENT_BACK,
        exit_code=ExitCode.PROBLEMS,
    )


def _given_up(wanted: Wanted) -> InstallResult:
    error = went_back(wanted)
    return _refused(wanted, error.code, error.brief, error.next_step)


def _refused(wanted: Wanted, code: str, message: str, next_step: str = "") -> InstallResult:
    return InstallResult(
        InstallOutcome.REFUSED, wanted.rule, wanted.program_id, code=code, message=message, next_step=next_step
    )
