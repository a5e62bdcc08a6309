"""The link between node and coordinator as two pure state machines: messages in, outputs out; no sockets, no clock.

The shells (`node.cluster.link`, `coordinator.link`) send what `Send` says, do what the other outputs ask, and close on
`Close`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from eyeflow.protocol.identity import verifies
from eyeflow.protocol.messages import (
    PROTOCOL_VERSION_MAX,
    PROTOCOL_VERSION_MIN,
    Fetch,
    Head,
    Hello,
    Install,
    InstalledRule,
    Manifest,
    ManifestResult,
    Message,
    Recall,
    Recalled,
    RuleResult,
    Status,
    WantedManifest,
    Welcome,
    decode_manifest,
    manifest_bytes,
    welcome_bytes,
)
from eyeflow.protocol.wire import ProtocolError

STATUS_S = 5
"""How often a node tells its health, until a Welcome says."""
HEADS_SINCE = 2
"""The protocol version from which on Recall, Recalled and Head exist."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send this message to the peer."""

    message: Message


@dataclass(frozen=True, slots=True)
class Close:
    """Close the link; `code` is a stable word, `reason` is for people."""

    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Apply:
    """Node: make the running programs what `manifest` says, then call `applied`. `programs` are the fetched bytes.

    `missing` names the programs that the coordinator could not give: their rules are refused.
    """

    manifest: WantedManifest
    digest: bytes
    programs: Mapping[str, bytes]
    missing: frozenset[str]


@dataclass(frozen=True, slots=True)
class Remember:
    """Node: call `remembered` with the hash of audit record `seq` of `epoch`, empty when it is not here."""

    epoch: int
    seq: int


@dataclass(frozen=True, slots=True)
class Connected:
    """Coordinator: the node said HELLO."""

    hello: Hello


@dataclass(frozen=True, slots=True)
class NeedPrograms:
    """Coordinator: call `deliver` with these programs."""

    manifest_version: int
    program_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Applied:
    """Coordinator: the node applied a whole manifest."""

    result: ManifestResult


@dataclass(frozen=True, slots=True)
class Seen:
    """Coordinator: the node told its health."""

    status: Status


@dataclass(frozen=True, slots=True)
class Told:
    """Coordinator: the node told where its audit chain ends. A node of protocol 1 tells neither `boot` nor `hash`."""

    head: Head


@dataclass(frozen=True, slots=True)
class Recollected:
    """Coordinator: the node told the hash of the record that was its last one, as `known`, before this link."""

    known: Head
    hash: bytes


Output = Send | Close | Apply | Remember | Connected | NeedPrograms | Applied | Seen | Told | Recollected


class Phase(Enum):
    """Where a session stands."""

    OPENING = "opening"
    READY = "ready"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Peer:
    """The coordinator as the node knows it since it joined."""

    coordinator_id: str
    public_key: bytes


@dataclass(frozen=True, slots=True)
class Accepted:
    """The manifest a node accepted last: it takes no lower version, and no other bytes with the same version."""

    version: int = 0
    digest: bytes = b""


