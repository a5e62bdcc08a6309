"""What a node lets others ask of it: the coordinator link, the status socket and the tests use this, nothing else."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from eyeflow.node.io.ports import PortStatus
from eyeflow.node.store.types import ON_TRIAL, SlotRow, Terms, Wish
from eyeflow.protocol.boards import BoardStatus
from eyeflow.protocol.collecting import KeptHead, SlotState
from eyeflow.protocol.executions import Difference, Explained, Failure
from eyeflow.protocol.lines import Listen, Listened
from eyeflow.protocol.messages import Evidence, InstalledRule
from eyeflow.protocol.node_facts import NodeFacts
from eyeflow.protocol.replays import Replay, Replayed
from eyeflow.protocol.slot import Slot
from eyeflow.svm.program import Value


class InstallOutcome(Enum):
    """What became of an install: `installed`, `unchanged` (it already runs with these parameters) or `refused`."""

    INSTALLED = "installed"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


DISTRUSTED = frozenset({"untrusted", "too_few_signers"})
"""Codes of `InstallResult`: too few trusted keys have signed the program."""


@dataclass(frozen=True, slots=True)
class InstallResult:
    """The answer to an install. When refused, `code` is a stable word and `message`, `next_step` are for people.

    Codes: `malformed`, `untrusted`, `too_few_signers`, `not_granted`, `no_driver`, `rollback`, `rejected`,
    `no_candidate`, `no_previous`, `no_program`, `too_many`, `bad_params`, `storage`, `storage_unknown`. The last: the
    disk failed so that the change may be in the store; the node undoes it once the disk is back.
    `missing` names the capabilities that the node does not grant or has no driver for. Program ids are lower-case hex.
    """

    outcome: InstallOutcome
    rule: str = ""
    program_id: str = ""
    previous_program_id: str = ""
    code: str = ""
    message: str = ""
    next_step: str = ""
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeIdentity:
    """Who the node is: its name, the epoch of its audit chain, its Ed25519 public key (32 bytes), its version.

    `facts`: what it can run, None when it does not tell.
    """

    name: str
    epoch: int
    public_key: bytes
    version: str
    facts: NodeFacts | None = None


@dataclass(frozen=True, slots=True)
class Switch:
    """The candidate of a rule shall act in place of the active program.

    `acts` is how it is wanted then. `beside` is how the old program is wanted, which stays as candidate; None: it goes.
    """

    rule: str
    acts: Wish
    beside: Wish | None = None


@dataclass(frozen=True, slots=True)
class HeldProgram:
    """A program that a node keeps to run it, in the slot `active` or `candidate`; `program_id` is lower-case hex.

    `params` ascend by name. `refusal` says why it does not run or is about to be stopped; empty: it runs and may go on.
    """

    rule: str
    slot: Slot
    program_id: str
    params: tuple[tuple[str, Value], ...] = ()
    manifest_version: int = 0
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class AuditHead:
    """The last durable record of a node's audit chain: its seq, 0 for none, and its hash (32 bytes, zeros for none)."""

    seq: int
    hash: bytes


