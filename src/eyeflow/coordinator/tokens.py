"""Who may do what: API tokens with roles, and single-use join tokens.

Tokens are random (256 bit), so a plain SHA-256 of them is a safe thing to store; they are compared in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from eyeflow.base.clock import NowUs
from eyeflow.coordinator.choosing import check_labels
from eyeflow.coordinator.problem import FieldError, Problem
from eyeflow.coordinator.room import check_room
from eyeflow.coordinator.store.cluster_store import ClusterStore, Reading, Writing
from eyeflow.coordinator.store.facts import ApiToken, JoinToken, Kept, LogEntry
from eyeflow.coordinator.store.lists import Page, TokensAsked

TOKEN_S = 90 * 86_400
"""How long an API token works unless told otherwise."""
TOKEN_S_MAX = 10 * 365 * 86_400
COORDINATOR, NODE_ACTOR = "coordinator", "node "
"""Whom the log names beside tokens: the coordinator itself, and a node by this and its name."""
USED_S = 60
"""How often it is written down when tokens were used last."""
NEW_TOKEN = (
    "send `Authorization: Bearer TOKEN`; an admin makes one with `eyeflow tokens new`, and `eyeflow coordinator start` "
    "tells where the first one lies"
)
JOIN_TOKEN_S = 24 * 3600
JOIN_TOKEN_S_MAX = 30 * 86_400
TOKENS_MAX = 10_000
"""API tokens, and open join tokens, that the store keeps."""
NEW_JOIN_TOKEN = "make a new one with `eyeflow coordinator join-token`"

_API = re.compile(r"eft_([0-9a-f]{12})_([0-9a-f]{64})")
_JOIN = re.compile(r"efj_([0-9a-f]{12})_([0-9a-f]{64})_([0-9a-f]{16})(?:_[0-9a-f]{32})?")

RandomBytes = Callable[[int], bytes]


class Role(Enum):
    """What a token allows; each role includes the ones below it."""

    ADMIN = "admin"
    DEPLOY = "deploy"
    READ = "read"


_RANK = {Role.READ: 0, Role.DEPLOY: 1, Role.ADMIN: 2}


@dataclass(frozen=True, slots=True)
class Actor:
    """Who makes a request: the name of the token, its role, its id, and the labels of the nodes that it is for.

    No labels: all nodes. `expires_us`: when token or session expires, 0 for never. `session`: the hash of the session's
    secret, empty for who sent the token itself.
    """

    name: str
    role: Role
    token_id: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    expires_us: int = 0
    session: bytes = b""

    def may(self, needed: Role) -> bool:
        """Say whether this actor's role includes `needed`."""
        return _RANK[self.role] >= _RANK[needed]


@dataclass(frozen=True, slots=True)
class Whose:
    """For which nodes a token is (`labels`; empty: all), and for which person, if that is told."""

    labels: Mapping[str, str] = field(default_factory=dict)
    person: str = ""


