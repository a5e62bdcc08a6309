"""The messages between node and coordinator, as frozen dataclasses with one strict msgpack encoding each.

The page `docs/reference/link-protocol.md` tells how they are used. A message is a msgpack array [type, {fields}]: a
decoder refuses unknown types and fields, missing fields, wrong types, over-long values and trailing bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from eyeflow.protocol import wire
from eyeflow.protocol.wire import Check, ProtocolError

PROTOCOL_VERSION_MIN = 1
PROTOCOL_VERSION_MAX = 2

BOOT_BYTES = 16
HASH_BYTES = 32

SHORT_BYTES_MAX = 64
HEALTH_NAME_BYTES_MAX = 128
REASON_BYTES_MAX = 1024
MANIFEST_BYTES_MAX = wire.MESSAGE_BYTES_MAX // 2

Scalar = bool | int | float | str
Params = tuple[tuple[str, Scalar], ...]


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


@dataclass(frozen=True, slots=True)
class InstalledRule:
    """A program that the node runs: the rule, the program's id and the parameters set for it, ascending by name."""

    rule: str
    program_id: str
    params: Params = ()


@dataclass(frozen=True, slots=True)
class Hello:
    """First message of a node. `next_seq` is the audit sequence number it will write next in `epoch`.

    `nonce` is fresh; the coordinator signs it in its answer. `manifest_version` is the last one applied, 0 for none.
    """

    protocol_min: int
    protocol_max: int
    software: str
    node: str
    epoch: int
    next_seq: int
    manifest_version: int
    nonce: bytes
    installed: tuple[InstalledRule, ...] = ()


@dataclass(frozen=True, slots=True)
class Welcome:
    """The coordinator's answer: the chosen protocol version, its latest manifest version, and proof that it is fresh.

    `signature` is by the coordinator's key over `welcome_bytes(...)`, so an old answer cannot freeze a node.
    """

    protocol: int
    software: str
    coordinator_id: str
    manifest_version: int
    audit_next_seq: int
    status_s: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """One rule that a node shall run."""

    rule: str
    program_id: str
    deployment_id: str
    params: Params = ()


@dataclass(frozen=True, slots=True)
class WantedManifest:
    """All that a node shall run, complete, for this node only. Versions of a node's manifest only grow.

    `signers` are the Ed25519 public keys whose programs the cluster trusts, ascending.
    """

    coordinator_id: str
    node: str
    version: int
    created_us: int
    entries: tuple[ManifestEntry, ...] = ()
    signers: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Manifest:
    """A `WantedManifest` as the exact bytes that the coordinator signed."""

    body: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Fetch:
    """The node asks for programs of manifest `manifest_version` that it does not hold."""

    manifest_version: int
    program_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Install:
    """One program's bytes for the rule of a manifest entry. An empty `program` says that the coordinator lost it."""

    manifest_version: int
    rule: str
    program_id: str
    program: bytes


@dataclass(frozen=True, slots=True)
class RuleResult:
    """What became of one rule; `program_id` is the wanted one, empty when the rule is to be removed."""

    rule: str
    program_id: str
    state: RuleState
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ManifestResult:
    """Sent once a whole manifest was applied: one result for each entry and each removed rule."""

    manifest_version: int
    results: tuple[RuleResult, ...]


@dataclass(frozen=True, slots=True)
class Health:
    """Counters of one rule (`kind` `rule`) or one source, driver or buffer of the node (`kind` `port`)."""

    kind: str
    name: str
    state: HealthState
    detail: str = ""
    program_id: str = ""
    counters: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Status:
    """Health of the whole node at `time_us`; `next_seq` as in Hello."""

    time_us: int
    epoch: int
    next_seq: int
    manifest_version: int
    health: tuple[Health, ...] = ()


@dataclass(frozen=True, slots=True)
class Recall:
    """Protocol 2: the coordinator asks what hash the audit record has that it knows as the node's last."""

    epoch: int
    seq: int


@dataclass(frozen=True, slots=True)
class Recalled:
    """Protocol 2: the answer to Recall. `hash` is the SHA-256 of the record, empty when the node does not hold it."""

    epoch: int
    seq: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Head:
    """Protocol 2: the last record of a node's audit chain; `hash` is zeros while there is none (`seq` 0).

    `boot` is drawn anew at each start of the node's process: two processes with one identity differ in it.
    """

    boot: bytes
    epoch: int
    seq: int
    hash: bytes