class NodeControl(Protocol):
    """A running node, as the coordinator link sees it. All methods run on the node's event loop."""

    @property
    def identity(self) -> NodeIdentity:
        """Who this node is."""
        ...

    def sign(self, data: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature of `data` with the node's key, for the link's handshake."""
        ...

    async def install(
        self,
        program: bytes,
        params: Mapping[str, Value],
        deployment_id: str,
        manifest_version: int,
        terms: Terms = ON_TRIAL,
    ) -> InstallResult:
        """Check, store durably and run a program; never raises for a bad program: the result says `refused`.

        The last known good program, wanted by a deployment that it ran for, is a way back: see `roll_back`.
        """
        ...

    async def record_wanted(
        self, wanted: InstalledRule, deployment_id: str, manifest_version: int, terms: Terms = ON_TRIAL
    ) -> InstallResult:
        """Keep that this deployment, too, wants the program that a slot holds already, and on what terms.

        Refused when the slot holds another one by now: a node may take a program back while a manifest is carried out.
        """
        ...

    async def stage(
        self,
        program: bytes,
        params: Mapping[str, Value],
        deployment_id: str,
        manifest_version: int,
        terms: Terms = ON_TRIAL,
    ) -> InstallResult:
        """Run a program as candidate beside the active one, from a copy of its state; as `install` otherwise.

        It acts on the share of the events that `terms` give it, and the active program on the others.
        """
        ...

    async def switch(self, switches: Sequence[Switch], manifest_version: int) -> Mapping[str, InstallResult]:
        """Let the candidates of several rules act, all between the same two events, and each with its own state.

        Returns what became of each rule. Refused (`no_candidate`, `no_program`) is one whose program does not run, and
        with it all rules of its deployment.
        """
        ...

    async def drop_candidate(self, rule: str, reason: str = "") -> bool:
        """Stop the candidate, kept for the post-mortem if `reason` says how it failed; False when there is none."""
        ...

    async def roll_back(self, rule: str, reason: str) -> InstallResult:
        """Run the last known good program again with the state that it had; refused (`no_previous`) without one.

        Where it may not run, the rule stops, and the answer names no program.

        The failed program is kept for the post-mortem with its state. The deployment that brought it cannot again.
        """
        ...

    async def record_pass(self, rule: str, program_id: str) -> bool:
        """Keep that the active program passed: it becomes `previous` when another takes its place.

        False when another program is active by now. Raises StorageError.
        """
        ...

    async def settle_taken_back(self, is_wanted: Callable[[SlotRow], bool]) -> None:
        """Forget that the node took programs back by itself which nobody wants any more. Raises StorageError."""
        ...

    async def remove(self, rule: str) -> bool:
        """Stop a rule and forget its slots and state; False when there is no such rule."""
        ...

    def trust(self, signers: Collection[bytes]) -> None:
        """Accept programs of these signers (32 bytes each), besides those of `[trust]`, from now on; kept durably."""
        ...

    async def stop_distrusted(self) -> None:
        """Stop programs that too few trusted keys have signed, those whose grace is over. Raises StorageError.

        From then on no start of the node trusts another key than it does now.
        """
        ...

    def held(self) -> tuple[HeldProgram, ...]:
        """Return every program that the node keeps to run it, by rule and slot."""
        ...

    @property
    def audit_head(self) -> AuditHead:
        """Where the audit chain ends."""
        ...

    def status(self) -> dict[str, object]:
        """Return the node's state as JSON-able data; `docs/reference/node-status.md` names the fields."""
        ...

    def board_status(self) -> BoardStatus | None:
        """Return what is known of a board behind this node, for which this control stands; None for a node itself."""
        ...

    def evidence(self) -> tuple[Evidence, ...]:
        """Return what is known of each program that runs, and of those that the node took back by itself."""
        ...

    def differences(self) -> tuple[Difference, ...]:
        """Return the newest events on which a candidate decided otherwise than the active program, by time."""
        ...

    def failures(self) -> tuple[Failure, ...]:
        """Return the newest failures of programs that are on trial, and of those that failed theirs, by time."""
        ...

    async def explained(self, found: Sequence[Explained]) -> tuple[Explained, ...]:
        """Return these with their events and traces, as far as their audit records are still here."""
        ...

    async def replay(self, asked: Replay) -> Replayed:
        """Return where these programs would have decided otherwise on the node's records. Nothing changes by it."""
        ...

    def listened(self, asked: Listen) -> Listened:
        """Return lines of the board for which this control stands; a node itself refuses. At once, from memory."""
        ...

    async def audit_range(self, from_seq: int, limit: int) -> Sequence[bytes]:
        """Return at most `limit` audit records as stored, ascending from the first with seq >= `from_seq`."""
        ...

    async def records_after(self, seq: int, bytes_max: int) -> tuple[int, Sequence[bytes]]:
        """Return the seq of the first record behind `seq`, and the stored records from there: as many as fit.

        At least one, or (0, ()) when there is none; no hole is between them. Raises StorageError.
        """
        ...

    async def states(self) -> tuple[int, Sequence[SlotState]]:
        """Return the last seq of the chain, and the state of each slot after it. Raises StorageError."""
        ...

    async def grows_beyond(self, seq: int) -> None:
        """Return once the audit chain has a record with a higher seq."""
        ...

    async def note_kept(self, destination: str, kept: KeptHead) -> bool:
        """Take note of what a destination holds of the chain; False when this chain has not that record there."""
        ...


class Link(Protocol):
    """The connection to the coordinator: dials, reconnects with backoff for ever, until cancelled."""

    @property
    def status(self) -> PortStatus:
        """The state of the connection, for `eyeflow status`."""
        ...

    @property
    def url(self) -> str:
        """Where the coordinator is."""
        ...

    async def run(self) -> None:
        """Run until cancelled."""
        ...
