"""The link between node and coordinator as two pure state machines: messages in, outputs out; no sockets, no clock.

The shells (`node.cluster.link`, `coordinator.link`) send what `Send` says, do what the other outputs ask, and close on
`Close`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from msgspec.structs import replace

from eyeflow.protocol.collecting import Collect, Collected
from eyeflow.protocol.executions import Differences, Failures
from eyeflow.protocol.identity import verifies
from eyeflow.protocol.lines import Listen, Listened
from eyeflow.protocol.messages import (
    Fetch,
    Head,
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
    manifest_bytes,
)
from eyeflow.protocol.opening import OPENING, Hello, Opening, Welcome, welcome_bytes
from eyeflow.protocol.outputs import (
    Applied,
    Apply,
    Behind,
    Close,
    Compared,
    Connected,
    Gather,
    Gathered,
    Hear,
    Heard,
    NeedPrograms,
    Noted,
    Output,
    Recollected,
    Remember,
    Rerun,
    Seen,
    Send,
    Told,
)
from eyeflow.protocol.replays import Replay, Replayed
from eyeflow.protocol.staging import Staging
from eyeflow.protocol.versions import PROTOCOL_VERSION_MAX, PROTOCOL_VERSION_MIN, VERSIONS, ProtocolVersion
from eyeflow.protocol.wire import ProtocolError

STATUS_S = 5
"""How often a node tells its health, until a Welcome says."""
EXECUTIONS_SINCE = 3
"""The first protocol version that has messages of single executions, of replays, of audit records, and of lines."""


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


class _Spoken:
    """What both sides do alike: HELLO and WELCOME have one form, all that follows that of the chosen version."""

    def __init__(self) -> None:
        self.phase = Phase.OPENING
        self._version: ProtocolVersion | None = None

    @property
    def protocol(self) -> int:
        """The protocol version of this link, 0 until it is chosen."""
        return 0 if self._version is None else self._version.number

    def read(self, data: bytes) -> Message | Opening:
        """Return the message in `data`. Raises ProtocolError with the reason for anything else."""
        return OPENING.decode(data) if self._version is None else self._version.decode(data)

    def write(self, message: Message | Opening) -> bytes:
        """Return the bytes of a message of this session. Raises ProtocolError when a field is out of its bounds."""
        if isinstance(message, Opening):
            return OPENING.encode(message)
        assert self._version is not None, "a session sends nothing but its opening before a version is chosen"
        return self._version.encode(message)

    def _close(self, code: str, reason: str) -> tuple[Output, ...]:
        self.phase = Phase.CLOSED
        return (Close(code, reason),)

    def _unexpected(self, message: Message | Opening) -> tuple[Output, ...]:
        return self._close("unexpected_message", f"{type(message).__name__} while {self.phase.value}")


class NodeSession(_Spoken):
    """The node's side of one link. What runs already (`held`) is not fetched again; `head` is as old as HELLO."""

    def __init__(
        self, hello: Hello, peer: Peer, accepted: Accepted, head: Head, held: frozenset[InstalledRule] = frozenset()
    ) -> None:
        super().__init__()
        self.accepted = accepted
        self.status_s = STATUS_S
        self._hello = hello
        self._head = head
        self._peer = peer
        self._held = held
        self._floor = accepted.version
        self._staging: Staging | None = None
        self._applying: WantedManifest | None = None
        self._fetched_again = 0
        self._next: Manifest | None = None

    def start(self) -> tuple[Output, ...]:
        """Return the HELLO."""
        return (Send(self._hello),)

    def receive(self, message: Message | Opening) -> tuple[Output, ...]:
        """Take one message of the coordinator."""
        if self.phase is Phase.CLOSED:
            return ()
        if self.phase is Phase.OPENING:
            return self._welcome(message) if isinstance(message, Welcome) else self._unexpected(message)
        if isinstance(message, Manifest):
            return self._manifest(message)
        if isinstance(message, Install):
            return self._install(message)
        if isinstance(message, Recall):
            return (Remember(message.epoch, message.seq),)
        if isinstance(message, Replay):
            return (Rerun(message),)
        if isinstance(message, Listen):
            return (Hear(message),)
        if isinstance(message, Collect):
            return (Gather(message),)
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

    @property
    def is_outdated(self) -> bool:
        """Whether a newer manifest came while the last `Apply` is carried out."""
        return self._applying is not None and self._next is not None

    def give_up(self, installed: frozenset[InstalledRule]) -> tuple[Output, ...]:
        """Carry out the last `Apply` no further and report nothing of it: a newer manifest came, which holds all."""
        assert self.is_outdated, "give_up() without a newer manifest"
        waiting, self._next, self._applying, self._held = self._next, None, None, installed
        assert waiting is not None
        return self._manifest(waiting) if self.phase is not Phase.CLOSED else ()

    def fetch_again(self, last: Apply, lost: frozenset[str]) -> tuple[Output, ...]:
        """Fetch programs of the last `Apply`, too, that were not fetched, because they ran, and may not run any more.

        Other keys may have signed them since. Then `Apply` comes again, with all programs. Once for a manifest: nothing
        comes of a second call, or when a newer manifest came meanwhile.
        """
        manifest = self._applying
        if manifest is None or self._next is not None or self._fetched_again == manifest.version:
            return ()
        self._applying, self._fetched_again = None, manifest.version
        staging = self._staging = Staging(manifest, last.digest, self._held)
        staging.programs, staging.missing, staging.waiting = dict(last.programs), set(last.missing), set(lost)
        return self._fetch_or_apply()

    def status(self, status: Status, head: Head) -> tuple[Output, ...]:
        """Tell the coordinator the node's health and where its audit chain ends, once the link is up."""
        if self.phase is not Phase.READY:
            return ()
        return (Send(head), Send(status))

    def executions(self, executions: Differences | Failures) -> tuple[Output, ...]:
        """Tell the coordinator of single executions, if it is one that can hear that."""
        if self.phase is not Phase.READY or self.protocol < EXECUTIONS_SINCE:
            return ()
        return (Send(executions),)

    def replayed(self, answer: Replayed) -> tuple[Output, ...]:
        """Answer what a `Rerun` asked."""
        return (Send(answer),) if self.phase is Phase.READY else ()

    def listened(self, answer: Listened) -> tuple[Output, ...]:
        """Answer what a `Hear` asked."""
        return (Send(answer),) if self.phase is Phase.READY else ()

    def collected(self, records: Collected) -> tuple[Output, ...]:
        """Answer what a `Gather` asked."""
        return (Send(records),) if self.phase is Phase.READY else ()

    def _welcome(self, message: Welcome) -> tuple[Output, ...]:
        if not self._hello.protocol_min <= message.protocol <= self._hello.protocol_max:
            return self._close("protocol_version", f"the coordinator chose protocol {message.protocol}")
        known = message.coordinator_id == self._peer.coordinator_id
        signed = welcome_bytes(self._hello, message)
        if not known or not verifies(self._peer.public_key, signed, message.signature):
            return self._close("foreign_coordinator", "the coordinator is not the one this node joined")
        if message.manifest_version < self.accepted.version:
            return self._close("manifest_rollback", "the coordinator's manifest is older than the one applied here")
        self.phase, self._version = Phase.READY, VERSIONS[message.protocol]
        self.status_s = message.status_s
        # WELCOME is signed for this link: whoever stands between cannot bring a manifest that was signed earlier.
        self._floor = message.manifest_version
        return (Send(self._head),)  # before any result: the coordinator judges results by it

    def _manifest(self, message: Manifest) -> tuple[Output, ...]:
        if self._applying is not None:
            # Only the newest is kept: each is whole, so one between two others adds nothing (docs/decisions/0007).
            self._next = message
            return ()
        # Before it is decoded: the decoder sees only bytes that the joined coordinator has signed.
        if not verifies(self._peer.public_key, manifest_bytes(message.body), message.signature):
            return self._close("manifest_signature", "a manifest is not signed by the coordinator this node joined")
        assert self._version is not None
        try:
            wanted = self._version.decode_manifest(message.body)
        except ProtocolError as error:
            return self._close("manifest_malformed", error.message)
        digest = hashlib.sha256(message.body).digest()
        refusal = self._refusal(wanted, digest)
        if refusal:
            return self._close("manifest_rollback", refusal)
        # Before it is applied: while its programs are on their way, nothing older may replace it.
        self._floor = wanted.version
        self._staging = Staging(wanted, digest, self._held)
        return self._fetch_or_apply()

    def _refusal(self, wanted: WantedManifest, digest: bytes) -> str:
        if wanted.coordinator_id != self._peer.coordinator_id or wanted.node != self._hello.node:
            return "a manifest is for another node or cluster"
        if wanted.version < max(self.accepted.version, self._floor):
            return f"manifest {wanted.version} is older than {max(self.accepted.version, self._floor)}"
        # A coordinator restored from a backup signs other contents under used numbers: people decide which holds.
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