Message = Hello | Welcome | Manifest | Fetch | Install | ManifestResult | Status | Recall | Recalled | Head

_NATURAL = wire.integer(0, 2**63 - 1)
_VERSION = wire.integer(1, 255)
_SHORT = wire.text(SHORT_BYTES_MAX)
_LONG = wire.text(REASON_BYTES_MAX)
_NODE = wire.text(63, wire.NAME)
_RULE = wire.text(63, wire.RULE)
_ID = wire.text(64, wire.PROGRAM_ID)
_ID_OR_NONE: Check = lambda value, path: value if value == "" else _ID(value, path)  # noqa: E731
_HASH = wire.binary(HASH_BYTES, HASH_BYTES)
_HASH_OR_NONE: Check = lambda value, path: value if value == b"" else _HASH(value, path)  # noqa: E731
_PARAMS = wire.mapping(wire.text(63, wire.IDENTIFIER), wire.scalar, wire.PARAMS_MAX)
_COUNTERS = wire.mapping(_SHORT, _NATURAL, wire.COUNTERS_MAX)


def _enum(kind: type[Enum]) -> Check:
    named = wire.choice(frozenset(member.value for member in kind))
    return lambda value, path: value if isinstance(value, kind) else kind(named(value, path))


_INSTALLED = wire.record(InstalledRule, {"rule": _RULE, "program_id": _ID, "params": _PARAMS})
_ENTRY = wire.record(ManifestEntry, {"rule": _RULE, "program_id": _ID, "deployment_id": _SHORT, "params": _PARAMS})
_RESULT = wire.record(
    RuleResult, {"rule": _RULE, "program_id": _ID_OR_NONE, "state": _enum(RuleState), "reason": _LONG}
)
_HEALTH = wire.record(
    Health,
    {
        "kind": wire.choice(frozenset({"rule", "port"})),
        "name": wire.text(HEALTH_NAME_BYTES_MAX),
        "state": _enum(HealthState),
        "detail": _LONG,
        "program_id": _ID_OR_NONE,
        "counters": _COUNTERS,
    },
)
_BODY_FIELDS: dict[str, Check] = {
    "coordinator_id": _ID,
    "node": _NODE,
    "version": _NATURAL,
    "created_us": _NATURAL,
    "entries": wire.sequence(_ENTRY, wire.RULES_MAX),
    "signers": wire.sequence(wire.binary(32, 32), wire.SIGNERS_MAX),
}
_FIELDS: dict[type[Any], dict[str, Check]] = {
    Hello: {
        "protocol_min": _VERSION,
        "protocol_max": _VERSION,
        "software": _SHORT,
        "node": _NODE,
        "epoch": _NATURAL,
        "next_seq": _NATURAL,
        "manifest_version": _NATURAL,
        "nonce": wire.binary(32, 32),
        "installed": wire.sequence(_INSTALLED, wire.RULES_MAX),
    },
    Welcome: {
        "protocol": _VERSION,
        "software": _SHORT,
        "coordinator_id": _ID,
        "manifest_version": _NATURAL,
        "audit_next_seq": _NATURAL,
        "status_s": wire.integer(1, 3600),
        "signature": wire.binary(64, 64),
    },
    Manifest: {"body": wire.binary(1, MANIFEST_BYTES_MAX), "signature": wire.binary(64, 64)},
    Fetch: {"manifest_version": _NATURAL, "program_ids": wire.sequence(_ID, wire.RULES_MAX)},
    Install: {
        "manifest_version": _NATURAL,
        "rule": _RULE,
        "program_id": _ID,
        "program": wire.binary(0, wire.PROGRAM_BYTES_MAX),
    },
    ManifestResult: {"manifest_version": _NATURAL, "results": wire.sequence(_RESULT, 2 * wire.RULES_MAX)},
    Status: {
        "time_us": _NATURAL,
        "epoch": _NATURAL,
        "next_seq": _NATURAL,
        "manifest_version": _NATURAL,
        "health": wire.sequence(_HEALTH, 2 * wire.RULES_MAX),
    },
    Recall: {"epoch": _NATURAL, "seq": _NATURAL},
    Recalled: {"epoch": _NATURAL, "seq": _NATURAL, "hash": _HASH_OR_NONE},
    Head: {
        "boot": wire.binary(BOOT_BYTES, BOOT_BYTES),
        "epoch": _NATURAL,
        "seq": _NATURAL,
        "hash": _HASH,
    },
}
_TYPES: dict[int, type[Any]] = {
    1: Hello,
    2: Welcome,
    3: Manifest,
    4: Fetch,
    5: Install,
    6: ManifestResult,
    7: Status,
    8: Recall,
    9: Recalled,
    10: Head,
}
_CODES = {kind: code for code, kind in _TYPES.items()}
_CHECKS = {kind: wire.record(kind, fields) for kind, fields in _FIELDS.items()}
_BODY = wire.record(WantedManifest, _BODY_FIELDS)
_MAPS = frozenset({"params", "counters"})


