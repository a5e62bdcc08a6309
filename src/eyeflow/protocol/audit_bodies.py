"""What an audit record says, by kind. Each field has an integer key, for ever; `docs/reference/audit.md` lists them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from enum import IntEnum
from operator import attrgetter
from typing import Any

from eyeflow.protocol.board_records import NO_EXECUTION, BoardLoss, read_execution
from eyeflow.protocol.cbor import encode, encode_fields
from eyeflow.protocol.slot import Slot

Scalar = bool | int | float | str
"""One value of a program, as in `eyeflow.svm.program`."""

HASH_BYTES = 32
BOARD_BYTES_MAX = 96
"""Longest record of a board (docs/serial-link.md, Records)."""
ACTIVE = Slot.ACTIVE.value
_SLOTS = frozenset(slot.value for slot in Slot)


class AuditError(ValueError):
    """A record that is not what `encode_record` writes; the message says where."""


class Kind(IntEnum):
    """What a record is about."""

    EXECUTION = 1
    ACTION_RESULT = 2
    REJECTED = 3
    GAP = 4
    INSTALL = 5
    REMOVE = 6
    START = 7
    STOP = 8
    CHECKPOINT = 9
    CLOCK = 10
    WITHDRAW = 11
    SLOT = 12
    DIFFERENCE = 13
    BOARD_CHAIN = 14
    BOARD_RECORD = 15
    BOARD_ANSWER = 16


class Disposition(IntEnum):
    """What happened to an action when its execution was recorded."""

    SENT = 0
    REPEATED = 1
    EMITTED = 2
    WITHHELD = 3


class SlotChange(IntEnum):
    """What became of a program that a node keeps in a slot."""

    PASSED = 0
    PROMOTED = 1
    ROLLED_BACK = 2
    DROPPED = 3
    SWAPPED = 4


class ActionOutcome(IntEnum):
    """How an action ended. A first attempt that succeeds has no record of its own."""

    DONE = 0
    FAILED = 1
    SKIPPED = 2
    CANCELLED = 3
    INTERRUPTED = 4


def _scalar(value: object) -> bool:
    return type(value) in (bool, int, float, str)


def _uint(value: object) -> bool:
    return type(value) is int and value >= 0


def _int(value: object) -> bool:
    return type(value) is int


def _text(value: object) -> bool:
    return type(value) is str


def _flag(value: object) -> bool:
    return type(value) is bool


def _slot(value: object) -> bool:
    return type(value) is str and value in _SLOTS


def _hash(value: object) -> bool:
    return type(value) is bytes and len(value) == HASH_BYTES


def _texts(value: object) -> bool:
    return type(value) is tuple and all(_text(element) for element in value)


def _board_bytes(value: object) -> bool:
    return type(value) is bytes and 1 <= len(value) <= BOARD_BYTES_MAX


def _hashes(value: object) -> bool:
    return type(value) is tuple and all(_hash(element) for element in value)


def _scalars(value: object) -> bool:
    return type(value) is tuple and all(_scalar(element) for element in value)


def _each(*checks: Callable[[object], bool]) -> Callable[[object], bool]:
    """Return a check for a tuple of tuples whose elements pass `checks` in order."""

    def check(value: object) -> bool:
        return type(value) is tuple and all(
            type(row) is tuple and len(row) == len(checks) and all(c(e) for c, e in zip(checks, row, strict=True))
            for row in value
        )

    return check


def _pair(value: object) -> bool:
    return type(value) is tuple and len(value) == 2 and all(_uint(element) for element in value)


def _answer(value: object) -> bool:
    return value is None or _scalar(value)


def _values_of(names: tuple[str, ...]) -> Callable[[Any], tuple[object, ...]]:
    """Return what returns these attributes of an object."""
    take: Any = attrgetter(*names)
    return take if len(names) > 1 else lambda body: (take(body),)


def _key(number: int, check: Callable[[object], bool], default: object = MISSING) -> Any:
    """Declare a field: its key, what it must look like, and the value that is left out of the encoding."""
    return field(default=default, metadata={"key": number, "check": check})


@dataclass(frozen=True, slots=True)
class ExecutionBody:
    """One run of a rule on one event: everything needed to repeat it, with the parameters of its INSTALL record.

    `answers` are (site, arguments, value or None) in the order they were asked; `actions` are (site, arguments,
    Disposition); `trap` is (code, pc). Times are in microseconds. `key` is the event's, empty for none.
    """

    rule: str = _key(1, _text)
    program: bytes = _key(2, _hash)
    trigger: int = _key(3, _uint)
    event_time_us: int = _key(4, _int)
    outcome: int = _key(5, _uint)
    fuel: int = _key(6, _uint)
    inputs: tuple[Scalar, ...] = _key(7, _scalars, ())
    answers: tuple[tuple[int, tuple[Scalar, ...], Scalar | None], ...] = _key(8, _each(_uint, _scalars, _answer), ())
    actions: tuple[tuple[int, tuple[Scalar, ...], int], ...] = _key(9, _each(_uint, _scalars, _uint), ())
    trap: tuple[int, int] | None = _key(10, _pair, None)
    utc_offset_us: int = _key(11, _int, 0)
    slot: str = _key(12, _slot, ACTIVE)
    key: str = _key(13, _text, "")


@dataclass(frozen=True, slots=True)
class ActionResultBody:
    """How action number `index` of the execution recorded at `execution_seq` ended, after `attempts` attempts."""

    rule: str = _key(1, _text)
    program: bytes = _key(2, _hash)
    execution_seq: int = _key(3, _uint)
    index: int = _key(4, _uint)
    result: int = _key(5, _uint)
    attempts: int = _key(6, _uint)
    error: str = _key(7, _text, "")
    slot: str = _key(8, _slot, ACTIVE)


@dataclass(frozen=True, slots=True)
class RejectedBody:
    """`count` events of one subscription that a rule (empty: no rule) could not take, all for the same reason."""

    rule: str = _key(1, _text)
    source: str = _key(2, _text)
    address: str = _key(3, _text)
    reason: str = _key(4, _text)
    count: int = _key(5, _uint)
    first_us: int = _key(6, _int)
    last_us: int = _key(7, _int)
    slot: str = _key(8, _slot, ACTIVE)


COPIED = "copied"
"""The reason of a gap whose records every destination held before they were dropped: none of them is lost."""
UNRECORDED = "unrecorded"
"""The reason of a gap of executions that acted while the disk refused their records."""
LOSSES = ("age", "size", UNRECORDED, *map(str, BoardLoss))
"""Reasons by which records go that some destination does not hold."""


@dataclass(frozen=True, slots=True)
class GapBody:
    """Missing records: `count` of them, seq `first_seq` to `last_seq`; `last_hash` is the hash of the last one.

    When the disk refused to record (reason `unrecorded`) no seq was given: both are 0 and `last_hash` is zeros.
    `lost_total` counts all records lost in this epoch: those that nobody else held. With the reason `copied` none of
    the range is. Times bound the missing records.
    """

    first_seq: int = _key(1, _uint)
    last_seq: int = _key(2, _uint)
    count: int = _key(3, _uint)
    reason: str = _key(4, _text)
    last_hash: bytes = _key(5, _hash)
    since_us: int = _key(6, _int)
    until_us: int = _key(7, _int)
    lost_total: int = _key(8, _uint)
    public_key: bytes = _key(9, _hash)


@dataclass(frozen=True, slots=True)
class InstallBody:
    """A program began to run in a slot of its rule between two events; `previous` is what it took the place of.

    `withholds`: its actions are recorded and not performed. `signers`: the public keys of its signatures, where the
    record is of a board; `deployment` is empty for what no deployment brought there.
    """

    rule: str = _key(1, _text)
    program: bytes = _key(2, _hash)
    version: str = _key(3, _text)
    deployment: str = _key(4, _text)
    manifest_version: int = _key(5, _uint)
    params: tuple[tuple[str, Scalar], ...] = _key(6, _each(_text, _scalar), ())
    previous: bytes | None = _key(7, _hash, None)
    slot: str = _key(8, _slot, ACTIVE)
    withholds: bool = _key(9, _flag, False)
    signers: tuple[bytes, ...] = _key(10, _hashes, ())


@dataclass(frozen=True, slots=True)
class RemoveBody:
    """A rule was taken off the node."""

    rule: str = _key(1, _text)
    program: bytes = _key(2, _hash)


@dataclass(frozen=True, slots=True)
class StartBody:
    """The node started: its software, its public key, whether it had been stopped cleanly, the programs it runs.

    `programs` are the active ones, `candidates` run beside them: both as (rule, program).

    `replaced_epoch` stands in the first record of an epoch whose node had a store before, which is gone: its epoch.
    """

    version: str = _key(1, _text)
    public_key: bytes = _key(2, _hash)
    clean: bool = _key(3, _flag)
    programs: tuple[tuple[str, bytes], ...] = _key(4, _each(_text, _hash), ())
    replaced_epoch: int = _key(5, _uint, 0)
    candidates: tuple[tuple[str, bytes], ...] = _key(6, _each(_text, _hash), ())


@dataclass(frozen=True, slots=True)
class StopBody:
    """The node stopped in good order, for this reason."""

    reason: str = _key(1, _text)


@dataclass(frozen=True, slots=True)
class CheckpointBody:
    """Signed: the node with this public key vouches for everything before, through `prev`."""

    public_key: bytes = _key(1, _hash)


@dataclass(frozen=True, slots=True)
class ClockBody:
    """The node's clock was set by `step_us` microseconds, and what the rule's time words remember moved along."""

    rule: str = _key(1, _text)
    program: bytes = _key(2, _hash)
    step_us: int = _key(3, _int)
    slot: str = _key(4, _slot, ACTIVE)


@dataclass(frozen=True, slots=True)
class WithdrawBody:
    """Too few keys that signed a program are trusted any more, so it was stopped; it had run since `since_us`."""

    rule: str = _key(1, _text)
    program: bytes = _key(2, _hash)
    signers: tuple[bytes, ...] = _key(3, _hashes)
    since_us: int = _key(4, _int)
    slot: str = _key(5, _slot, ACTIVE)


@dataclass(frozen=True, slots=True)
class SlotBody:
    """A program of a rule changed its slot or its standing, as `change` (SlotChange) says.

    `program` passed, was promoted from candidate to active, is active again, or was dropped: a candidate, or an active
    program that failed where none had passed before. `replaced` was active before it. `reason` says why one failed.
    """

    rule: str = _key(1, _text)
    change: int = _key(2, _uint)
    program: bytes = _key(3, _hash)
    replaced: bytes | None = _key(4, _hash, None)
    reason: str = _key(5, _text, "")


@dataclass(frozen=True, slots=True)
class DifferenceBody:
    """A candidate that acts on nothing, `program`, decided otherwise than the active program of its rule.

    The event's time is in microseconds; the numbers are those of the execution records of both.
    """

    rule: str = _key(1, _text)
    program: bytes = _key(2, _hash)
    event_time_us: int = _key(3, _int)
    active_seq: int = _key(4, _uint)
    candidate_seq: int = _key(5, _uint)


@dataclass(frozen=True, slots=True)
class BoardChainBody:
    """Here the records of a board begin anew, or go on behind some that are missing; `reason` is a BoardBreak.

    The next BOARD_RECORD has the number `number` of the board's start `boot`, and `chain` is the board's own hash
    before it, as the board of this device told it. `firmware` is what it told of its software.
    """

    device: str = _key(1, _text)
    boot: int = _key(2, _uint)
    number: int = _key(3, _uint)
    chain: bytes = _key(4, _hash)
    reason: str = _key(5, _text)
    firmware: str = _key(6, _text, "")


@dataclass(frozen=True, slots=True)
class BoardRecordBody:
    """One record of a board: `data` is what came over its line, `number` its place among those of start `boot`.

    The rest is the gateway's: which program the board told for it, and the names of the outputs whose levels it has.
    `chain` is the board's own hash after it, as the board told it; only in the last record of a reading.
    """

    boot: int = _key(1, _uint)
    number: int = _key(2, _uint)
    data: bytes = _key(3, _board_bytes)
    rule: str = _key(4, _text, "")
    program: bytes | None = _key(5, _hash, None)
    chain: bytes | None = _key(6, _hash, None)
    outputs: tuple[str, ...] = _key(7, _texts, ())

    @property
    def outcome(self) -> int:
        """The outcome of the execution in it; NO_EXECUTION when it holds something else."""
        found = read_execution(self.data)
        return NO_EXECUTION if found is None else found.outcome


@dataclass(frozen=True, slots=True)
class BoardAnswerBody:
    """A question of a rule on a board for a language model, and what the gateway answered, after `took_us`.

    `args` are those of the call at `site`. `answer` is what went to the board, None where `error` says why none did:
    then the board takes the fallback of the rule, as when its time is over.
    """

    rule: str = _key(1, _text)
    program: bytes = _key(2, _hash)
    boot: int = _key(3, _uint)
    number: int = _key(4, _uint)
    site: int = _key(5, _uint)
    args: tuple[Scalar, ...] = _key(6, _scalars)
    took_us: int = _key(7, _uint)
    answer: bool | int | float | str | None = _key(8, _scalar, None)
    error: str = _key(9, _text, "")


Body = (
    ExecutionBody
    | ActionResultBody
    | RejectedBody
    | GapBody
    | InstallBody
    | RemoveBody
    | StartBody
    | StopBody
    | CheckpointBody
    | ClockBody
    | WithdrawBody
    | SlotBody
    | DifferenceBody
    | BoardChainBody
    | BoardRecordBody
    | BoardAnswerBody
)

BODIES: dict[Kind, type[Body]] = {
    Kind.EXECUTION: ExecutionBody,
    Kind.ACTION_RESULT: ActionResultBody,
    Kind.REJECTED: RejectedBody,
    Kind.GAP: GapBody,
    Kind.INSTALL: InstallBody,
    Kind.REMOVE: RemoveBody,
    Kind.START: StartBody,
    Kind.STOP: StopBody,
    Kind.CHECKPOINT: CheckpointBody,
    Kind.CLOCK: ClockBody,
    Kind.WITHDRAW: WithdrawBody,
    Kind.SLOT: SlotBody,
    Kind.DIFFERENCE: DifferenceBody,
    Kind.BOARD_CHAIN: BoardChainBody,
    Kind.BOARD_RECORD: BoardRecordBody,
    Kind.BOARD_ANSWER: BoardAnswerBody,
}

KINDS: dict[type, Kind] = {body: kind for kind, body in BODIES.items()}

SIGNED = frozenset({Kind.GAP, Kind.CHECKPOINT})
"""Kinds that carry the node's signature."""

