"""Protocol version 1, where it differs from `messages`: it knows the active slot of a rule only.

Nothing here changes any more. What a peer of version 1 is told leaves out other slots, and what it tells is about the
active one. A strategy that needs candidates must ask for nodes of version 2.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from eyeflow.protocol import messages as m
from eyeflow.protocol import wire
from eyeflow.protocol.slot import Slot
from eyeflow.protocol.wire import (
    RULES_MAX,
    SIGNERS_MAX,
    Counters,
    Natural,
    NodeName,
    Params,
    ProgramId,
    ProgramIdOrNone,
    PublicKey,
    Reason,
    RuleName,
    Short,
)


class ManifestEntry(wire.Wire, frozen=True):
    """One rule that a node shall run."""

    rule: RuleName
    program_id: ProgramId
    deployment_id: Short
    params: Params = ()

    def __post_init__(self) -> None:
        wire.check_params(self.params)


class WantedManifest(wire.Wire, frozen=True, tag_field="protocol", tag=1):
    """All that a node shall run."""

    coordinator_id: ProgramId
    node: NodeName
    version: Natural
    created_us: Natural
    entries: Annotated[tuple[ManifestEntry, ...], Meta(max_length=RULES_MAX)] = ()
    signers: Annotated[tuple[PublicKey, ...], Meta(max_length=SIGNERS_MAX)] = ()

    def __post_init__(self) -> None:
        m.check_manifest_order([(one.rule, "") for one in self.entries], self.signers)


class RuleResult(wire.Wire, frozen=True):
    """What became of one rule."""

    rule: RuleName
    program_id: ProgramIdOrNone
    state: m.RuleState
    reason: Reason = ""


class ManifestResult(wire.Wire, frozen=True, tag=6):
    """What became of a whole manifest."""

    manifest_version: Natural
    results: Annotated[tuple[RuleResult, ...], Meta(max_length=2 * RULES_MAX)]


class Health(wire.Wire, frozen=True):
    """Counters of one rule or port."""

    kind: m.HealthKind
    name: Annotated[str, Meta(max_length=m.HEALTH_NAME_CHARS_MAX)]
    state: m.HealthState
    detail: Reason = ""
    program_id: ProgramIdOrNone = ""
    counters: Counters = ()

    def __post_init__(self) -> None:
        wire.check_ascending(self.counters, "counters")


class Status(wire.Wire, frozen=True, tag=7):
    """Health of the whole node."""

    time_us: Natural
    epoch: Natural
    next_seq: Natural
    manifest_version: Natural
    health: Annotated[tuple[Health, ...], Meta(max_length=2 * RULES_MAX)] = ()


Message = m.Manifest | m.Fetch | m.Install | ManifestResult | Status | m.Recall | m.Recalled | m.Head


def message_to_1(message: m.Message) -> Message:
    """Return what version 1 says of a message."""
    if isinstance(message, m.ManifestResult):
        return ManifestResult(
            message.manifest_version,
            tuple(
                RuleResult(one.rule, one.program_id, one.state, one.reason)
                for one in message.results
                if one.slot is Slot.ACTIVE
            ),
        )
    if isinstance(message, m.Status):
        health = tuple(
            Health(one.kind, one.name, one.state, one.detail, one.program_id, one.counters)
            for one in message.health
            if one.slot in (Slot.ACTIVE, None)
        )
        return Status(message.time_us, message.epoch, message.next_seq, message.manifest_version, health)
    return message


def message_from_1(message: Message) -> m.Message:
    """Return what a message of version 1 means."""
    if isinstance(message, ManifestResult):
        results = (m.RuleResult(one.rule, one.program_id, one.state, one.reason) for one in message.results)
        return m.ManifestResult(message.manifest_version, tuple(results))
    if isinstance(message, Status):
        health = tuple(
            m.Health(one.kind, one.name, one.state, one.detail, one.program_id, one.counters, _slot_of(one))
            for one in message.health
        )
        return m.Status(message.time_us, message.epoch, message.next_seq, message.manifest_version, health)
    return message


def manifest_to_1(manifest: m.WantedManifest) -> WantedManifest:
    """Return what version 1 says of a manifest."""
    entries = (
        ManifestEntry(one.rule, one.program_id, one.deployment_id, one.params)
        for one in manifest.entries
        if one.slot is Slot.ACTIVE
    )
    return WantedManifest(
        manifest.coordinator_id, manifest.node, manifest.version, manifest.created_us, tuple(entries), manifest.signers
    )


def manifest_from_1(manifest: WantedManifest) -> m.WantedManifest:
    """Return what a manifest of version 1 means."""
    entries = (m.ManifestEntry(one.rule, one.program_id, one.deployment_id, one.params) for one in manifest.entries)
    return m.WantedManifest(
        manifest.coordinator_id, manifest.node, manifest.version, manifest.created_us, tuple(entries), manifest.signers
    )


def _slot_of(health: Health) -> Slot | None:
    return Slot.ACTIVE if health.kind is m.HealthKind.RULE else None
