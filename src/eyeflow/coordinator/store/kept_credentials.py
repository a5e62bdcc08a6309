"""What the store keeps of those who may do something: tokens, join tokens, sessions of browsers and sign-in links.

Of each secret only the SHA-256 is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from eyeflow.coordinator.store.facts import ApiToken, JoinToken


@dataclass(frozen=True, slots=True)
class KeptSession:
    """A session of a browser. It has the rights that its token has at the time. `used_us` is true to a minute."""

    hash: bytes
    token_id: str
    created_us: int
    expires_us: int
    used_us: int


@dataclass(frozen=True, slots=True)
class KeptSignInLink:
    """A link that begins one session with the rights of a token."""

    hash: bytes
    token_id: str
    expires_us: int


class CredentialReading(Protocol):
    """Questions about credentials."""

    def api_token(self, token_id: str) -> ApiToken | None:
        """Return one API token."""
        ...

    def api_tokens(self) -> list[ApiToken]:
        """Return all API tokens in the order they were made."""
        ...

    def join_token(self, token_id: str) -> JoinToken | None:
        """Return one join token."""
        ...

    def session(self, session_hash: bytes) -> KeptSession | None:
        """Return one session, also one that has expired."""
        ...


class CredentialWriting(CredentialReading, Protocol):
    """Changes of credentials, inside one step."""

    def add_api_token(self, token: ApiToken) -> None:
        """Keep a new API token."""
        ...

    def revoke_api_token(self, token_id: str, now_us: int) -> None:
        """Let a token open nothing any more."""
        ...

    def record_token_uses(self, used_us: Mapping[str, int]) -> None:
        """Keep when tokens were used last, by id; a later time stays."""
        ...

    def add_join_token(self, token: JoinToken) -> None:
        """Keep a new join token."""
        ...

    def use_join_token(self, token_id: str, node: str, now_us: int) -> None:
        """Note who used a join token."""
        ...

    def forget_spent_join_tokens(self, now_us: int) -> None:
        """Forget the join tokens that were used or have expired."""
        ...

    def add_session(self, session: KeptSession, kept: int) -> None:
        """Keep a new session. Forget those that have expired, and those of its token beyond the newest `kept`."""
        ...

    def end_session(self, session_hash: bytes) -> None:
        """Forget a session."""
        ...

    def end_sessions(self, token_id: str) -> int:
        """Forget all sessions and sign-in links of a token; return how many sessions there were."""
        ...

    def record_session_uses(self, used_us: Mapping[bytes, int]) -> None:
        """Keep when sessions were used last, by hash; a later time stays."""
        ...

    def add_sign_in_link(self, link: KeptSignInLink, now_us: int, kept: int) -> None:
        """Keep a new link. Forget those that have expired, and those of its token beyond the newest `kept`."""
        ...

    def take_sign_in_link(self, link_hash: bytes) -> KeptSignInLink | None:
        """Return a link and forget it, also one that has expired."""
        ...