_LAYOUT = {
    body: tuple((f.metadata["key"], f.name, f.default, f.metadata["check"]) for f in fields(body))
    for body in BODIES.values()
}
_WRITTEN = {
    body: (
        _values_of(tuple(name for _, name, *_ in layout)),
        tuple((encode(key), default) for key, _, default, _ in layout),
    )
    for body, layout in _LAYOUT.items()
}
"""How a body is written: what takes its values, and the encoded key and the default of each."""


def encode_body(body: Body, depth: int) -> bytes:
    """Return the body as a map with integer keys, which ascend; fields that have their default are left out."""
    values_of, layout = _WRITTEN[type(body)]
    pairs = zip(layout, values_of(body), strict=True)
    return encode_fields([(key, value) for (key, default), value in pairs if value != default], depth)


def body_from_map(kind: Kind, raw: Mapping[object, object]) -> Body:
    """Return the body of a decoded map. Raises AuditError on a missing, unknown or ill-typed field."""
    cls, left = BODIES[kind], dict(raw)
    values: dict[str, Any] = {}
    for key, name, default, check in _LAYOUT[cls]:
        if key not in left:
            if default is MISSING:
                raise AuditError(f"a record of kind {kind.name} has no {name} (key {key})")
            continue
        value = values[name] = _frozen(left.pop(key))
        if not check(value):
            raise AuditError(f"{name} (key {key}) of a record of kind {kind.name} has the wrong type")
        if value == default:
            raise AuditError(f"{name} (key {key}) of a record of kind {kind.name} is written, and left out otherwise")
    if left:
        raise AuditError(f"a record of kind {kind.name} has no key {next(iter(left))}")
    return cls(**values)


def _frozen(value: Any) -> Any:
    return tuple(_frozen(element) for element in value) if type(value) is list else value