NOBODYS = Whose()


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token that was just made: `secret` is what its holder sends, and is kept nowhere."""

    secret: str
    kept: ApiToken


class Tokens:
    """API tokens and join tokens in the store. `random` gives n random bytes."""

    def __init__(self, store: ClusterStore, clock: NowUs, random: RandomBytes = secrets.token_bytes) -> None:
        self._store = store
        self._clock = clock
        self._random = random
        self._used: dict[str, int] = {}
        """When tokens were used that is not written down yet: a write for each request would cost more than most."""
        self._written_us = 0

    async def create(
        self,
        name: str,
        role: Role,
        now_us: int,
        actor: str,
        valid_s: int = TOKEN_S,
        whose: Whose = NOBODYS,
    ) -> NewToken:
        """Return a new API token; it is shown once, only its hash is kept. `valid_s` 0: it never expires.

        Raises Problem `token_exists` for the name of another one that works: a name says who did what.
        """
        if role is Role.ADMIN and whose.labels:
            errors = [FieldError("/labels", "stands beside the role admin")]
            raise Problem("invalid_body", "An admin's token is for the whole cluster.", errors=errors)
        check_labels(whose.labels)
        token_id, secret = self._random(6).hex(), self._random(32).hex()
        expires_us = now_us + valid_s * 1_000_000 if valid_s else 0
        token = ApiToken(
            token_id,
            name,
            role.value,
            _hash(secret),
            now_us,
            expires_us=expires_us,
            created_by=actor,
            labels=tuple(sorted(whose.labels.items())),
            person=whose.person,
        )
        told = " ".join([token_id, role.value, *(f"{key}={value}" for key, value in token.labels), whose.person])
        if actor != COORDINATOR and (name == COORDINATOR or name.startswith(NODE_ACTOR)):
            raise Problem("token_exists", f"`{name}` is what the log calls another.", "choose another name")

        def step(writing: Writing) -> None:
            check_room(writing, Kept.API_TOKENS, TOKENS_MAX)
            if any(one.name == name and one.works(now_us) for one in writing.api_tokens()):
                raise Problem(
                    "token_exists", f"A token named `{name}` works.", "revoke it first, or choose another name"
                )
            writing.add_api_token(token)
            writing.add_log_entry(LogEntry(now_us, actor, "create_token", name, told.rstrip()))

        await self._store.write(step)
        return NewToken(f"eft_{token_id}_{secret}", token)

    async def page(self, asked: TokensAsked) -> Page[ApiToken]:
        """Return API tokens in the order they were made."""
        page = await self._store.read(lambda reading: reading.token_page(asked))
        used = [replace(one, used_us=max(one.used_us, self._used.get(one.id, 0))) for one in page.rows]
        return Page(used, page.after)

    def revoke(self, token_id: str, now_us: int, actor: str) -> Awaitable[None]:
        """Let a token open nothing any more; raises Problem for an unknown one and for the last admin's."""

        def step(writing: Writing) -> None:
            known = {token.id: token for token in writing.api_tokens()}
            if token_id not in known:
                detail = f"No API token has the id `{token_id[:64]}`."
                raise Problem("not_found", detail, "list them with `eyeflow tokens list`")
            if _admins(known.values(), now_us) == {token_id}:
                raise Problem("last_admin", "This is the last admin token.", "make another admin token first")
            writing.revoke_api_token(token_id, now_us)
            writing.add_log_entry(LogEntry(now_us, actor, "revoke_token", known[token_id].name, token_id))

        return self._store.write(step)

    async def has_admin(self) -> bool:
        """Say whether an admin token works: not on the first start, nor when the last one has expired."""
        now_us = self._clock()
        return bool(await self._store.read(lambda reading: _admins(reading.api_tokens(), now_us)))

    async def actor(self, authorization: str | None) -> Actor:
        """Return who sent `Authorization: Bearer ...`; raises Problem 401.

        That a token was revoked or has expired is told to who holds its secret, and to nobody else.
        """
        scheme, _, token = (authorization or "").partition(" ")
        match = _API.fullmatch(token.strip()) if scheme.lower() == "bearer" else None
        known = None
        if match is not None:
            token_id = match[1]
            known = await self._store.read(lambda reading: reading.api_token(token_id))
        # Compared also when the token is unknown: the time of the answer must not tell which ids there are.
        expected = known.hash if known is not None else bytes(32)
        same = hmac.compare_digest(expected, _hash(match[2] if match is not None else ""))
        if known is None or not same:
            detail = "The request has no valid token." if authorization else "The request has no token."
            raise Problem("unauthenticated", detail, NEW_TOKEN)
        now_us = self._clock()
        if not known.works(now_us):
            what = "was revoked" if known.revoked_us else "has expired"
            raise Problem("unauthenticated", f"The token `{known.name}` {what}.", NEW_TOKEN)
        self.note_use(known.id)
        return Actor(known.name, Role(known.role), known.id, dict(known.labels), known.expires_us)

    def note_use(self, token_id: str) -> None:
        """A token was used, by itself or by a session."""
        self._used[token_id] = self._clock()

    async def write_down(self) -> None:
        """Make durable when tokens were used, once in USED_S at most."""
        now_us = self._clock()
        if not self._used or abs(now_us - self._written_us) < USED_S * 1_000_000:
            return
        used, self._written_us = dict(self._used), now_us
        await self._store.write(lambda writing: writing.record_token_uses(used))
        for token_id, time_us in used.items():
            if self._used.get(token_id) == time_us:
                del self._used[token_id]

    async def create_join(
        self, now_us: int, actor: str, valid_s: int = JOIN_TOKEN_S, ca_pin: str = ""
    ) -> tuple[str, int]:
        """Return a new single-use join token and when it expires; it pins the coordinator's key and its CA, if any."""
        token_id, secret = self._random(6).hex(), self._random(32).hex()
        expires_us = now_us + valid_s * 1_000_000

        def step(writing: Writing) -> None:
            if writing.count(Kept.JOIN_TOKENS) >= TOKENS_MAX:  # not before: the clock may be wrong for a moment
                writing.forget_spent_join_tokens(now_us)
            check_room(writing, Kept.JOIN_TOKENS, TOKENS_MAX)
            writing.add_join_token(JoinToken(token_id, _hash(secret), now_us, expires_us))
            writing.add_log_entry(LogEntry(now_us, actor, "join_token", token_id))

        await self._store.write(step)
        pins = self._store.coordinator_id[:16] + (f"_{ca_pin}" if ca_pin else "")
        return f"efj_{token_id}_{secret}_{pins}", expires_us


def use_join_token(writing: Writing, token: str, node: str, now_us: int) -> bool:
    """Use up a join token for `node`; raises Problem 401 as `check_join_token`.

    Returns False when this node has used it before: its first answer may have been lost.
    """
    known = check_join_token(writing, token, node, now_us)
    writing.use_join_token(known.id, node, now_us)
    return not known.used_us


def check_join_token(reading: Reading, token: str, node: str, now_us: int) -> JoinToken:
    """Return a join token that `node` may use; raises Problem 401 when it is unknown, expired or used by another."""
    match = _JOIN.fullmatch(token)
    known = reading.join_token(match[1]) if match is not None else None
    expected = known.hash if known is not None else bytes(32)
    same = hmac.compare_digest(expected, _hash(match[2] if match is not None else ""))
    if known is None or not same or now_us >= known.expires_us or (known.used_us and known.used_by != node):
        raise Problem("bad_join_token", "The join token is unknown, used or expired.", NEW_JOIN_TOKEN)
    return known


def _admins(tokens: Iterable[ApiToken], now_us: int) -> set[str]:
    return {token.id for token in tokens if token.role == Role.ADMIN.value and token.works(now_us)}


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
