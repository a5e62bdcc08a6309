"""A board as the coordinator link sees it: the gateway answers in its place (docs/decisions/0023)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.node.boards.board import GatewayBoard
from eyeflow.node.boards.said import Line
from eyeflow.node.boards.told import board_facts, board_health, board_status
from eyeflow.node.boards.wanted import Fate, Wanted
from eyeflow.node.control import AuditHead, HeldProgram, InstallOutcome, InstallResult, NodeIdentity, Switch
from eyeflow.node.store.types import ON_TRIAL, SlotRow, Standing, Terms, Wish
from eyeflow.protocol.boards import BoardStatus
from eyeflow.protocol.collecting import KeptHead, SlotState
from eyeflow.protocol.executions import Difference, Explained, Failure
from eyeflow.protocol.identity import Identity
from eyeflow.protocol.lines import ARGS_MAX, LINE_CHARS_MAX, LINES_MAX, BoardLine, Listen, Listened
from eyeflow.protocol.messages import Evidence, InstalledRule
from eyeflow.protocol.replays import Replay, Replayed, ReplayResult
from eyeflow.protocol.slot import Slot
from eyeflow.protocol.wire import cut
from eyeflow.svm.container import decode
from eyeflow.svm.program import Value

NO_SHADOW = InstallResult(
    InstallOutcome.REFUSED,
    code="board",
    message="a board runs one program of a rule at a time, so none can watch beside it",
    next_step="use rolling, canary or blue_green for it",
)
NO_WAY_BACK = InstallResult(
    InstallOutcome.REFUSED,
    code="no_previous",
    message="the board keeps no program from before",
    next_step="repair the rule, raise its version and deploy it",
)
NO_REPLAY = "a board records no inputs to run a program on"


class BoardControl:
    """Satisfies `NodeControl` for one board, with the key that its gateway made for it.

    What is installed waits until the board has it and says so. Its audit chain is that of `BoardRecords`.
    """

    def __init__(self, board: GatewayBoard, identity: Identity, version: str) -> None:
        self.board, self._identity, self._version = board, identity, version

    @property
    def identity(self) -> NodeIdentity:
        """The board's name and key, and what it told of its chip."""
        kept = self.board.kept
        return NodeIdentity(
            kept.name, self.board.records.epoch, self._identity.public_key, self._version, board_facts(kept)
        )

    def sign(self, data: bytes) -> bytes:
        """Return the signature of `data` by the key of the board's link."""
        return self._identity.sign(data)

    async def install(
        self,
        program: bytes,
        params: Mapping[str, Value],
        deployment_id: str,
        manifest_version: int,
        terms: Terms = ON_TRIAL,
    ) -> InstallResult:
        """Keep a program for the board, and return what the board says of it: that may be hours later.

        It comes over the line, or is the staged one, or the one before the running one: the board keeps those.
        """
        wanted = _wanted(program, params, Slot.ACTIVE, Wish(deployment_id, terms), manifest_version)
        return await self.board.programs.want(wanted, program)

    async def record_wanted(
        self, wanted: InstalledRule, deployment_id: str, manifest_version: int, terms: Terms = ON_TRIAL
    ) -> InstallResult:
        """The board has it already, and said so: ask it only when it shall begin or end to act for the rule."""
        programs, key = self.board.programs, (wanted.rule, wanted.slot)
        before = programs.wanted.get(key)
        if before is None or (before.program_id, before.params) != (wanted.program_id, wanted.params):
            return InstallResult(
                InstallOutcome.REFUSED, wanted.rule, wanted.program_id, code="changed", message="another one is wanted"
            )
        now = _as_wished(before, Wish(deployment_id, terms), manifest_version)
        if now.acts is not before.acts or key not in programs.results:
            return await programs.want(now)
        await programs.retell(now)
        return InstallResult(InstallOutcome.UNCHANGED, wanted.rule, wanted.program_id)

    async def stage(
        self,
        program: bytes,
        params: Mapping[str, Value],
        deployment_id: str,
        manifest_version: int,
        terms: Terms = ON_TRIAL,
    ) -> InstallResult:
        """Let the board keep a program beside the running one. In a canary whose turn it is, the board runs it.

        One that shall only watch is refused: a board runs one program of a rule at a time.
        """
        if terms.trial is not None and not terms.share:
            return NO_SHADOW
        wanted = _wanted(program, params, Slot.CANDIDATE, Wish(deployment_id, terms), manifest_version)
        return await self.board.programs.want(wanted, program)

    async def switch(self, switches: Sequence[Switch], manifest_version: int) -> Mapping[str, InstallResult]:
        """Let the candidates of several rules run from the same scan on. The old programs stay to be gone back to."""
        programs, changes, gone = self.board.programs, [], []
        for one in switches:
            old, new = (programs.wanted.get((one.rule, slot)) for slot in (Slot.ACTIVE, Slot.CANDIDATE))
            if new is None:
                return dict.fromkeys((each.rule for each in switches), _no_candidate(one.rule))
            changes.append(_as_wished(replace(new, slot=Slot.ACTIVE), one.acts, manifest_version))
            if old is None or one.beside is None:
                gone.append(new.key)
            else:
                changes.append(_as_wished(replace(old, slot=Slot.CANDIDATE), one.beside, manifest_version))
        results = await programs.want_all(changes, gone)
        found = zip(changes, results, strict=True)
        return {wanted.rule: result for wanted, result in found if wanted.slot is Slot.ACTIVE}

    async def drop_candidate(self, rule: str, reason: str = "") -> bool:
        """Want it no more: the board gives it up when it answers next. False when there is none."""
        return await self.board.programs.drop((rule, Slot.CANDIDATE))

    async def roll_back(self, rule: str, reason: str) -> InstallResult:
        """Let the board run again what it ran before and kept; refused (`no_previous`) without one."""
        programs = self.board.programs
        before = programs.wanted.get((rule, Slot.ACTIVE))
        program_id = self.board.there.previous.get(rule, "")
        if before is None or not program_id:
            return replace(NO_WAY_BACK, rule=rule)
        return await programs.want(replace(before, program_id=program_id, params=(), fate=Fate.OPEN))

    async def record_pass(self, rule: str, program_id: str) -> bool:
        """Nothing is kept of it: the board knows by itself which program proved itself."""
        return True

    async def settle_taken_back(self, is_wanted: Callable[[SlotRow], bool]) -> None:
        """What the board gave up is told until something else is wanted: there is nothing to forget."""

    async def remove(self, rule: str) -> bool:
        """Let the board remove a rule, and return once it has. Raises EyeflowError when it refuses."""
        result = await self.board.programs.want(Wanted(rule, ""))
        if result.outcome is InstallOutcome.REFUSED:  # it is still wanted so: the next link tries again
            raise EyeflowError(
                f"the board does not remove {rule}",
                cause=result.message,
                next_step=result.next_step,
                code=result.code,
                exit_code=ExitCode.PROBLEMS,
            )
        return True

    def trust(self, signers: Collection[bytes]) -> None:
        """The board trusts the key that its firmware was built with, and no other."""

    async def stop_distrusted(self) -> None:
        """As `trust`."""

    def held(self) -> tuple[HeldProgram, ...]:
        """Return what the cluster wants there; what somebody pushed by hand is not the cluster's, and stays."""
        return self.board.programs.held(self.board.there)

    @property
    def audit_head(self) -> AuditHead:
        """Where the audit of the board ends."""
        return self.board.records.head

    def status(self) -> dict[str, object]:
        """Return the board's health."""
        return board_health(self.board)

    def board_status(self) -> BoardStatus:
        """Return what the gateway knows of the board."""
        return board_status(self.board)

    def evidence(self) -> tuple[Evidence, ...]:
        """Return what the board's counters say of the wanted programs."""
        return self.board.evidence.told(self.board.programs.wanted.values(), self.board.now_us)

    def differences(self) -> tuple[Difference, ...]:
        """Return nothing: see the class."""
        return ()

    def failures(self) -> tuple[Failure, ...]:
        """Return nothing: see the class."""
        return ()

    async def explained(self, found: Sequence[Explained]) -> tuple[Explained, ...]:
        """Return them as they are."""
        return tuple(found)

    async def replay(self, asked: Replay) -> Replayed:
        """Refuse with the reason."""
        return Replayed(
            asked.number, tuple(ReplayResult(one.rule, one.program_id, NO_REPLAY) for one in asked.programs)
        )

    def listened(self, asked: Listen) -> Listened:
        """Return what the board logged."""
        page = self.board.said.since(asked.since, LINES_MAX)
        return Listened(asked.number, tuple(map(told_line, page.lines)), page.next, page.missed)

    async def audit_range(self, from_seq: int, limit: int) -> Sequence[bytes]:
        """Return records as stored."""
        return await self.board.records.audit_range(from_seq, limit)

    async def records_after(self, seq: int, bytes_max: int) -> tuple[int, Sequence[bytes]]:
        """Return records to hand on."""
        return await self.board.records.records_after(seq, bytes_max)

    async def states(self) -> tuple[int, Sequence[SlotState]]:
        """Return none: a board keeps the state of its programs itself."""
        return self.audit_head.seq, ()

    async def grows_beyond(self, seq: int) -> None:
        """Return once the audit of the board has a record with a higher seq."""
        await self.board.records.grows_beyond(seq)

    async def note_kept(self, destination: str, kept: KeptHead) -> bool:
        """Take note of what a destination holds."""
        return await self.board.records.note_kept(destination, kept)


