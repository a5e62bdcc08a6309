"""The verbs of `kept_credentials` for sessions and sign-in links as SQL."""

from __future__ import annotations

from collections.abc import Mapping

from eyeflow.coordinator.store.kept_credentials import KeptSession, KeptSignInLink
from eyeflow.coordinator.store.sql import Sql

_SESSION = "hash, token, created_us, expires_us, used_us"
_LINK = "hash, token, expires_us"


class SqlSessionReading:
    """The questions of `CredentialReading` about sessions."""

    _db: Sql

    def session(self, session_hash: bytes) -> KeptSession | None:
        """Return one session, also one that has expired."""
        found = self._db.rows(f"SELECT {_SESSION} FROM sessions WHERE hash = ?", (session_hash,))
        return KeptSession(bytes(found[0][0]), *found[0][1:]) if found else None


class SqlSessionWriting(SqlSessionReading):
    """The changes of `CredentialWriting` that are about sessions and links."""

    def add_session(self, session: KeptSession, kept: int) -> None:
        """Keep a new session; forget those that have expired, and those of its token beyond the newest `kept`."""
        one = session
        self._db.run("DELETE FROM sessions WHERE expires_us <= ?", (one.created_us,))
        values = (one.hash, one.token_id, one.created_us, one.expires_us, one.used_us)
        self._db.run(f"INSERT INTO sessions({_SESSION}) VALUES(?, ?, ?, ?, ?)", values)
        self._db.run(
            "DELETE FROM sessions WHERE token = ? AND hash NOT IN (SELECT hash FROM sessions WHERE token = ? "
            "ORDER BY created_us DESC, hash LIMIT ?)",
            (one.token_id, one.token_id, kept),
        )

    def end_session(self, session_hash: bytes) -> None:
        """Forget a session."""
        self._db.run("DELETE FROM sessions WHERE hash = ?", (session_hash,))

    def end_sessions(self, token_id: str) -> int:
        """Forget all sessions and sign-in links of a token; return how many sessions there were."""
        self._db.run("DELETE FROM sign_in_links WHERE token = ?", (token_id,))
        return self._db.changed("DELETE FROM sessions WHERE token = ?", (token_id,))

    def record_session_uses(self, used_us: Mapping[bytes, int]) -> None:
        """Keep when sessions were used last, by hash; a later time stays."""
        for session_hash, time_us in sorted(used_us.items()):
            values = (time_us, session_hash, time_us)
            self._db.run("UPDATE sessions SET used_us = ? WHERE hash = ? AND used_us < ?", values)

    def add_sign_in_link(self, link: KeptSignInLink, now_us: int, kept: int) -> None:
        """Keep a new link; forget those that have expired, and those of its token beyond the newest `kept`."""
        self._db.run("DELETE FROM sign_in_links WHERE expires_us <= ?", (now_us,))
        values = (link.hash, link.token_id, link.expires_us)
        self._db.run(f"INSERT INTO sign_in_links({_LINK}) VALUES(?, ?, ?)", values)
        self._db.run(
            "DELETE FROM sign_in_links WHERE token = ? AND hash NOT IN (SELECT hash FROM sign_in_links WHERE token = ? "
            "ORDER BY expires_us DESC, hash LIMIT ?)",
            (link.token_id, link.token_id, kept),
        )

    def take_sign_in_link(self, link_hash: bytes) -> KeptSignInLink | None:
        """Return a link and forget it, also one that has expired."""
        found = self._db.rows(f"SELECT {_LINK} FROM sign_in_links WHERE hash = ?", (link_hash,))
        self._db.run("DELETE FROM sign_in_links WHERE hash = ?", (link_hash,))
        return KeptSignInLink(bytes(found[0][0]), *found[0][1:]) if found else None