def encode_message(message: Message) -> bytes:
    """Return the bytes of a message; raises ProtocolError when a field is out of its bounds."""
    kind = type(message)
    _CHECKS[kind](message, kind.__name__)
    data = wire.pack([_CODES[kind], _plain(message)])
    if len(data) > wire.MESSAGE_BYTES_MAX:
        raise ProtocolError(f"a {kind.__name__} message is longer than {wire.MESSAGE_BYTES_MAX} bytes")
    return data


def decode_message(data: bytes) -> Message:
    """Return the message that `encode_message` would turn into exactly `data`; raises ProtocolError with the reason."""
    plain = wire.unpack(data)
    if not isinstance(plain, list) or len(plain) != 2 or type(plain[0]) is not int:
        raise ProtocolError("a message is not a pair of type and fields")
    kind = _TYPES.get(plain[0])
    if kind is None or not isinstance(plain[1], Mapping):
        raise ProtocolError(f"a message has the unknown type {plain[0]}")
    message: Message = _CHECKS[kind](plain[1], kind.__name__)
    if encode_message(message) != data:
        raise ProtocolError(f"a {kind.__name__} message is not in its one encoding")
    return message


def encode_manifest(manifest: WantedManifest) -> bytes:
    """Return the body that the coordinator signs; entries must ascend by rule, each rule once."""
    _BODY(manifest, "manifest")
    _ascending(manifest)
    body = wire.pack(_plain(manifest))
    if len(body) > MANIFEST_BYTES_MAX:
        raise ProtocolError(f"a manifest is longer than {MANIFEST_BYTES_MAX} bytes")
    return body


def decode_manifest(body: bytes) -> WantedManifest:
    """Return the manifest in `body`; raises ProtocolError unless it is the one encoding of a manifest."""
    plain = wire.unpack(body)
    if not isinstance(plain, Mapping):
        raise ProtocolError("a manifest is not a map")
    manifest: WantedManifest = _BODY(plain, "manifest")
    if encode_manifest(manifest) != body:
        raise ProtocolError("a manifest is not in its one encoding")
    return manifest


def _ascending(manifest: WantedManifest) -> None:
    rules = [entry.rule for entry in manifest.entries]
    if rules != sorted(set(rules)):
        raise ProtocolError("a manifest's entries do not ascend by rule")
    if list(manifest.signers) != sorted(set(manifest.signers)):
        raise ProtocolError("a manifest's signers do not ascend")


def _plain(value: Any, name: str = "") -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return dict(sorted(value)) if name in _MAPS else [_plain(one) for one in value]
    fields = getattr(type(value), "__slots__", None)
    return {field: _plain(getattr(value, field), field) for field in fields} if fields else value


def manifest_bytes(body: bytes) -> bytes:
    """Return what the coordinator signs for a manifest."""
    return b"eyeflow manifest v1\0" + body


def welcome_bytes(coordinator_id: str, node: str, nonce: bytes, protocol: int, manifest_version: int) -> bytes:
    """Return what the coordinator signs to prove that its Welcome is fresh."""
    return b"eyeflow welcome v1\0" + wire.pack([coordinator_id, node, nonce, protocol, manifest_version])


def link_bytes(coordinator_id: str, node: str, nonce: bytes) -> bytes:
    """Return what a node signs to open a link: the coordinator, its own name and the coordinator's nonce."""
    return b"eyeflow link v1\0" + wire.pack([coordinator_id, node, nonce])


def join_bytes(coordinator_fingerprint: str, node: str, public_key: bytes) -> bytes:
    """Return what a node signs when it joins, to prove that it holds the key that it registers."""
    return b"eyeflow join v1\0" + wire.pack([coordinator_fingerprint, node, public_key])