def _wanted(program: bytes, params: Mapping[str, Value], slot: Slot, wish: Wish, manifest_version: int) -> Wanted:
    signed = decode(program)
    how = tuple(sorted(params.items()))
    return _as_wished(Wanted(signed.program.rule, signed.program_id, how, slot=slot), wish, manifest_version)


def _as_wished(wanted: Wanted, wish: Wish, manifest_version: int) -> Wanted:
    """Return it on the terms of a manifest. A board is one key of a canary: a candidate acts there on all, or none."""
    terms = wish.terms
    acts, on_trial = wanted.slot is Slot.CANDIDATE and terms.keyless, terms.standing is Standing.ON_TRIAL
    return replace(
        wanted, manifest_version=manifest_version, acts=acts, deployment_id=wish.deployment_id, on_trial=on_trial
    )


def told_line(line: Line) -> BoardLine:
    """Return a line for the coordinator. What is too long for a message ends in an ellipsis."""
    asks = tuple(_shortened(str(one)) for one in line.asks)
    if len(asks) > ARGS_MAX:
        asks = (*asks[: ARGS_MAX - 1], "…")
    return BoardLine(line.number, line.time_us, line.level, _shortened(line.text), asks)


def _shortened(text: str) -> str:
    return cut(text if len(text) <= LINE_CHARS_MAX else f"{text[: LINE_CHARS_MAX - 1]}…", LINE_CHARS_MAX)


def _no_candidate(rule: str) -> InstallResult:
    return InstallResult(
        InstallOutcome.REFUSED, rule, code="no_candidate", message=f"no program of {rule} waits for this board"
    )
