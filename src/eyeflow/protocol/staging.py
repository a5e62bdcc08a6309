"""A manifest whose programs a node has asked for."""

from __future__ import annotations

from eyeflow.protocol.messages import Install, InstalledRule, WantedManifest


class Staging:
    """A manifest whose programs are on their way: nothing of it is applied before all have come."""

    def __init__(self, manifest: WantedManifest, digest: bytes, held: frozenset[InstalledRule]) -> None:
        self.manifest = manifest
        self.digest = digest
        self.programs: dict[str, bytes] = {}
        self.missing: set[str] = set()
        # Parameters count, too: a rule with other parameters is installed anew, and that takes its program's bytes.
        self.waiting = {
            entry.program_id
            for entry in manifest.entries
            if InstalledRule(entry.rule, entry.program_id, entry.params, entry.slot) not in held
        }

    def take(self, message: Install) -> None:
        """Take one program of it, or that the coordinator has lost it."""
        self.waiting.discard(message.program_id)
        if message.program:
            self.programs[message.program_id] = message.program
        else:
            self.missing.add(message.program_id)
