"""What the cluster wants a board to run, kept durably at its gateway, and what became of each program there.

The programs wait here while the board is away, also over a restart of the gateway. What is reported is what the board
says that it runs.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.machine import WriteWhole
from eyeflow.base.reading import Unreadable, parse_json, read_at_once
from eyeflow.base.reasons import why
from eyeflow.node.boards.pushed import PushedPrograms
from eyeflow.node.boards.wanted import Fate, Key, There, Wanted, as_plain, from_plain
from eyeflow.node.control import HeldProgram, InstallOutcome, InstallResult
from eyeflow.protocol.slot import Slot
from eyeflow.protocol.wire import PROGRAM_ID
from eyeflow.svm.container import decode
from eyeflow.svm.source_map import line_of

FILE, FOLDER = "wanted.json", "programs"
FILE_BYTES_MAX, PROGRAM_BYTES_MAX = 64 * 1024, 64 * 1024
RULES_MAX = 16
WENT_BACK = "went_back"

_log = logging.getLogger("eyeflow.node")


class BoardPrograms:
    """The wanted programs of one board, in its `directory`. `changed` is set when there is something to bring."""

    def __init__(self, directory: Path, write: WriteWhole) -> None:
        self.directory, self._write = directory, write
        self.pushed = PushedPrograms(directory, write)
        self.wanted: dict[Key, Wanted] = {}
        self.results: dict[Key, tuple[Wanted, InstallResult]] = {}
        """What the board said of a wanted program, by rule and slot. A refusal holds until something else is wanted."""
        self.changed = asyncio.Event()
        self._unkept: list[Wanted] = []
        """Those of `wanted` that are not on the disk yet: they are not brought before they are."""
        self._waiting: list[tuple[Wanted, asyncio.Future[InstallResult]]] = []
        self._writing = asyncio.Lock()

    def load(self) -> None:
        """Read what was wanted when the gateway ended. Raises EyeflowError."""
        path = self.directory / FILE
        try:
            plain = parse_json(read_at_once(path, FILE_BYTES_MAX))
            found = [from_plain(one) for one in plain]
        except FileNotFoundError:
            return
        except (OSError, Unreadable, KeyError, TypeError, ValueError) as error:
            raise EyeflowError(
                f"{path} cannot be used",
                cause=why(error),
                next_step="Move the file away: the coordinator tells again what the board shall run.",
                code="board_kept",
            ) from error
        self.wanted = {one.key: one for one in found}
        self.results = {one.key: (one, _given_up(one)) for one in found if one.fate is Fate.GIVEN_UP}
        if self.wanted:
            self.changed.set()

    @property
    def rules(self) -> frozenset[str]:
        """The rules of which anything is wanted, a removal among them."""
        return frozenset(rule for rule, _ in self.wanted)

    @property
    def _sorted(self) -> list[Wanted]:
        return sorted(self.wanted.values(), key=lambda one: (one.rule, one.slot.value))

    def runs(self, rule: str) -> Wanted | None:
        """Return which of the wanted programs of a rule shall run: a candidate that acts, else the active one."""
        candidate = self.wanted.get((rule, Slot.CANDIDATE))
        return candidate if candidate is not None and candidate.acts else self.wanted.get((rule, Slot.ACTIVE))

    async def want(self, wanted: Wanted, program: bytes = b"") -> InstallResult:
        """Want a program from now on, durably, and return what the board says of it, whenever that is.

        One that the board gave up is refused at once. Raises EyeflowError and changes nothing when the disk fails.
        """
        if wanted.rule not in self.rules and len(self.rules) >= RULES_MAX:
            return _refused(wanted, "too_many", f"more than {RULES_MAX} rules are wanted on one board")
        if len(program) > PROGRAM_BYTES_MAX:
            return _refused(wanted, "too_big", f"the program has {len(program)} bytes, and no board takes so many")
        # Nothing waits beside a rule that goes.
        gone = [] if wanted.program_id else [(wanted.rule, Slot.CANDIDATE)]
        (result,) = await self.want_all([wanted], gone, program)
        return result

    async def want_all(
        self, changes: Sequence[Wanted], gone: Collection[Key] = (), program: bytes = b""
    ) -> list[InstallResult]:
        """Want all these at once, and nothing in the slots `gone`; as `want`. `program` is that of a single change."""
        changes = [self._as_known(one) for one in changes]
        loop = asyncio.get_running_loop()
        waiting = [(one, loop.create_future()) for one in changes]
        self._waiting += waiting
        try:
            before = {key: self.wanted.get(key) for key in (*(one.key for one in changes), *gone)}
            self._set({one.key: one for one in changes} | dict.fromkeys(gone))
            # It goes on when the caller is cancelled: what is wanted later must be written later.
            await asyncio.shield(asyncio.create_task(self._keep_new(changes, before, program)))
            self.changed.set()
            for one, answer in waiting:
                if one.fate is Fate.GIVEN_UP and not answer.done():
                    answer.set_result(_given_up(one))
            return [await answer for _, answer in waiting]
        finally:
            for pair in waiting:
                self._waiting.remove(pair)

    async def drop(self, key: Key) -> bool:
        """Want nothing in a slot any more, durably; False when nothing was wanted there. Raises EyeflowError."""
        before = self.wanted.get(key)
        if before is None:
            return False
        self._set({key: None})
        await asyncio.shield(asyncio.create_task(self._keep_new((), {key: before}, b"")))
        self.changed.set()
        return True

    async def retell(self, wanted: Wanted) -> None:
        """Another manifest wants a program that is there as before: what the board said of it stands."""
        before, (_, result) = self.wanted[wanted.key], self.results[wanted.key]
        self.wanted[wanted.key] = kept = replace(wanted, fate=before.fate, after=before.after)
        self.results[wanted.key] = (kept, result)
        await self._keep_or_log()

    def _as_known(self, wanted: Wanted) -> Wanted:
        before = self.wanted.get(wanted.key)
        if before is None or not before.is_same_program(wanted):
            return wanted
        return replace(wanted, fate=before.fate, after=before.after)

    def _set(self, changes: dict[Key, Wanted | None]) -> None:
        ran = {rule: self.runs(rule) for rule, _ in changes}
        for key, wanted in changes.items():
            self.results.pop(key, None)
            self.wanted.pop(key, None)
            if wanted is not None:
                self.wanted[key] = wanted
                if wanted.fate is Fate.GIVEN_UP:
                    self.results[key] = (wanted, _given_up(wanted))
        for rule, before in ran.items():
            now = self.runs(rule)
            if now is None or now.is_same_program(before):
                continue
            # Another one runs there because it was wanted so: that is no sign that the board gave this one up.
            fate = Fate.OPEN if now.fate is Fate.TAKEN else now.fate
            passed = before is not None and before.fate is Fate.TAKEN and not before.on_trial
            after = before.program_id if before is not None and passed else now.after
            self.wanted[now.key] = replace(now, fate=fate, after=after)

    async def _keep_new(self, changes: Sequence[Wanted], before: dict[Key, Wanted | None], program: bytes) -> None:
        self._unkept += changes
        try:
            await self._keep(changes[0].program_id if program else "", program)
        except EyeflowError:
            ours: dict[Key, Wanted | None] = {one.key: one for one in changes}
            self._set({key: old for key, old in before.items() if self.wanted.get(key) == ours.get(key)})
            raise
        finally:
            for one in changes:
                self._unkept.remove(one)

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
                (self.directory / FOLDER).mkdir(parents=True, exist_ok=True, mode=0o700)
                self._write(self._path(program_id), program, 0o600)  # before anything names it
            self._write(self.directory / FILE, json.dumps([as_plain(one) for one in rules]).encode(), 0o600)
            self._forget_others({one.program_id for one in rules})
        except OSError as error:
            raise EyeflowError(
                f"cannot keep what the board shall run in {self.directory}",
                cause=why(error),
                next_step="Check that the disk is not full, and that the node may write there.",
                code="storage",
            ) from error

    def _forget_others(self, wanted: set[str]) -> None:
        folder = self.directory / FOLDER
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.stem not in wanted:
                path.unlink(missing_ok=True)

    def _path(self, program_id: str) -> Path:
        assert re.fullmatch(PROGRAM_ID, program_id)
        return self.directory / FOLDER / f"{program_id}.svm"

    def program(self, program_id: str) -> bytes:
        """Return a program that is wanted, or was pushed by hand. Raises EyeflowError when it is not here any more."""
        try:
            return read_at_once(self._path(program_id), PROGRAM_BYTES_MAX)
        except OSError as error:
            with suppress(OSError):
                return self.pushed.program(program_id)
            raise EyeflowError(
                f"the program {program_id[:12]} for the board is not here any more",
                cause=why(error),
                next_step="Deploy it again.",
                code="program_lost",
                exit_code=ExitCode.PROBLEMS,
            ) from error

    def line_of(self, program_id: str, pc: int) -> int:
        """Return the line of the rule at an instruction of its program; 0 when nobody knows it."""
        try:
            return line_of(decode(self.program(program_id)).program, pc)
        except EyeflowError:
            return 0

    def is_wanted(self, wanted: Wanted) -> bool:
        """Whether nothing else was wanted of its rule and slot since."""
        return self.wanted.get(wanted.key) == wanted

    def is_to_run(self, wanted: Wanted) -> bool:
        """Whether it is the one of its rule that shall run, and does not only wait."""
        return self.runs(wanted.rule) == wanted

    def open(self, there: There) -> list[Wanted]:
        """Return what is to be brought to a board that has the programs `there`.

        That is what it has said nothing of since this process began, and what it took and does not have any more: it
        was flashed anew, or it went back to an earlier program by itself.
        """
        return [one for one in self._sorted if one not in self._unkept and self._is_open(one, there)]

    def _is_open(self, wanted: Wanted, there: There) -> bool:
        found, result = self.results.get(wanted.key, (None, None))
        if found != wanted or result is None:
            return True
        if result.code == WENT_BACK:
            return there.running.get(wanted.rule) in (None, wanted.program_id)
        return result.outcome is InstallOutcome.INSTALLED and not self._is_there(wanted, there)

    def _is_there(self, wanted: Wanted, there: There) -> bool:
        if self.is_to_run(wanted):
            return there.running.get(wanted.rule) == wanted.program_id
        return there.has(wanted.rule, wanted.program_id)

    async def took(self, wanted: Wanted) -> None:
        """The board runs the program: when it runs another one later, it gave this one up."""
        await self._mark(wanted, Fate.TAKEN)

    async def ended(self, wanted: Wanted, refusal: EyeflowError | None = None) -> None:
        """The board has a wanted program, removed the rule, or refuses it."""
        if refusal is None:
            result = InstallResult(InstallOutcome.INSTALLED, wanted.rule, wanted.program_id)
        else:
            result = _refused(wanted, refusal.code, refusal.brief, refusal.next_step)
        if self.is_wanted(wanted):
            self.results[wanted.key] = (wanted, result)
            if refusal is None and not wanted.program_id:
                del self.wanted[wanted.key], self.results[wanted.key]
                await self._keep_or_log()
            elif result.code == WENT_BACK:
                await self._mark(wanted, Fate.GIVEN_UP)
        for one, waiting in self._waiting:
            if one == wanted and not waiting.done():
                waiting.set_result(result)

    async def _mark(self, wanted: Wanted, fate: Fate) -> None:
        if self.is_wanted(wanted) and self.wanted[wanted.key].fate is not fate:
            self.wanted[wanted.key] = replace(self.wanted[wanted.key], fate=fate)
            await self._keep_or_log()

    async def _keep_or_log(self) -> None:
        """Keep what the board said. It holds in memory when the disk fails, so its line goes on."""
        try:
            await asyncio.shield(asyncio.create_task(self._keep()))
        except EyeflowError as error:
            _log.error("%s", error.whole)

    def held(self, there: There) -> tuple[HeldProgram, ...]:
        """Return the wanted programs; `there` is what the board has now, without programs that it stopped.

        One that the board does not have, or not with these parameters as far as this process knows, has that as
        refusal. So has a rule that shall go, without a program, until the board has removed it.
        """
        return tuple(
            HeldProgram(one.rule, one.slot, one.program_id, one.params, one.manifest_version, self._refusal(one, there))
            for one in self._sorted
        )

    def _refusal(self, wanted: Wanted, there: There) -> str:
        found, result = self.results.get(wanted.key, (None, None))
        if found != wanted or result is None:
            return f"the board has not said yet that it {'has' if wanted.program_id else 'removed'} it"
        if result.outcome is InstallOutcome.REFUSED:
            return result.message
        return "" if self._is_there(wanted, there) else "the board does not say that it runs it"


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
