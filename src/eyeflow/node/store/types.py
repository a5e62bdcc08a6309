"""What the node keeps durably, as data: the rows of the store and the batch that one transaction writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from eyeflow.base.errors import EyeflowError
from eyeflow.node.run_key import RunKey
from eyeflow.node.streams import NOTHING, Progress
from eyeflow.protocol.audit_bodies import UNRECORDED, Body
from eyeflow.protocol.messages import Trial
from eyeflow.protocol.slot import Slot
from eyeflow.svm.program import Value


class Actuation(Enum):
    """Whether the actions of a running program reach the world, or are only recorded."""

    PERFORM = "perform"
    WITHHOLD = "withhold"


class Standing(Enum):
    """What is known of a stored program. Only one that passed becomes `previous` when another takes its place."""

    ON_TRIAL = "on-trial"
    PASSED = "passed"


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms a program is wanted: whether it has passed and, if not, how this node judges it by itself.

    A candidate acts on events whose key falls into `share` (hundredths of a percent) and, if `keyless`, on others.
    `is_return`: the node goes back to it, and what runs instead shall not go on.
    """

    standing: Standing = Standing.ON_TRIAL
    trial: Trial | None = None
    share: int = 0
    keyless: bool = False
    is_return: bool = False


ON_TRIAL, PASSED = Terms(), Terms(Standing.PASSED)


@dataclass(frozen=True, slots=True)
class Wish:
    """By which deployment, and on what terms, a program is wanted."""

    deployment_id: str
    terms: Terms = ON_TRIAL


@dataclass(frozen=True, slots=True)
class SlotRow:
    """A stored program: its bytes with signatures, its parameters, and which deployment and manifest wanted it."""

    key: RunKey
    program_id: bytes
    program: bytes
    params: Mapping[str, Value]
    deployment: str
    manifest_version: int
    installed_us: int
    standing: Standing = Standing.ON_TRIAL
    wanted_before: tuple[str, ...] = ()
    """Other deployments that wanted it while it ran, the newest first: a way back may name any of them."""
    trial: Trial | None = None
    """How it is judged while it is on trial; None: nobody asked this node to judge it."""
    share: int = 0
    keyless: bool = False

    @property
    def actuation(self) -> Actuation:
        """Whether any of its actions reach the world: a candidate may only watch."""
        watches = self.key.slot is Slot.CANDIDATE and not self.share and not self.keyless
        return Actuation.WITHHOLD if watches else Actuation.PERFORM

    def on(self, terms: Terms) -> SlotRow:
        """Return the same program on other terms."""
        how = {"standing": terms.standing, "trial": terms.trial}
        return replace(self, **how, **self.shared(terms))  # type: ignore[arg-type]

    def shared(self, terms: Terms) -> dict[str, int]:
        """Return what `terms` say of the events that it acts on: only a candidate has a share."""
        is_candidate = self.key.slot is Slot.CANDIDATE
        return {"share": terms.share if is_candidate else 0, "keyless": terms.keyless and is_candidate}

    @property
    def deployments(self) -> tuple[str, ...]:
        """All deployments that wanted it while it ran, the newest first."""
        return (self.deployment, *self.wanted_before)


@dataclass(frozen=True, slots=True)
class StateRow:
    """The durable memory of a slot: `Instance.state_bytes` of the program with this id."""

    key: RunKey
    program_id: bytes
    state: bytes


@dataclass(frozen=True, slots=True)
class EvidenceRow:
    """What a program did in a slot since it began there for a deployment: `messages.Evidence` says what is counted."""

    key: RunKey
    program_id: bytes
    deployment: str
    began_us: int
    boots: int = 0
    executions: int = 0
    acted: int = 0
    traps: int = 0
    failed_actions: int = 0
    missed_deadlines: int = 0
    rejected: int = 0
    differing: int = 0
    latency_us_sum: int = 0
    latency_us_max: int = 0
    judged: str = ""
    """What the node's own judgement remembers, as JSON (`judging`)."""
    failed: str = ""
    """The newest executions that failed, as JSON (`run_evidence`)."""


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """The last program of a rule that failed, as `row` was, with its memory: for the post-mortem, never to run again.

    `state` is empty when it had none. `evidence` is what it had done by then. `taken_back`: the node judged it by
    itself, and nobody has told it otherwise since.
    """

    row: SlotRow
    state: bytes
    reason: str
    rejected_us: int
    evidence: EvidenceRow | None = None
    taken_back: bool = False


class PendingRow(NamedTuple):
    """An action that is recorded and not yet known to have ended: number `index` of the execution at `seq`.

    In a batch, where no seq is known yet, `seq` is the index of the execution's draft. `time_us` and `hops` go on with
    an emitted event: the time of the event that it comes from, and the rules it has come through. So does `event_key`.
    `ends`: how often in a row the node ended while its driver had been told of it again (`engine.tries`).
    """

    seq: int
    index: int  # type: ignore[assignment]  # a tuple's own `index` looks for an element; nobody asks for that
    key: RunKey
    program_id: bytes
    site: int
    args: tuple[Value, ...]
    time_us: int = 0
    hops: int = 1
    event_key: str | None = None
    ends: int = 0


class Tried(NamedTuple):
    """A pending action and its count `ends`, as `PendingRow`."""

    seq: int
    index: int  # type: ignore[assignment]
    ends: int


