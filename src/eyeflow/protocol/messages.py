"""The messages between node and coordinator after WELCOME, as protocol version 3 has them, and the manifest's body.

The page `docs/reference/link-protocol.md` tells how they are used. `versions` says how each version writes them.
Sessions and what stands above them know these structs only.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated

from msgspec import Meta

from eyeflow.protocol import wire
from eyeflow.protocol.boards import BoardStatus
from eyeflow.protocol.collecting import Collect, Collected
from eyeflow.protocol.executions import Differences, Failures
from eyeflow.protocol.lines import Listen, Listened
from eyeflow.protocol.replays import Replay, Replayed
from eyeflow.protocol.slot import Slot
from eyeflow.protocol.wire import (
    RULES_MAX,
    SIGNERS_MAX,
    Counters,
    Hash,
    Natural,
    NodeName,
    Params,
    ProgramId,
    ProgramIdOrNone,
    ProtocolError,
    PublicKey,
    Reason,
    RuleName,
    Short,
    Signature,
)

BOOT_BYTES = 16
HEALTH_NAME_CHARS_MAX = 128
MANIFEST_BYTES_MAX = wire.MESSAGE_BYTES_MAX // 2
PROGRAMS_MAX = 2 * RULES_MAX
"""A rule has two programs at most that run: the active one and a candidate."""
SHARE_MAX = 10_000
"""All keys of a rule, in hundredths of a percent."""
OBSERVE_S_MAX = 366 * 24 * 3600

Hundredths = Annotated[int, Meta(ge=0, le=SHARE_MAX)]
"""Hundredths of a percent."""


class RuleState(Enum):
    """What became of one rule of a manifest on a node."""

    INSTALLED = "installed"
    REFUSED = "refused"
    REMOVED = "removed"


class HealthState(Enum):
    """How a rule or port does right now."""

    RUNNING = "running"
    CONNECTING = "connecting"
    STOPPED = "stopped"
    FAILED = "failed"


class HealthKind(Enum):
    """What a record of health is about: a rule, or a source, driver or buffer of the node."""

    RULE = "rule"
    PORT = "port"


class InstalledRule(wire.Wire, frozen=True):
    """A program that the node runs: the rule, its slot, the program's id and its parameters, ascending by name."""

    rule: RuleName
    program_id: ProgramId
    params: Params = ()
    slot: Slot = Slot.ACTIVE


class Trial(wire.Wire, frozen=True):
    """How a node judges a program by itself, also while it hears of nobody.

    It is judged for `observe_s` seconds at least, and by `samples_min` executions at least. `failures_max` is the share
    of failed executions that is taken for normal, in hundredths of a percent. It fails when the node's process had to
    start more than `starts_max` times under it. `rollback`: the node goes back when it failed. `judges`: how many nodes
    judge the program; they share the false alarms that are borne, so each asks for that much more evidence.
    """

    observe_s: Annotated[int, Meta(ge=0, le=OBSERVE_S_MAX)]
    samples_min: Natural
    failures_max: Hundredths
    starts_max: Natural
    rollback: bool
    judges: Annotated[int, Meta(ge=1, le=2**31 - 1)] = 1


class ManifestEntry(wire.Wire, frozen=True):
    """One program that a node shall run: for which rule, and in which of its slots.

    `share` and `keyless` are for a candidate: it acts on events whose key falls into that share of all keys, and, if
    `keyless`, on those without a key. The active program acts on all others. `trial` None: the program has passed.
    `is_return`: the node goes back to it. What it ran instead shall not go on, also where this one may not run.
    """

    rule: RuleName
    program_id: ProgramId
    deployment_id: Short
    params: Params = ()
    slot: Slot = Slot.ACTIVE
    share: Hundredths = 0
    keyless: bool = False
    trial: Trial | None = None
    is_return: bool = False

    def __post_init__(self) -> None:
        wire.check_params(self.params)
        if self.slot is Slot.PREVIOUS:
            raise ProtocolError("a manifest wants a program in the slot previous: a node keeps that one by itself")
        if self.slot is not Slot.CANDIDATE and (self.share or self.keyless):
            raise ProtocolError("a manifest gives a share of the events to a program that is no candidate")