@dataclass(frozen=True, slots=True)
class Offer:
    """The latest wanted manifest of a node, with its version and the ids of its programs."""

    version: int
    manifest: Manifest
    program_ids: frozenset[str]


@dataclass(frozen=True, slots=True)
class Coordinates:
    """What the coordinator's side says about itself; `sign` signs with the coordinator's key."""

    coordinator_id: str
    software: str
    sign: Callable[[bytes], bytes]
    status_s: int = STATUS_S


class CoordinatorSession(_Spoken):
    """The coordinator's side of one link with the authenticated node `node`.

    `offer` is the node's manifest when the link opened. `known` is the end of the node's audit chain as the coordinator
    saw it last: the node is asked whether it holds it. `ahead` is the manifest by which the node was found to be ahead,
    until somebody decides: the coordinator's numbers may have caught up meanwhile, with other contents; 0: it is not.
    """

    def __init__(self, node: str, own: Coordinates, offer: Offer, known: Head | None = None, ahead: int = 0) -> None:
        super().__init__()
        self._known, self._ahead_by = known, ahead
        self._node = node
        self._own = own
        self._offer = offer
        self._greeted: Hello | None = None
        self._asked: Collect | None = None
        self._has_asked = False
        self._replays = self._listens = 0
        """The number of the newest question for a replay, and for lines; numbers begin at 1."""

    @property
    def offered_version(self) -> int:
        """Version of the latest manifest offered."""
        return self._offer.version

    def receive(self, message: Message | Opening) -> tuple[Output, ...]:
        """Take one message of the node."""
        if self.phase is Phase.CLOSED:
            return ()
        if self.phase is Phase.OPENING:
            return self._hello(message) if isinstance(message, Hello) else self._unexpected(message)
        if isinstance(message, Fetch):
            return self._fetch(message)
        if isinstance(message, ManifestResult):
            return (
                (Applied(message),)
                if message.manifest_version <= self._offer.version
                else self._ahead(message.manifest_version)
            )
        if isinstance(message, Status):
            return (Seen(message),)
        if isinstance(message, Differences | Failures):
            return (Noted(message),)
        if isinstance(message, Replayed) and 0 < message.number <= self._replays:
            return (Compared(message),)
        if isinstance(message, Listened) and 0 < message.number <= self._listens:
            return (Heard(message),)
        if isinstance(message, Collected):
            return self._collected(message)
        return (Told(message),) if isinstance(message, Head) else self._recollected(message)

    def welcome(self, offer: Offer) -> tuple[Output, ...]:
        """Answer the HELLO of `Connected` with the node's latest manifest, in the protocol version of this link."""
        hello, self._greeted = self._greeted, None
        assert hello is not None, "welcome() without a HELLO"
        if self.phase is Phase.CLOSED:
            return ()
        self.phase, self._offer = Phase.READY, offer
        known = self._known
        asked = (Send(Recall(known.epoch, known.seq)),) if known is not None else ()
        return (Send(self._signed(hello)), *asked, Send(offer.manifest))

    def offer(self, offer: Offer) -> tuple[Output, ...]:
        """The wanted manifest changed: send it when the link is up (HELLO sends the latest anyway)."""
        if offer.version <= self._offer.version:
            return ()
        self._offer = offer
        return (Send(offer.manifest),) if self.phase is Phase.READY else ()

    def replay(self, replay: Replay) -> tuple[Output, ...]:
        """Ask the node for a replay; nothing comes of it unless the link is up and knows that."""
        if self.phase is not Phase.READY or self.protocol < EXECUTIONS_SINCE:
            return ()
        self._replays = replay.number
        return (Send(replay),)

    def listen(self, listen: Listen) -> tuple[Output, ...]:
        """Ask the gateway of a board for its lines; nothing comes of it unless the link is up and knows that."""
        if self.phase is not Phase.READY or self.protocol < EXECUTIONS_SINCE:
            return ()
        self._listens = listen.number
        return (Send(listen),)

    @property
    def collects(self) -> bool:
        """Whether the node can be asked for its audit records.

        Before it has told whether it holds the record that is known as its last one, it may be another copy.
        """
        return self.phase is Phase.READY and self.protocol >= EXECUTIONS_SINCE and self._known is None

    def collect(self, ask: Collect) -> tuple[Output, ...]:
        """Ask the node for audit records, in place of any ask that it has not answered."""
        if not self.collects:
            return ()
        self._asked, self._has_asked = ask, True
        return (Send(ask),)

    def deliver(self, manifest_version: int, programs: Mapping[str, bytes]) -> tuple[Output, ...]:
        """Send fetched programs; empty bytes say that the program is lost."""
        if self.phase is not Phase.READY or manifest_version != self._offer.version:
            return ()
        return tuple(Send(Install(manifest_version, program_id, program)) for program_id, program in programs.items())

    def _hello(self, message: Hello) -> tuple[Output, ...]:
        if message.node != self._node:
            return self._close("wrong_node", f"the link was opened for {self._node}, not for {message.node}")
        protocol = min(message.protocol_max, PROTOCOL_VERSION_MAX)
        if protocol < max(message.protocol_min, PROTOCOL_VERSION_MIN):
            spoken = f"{PROTOCOL_VERSION_MIN} to {PROTOCOL_VERSION_MAX}"
            return self._close("protocol_version", f"this coordinator speaks protocol {spoken}")
        # The node has accepted more than the store knows: the store is an old copy. Nothing is taken back silently.
        if message.manifest_version > self._offer.version or 0 < self._ahead_by <= message.manifest_version:
            return self._ahead(message.manifest_version)
        self._version, self._greeted = VERSIONS[protocol], message
        return (Connected(message, protocol),)

    def _collected(self, message: Collected) -> tuple[Output, ...]:
        if not self._has_asked:
            return self._unexpected(message)
        ask, self._asked = self._asked, None
        # A newer ask may have crossed the answer to an older one: then the second answer says nothing new.
        if ask is None or message.epoch != ask.kept.epoch:
            return ()
        return (Gathered(message),)

    def _recollected(self, message: Message | Opening) -> tuple[Output, ...]:
        known, self._known = self._known, None
        if isinstance(message, Recalled) and known and (message.epoch, message.seq) == (known.epoch, known.seq):
            return (Recollected(known, message.hash),)
        return self._unexpected(message)

    def _signed(self, hello: Hello) -> Welcome:
        own = self._own
        welcome = Welcome(self.protocol, own.software, own.coordinator_id, self._offer.version, own.status_s)
        return replace(welcome, signature=own.sign(welcome_bytes(hello, welcome)))

    def _fetch(self, message: Fetch) -> tuple[Output, ...]:
        if message.manifest_version != self._offer.version:
            return ()  # the newer manifest is already on its way; the node asks again for that one
        foreign = [one for one in message.program_ids if one not in self._offer.program_ids]
        if foreign or len(set(message.program_ids)) != len(message.program_ids):
            return self._close("unexpected_program", "the node asked for a program outside its manifest")
        return (NeedPrograms(message.manifest_version, message.program_ids),)

    def refused(self) -> tuple[Output, ...]:
        """The node closed the link: it holds another manifest of the same version, of a store that is gone."""
        return () if self.phase is Phase.CLOSED else self._ahead(self._offer.version)

    def _ahead(self, version: int) -> tuple[Output, ...]:
        if version > self._offer.version:
            told = f"the node has manifest {version}, this coordinator knows {self._offer.version}: its store is older"
        else:
            told = f"the node has another manifest {version} than this coordinator, whose store is an older copy"
        return (Behind(version), *self._close("manifest_ahead", told))
