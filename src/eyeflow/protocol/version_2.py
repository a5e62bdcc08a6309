"""Protocol version 2, where it differs from `messages`: no trials, no share of events for a candidate, no evidence.

Nothing here changes any more. A node of version 2 takes what is installed for passed, and its candidates only watch. A
strategy that needs more must ask for nodes of version 3.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from eyeflow.protocol import messages as m
from eyeflow.protocol import wire
from eyeflow.protocol.collecting import Collect, Collected
from eyeflow.protocol.executions import Differences, Failures
from eyeflow.protocol.lines import Listen, Listened
from eyeflow.protocol.replays import Replay, Replayed
from eyeflow.protocol.slot import Slot
from eyeflow.protocol.wire import SIGNERS_MAX, Natural, NodeName, Params, ProgramId, PublicKey, RuleName, Short


class ManifestEntry(wire.Wire, frozen=True):
    """One program that a node shall run: for which rule, and in which of its slots."""

    rule: RuleName
    program_id: ProgramId
    deployment_id: Short
    params: Params = ()
    slot: Slot = Slot.ACTIVE

    def __post_init__(self) -> None:
        wire.check_params(self.params)
        if self.slot is Slot.PREVIOUS:
            raise wire.ProtocolError("a manifest wants a program in the slot previous: a node keeps that one by itself")


class WantedManifest(wire.Wire, frozen=True, tag_field="protocol", tag=2):
    """All that a node shall run."""

    coordinator_id: ProgramId
    node: NodeName
    version: Natural
    created_us: Natural
    entries: Annotated[tuple[ManifestEntry, ...], Meta(max_length=m.PROGRAMS_MAX)] = ()
    signers: Annotated[tuple[PublicKey, ...], Meta(max_length=SIGNERS_MAX)] = ()

    def __post_init__(self) -> None:
        m.check_manifest_order([(one.rule, one.slot.value) for one in self.entries], self.signers)


class Status(wire.Wire, frozen=True, tag=7):
    """Health of the whole node."""

    time_us: Natural
    epoch: Natural
    next_seq: Natural
    manifest_version: Natural
    health: Annotated[tuple[m.Health, ...], Meta(max_length=2 * m.PROGRAMS_MAX)] = ()


NEW = Differences | Failures | Replay | Replayed | Collect | Collected | Listen | Listened
"""Messages that came with version 3."""

Message = m.Manifest | m.Fetch | m.Install | m.ManifestResult | Status | m.Recall | m.Recalled | m.Head


def message_to_2(message: m.Message) -> Message:
    """Return what version 2 says of a message. Raises ProtocolError when it has no such message."""
    if isinstance(message, m.Status):
        return Status(message.time_us, message.epoch, message.next_seq, message.manifest_version, message.health)
    if isinstance(message, NEW):
        raise wire.ProtocolError(f"protocol version 2 has no message {type(message).__name__}")
    return message


def message_from_2(message: Message) -> m.Message:
    """Return what a message of version 2 means."""
    if isinstance(message, Status):
        return m.Status(message.time_us, message.epoch, message.next_seq, message.manifest_version, message.health)
    return message


def manifest_to_2(manifest: m.WantedManifest) -> WantedManifest:
    """Return what version 2 says of a manifest."""
    entries = (
        ManifestEntry(one.rule, one.program_id, one.deployment_id, one.params, one.slot) for one in manifest.entries
    )
    return WantedManifest(
        manifest.coordinator_id, manifest.node, manifest.version, manifest.created_us, tuple(entries), manifest.signers
    )


def manifest_from_2(manifest: WantedManifest) -> m.WantedManifest:
    """Return what a manifest of version 2 means."""
    entries = (
        m.ManifestEntry(one.rule, one.program_id, one.deployment_id, one.params, one.slot) for one in manifest.entries
    )
    return m.WantedManifest(
        manifest.coordinator_id, manifest.node, manifest.version, manifest.created_us, tuple(entries), manifest.signers
    )
