"""Who may do what: API tokens with roles, single-use join tokens, and nonces for the handshake of node links.

Tokens are random (256 bit), so a plain SHA-256 of them is a safe thing to store; they are compared in constant time.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from eyeflow.coordinator.problem import Problem
from eyeflow.coordinator.store import Store
from eyeflow.protocol.identity import verifies
from eyeflow.protocol.messages import link_bytes

JOIN_TOKEN_S = 24 * 3600
JOIN_TOKEN_S_MAX = 30 * 86_400
TOKENS_MAX = 10_000
"""API tokens, and open join tokens, that the store keeps."""
CHALLENGE_S = 30

_API = re.compile(r"eft_([0-9a-f]{12})_([0-9a-f]{64})")
_JOIN = re.compile(r"efj_([0-9a-f]{12})_([0-9a-f]{64})_([0-9a-f]{16})")
_LINK = re.compile(
    r'EyeflowLink node="([A-Za-z0-9._-]{1,63})", nonce="([0-9a-f]{64})", signature="([A-Za-z0-9+/=]{88})"'
)

RandomBytes = Callable[[int], bytes]


class Role(Enum):
    """What a token allows; each role includes the ones below it."""

    ADMIN = "admin"
    DEPLOY = "deploy"
    READ = "read"


_RANK = {Role.READ: 0, Role.DEPLOY: 1, Role.ADMIN: 2}


@dataclass(frozen=True, slots=True)
class Actor:
    """Who makes a request: the name of the token, and its role."""

    name: str
    role: Role

    def may(self, needed: Role) -> bool:
        """Say whether this actor's role includes `needed`."""
        return _RANK[self.role] >= _RANK[needed]


class Tokens:
    """API tokens and join tokens in the store. `random` gives n random bytes."""

    def __init__(self, store: Store, random: RandomBytes = secrets.token_bytes) -> None:
        self._store = store
        self._random = random

    def create(self, name: str, role: Role, now_us: int) -> str:
        """Return a new API token; it is shown once, only its hash is kept."""
        check_bound(self._store, "api_tokens", TOKENS_MAX)
        token_id, secret = self._random(6).hex(), self._random(32).hex()
        self._store.run(
            "INSERT INTO api_tokens(id, name, role, hash, created_us) VALUES(?, ?, ?, ?, ?)",
            (token_id, name, role.value, _hash(secret), now_us),
        )
        return f"eft_{token_id}_{secret}"

    def all(self) -> list[tuple[str, str, str, int, int]]:
        """Return (id, name, role, created_us, revoked_us) of each API token, in the order they were made."""
        columns = "id, name, role, created_us, revoked_us"
        rows = self._store.rows(f"SELECT {columns} FROM api_tokens ORDER BY created_us, id")
        return [(row[0], row[1], row[2], row[3], row[4]) for row in rows]

    def revoke(self, token_id: str, now_us: int) -> None:
        """Let a token open nothing any more; raises Problem for an unknown one and for the last admin's."""
        tokens = self.all()
        if token_id not in {token[0] for token in tokens}:
            raise Problem("not_found", f"No API token has the id `{token_id[:64]}`.", "list them with GET /api/tokens")
        admins = {token[0] for token in tokens if token[2] == Role.ADMIN.value and not token[4]}
        if admins == {token_id}:
            raise Problem("last_admin", "This is the last admin token.", "make another admin token first")
        self._store.run("UPDATE api_tokens SET revoked_us = ? WHERE id = ? AND revoked_us = 0", (now_us, token_id))

    def any(self) -> bool:
        """Say whether an API token was ever made: not on the first start."""
        return self._store.row("SELECT 1 FROM api_tokens LIMIT 1") is not None

    def actor(self, authorization: str | None) -> Actor:
        """Return who sent `Authorization: Bearer ...`; raises Problem 401 without saying which part was wrong."""
        scheme, _, token = (authorization or "").partition(" ")
        match = _API.fullmatch(token.strip()) if scheme.lower() == "bearer" else None
        row = None
        if match is not None:
            row = self._store.row("SELECT hash, name, role, revoked_us FROM api_tokens WHERE id = ?", (match[1],))
        expected = bytes(row[0]) if row is not None else bytes(32)
        same = hmac.compare_digest(expected, _hash(match[2] if match is not None else ""))
        if row is None or not same or row[3]:
            raise Problem(
                "unauthenticated",
                "The request has no valid token." if authorization else "The request has no token.",
                "send `Authorization: Bearer TOKEN`; `eyeflow coordinator start` tells where the first token lies",
            )
        return Actor(row[1], Role(row[2]))

    def create_join(self, now_us: int, valid_s: int = JOIN_TOKEN_S) -> tuple[str, int]:
        """Return a new single-use join token and when it expires; it pins the coordinator's key."""
        if count_of(self._store, "join_tokens") >= TOKENS_MAX:  # not before: the clock may be wrong for a moment
            self._store.run("DELETE FROM join_tokens WHERE used_us > 0 OR expires_us <= ?", (now_us,))
        check_bound(self._store, "join_tokens", TOKENS_MAX)
        token_id, secret = self._random(6).hex(), self._random(32).hex()
        expires_us = now_us + valid_s * 1_000_000
        self._store.run(
            "INSERT INTO join_tokens(id, hash, created_us, expires_us) VALUES(?, ?, ?, ?)",
            (token_id, _hash(secret), now_us, expires_us),
        )
        return f"efj_{token_id}_{secret}_{self._store.coordinator_id[:16]}", expires_us

    def use_join(self, token: str, node: str, now_us: int) -> bool:
        """Use up a join token for `node`; raises Problem 401 when it is unknown, expired or used by another node.

        Returns False when this node has used it before: its first answer may have been lost.
        """
        match = _JOIN.fullmatch(token)
        row = None
        if match is not None:
            columns = "hash, expires_us, used_us, used_by"
            row = self._store.row(f"SELECT {columns} FROM join_tokens WHERE id = ?", (match[1],))
        expected = bytes(row[0]) if row is not None else bytes(32)
        same = hmac.compare_digest(expected, _hash(match[2] if match is not None else ""))
        known = row is not None and same and now_us < row[1] and (not row[2] or row[3] == node)
        if match is None or row is None or not known:
            raise Problem(
                "bad_join_token",
                "The join token is unknown, used or expired.",
                "make a new one with `eyeflow coordinator join-token`",
            )
        self._store.run("UPDATE join_tokens SET used_us = ?, used_by = ? WHERE id = ?", (now_us, node, match[1]))
        return not row[2]


