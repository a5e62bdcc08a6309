"""What the cluster wants a board to run, kept durably at its gateway, and what became of each program there.

The programs wait here while the board is away, also over a restart of the gateway. What is reported is what the board
says that it runs.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eyeflow.base.errors import EyeflowError
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


@dataclass(frozen=True, slots=True)
class Wanted:
    """A program that a board shall run; `program_id` empty: the rule shall go. `params` ascend by name."""

    rule: str
    program_id: str
    params: tuple[tuple[str, Value], ...] = ()
    manifest_version: int = 0


class BoardPrograms:
    """The wanted programs of one board, in its `directory`. `changed` is set when there is something to bring."""

    def __init__(self, directory: Path, write: WriteWhole) -> None:
        self._directory, self._write = directory, write
        self.wanted: dict[str, Wanted] = {}
        self.results: dict[str, tuple[Wanted, InstallResult]] = {}
        """What the board said of a wanted program, by rule. A refusal holds until something else is wanted."""
        self.changed = asyncio.Event()
        self._ended = asyncio.Event()

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
        if self.wanted:
            self.changed.set()

    async def want(self, wanted: Wanted, program: bytes = b"") -> InstallResult:
        """Want a program from now on, durably, and return what the board says of it, whenever that is."""
        if len(self.wanted) >= RULES_MAX and wanted.rule not in self.wanted:
            return _refused(wanted, "too_many", f"more than {RULES_MAX} rules are wanted on one board")
        if len(program) > PROGRAM_BYTES_MAX:
            return _refused(wanted, "too_big", f"the program has {len(program)} bytes, and no board takes so many")
        await asyncio.to_thread(self._keep, wanted, program)
        self.wanted[wanted.rule] = wanted
        self.results.pop(wanted.rule, None)
        self.changed.set()
        while True:
            found = self.results.get(wanted.rule)
            if found is not None and found[0] == wanted:
                return found[1]
            self._ended.clear()
            await self._ended.wait()

    def _keep(self, wanted: Wanted, program: bytes) -> None:
        self._keep_rules({**self.wanted, wanted.rule: wanted}, wanted.program_id, program)

    def _keep_rules(self, rules: Mapping[str, Wanted], program_id: str = "", program: bytes = b"") -> None:
        try:
            if program:
                (self._directory / FOLDER).mkdir(parents=True, exist_ok=True, mode=0o700)
                self._write(self._path(program_id), program, 0o600)  # before anything names it
            plain = [
                {
                    "rule": one.rule,
                    "programId": one.program_id,
                    "params": one.params,
                    "version": one.manifest_version,
                }
                for one in rules.values()
            ]
            self._write(self._directory / FILE, json.dumps(plain).encode(), 0o600)
            self._forget_others({one.program_id for one in rules.values()})
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
            ) from error

    def open(self, there: Collection[str]) -> list[Wanted]:
        """Return what is to be brought to a board that has programs of the rules `there`.

        That is what it has said nothing of since this process began, and what it took and does not have any more: it
        was flashed anew. One that went back to an earlier program by itself is left there.
        """
        return [one for _, one in sorted(self.wanted.items()) if self._is_open(one, there)]

    def _is_open(self, wanted: Wanted, there: Collection[str]) -> bool:
        found, result = self.results.get(wanted.rule, (None, None))
        if found != wanted or result is None:
            return True
        is_gone = bool(wanted.program_id) and wanted.rule not in there
        return is_gone and result.outcome is InstallOutcome.INSTALLED

    def ended(self, wanted: Wanted, refusal: EyeflowError | None = None) -> None:
        """The board runs a wanted program, or refuses it."""
        if refusal is None:
            result = InstallResult(InstallOutcome.INSTALLED, wanted.rule, wanted.program_id)
        else:
            result = _refused(wanted, refusal.code, refusal.brief, refusal.next_step)
        self.results[wanted.rule] = (wanted, result)
        self._ended.set()

    async def forget(self, rule: str) -> None:
        """Want a rule no more, once the board has said that it is gone."""
        gone = self.wanted.pop(rule, None)
        self.results.pop(rule, None)
        if gone is not None:
            await asyncio.to_thread(self._keep_rules, dict(self.wanted))

    def held(self, running: Mapping[str, str]) -> tuple[HeldProgram, ...]:
        """Return the wanted programs; `running` are the ids of the programs that the board runs now, by rule.

        One that the board does not run, or not with these parameters as far as this process knows, has that as refusal.
        """
        wanted = (one for _, one in sorted(self.wanted.items()) if one.program_id)
        return tuple(
            HeldProgram(
                one.rule, Slot.ACTIVE, one.program_id, one.params, one.manifest_version, self._refusal(one, running)
            )
            for one in wanted
        )

    def _refusal(self, wanted: Wanted, running: Mapping[str, str]) -> str:
        found, result = self.results.get(wanted.rule, (None, None))
        if found != wanted or result is None:
            return "the board has not said yet that it runs it"
        if result.outcome is InstallOutcome.REFUSED:
            return result.message
        return "" if running.get(wanted.rule) == wanted.program_id else "the board does not say that it runs it"


def _wanted(plain: Any) -> Wanted:
    """Return what was written down. Raises Unreadable for what this module never wrote."""
    rule, program_id, version = plain["rule"], plain["programId"], plain["version"]
    params = tuple((name, value) for name, value in plain["params"])
    if type(rule) is not str or type(version) is not int or not re.fullmatch(f"({PROGRAM_ID})?", program_id):
        raise Unreadable("a value has the wrong type")
    return Wanted(rule, program_id, params, version)


def _refused(wanted: Wanted, code: str, message: str, next_step: str = "") -> InstallResult:
    return InstallResult(
        InstallOutcome.REFUSED, wanted.rule, wanted.program_id, code=code, message=message, next_step=next_step
    )