class NodeSession:
    """The node's side of one link. What HELLO lists as installed is not fetched again; `head` is as old as HELLO."""

    def __init__(self, hello: Hello, peer: Peer, accepted: Accepted, head: Head) -> None:
        self.phase = Phase.OPENING
        self.accepted = accepted
        self.protocol = 0
        self.status_s = STATUS_S
        self._hello = hello
        self._head = head
        self._peer = peer
        self._held = frozenset(hello.installed)
        self._floor = accepted.version
        self._staging: _Staging | None = None
        self._applying: WantedManifest | None = None
        self._next: Manifest | None = None

    def start(self) -> tuple[Output, ...]:
        """Return the HELLO."""
        return (Send(self._hello),)

    def receive(self, message: Message) -> tuple[Output, ...]:
        """Take one message of the coordinator."""
        if self.phase is Phase.CLOSED:
            return ()
        if self.phase is Phase.OPENING:
            return self._welcome(message) if isinstance(message, Welcome) else self._unexpected(message)
        if isinstance(message, Manifest):
            return self._manifest(message)
        if isinstance(message, Install):
            return self._install(message)
        if isinstance(message, Recall) and self.protocol >= HEADS_SINCE:
            return (Remember(message.epoch, message.seq),)
        return self._unexpected(message)

    def remembered(self, asked: Remember, record_hash: bytes) -> tuple[Output, ...]:
        """Answer what a `Remember` asked."""
        return (Send(Recalled(asked.epoch, asked.seq, record_hash)),) if self.phase is Phase.READY else ()

    def applied(self, results: tuple[RuleResult, ...], installed: frozenset[InstalledRule]) -> tuple[Output, ...]:
        """Report the manifest of the last `Apply` as done; `installed` is what the node runs of the cluster now.

        Goes on with a newer manifest that came meanwhile.
        """
        if self._applying is None:
            raise AssertionError("applied() without an Apply")
        version, self._applying, self._held = self._applying.version, None, installed
        if self.phase is Phase.CLOSED:
            return ()
        waiting, self._next = self._next, None
        done: tuple[Output, ...] = (Send(ManifestResult(version, results)),)
        return done + (self._manifest(waiting) if waiting is not None else ())

    def status(self, status: Status, head: Head) -> tuple[Output, ...]:
        """Tell the coordinator the node's health and where its audit chain ends, once the link is up."""
        if self.phase is not Phase.READY:
            return ()
        return (*self._tell(head), Send(status))

    def _tell(self, head: Head) -> tuple[Output, ...]:
        return (Send(head),) if self.protocol >= HEADS_SINCE else ()

    def _welcome(self, message: Welcome) -> tuple[Output, ...]:
        if not self._hello.protocol_min <= message.protocol <= self._hello.protocol_max:
            return self._close("protocol_version", f"the coordinator chose protocol {message.protocol}")
        signed = welcome_bytes(
            self._peer.coordinator_id,
            self._hello.node,
            self._hello.nonce,
            message.protocol,
            message.manifest_version,
        )
        known = message.coordinator_id == self._peer.coordinator_id
        if not known or not verifies(self._peer.public_key, signed, message.signature):
            return self._close("foreign_coordinator", "the coordinator is not the one this node joined")
        if message.manifest_version < self.accepted.version:
            return self._close("manifest_rollback", "the coordinator's manifest is older than the one applied here")
        self.phase, self.protocol = Phase.READY, message.protocol
        self.status_s = message.status_s
        self._floor = message.manifest_version
        return self._tell(self._head)  # before any result: the coordinator judges results by it

    def _manifest(self, message: Manifest) -> tuple[Output, ...]:
        if self._applying is not None:
            self._next = message
            return ()
        if not verifies(self._peer.public_key, manifest_bytes(message.body), message.signature):
            return self._close("manifest_signature", "a manifest is not signed by the coordinator this node joined")
        try:
            wanted = decode_manifest(message.body)
        except ProtocolError as error:
            return self._close("manifest_malformed", error.message)
        digest = hashlib.sha256(message.body).digest()
        refusal = self._refusal(wanted, digest)
        if refusal:
            return self._close("manifest_rollback", refusal)
        self._floor = wanted.version
        self._staging = _Staging(wanted, digest, self._held)
        return self._fetch_or_apply()

    def _refusal(self, wanted: WantedManifest, digest: bytes) -> str:
        if wanted.coordinator_id != self._peer.coordinator_id or wanted.node != self._hello.node:
            return "a manifest is for another node or cluster"
        if wanted.version < max(self.accepted.version, self._floor):
            return f"manifest {wanted.version} is older than {max(self.accepted.version, self._floor)}"
        if wanted.version == self.accepted.version and digest != self.accepted.digest:
            return f"manifest {wanted.version} differs from the one accepted before"
        return ""

    def _install(self, message: Install) -> tuple[Output, ...]:
        staging = self._staging
        if staging is None or message.manifest_version != staging.manifest.version:
            return ()  # a program of a manifest that a newer one replaced
        if message.program_id not in staging.waiting:
            return self._close("unexpected_program", f"program {message.program_id[:12]} was not asked for")
        staging.take(message)
        return self._apply() if not staging.waiting else ()

    def _fetch_or_apply(self) -> tuple[Output, ...]:
        staging = self._staging
        assert staging is not None
        if staging.waiting:
            return (Send(Fetch(staging.manifest.version, tuple(sorted(staging.waiting)))),)
        return self._apply()

    def _apply(self) -> tuple[Output, ...]:
        staging, self._staging = self._staging, None
        assert staging is not None
        self._applying = staging.manifest
        self.accepted = Accepted(staging.manifest.version, staging.digest)
        return (Apply(staging.manifest, staging.digest, staging.programs, frozenset(staging.missing)),)

    def _unexpected(self, message: Message) -> tuple[Output, ...]:
        return self._close("unexpected_message", f"{type(message).__name__} while {self.phase.value}")

    def _close(self, code: str, reason: str) -> tuple[Output, ...]:
        self.phase = Phase.CLOSED
        return (Close(code, reason),)


class _Staging:
    """A manifest whose programs are on their way: nothing of it is applied before all have come."""

    def __init__(self, manifest: WantedManifest, digest: bytes, held: frozenset[InstalledRule]) -> None:
        self.manifest = manifest
        self.digest = digest
        self.programs: dict[str, bytes] = {}
        self.missing: set[str] = set()
        self.waiting = {
            entry.program_id
            for entry in manifest.entries
            if InstalledRule(entry.rule, entry.program_id, entry.params) not in held
        }

    def take(self, message: Install) -> None:
        self.waiting.discard(message.program_id)
        if message.program:
            self.programs[message.program_id] = message.program
        else:
            self.missing.add(message.program_id)


@dataclass(frozen=True, slots=True)
class Offer:
    """The latest wanted manifest of a node, with its version and which rule each program is for."""

    version: int
    manifest: Manifest
    rules: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Coordinates:
    """What the coordinator's side says about itself; `sign` signs with the coordinator's key."""

    coordinator_id: str
    software: str
    sign: Callable[[bytes], bytes]
    status_s: int = STATUS_S