def count_of(store: Store, table: str) -> int:
    """Return how many rows a table holds."""
    row = store.row(f"SELECT count(*) FROM {table}")
    return int(row[0]) if row is not None else 0


def check_bound(store: Store, table: str, count_max: int) -> None:
    """Raise Problem `limit_reached` when the table holds `count_max` rows."""
    if count_of(store, table) >= count_max:
        raise Problem("limit_reached", f"The coordinator keeps {count_max} {table} at most.", "remove some first")


class Challenges:
    """Single-use nonces for node links, without a memory of those given out: strangers cannot fill what is not kept.

    A nonce is a running number (8 bytes), the time (8 bytes) and an HMAC-SHA256 of both, cut to 16 bytes (RFC 2104,
    section 5). The secret lives as long as the process: after a restart a node asks for a new nonce.
    """

    def __init__(self, random: RandomBytes = secrets.token_bytes) -> None:
        self._secret = random(32)
        self._issued = 0
        self._used: dict[str, int] = {}
        """The number of the last nonce that each node used: as many entries as nodes that proved who they are."""

    def issue(self, now_us: int) -> bytes:
        """Return a fresh nonce of 32 bytes, good once within CHALLENGE_S."""
        self._issued += 1
        stated = struct.pack(">Qq", self._issued, now_us)
        return stated + self._mac(stated)

    def is_ours(self, nonce: bytes, now_us: int) -> bool:
        """Say whether this process issued `nonce`, not longer ago than CHALLENGE_S."""
        if not hmac.compare_digest(nonce[16:], self._mac(nonce[:16])):
            return False
        issued_us: int = struct.unpack(">Qq", nonce[:16])[1]
        return abs(now_us - issued_us) < CHALLENGE_S * 1_000_000

    def use(self, node: str, nonce: bytes) -> bool:
        """Use up a nonce that `node` signed; False when it used this one or a newer one before."""
        number = struct.unpack(">Qq", nonce[:16])[0]
        if number <= self._used.get(node, 0):
            return False
        self._used[node] = number
        return True

    def _mac(self, stated: bytes) -> bytes:
        return hmac.digest(self._secret, stated, "sha256")[:16]


def authenticate_link(store: Store, challenges: Challenges, authorization: str | None, now_us: int) -> str | None:
    """Return the name of the node whose key signed the nonce in `Authorization: EyeflowLink ...`, else None."""
    match = _LINK.fullmatch(authorization or "")
    if match is None:
        return None
    nonce = bytes.fromhex(match[2])
    if not challenges.is_ours(nonce, now_us):
        return None
    row = store.row("SELECT public_key FROM nodes WHERE name = ?", (match[1],))
    signature = _base64(match[3])
    signed = link_bytes(store.coordinator_id, match[1], nonce)
    if row is None or not verifies(bytes(row[0]), signed, signature):
        return None
    return match[1] if challenges.use(match[1], nonce) else None


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return b""


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
