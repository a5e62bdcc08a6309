"""Ed25519 identities (RFC 8032) of nodes and coordinators: raw keys, signatures, fingerprints."""

from __future__ import annotations

import hashlib
from random import Random, SystemRandom

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

KEY_BYTES = 32
SIGNATURE_BYTES = 64


class Identity:
    """A private key of 32 bytes that signs; its `public_key` of 32 bytes is what others know."""

    def __init__(self, private_key: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(private_key)
        self.public_key: bytes = self._key.public_key().public_bytes_raw()

    @classmethod
    def generate(cls, random: Random | None = None) -> Identity:
        """Return a new identity, from the system's randomness unless `random` is given.

        Any 32 bytes are a private key (RFC 8032, section 5.1.5).
        """
        return cls((random or SystemRandom()).randbytes(KEY_BYTES))

    def private_bytes(self) -> bytes:
        """Return the 32 secret bytes, for the one store that keeps them."""
        return self._key.private_bytes_raw()

    def sign(self, data: bytes) -> bytes:
        """Return the 64-byte signature over `data`."""
        return self._key.sign(data)


def verifies(public_key: bytes, data: bytes, signature: bytes) -> bool:
    """Say whether `signature` over `data` is by the owner of `public_key`; malformed keys verify nothing."""
    if len(public_key) != KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


def key_fingerprint(public_key: bytes) -> str:
    """Return the SHA-256 of a public key, in hex: a coordinator's id, and what people compare."""
    return hashlib.sha256(public_key).hexdigest()
