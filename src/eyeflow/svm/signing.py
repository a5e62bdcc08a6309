"""Ed25519 signatures of programs (RFC 8032): who signed, and whether we trust them. docs/svm.md, The `.svm` file."""

from __future__ import annotations

import hashlib
from collections.abc import Collection

from eyeflow.svm.container import KEY_BYTES, Signature, SignedProgram, attach_signatures, decode
from eyeflow.svm.failure import ProgramError

CONTEXT = b"eyeflow program v1\0"
FINGERPRINT_DIGITS = 16

_PRIME = 2**255 - 19
_EIGHTH_Y = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
"""y of the points of order 8, up to its sign."""

_WEAK_Y = frozenset({0, 1, _PRIME - 1, _EIGHTH_Y, _PRIME - _EIGHTH_Y})
"""y of the eight points of small order: Chalkias, Garillot, Nikolaenko, Taming the many EdDSAs, 2020, table 1."""


def message(signed_bytes: bytes) -> bytes:
    """Return what a signature is over: the context and the SHA-256 of the signed bytes."""
    return CONTEXT + hashlib.sha256(signed_bytes).digest()


def sign(signed_bytes: bytes, private_key: bytes) -> bytes:
    """Return the signature (64 bytes) of the signed bytes by a private key (the 32 bytes of RFC 8032)."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(private_key).sign(message(signed_bytes))


def public_key_of(private_key: bytes) -> bytes:
    """Return the public key (32 bytes) that belongs to a private key (32 bytes)."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(private_key).public_key().public_bytes_raw()


def is_strong_key(public_key: bytes) -> bool:
    """Return whether signatures of a public key (32 bytes) bind anybody; OpenSSL does not ask.

    Of a key of small order, all zeros among them, anybody can make signatures. A key that is not in its one form would
    be the same key under two names. Boards refuse both (`embassy/ed25519`), so the PC must too.
    """
    y = int.from_bytes(public_key, "little") & (2**255 - 1)
    return len(public_key) == KEY_BYTES and y < _PRIME and y not in _WEAK_Y


def sign_program(data: bytes, private_key: bytes) -> bytes:
    """Return the `.svm` file `data` with one signature more; a signature of the same key is replaced."""
    signed = decode(data)
    key = public_key_of(private_key)
    others = tuple(signature for signature in signed.signatures if signature[0] != key)
    mine: Signature = (key, sign(signed.signed_bytes, private_key))
    return attach_signatures(signed.signed_bytes, (*others, mine))


def check_signatures(signed: SignedProgram, trusted: Collection[bytes]) -> tuple[bytes, ...]:
    """Return the trusted public keys that signed this program; raises ProgramError when there is none.

    Every signature must be valid, also one of a key that nobody trusts: a broken one means that the file was changed.
    """
    if not signed.signatures:
        raise ProgramError(
            f"`{signed.program.rule}` is not signed",
            next_step="Sign it: `eyeflow sign PROGRAM --key NAME`.",
            code="unsigned",
        )
    check_unchanged(signed)
    signers = tuple(key for key, _ in signed.signatures if key in trusted)
    if not signers:
        raise _foreign(signed)
    return signers


def check_unchanged(signed: SignedProgram) -> None:
    """Raise ProgramError when a signature does not fit the program, whoever made it; one without signatures passes."""
    for key, signature in signed.signatures:
        _check(key, signature, signed)


def _foreign(signed: SignedProgram) -> ProgramError:
    names = ", ".join(fingerprint(key) for key, _ in signed.signatures)
    return ProgramError(
        f"`{signed.program.rule}` is signed by {names}, and no such key is trusted here",
        next_step="If you know the signer, trust the public key with `eyeflow keys trust`; else do not run it.",
        code="foreign_signature",
    )


def _check(key: bytes, signature: bytes, signed: SignedProgram) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        if not is_strong_key(key):
            raise InvalidSignature
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message(signed.signed_bytes))
    except (InvalidSignature, ValueError) as error:
        raise ProgramError(
            f"the signature of {fingerprint(key)} on `{signed.program.rule}` is not valid: the program was changed",
            next_step="Get the program again from where it was signed; do not run this one.",
            code="bad_signature",
        ) from error


def fingerprint(public_key: bytes) -> str:
    """Return the short name of a public key: the first 16 hex digits of its SHA-256."""
    if len(public_key) != KEY_BYTES:
        raise ProgramError(f"a public key has {KEY_BYTES} bytes, not {len(public_key)}", code="bad_key")
    return hashlib.sha256(public_key).hexdigest()[:FINGERPRINT_DIGITS]
