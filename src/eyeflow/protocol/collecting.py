"""How the audit leaves a node: the coordinator asks for what it lacks, and says with each ask what it holds.

`docs/decisions/0016` says why it is a pull. Records travel as the bytes that the node stores, in a compressed bundle.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import zstandard
from msgspec import Meta

from eyeflow.base.reasons import why
from eyeflow.protocol import wire
from eyeflow.protocol.audit import RECORD_BYTES_MAX
from eyeflow.protocol.audit_bodies import HASH_BYTES
from eyeflow.protocol.identity import SIGNATURE_BYTES, verifies
from eyeflow.protocol.slot import Slot
from eyeflow.protocol.wire import Hash, Natural, ProgramId, ProtocolError, RuleName, Signature

PLAIN_BYTES_MAX = 256 * 1024
"""What a coordinator asks for at once, before compression: manifests and status go between two such bundles."""
BUNDLE_BYTES_MAX = RECORD_BYTES_MAX + PLAIN_BYTES_MAX
"""Bytes of a bundle, plain or compressed: a single record may be longer than what was asked for."""
BUNDLE_RECORDS_MAX = 4096
STATES_BYTES_MAX = 256 * 1024
"""Bytes of the states that go with one answer. A state that is longer alone is not told."""
STATES_MAX = 4096
Key = Annotated[str, Meta(max_length=1024)]
LEVEL = 1
"""Of zstd: 1,000 executions took 0.2 ms, and 0.4 and 1.3 ms with the levels 3 and 6, which made them no shorter."""

_RECORDS: wire.Codec[tuple[bytes, ...]] = wire.Codec(
    Annotated[
        tuple[Annotated[bytes, Meta(min_length=1, max_length=RECORD_BYTES_MAX)], ...],
        Meta(min_length=1, max_length=BUNDLE_RECORDS_MAX),
    ],
    "a bundle of audit records",
    BUNDLE_BYTES_MAX,
)


class KeptHead(wire.Wire, frozen=True):
    """The last record of a node's chain that the coordinator holds durably, cosigned by it at `time_us`.

    `seq` 0: it holds none, and then all fields but `epoch` are zeros. `signature` is over `head_bytes`.
    """

    epoch: Natural
    seq: Natural = 0
    hash: Hash = bytes(HASH_BYTES)
    time_us: Natural = 0
    signature: Signature = bytes(SIGNATURE_BYTES)


class Collect(wire.Wire, frozen=True, tag=15):
    """The coordinator holds what `kept` says; the node shall send what follows record `after_seq` of that epoch.

    The node sends at most `bytes_max` bytes of records, but at least one record, as soon as it has one. A newer ask
    takes the place of one that is not answered yet.
    """

    kept: KeptHead
    after_seq: Natural
    bytes_max: Annotated[int, Meta(ge=1, le=PLAIN_BYTES_MAX)]

    def __post_init__(self) -> None:
        if self.after_seq < self.kept.seq:
            raise ProtocolError("a coordinator asks for records that it says it holds")


class SlotState(wire.Wire, frozen=True):
    """The durable state of the program in one slot of a rule, as the node stores it (docs/svm.md).

    `key`: of which key, where a rule keeps a state for each; empty: of all events.
    """

    rule: RuleName
    slot: Slot
    key: Key
    program_id: ProgramId
    state: Annotated[bytes, Meta(max_length=STATES_BYTES_MAX)]


class States(wire.Wire, frozen=True):
    """The states of a node after its record `seq`: of which (rule, slot, key) there are some, and what changed.

    `changed` is what the node has not told yet over this link, as far as it fits in STATES_BYTES_MAX. `is_complete`:
    all of it is there.
    """

    seq: Natural
    held: Annotated[tuple[tuple[RuleName, Slot, Key], ...], Meta(max_length=STATES_MAX)]
    changed: Annotated[tuple[SlotState, ...], Meta(max_length=STATES_MAX)]
    is_complete: bool


class Collected(wire.Wire, frozen=True, tag=16):
    """The node's answer to a Collect: the records `first_seq` to `last_seq` of `epoch`, consecutive, as `bundled`.

    `head_seq` is the last record that the node had when it read them. `states` come once in a while, when nothing is
    behind: they are no part of the chain, and say how its rules stand.
    """

    epoch: Natural
    first_seq: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    last_seq: Natural
    head_seq: Natural
    records: Annotated[bytes, Meta(min_length=1, max_length=BUNDLE_BYTES_MAX)]
    states: States | None

    def __post_init__(self) -> None:
        if not self.first_seq <= self.last_seq <= self.head_seq:
            raise ProtocolError("the numbers of collected records do not ascend")
        if self.last_seq - self.first_seq >= BUNDLE_RECORDS_MAX:
            raise ProtocolError(f"more than {BUNDLE_RECORDS_MAX} records were collected at once")


def bundled(records: Sequence[bytes]) -> bytes:
    """Return records as they travel: one zstd frame around a msgpack array of their bytes. Raises ProtocolError."""
    return zstandard.ZstdCompressor(level=LEVEL, write_content_size=True).compress(_RECORDS.encode(tuple(records)))


def unbundled(data: bytes) -> tuple[bytes, ...]:
    """Return the records in a bundle. Raises ProtocolError for anything else.

    The size is read before anything is decompressed: a few bytes can stand for gigabytes.
    """
    try:
        size_bytes = zstandard.get_frame_parameters(data).content_size
        if size_bytes > BUNDLE_BYTES_MAX:  # also where the frame does not tell
            raise ProtocolError(f"a bundle of records has more than {BUNDLE_BYTES_MAX} bytes")
        plain = zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)
    except zstandard.ZstdError as error:
        text = f"a bundle of records cannot be decompressed: {why(error)}"
        raise ProtocolError(text[: wire.FAULT_CHARS_MAX]) from error
    return _RECORDS.decode(plain)


def head_bytes(coordinator_id: str, node: str, kept: KeptHead) -> bytes:
    """Return what a coordinator signs for the head of a node's chain that it holds."""
    return b"eyeflow head v1\0" + wire.pack([coordinator_id, node, kept.epoch, kept.seq, kept.hash, kept.time_us])


def is_cosigned(kept: KeptHead, coordinator_id: str, public_key: bytes, node: str) -> bool:
    """Return whether the coordinator with this key signed that it holds the node's chain up to there."""
    return verifies(public_key, head_bytes(coordinator_id, node, kept), kept.signature)
