"""What a session asks its shell to do (docs/ARCHITECTURE.md): each is one output of `session`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from eyeflow.protocol.collecting import Collect, Collected
from eyeflow.protocol.executions import Differences, Failures
from eyeflow.protocol.lines import Listen, Listened
from eyeflow.protocol.messages import Head, ManifestResult, Message, Status, WantedManifest
from eyeflow.protocol.opening import Hello, Opening
from eyeflow.protocol.replays import Replay, Replayed


@dataclass(frozen=True, slots=True)
class Send:
    """Send this message to the peer, as the bytes that the session's `write` makes of it."""

    message: Message | Opening


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
class Rerun:
    """Node: call `replayed` with what these programs would have decided on the node's records."""

    replay: Replay


@dataclass(frozen=True, slots=True)
class Hear:
    """Node: call `listened` with the lines of the board for which this link stands."""

    listen: Listen


@dataclass(frozen=True, slots=True)
class Gather:
    """Node: take note of what the coordinator holds, and call `collected` with what follows as soon as it is there."""

    collect: Collect


@dataclass(frozen=True, slots=True)
class Connected:
    """Coordinator: the node said HELLO, and the link shall speak `protocol`. Call `welcome` with what it shall run."""

    hello: Hello
    protocol: int


@dataclass(frozen=True, slots=True)
class Behind:
    """Coordinator: the node has accepted manifest `manifest_version`, which is newer than any in the store."""

    manifest_version: int


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
class Noted:
    """Coordinator: the node told of executions that failed, or on which two programs decided otherwise."""

    executions: Differences | Failures


@dataclass(frozen=True, slots=True)
class Compared:
    """Coordinator: the node answers what `replay` asked."""

    replayed: Replayed


@dataclass(frozen=True, slots=True)
class Heard:
    """Coordinator: the node answers what `listen` asked."""

    listened: Listened


@dataclass(frozen=True, slots=True)
class Gathered:
    """Coordinator: the node answers what `collect` asked."""

    collected: Collected


@dataclass(frozen=True, slots=True)
class Told:
    """Coordinator: the node told where its audit chain ends."""

    head: Head


@dataclass(frozen=True, slots=True)
class Recollected:
    """Coordinator: the node told the hash of the record that was its last one, as `known`, before this link."""

    known: Head
    hash: bytes


_OfBoth = Send | Close | Apply | Remember | Rerun | Hear | Gather
_OfNode = Applied | Seen | Noted | Compared | Heard | Gathered | Told | Recollected
Output = _OfBoth | Connected | Behind | NeedPrograms | _OfNode
