"""Who opens a node link: single-use nonces, and the signature over one that proves which node asks."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import secrets
import struct

from eyeflow.coordinator.store.cluster_store import ClusterStore
from eyeflow.coordinator.tokens import RandomBytes
from eyeflow.protocol.identity import verifies
from eyeflow.protocol.messages import link_bytes

CHALLENGE_S = 30

_LINK = re.compile(
    r'EyeflowLink node="([A-Za-z0-9._-]{1,63})", nonce="([0-9a-f]{64})", signature="([A-Za-z0-9+/=]{88})"'
)


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


async def authenticate_link(
    store: ClusterStore, challenges: Challenges, authorization: str | None, now_us: int
) -> str | None:
    """Return the name of the node whose key signed the nonce in `Authorization: EyeflowLink ...`, else None."""
    match = _LINK.fullmatch(authorization or "")
    if match is None:
        return None
    name, nonce = match[1], bytes.fromhex(match[2])
    signed = link_bytes(store.coordinator_id, name, nonce)
    is_node = await proves_node(store, challenges, name, nonce, signed, _base64(match[3]), now_us)
    return name if is_node else None


async def proves_node(
    store: ClusterStore, challenges: Challenges, name: str, nonce: bytes, signed: bytes, signature: bytes, now_us: int
) -> bool:
    """Say whether the node `name` signed `signed`, which holds `nonce`; the nonce is then used up."""
    if not challenges.is_ours(nonce, now_us):
        return False
    node = await store.read(lambda reading: reading.node(name))
    if node is None or not verifies(node.public_key, signed, signature):
        return False
    # Last: whoever cannot sign must not use up a nonce, nor fill the memory of used ones.
    return challenges.use(name, nonce)


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return b""
