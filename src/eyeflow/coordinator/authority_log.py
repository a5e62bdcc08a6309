"""Writes into the coordinator's log which CA it uses: `eyeflow coordinator init` changes files, and no store."""

from __future__ import annotations

from eyeflow.coordinator.store.cluster_store import ClusterStore, Writing
from eyeflow.coordinator.store.facts import LogEntry
from eyeflow.coordinator.store.lists import LogAsked
from eyeflow.coordinator.tls import OwnTls
from eyeflow.coordinator.tokens import COORDINATOR
from eyeflow.protocol.certificates import facts

AUTHORITY = "authority"
"""The action of these entries; their subject is the fingerprint of the CA."""


class AuthorityLog:
    """Notes the CA once when it begins to be used, and again when earlier ones begin or cease to count beside it."""

    def __init__(self, store: ClusterStore) -> None:
        self._store = store
        self._noted = ("", "")

    async def note(self, tls: OwnTls, now_us: int) -> None:
        """Write an entry unless the newest one of this CA says the same. Raises EyeflowError while the store is away.

        Each of several coordinators may have a CA of its own, or note the same one at once: then it stands there twice.
        """
        earlier = ", ".join(facts(one).fingerprint[:16] for one in tls.earlier)
        entry = LogEntry(now_us, COORDINATOR, AUTHORITY, tls.fingerprint, f"beside {earlier}" if earlier else "")
        if self._noted == (entry.subject, entry.detail):
            return

        def step(writing: Writing) -> None:
            asked = LogAsked(1, newest_first=True, action=AUTHORITY, subject=entry.subject)
            newest = writing.log_page(asked).rows
            if not newest or newest[0].detail != entry.detail:
                writing.add_log_entry(entry)

        await self._store.write(step)
        self._noted = (entry.subject, entry.detail)
