"""The complete wanted set of a node as a signed manifest, with a version that only grows (docs/decisions/0007)."""

from __future__ import annotations

from eyeflow.coordinator.store.cluster_store import ClusterStore, Writing, trusted_signers
from eyeflow.protocol.messages import ManifestEntry, Trial, WantedManifest, manifest_bytes
from eyeflow.protocol.slot import Slot
from eyeflow.protocol.versions import PROTOCOL_VERSION_MAX, VERSIONS
from eyeflow.protocol.wire import ProtocolError
from eyeflow.rollout.deployment import Wanted


class WantedSets:
    """The nodes whose wanted set a step changes. `sign` ends the step: it makes one manifest for each of them.

    Each is written in the protocol version that its node spoke last, and in the newest before its first link.
    """

    def __init__(self, store: ClusterStore, writing: Writing, now_us: int) -> None:
        self._identity, self._coordinator_id = store.identity, store.coordinator_id
        self._writing = writing
        self._now_us = now_us
        self._versions: dict[str, int] = {}

    def touch(self, node: str) -> int:
        """Let the node get a new manifest; returns its version, the same for the whole step."""
        if node not in self._versions:
            self._versions[node] = self._writing.next_manifest_version(node)
        return self._versions[node]

    def sign(self, *, is_asked: bool = False) -> None:
        """Sign a manifest for each node that was touched.

        Where somebody asked for the change, a wanted set that is too large raises ProtocolError. Where it follows from
        something else, its node shows it as a problem: raised there, it would hold up all other deployments for ever.
        """
        signers = tuple(sorted(trusted_signers(self._writing))) if self._versions else ()
        for node, version in sorted(self._versions.items()):
            entries = tuple(_entry(one) for one in self._writing.wanted(node))
            try:
                wanted = WantedManifest(self._coordinator_id, node, version, self._now_us, entries, signers)
                spoken = VERSIONS.get(_spoken_by(self._writing, node), VERSIONS[PROTOCOL_VERSION_MAX])
                body = spoken.encode_manifest(wanted)
            except ProtocolError as error:
                if is_asked:
                    raise
                self._writing.record_problem(node, f"what it shall run is too large: {error.message}", self._now_us)
                continue
            self._writing.keep_manifest(node, body, self._identity.sign(manifest_bytes(body)), self._now_us)


def _entry(one: Wanted) -> ManifestEntry:
    target, trial = one.target, one.trial
    tried = None
    if trial is not None:
        tried = Trial(*(getattr(trial, name) for name in Trial.__struct_fields__))
    return ManifestEntry(
        one.rule,
        target.program_id,
        target.deployment_id,
        target.params,
        Slot(one.slot),
        share=one.share,
        keyless=one.keyless,
        trial=tried,
        is_return=one.is_return,
    )


def _spoken_by(writing: Writing, name: str) -> int:
    node = writing.node(name)
    return 0 if node is None else node.protocol