class Draft(NamedTuple):
    """An audit record before it has its place in the chain."""

    time_us: int
    body: Body


@dataclass(frozen=True, slots=True)
class Unrecorded:
    """Records that never came into the chain, when they would have (wall clock), and why: the reason of their gap."""

    count: int
    since_us: int
    until_us: int
    reason: str = UNRECORDED


@dataclass(frozen=True, slots=True)
class Batch:
    """What one transaction writes. `finished` names pending actions that ended: (seq, index).

    Whatever is dropped goes first, state included. `unrecorded` becomes a signed gap after the drafts.
    """

    drafts: Sequence[Draft] = ()
    states: Sequence[StateRow] = ()
    pending: Sequence[PendingRow] = ()
    finished: Sequence[tuple[int, int]] = ()
    put_slots: Sequence[SlotRow] = ()
    put_rejected: Sequence[RejectedRow] = ()
    drop_slots: Sequence[RunKey] = ()
    drop_rules: Sequence[str] = ()
    put_meta: Sequence[tuple[str, bytes]] = ()
    put_evidence: Sequence[EvidenceRow] = ()
    unrecorded: Unrecorded | None = None
    progress: Progress = NOTHING
    tried: Sequence[Tried] = ()


class OnFull(Enum):
    """What happens when the buffer is full: the oldest records go, new events are refused, or sources wait."""

    DROP_OLDEST = "drop-oldest"
    REJECT_NEW = "reject-new"
    BLOCK = "block"


@dataclass(frozen=True, slots=True)
class BufferLimits:
    """Bounds of the store: all its files together in bytes, the age of a record in microseconds."""

    size_bytes_max: int
    age_us_max: int
    on_full: OnFull = OnFull.DROP_OLDEST


@dataclass(slots=True)
class StoreCounters:
    """What the store did since it was opened, for `eyeflow status`."""

    commits: int = 0
    records: int = 0
    dropped_records: int = 0
    """Those that nobody else holds; `gaps` counts their ranges."""
    gaps: int = 0
    dropped_copies: int = 0
    """Records that were dropped after every destination held them."""
    failed_commits: int = 0
    recoveries: int = 0


@dataclass(frozen=True, slots=True)
class Depth:
    """What the audit log holds: its oldest and its last record (seq 0: none), and the bytes of the pages in use.

    `dropped` counts records since this epoch began, by reason: `size`, `age`, `unrecorded` are losses. `copied` were
    dropped after every destination held them.
    """

    first_seq: int
    last_seq: int
    oldest_us: int
    used_bytes: int
    dropped: Mapping[str, int]

    @property
    def records(self) -> int:
        """How many records there are by their numbers; those that damage took out of the chain count, too."""
        return self.last_seq - self.first_seq + 1 if self.first_seq else 0


@dataclass(frozen=True, slots=True)
class Committed:
    """A batch that is durable: its drafts have the seqs `first_seq`, `first_seq` + 1, ..."""

    first_seq: int


@dataclass(frozen=True, slots=True)
class Restored:
    """What a store held when it was opened; `pending_programs` are those of the pending actions, by id."""

    clean: bool
    slots: tuple[SlotRow, ...] = ()
    states: Mapping[RunKey, StateRow] = field(default_factory=dict)
    rejected: Mapping[str, RejectedRow] = field(default_factory=dict)
    evidence: Mapping[RunKey, EvidenceRow] = field(default_factory=dict)
    pending: tuple[PendingRow, ...] = ()
    pending_programs: Mapping[bytes, bytes] = field(default_factory=dict)
    kept: Mapping[str, bytes] = field(default_factory=dict)
    progress: Progress = NOTHING


class StorageError(EyeflowError):
    """The disk did not take a batch: nothing of it may be acknowledged. `full`: for lack of space."""

    def __init__(self, message: str, *, cause: str, next_step: str, full: bool, code: str = "") -> None:
        super().__init__(
            message, cause=cause, next_step=next_step, code=code or ("disk_full" if full else "disk_failed")
        )
        self.full = full


class StoreDamaged(StorageError):  # noqa: N818 - a condition of the file
    """The file holds what no node wrote: no free space and no other disk brings it back."""

    def __init__(self, path: Path, cause: str) -> None:
        super().__init__(
            f"the node's store {path} is damaged or no store at all",
            cause=cause,
            next_step=f"Stop the node and keep a copy of {path.parent}; `eyeflow audit verify` says what still holds. "
            f"Then restore {path.name} from a backup, or move it away with its -wal and -shm: the node starts a new "
            "audit epoch, and the coordinator sends the rules again.",
            full=False,
            code="store_damaged",
        )


class BufferFull(StorageError):  # noqa: N818 - a condition of the buffer
    """The buffer is at its bound, the configured one or that of its disk, and its policy keeps the old records."""

    def __init__(self, size_bytes_max: int, size_bytes_set: int) -> None:
        more = "Raise [offline] max_buffer_size_mb" if size_bytes_max >= size_bytes_set else "Free space on this disk"
        super().__init__(
            "the node's buffer is full",
            cause=f"It may hold {size_bytes_max} bytes and on_full keeps the old records.",
            next_step=f'{more}, or set on_full = "drop-oldest".',
            full=True,
        )
