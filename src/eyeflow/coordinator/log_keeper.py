"""Signs the newest head of the coordinator's log, from time to time, when what came since the last one fits it."""

from __future__ import annotations

import logging

from eyeflow.coordinator.store.cluster_store import ClusterStore, Reading
from eyeflow.protocol.coordinator_log import Entry, Head, LogError, SignedHead, follow, head_bytes

ENTRIES_READ_MAX = 1_000
"""Entries that are read at once, by clients and before a head is signed."""

_log = logging.getLogger("eyeflow.coordinator")


class LogKeeper:
    """Holds what is wrong with the log in `trouble`; empty while it fits."""

    def __init__(self, store: ClusterStore) -> None:
        self._store = store
        self.trouble = ""

    async def sign(self) -> None:
        """Sign the newest head, unless the log does not continue the head that was signed last."""
        signed, newest, entries = await self._store.read(_since_signed)
        before = signed.head if signed is not None else None
        try:
            if signed is not None:
                signed.check(self._store.coordinator_id, self._store.identity.public_key)
                follow(None, entries, {signed.head: "the coordinator signed"})
        except LogError as error:
            if not self.trouble:
                _log.error("the coordinator's log was changed from outside: %s", error)
            self.trouble = str(error)
            return
        self.trouble = ""
        head = Head(entries[-1].number, entries[-1].hash) if entries else newest
        if head != before and head.number:
            signature = self._store.identity.sign(head_bytes(self._store.coordinator_id, head))
            await self._store.write(lambda writing: writing.keep_signed_head(SignedHead(head, signature)))


def _since_signed(reading: Reading) -> tuple[SignedHead | None, Head, list[Entry]]:
    """Return the signed head, the newest one, and the entries from the signed one on: at most ENTRIES_READ_MAX."""
    signed, newest = reading.signed_head(), reading.log_head()
    if signed is None:
        return None, newest, []
    if signed.head == newest:
        return signed, newest, reading.log_after(newest.number - 1, 1)
    return signed, newest, reading.log_after(signed.head.number - 1, ENTRIES_READ_MAX)
