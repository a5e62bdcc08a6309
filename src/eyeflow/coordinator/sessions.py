"""Sessions of browsers: begun with an API token or a one-time link, held by a cookie, with the rights of the token.

A session ends after SESSION_S, when somebody signs out, and when its token is revoked or expires. The secrets are
random (256 bit), so a plain SHA-256 of them is a safe thing to store.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, replace

from eyeflow.base.clock import NowUs
from eyeflow.coordinator.problem import Problem
from eyeflow.coordinator.store.cluster_store import ClusterStore, Reading, Writing
from eyeflow.coordinator.store.facts import ApiToken, LogEntry
from eyeflow.coordinator.store.kept_credentials import KeptSession, KeptSignInLink
from eyeflow.coordinator.tokens import Actor, RandomBytes, Role, Tokens

SESSION_S = 12 * 3600
"""How long a session lasts at most: a day's work."""
SESSIONS_MAX = 32
"""Sessions of one token; the oldest go first."""
LINK_S = 5 * 60
"""How long a sign-in link works: long enough to open it in a browser."""
LINKS_MAX = 16
"""Links of one token that nobody has used yet; the oldest go first."""
USED_S = 60
"""How often it is written down when sessions were used last."""
SIGN_IN = "sign in again: with an API token, or with the link that `eyeflow coordinator sign-in` prints"


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session that was just begun. `secret` goes into the cookie and is kept nowhere."""

    secret: str
    actor: Actor


class Sessions:
    """Sessions and sign-in links in the store. `random` gives n random bytes."""

    def __init__(
        self, store: ClusterStore, clock: NowUs, tokens: Tokens, random: RandomBytes = secrets.token_bytes
    ) -> None:
        self._store, self._clock, self._tokens, self._random = store, clock, tokens, random
        self._used: dict[bytes, int] = {}
        """When sessions were used that is not written down yet."""
        self._written_us = 0

    async def begin(self, token: str) -> NewSession:
        """Begin a session with an API token; raises Problem 401."""
        actor = await self._tokens.actor(f"Bearer {token.strip()}")
        return await self._begun(actor.token_id, "token")

    async def begin_by_link(self, code: str) -> NewSession:
        """Begin a session with the code of a link, which nobody can use again; raises Problem 401."""
        taken = await self._store.write(lambda writing: writing.take_sign_in_link(_hash(code.strip())))
        if taken is None or self._clock() >= taken.expires_us:
            detail = f"The link was used before, or it is older than {LINK_S // 60} minutes."
            raise Problem("unauthenticated", detail, "make a new one with `eyeflow coordinator sign-in`")
        return await self._begun(taken.token_id, "link")

    async def _begun(self, token_id: str, by: str) -> NewSession:
        secret, now_us = self._random(32).hex(), self._clock()
        made = KeptSession(_hash(secret), token_id, now_us, now_us + SESSION_S * 1_000_000, now_us)

        def step(writing: Writing) -> Actor:
            actor = _actor(_working(writing.api_token(token_id), now_us), made)
            writing.add_session(made, SESSIONS_MAX)
            writing.add_log_entry(LogEntry(now_us, actor.name, "sign_in", token_id, by))
            return actor

        return NewSession(secret, await self._store.write(step))

    async def actor(self, secret: str) -> Actor:
        """Return who has the session; raises Problem 401 when it has ended."""
        now_us = self._clock()

        def look(reading: Reading) -> Actor:
            found = reading.session(_hash(secret))
            if found is None or now_us >= found.expires_us:
                raise Problem("unauthenticated", "The session has ended.", SIGN_IN)
            return _actor(_working(reading.api_token(found.token_id), now_us), found)

        actor = await self._store.read(look)
        self._used[actor.session] = now_us
        self._tokens.note_use(actor.token_id)
        return actor

    async def end(self, actor: Actor) -> None:
        """End the session with which `actor` asks."""

        def step(writing: Writing) -> None:
            writing.end_session(actor.session)
            writing.add_log_entry(LogEntry(self._clock(), actor.name, "sign_out", actor.token_id))

        await self._store.write(step)

    async def end_all(self, actor: Actor) -> None:
        """End all sessions of the token of `actor`, and let none of its links work."""

        def step(writing: Writing) -> None:
            ended = writing.end_sessions(actor.token_id)
            told = f"{ended} session" if ended == 1 else f"{ended} sessions"
            writing.add_log_entry(LogEntry(self._clock(), actor.name, "sign_out_everywhere", actor.token_id, told))

        await self._store.write(step)

    async def make_link(self, actor: Actor) -> tuple[str, int]:
        """Return the code of a new link for the rights of `actor`, and when it expires.

        Raises Problem `forbidden` for a session: it could go on for ever by links to itself.
        """
        if actor.session:
            raise Problem("forbidden", "A session makes no sign-in links.", "send an API token")
        code, now_us = self._random(32).hex(), self._clock()
        link = KeptSignInLink(_hash(code), actor.token_id, now_us + LINK_S * 1_000_000)

        def step(writing: Writing) -> None:
            writing.add_sign_in_link(link, now_us, LINKS_MAX)
            writing.add_log_entry(LogEntry(now_us, actor.name, "sign_in_link", actor.token_id))

        await self._store.write(step)
        return code, link.expires_us

    async def write_down(self) -> None:
        """Make durable when sessions were used, once in USED_S at most."""
        now_us = self._clock()
        if not self._used or abs(now_us - self._written_us) < USED_S * 1_000_000:
            return
        used, self._used, self._written_us = self._used, {}, now_us
        await self._store.write(lambda writing: writing.record_session_uses(used))


def _working(token: ApiToken | None, now_us: int) -> ApiToken:
    if token is None or not token.works(now_us):
        what = "is gone" if token is None else "was revoked" if token.revoked_us else "has expired"
        raise Problem("unauthenticated", f"The session has ended: its token {what}.", SIGN_IN)
    return token


def _actor(token: ApiToken, session: KeptSession) -> Actor:
    expires_us = min(session.expires_us, token.expires_us or session.expires_us)
    actor = Actor(token.name, Role(token.role), token.id, dict(token.labels), expires_us)
    return replace(actor, session=session.hash)


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
