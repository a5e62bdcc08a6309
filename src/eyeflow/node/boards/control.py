"""A board as the coordinator link sees it: the gateway answers in its place (docs/decisions/0023)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.node.boards.board import GatewayBoard
from eyeflow.node.boards.programs import Wanted
from eyeflow.node.boards.told import board_facts, board_health, board_status
from eyeflow.node.control import AuditHead, HeldProgram, InstallOutcome, InstallResult, NodeIdentity, Switch
from eyeflow.node.store.types import ON_TRIAL, SlotRow, Terms
from eyeflow.protocol.boards import BoardStatus
from eyeflow.protocol.collecting import KeptHead, SlotState
from eyeflow.protocol.executions import Difference, Explained, Failure
from eyeflow.protocol.identity import Identity
from eyeflow.protocol.messages import Evidence, InstalledRule
from eyeflow.protocol.replays import Replay, Replayed, ReplayResult
from eyeflow.svm.container import decode
from eyeflow.svm.program import Value

ONE_PROGRAM = InstallResult(
    InstallOutcome.REFUSED,
    code="board",
    message="a board runs one program of a rule at a time",
    next_step="use the strategy immediate",
)
NO_WAY_BACK = InstallResult(
    InstallOutcome.REFUSED,
    code="board",
    message="a board takes no older program: it goes back by itself only, after repeated faults",
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
        """Keep a program for the board, and return what the board says of it: that may be hours later."""
        signed = decode(program)
        how = tuple(sorted(params.items()))
        wanted = Wanted(signed.program.rule, signed.program_id, how, manifest_version)
        return await self.board.programs.want(wanted, program)

    async def record_wanted(
        self, wanted: InstalledRule, deployment_id: str, manifest_version: int, terms: Terms = ON_TRIAL
    ) -> InstallResult:
        """The board runs it already, and said so."""
        return InstallResult(InstallOutcome.UNCHANGED, wanted.rule, wanted.program_id)

    async def stage(
        self,
        program: bytes,
        params: Mapping[str, Value],
        deployment_id: str,
        manifest_version: int,
        terms: Terms = ON_TRIAL,
    ) -> InstallResult:
        """Refuse: a board has no second place for a rule that runs."""
        return ONE_PROGRAM

    async def switch(self, switches: Sequence[Switch], manifest_version: int) -> Mapping[str, InstallResult]:
        """Refuse each, as `stage`."""
        return dict.fromkeys((one.rule for one in switches), ONE_PROGRAM)

    async def drop_candidate(self, rule: str, reason: str = "") -> bool:
        """There is none."""
        return False

    async def roll_back(self, rule: str, reason: str) -> InstallResult:
        """Refuse: only the board itself goes back, after repeated faults."""
        return NO_WAY_BACK

    async def record_pass(self, rule: str, program_id: str) -> bool:
        """Nothing is kept of it: the board knows by itself which program proved itself."""
        return True

    async def settle_taken_back(self, is_wanted: Callable[[SlotRow], bool]) -> None:
        """Nothing was taken back."""

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
        return self.board.programs.held(self.board.running if self.board.is_answering else {})

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
        """Return nothing: see the class."""
        return ()

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
