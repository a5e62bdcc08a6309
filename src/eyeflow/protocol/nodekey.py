"""The Ed25519 key (RFC 8032) that a node signs with: gaps and checkpoints of its audit, its handshake."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SEED_BYTES = 32
PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64


class NodeKey:
    """A private key made of a 32-byte seed. `public` is the public key, 32 bytes."""

    def __init__(self, seed: bytes) -> None:
        """Take the seed; raises ValueError when it is not 32 bytes."""
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self._private.public_key().public_bytes_raw()

    def sign(self, data: bytes) -> bytes:
        """Return the 64-byte signature of `data`."""
        return self._private.sign(data)


def signature_holds(public_key: bytes, signature: bytes, data: bytes) -> bool:
    """Return whether `signature` is that of `public_key` over `data`; False too for malformed keys and signatures."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True
