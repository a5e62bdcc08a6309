"""The secret of a board on which Ed25519 does not fit, and the MAC that takes the place of the signature.

The host checks the Ed25519 signature of a program before it sends it to such a board, and then adds a signature of the
same form: the key is the SHA-256 of the secret; the signature is two HMAC-SHA-256 (RFC 2104), each over a byte, 1 or 2,
and the message that Ed25519 would sign. docs/chips/rp2040.md says why, with numbers.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from eyeflow.base.errors import EyeflowError

DEVICE_KEY_BYTES = 32
DEVICE_KEY_FILE = "device.key"
"""Beside the board file; hexadecimal, readable by its owner only."""

_PROGRAM_CONTEXT = b"eyeflow program v1\0"
_DEVICE_CONTEXT = b"eyeflow device v1\0"


def new_device_key(path: Path) -> bytes:
    """Write a new secret to a file that only its owner can read, and return it; an existing one is kept."""
    if path.exists():
        return read_device_key(path)
    key = secrets.token_bytes(DEVICE_KEY_BYTES)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(key.hex() + "\n")
    return key


def read_device_key(path: Path) -> bytes:
    """Return the secret in a file; raises EyeflowError when there is none."""
    try:
        key = bytes.fromhex(path.read_text("ascii").strip())
    except (OSError, ValueError) as error:
        raise _unreadable(path, str(error)) from error
    if len(key) != DEVICE_KEY_BYTES:
        raise _unreadable(path, f"it has {len(key)} bytes, not {DEVICE_KEY_BYTES}")
    return key


def _unreadable(path: Path, cause: str) -> EyeflowError:
    return EyeflowError(
        f"there is no device key in {path}",
        cause=cause,
        next_step="make one with `eyeflow mcu new`, or copy the one that the board was built with",
        code="device_key",
    )


def mac_key_id(key: bytes) -> bytes:
    """Return the public name of a secret, 32 bytes: what stands where a public key would."""
    return hashlib.sha256(key).digest()


def device_number(key: bytes) -> bytes:
    """Return the number, 8 bytes, of a board whose chip has none of its own."""
    return hashlib.sha256(_DEVICE_CONTEXT + key).digest()[:8]


def mac_program(key: bytes, program_id: bytes) -> bytes:
    """Return the MAC, 64 bytes, of a program by its id (32 bytes)."""
    message = _PROGRAM_CONTEXT + program_id
    return b"".join(hmac.digest(key, bytes([number]) + message, "sha256") for number in (1, 2))