class WantedManifest(wire.Wire, frozen=True, tag_field="protocol", tag=3):
    """All that a node shall run, complete, for this node only. Versions of a node's manifest only grow.

    `entries` ascend by rule and slot. `signers` are the Ed25519 public keys whose programs the cluster trusts,
    ascending. `created_us` is in microseconds since 1970 UTC. The bytes begin with the protocol version of the body.
    """

    coordinator_id: ProgramId
    node: NodeName
    version: Natural
    created_us: Natural
    entries: Annotated[tuple[ManifestEntry, ...], Meta(max_length=PROGRAMS_MAX)] = ()
    signers: Annotated[tuple[PublicKey, ...], Meta(max_length=SIGNERS_MAX)] = ()

    def __post_init__(self) -> None:
        check_manifest_order([(one.rule, one.slot.value) for one in self.entries], self.signers)


def check_manifest_order(places: list[tuple[str, str]], signers: tuple[bytes, ...]) -> None:
    """Refuse a manifest that names a place or a signer twice, or not in order: the same wish has one encoding."""
    if places != sorted(set(places)):
        raise ProtocolError("a manifest's entries do not ascend by rule and slot")
    if list(signers) != sorted(set(signers)):
        raise ProtocolError("a manifest's signers do not ascend")


class Manifest(wire.Wire, frozen=True, tag=3):
    """A `WantedManifest` as the exact bytes that the coordinator signed."""

    body: Annotated[bytes, Meta(min_length=1, max_length=MANIFEST_BYTES_MAX)]
    signature: Signature


class Fetch(wire.Wire, frozen=True, tag=4):
    """The node asks for programs of manifest `manifest_version` that it does not hold."""

    manifest_version: Natural
    program_ids: Annotated[tuple[ProgramId, ...], Meta(max_length=PROGRAMS_MAX)]


class Install(wire.Wire, frozen=True, tag=5):
    """The bytes of one program of the manifest. An empty `program` says that the coordinator lost it."""

    manifest_version: Natural
    program_id: ProgramId
    program: Annotated[bytes, Meta(max_length=wire.PROGRAM_BYTES_MAX)]


class RuleResult(wire.Wire, frozen=True):
    """What became of one rule's slot; `program_id` is the wanted one, empty when it is to be removed."""

    rule: RuleName
    program_id: ProgramIdOrNone
    state: RuleState
    reason: Reason = ""
    slot: Slot = Slot.ACTIVE


class ManifestResult(wire.Wire, frozen=True, tag=6):
    """Sent once a whole manifest was applied: one result for each entry and each removed rule."""

    manifest_version: Natural
    results: Annotated[tuple[RuleResult, ...], Meta(max_length=2 * PROGRAMS_MAX)]


class Health(wire.Wire, frozen=True):
    """Counters of one program (`slot` says which of the rule's) or of one port (`slot` None)."""

    kind: HealthKind
    name: Annotated[str, Meta(max_length=HEALTH_NAME_CHARS_MAX)]
    state: HealthState
    detail: Reason = ""
    program_id: ProgramIdOrNone = ""
    counters: Counters = ()
    slot: Slot | None = None

    def __post_init__(self) -> None:
        wire.check_ascending(self.counters, "counters")
        if (self.slot is None) is (self.kind is HealthKind.RULE):
            raise ProtocolError("the health of a rule names its slot, that of a port names none")


class EvidenceStanding(Enum):
    """What a node holds of a program: it is on trial, it passed, or the node took it back by itself."""

    TRIAL = "trial"
    PASSED = "passed"
    ROLLED_BACK = "rolledBack"