class CoordinatorSession:
    """The coordinator's side of one link with the authenticated node `node`.

    `known` is the end of the node's audit chain as the coordinator saw it last: the node is asked whether it holds it.
    """

    def __init__(
        self, node: str, own: Coordinates, offer: Offer, audit_next_seq: int = 0, known: Head | None = None
    ) -> None:
        self.phase = Phase.OPENING
        self._protocol = 0
        self._known = known
        self._node = node
        self._own = own
        self._offer = offer
        self._audit_next_seq = audit_next_seq

    @property
    def offered_version(self) -> int:
        """Version of the latest manifest offered."""
        return self._offer.version

    def receive(self, message: Message) -> tuple[Output, ...]:
        """Take one message of the node."""
        if self.phase is Phase.CLOSED:
            return ()
        if self.phase is Phase.OPENING:
            return self._hello(message) if isinstance(message, Hello) else self._unexpected(message)
        if isinstance(message, Fetch):
            return self._fetch(message)
        if isinstance(message, ManifestResult):
            return (Applied(message),) if message.manifest_version <= self._offer.version else self._ahead()
        if isinstance(message, Status):
            return (*self._told_by_number(message.epoch, message.next_seq), Seen(message))
        return self._history(message) if self._protocol >= HEADS_SINCE else self._unexpected(message)

    def offer(self, offer: Offer) -> tuple[Output, ...]:
        """The wanted manifest changed: send it when the link is up (HELLO sends the latest anyway)."""
        if offer.version <= self._offer.version:
            return ()
        self._offer = offer
        return (Send(offer.manifest),) if self.phase is Phase.READY else ()

    def deliver(self, manifest_version: int, programs: Mapping[str, bytes]) -> tuple[Output, ...]:
        """Send fetched programs; empty bytes say that the program is lost."""
        if self.phase is not Phase.READY or manifest_version != self._offer.version:
            return ()
        return tuple(
            Send(Install(manifest_version, self._offer.rules[program_id], program_id, program))
            for program_id, program in programs.items()
        )

    def _hello(self, message: Hello) -> tuple[Output, ...]:
        if message.node != self._node:
            return self._close("wrong_node", f"the link was opened for {self._node}, not for {message.node}")
        protocol = min(message.protocol_max, PROTOCOL_VERSION_MAX)
        if protocol < max(message.protocol_min, PROTOCOL_VERSION_MIN):
            spoken = f"{PROTOCOL_VERSION_MIN} to {PROTOCOL_VERSION_MAX}"
            return self._close("protocol_version", f"this coordinator speaks protocol {spoken}")
        if message.manifest_version > self._offer.version:
            return self._ahead()
        self.phase, self._protocol = Phase.READY, protocol
        told = self._told_by_number(message.epoch, message.next_seq)
        welcome = Send(self._welcome(message, protocol))
        return (welcome, Connected(message), *told, *self._recall(), Send(self._offer.manifest))

    def _recall(self) -> tuple[Output, ...]:
        known = self._known
        if known is None or not known.hash or self._protocol < HEADS_SINCE:
            self._known = None
            return ()
        return (Send(Recall(known.epoch, known.seq)),)

    def _told_by_number(self, epoch: int, next_seq: int) -> tuple[Output, ...]:
        """A node of protocol 1 tells its next sequence number only: older copies are found, forks are not."""
        return (Told(Head(b"", epoch, max(0, next_seq - 1), b"")),) if self._protocol < HEADS_SINCE else ()

    def _history(self, message: Message) -> tuple[Output, ...]:
        if isinstance(message, Head):
            return (Told(message),)
        known, self._known = self._known, None
        if isinstance(message, Recalled) and known and (message.epoch, message.seq) == (known.epoch, known.seq):
            return (Recollected(known, message.hash),)
        return self._unexpected(message)

    def _welcome(self, hello: Hello, protocol: int) -> Welcome:
        own, version = self._own, self._offer.version
        signature = own.sign(welcome_bytes(own.coordinator_id, self._node, hello.nonce, protocol, version))
        return Welcome(
            protocol, own.software, own.coordinator_id, version, self._audit_next_seq, own.status_s, signature
        )

    def _fetch(self, message: Fetch) -> tuple[Output, ...]:
        if message.manifest_version != self._offer.version:
            return ()  # the newer manifest is already on its way; the node asks again for that one
        foreign = [one for one in message.program_ids if one not in self._offer.rules]
        if foreign or len(set(message.program_ids)) != len(message.program_ids):
            return self._close("unexpected_program", "the node asked for a program outside its manifest")
        return (NeedPrograms(message.manifest_version, message.program_ids),)

    def _ahead(self) -> tuple[Output, ...]:
        return self._close("manifest_ahead", "the node applied a newer manifest: this coordinator's store is older")

    def _unexpected(self, message: Message) -> tuple[Output, ...]:
        return self._close("unexpected_message", f"{type(message).__name__} while {self.phase.value}")

    def _close(self, code: str, reason: str) -> tuple[Output, ...]:
        self.phase = Phase.CLOSED
        return (Close(code, reason),)