class Evidence(wire.Wire, frozen=True):
    """What a node knows of one program in one slot, counted since it began there for its deployment (`began_us`).

    Nothing is counted twice; a crash loses the last seconds at most. `boots` counts starts of the node's process since
    then that followed no stop in good order. `executions` include those that trapped. `acted` are those with an action
    for a driver other than the log that has ended, `pending` those with one that has not, `failed_actions` those with
    an action that failed. `missed_deadlines` are timers that came late, `rejected` events that could not be run.
    `differing` are executions of a candidate that decided otherwise than the active program. `latency_us_sum` and
    `latency_us_max` are microseconds from an event's arrival to its commit. `reason` says why a program was taken back.

    A program that the node took back has an Evidence of its own beside that of the program which runs in its slot now.
    """

    rule: RuleName
    slot: Slot
    program_id: ProgramId
    deployment_id: Short
    began_us: Natural
    boots: Natural
    executions: Natural
    acted: Natural
    pending: Natural
    traps: Natural
    failed_actions: Natural
    missed_deadlines: Natural
    rejected: Natural
    differing: Natural
    latency_us_sum: Natural
    latency_us_max: Natural
    standing: EvidenceStanding
    reason: Reason = ""


class Status(wire.Wire, frozen=True, tag=7):
    """Health of the whole node at `time_us`; `next_seq` is the audit sequence number that it writes next in `epoch`.

    `evidence`: of each program that runs, and of those that the node took back until it is told otherwise. `board`:
    what a gateway knows of the board that it speaks for here.
    """

    time_us: Natural
    epoch: Natural
    next_seq: Natural
    manifest_version: Natural
    health: Annotated[tuple[Health, ...], Meta(max_length=2 * PROGRAMS_MAX)] = ()
    evidence: Annotated[tuple[Evidence, ...], Meta(max_length=2 * PROGRAMS_MAX)] = ()
    board: BoardStatus | None = None


class Recall(wire.Wire, frozen=True, tag=8):
    """The coordinator asks what hash the audit record has that it knows as the node's last."""

    epoch: Natural
    seq: Natural


class Recalled(wire.Wire, frozen=True, tag=9):
    """The answer to Recall. `hash` is the SHA-256 of the record, empty when the node does not hold it."""

    epoch: Natural
    seq: Natural
    hash: Annotated[bytes, Meta(max_length=wire.HASH_BYTES)]

    def __post_init__(self) -> None:
        if len(self.hash) not in (0, wire.HASH_BYTES):
            raise ProtocolError(f"a recalled hash is neither empty nor {wire.HASH_BYTES} bytes long")


class Head(wire.Wire, frozen=True, tag=10):
    """The last record of a node's audit chain; `hash` is zeros while there is none (`seq` 0).

    `boot` is drawn anew at each start of the node's process: two processes with one identity differ in it.
    """

    boot: Annotated[bytes, Meta(min_length=BOOT_BYTES, max_length=BOOT_BYTES)]
    epoch: Natural
    seq: Natural
    hash: Hash


FromNode = Fetch | ManifestResult | Status | Recalled | Head | Differences | Failures | Replayed | Collected | Listened
Message = FromNode | Manifest | Install | Recall | Replay | Collect | Listen


def manifest_bytes(body: bytes) -> bytes:
    """Return what the coordinator signs for a manifest."""
    return b"eyeflow manifest v1\0" + body


def link_bytes(coordinator_id: str, node: str, nonce: bytes) -> bytes:
    """Return what a node signs to open a link: the coordinator, its own name and the coordinator's nonce."""
    return b"eyeflow link v1\0" + wire.pack([coordinator_id, node, nonce])


def certificate_bytes(coordinator_id: str, node: str, nonce: bytes, request: str) -> bytes:
    """Return what a node signs to get a certificate: the coordinator's nonce, and the request in PEM."""
    return b"eyeflow certificate v1\0" + wire.pack([coordinator_id, node, nonce, request])


def join_bytes(coordinator_fingerprint: str, node: str, public_key: bytes) -> bytes:
    """Return what a node signs when it joins, to prove that it holds the key that it registers."""
    return b"eyeflow join v1\0" + wire.pack([coordinator_fingerprint, node, public_key])
