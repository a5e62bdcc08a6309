"""The user's keyring, for every command that signs or names a signer."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from eyeflow.base.errors import EyeflowError
from eyeflow.cli.questions import ask_secret, can_ask

if TYPE_CHECKING:
    from eyeflow.client.keyring import Keyring


PASSPHRASE_ENV = "EYEFLOW_PASSPHRASE"


def open_keyring() -> Keyring:
    """Return the user's keyring: EYEFLOW_KEYS, or ~/.config/eyeflow/keys."""
    from eyeflow.client.keyring import Keyring

    return Keyring()


def names_by_key() -> dict[bytes, str]:
    """Return the names that this user gave to public keys."""
    keyring = open_keyring()
    names = {one.public_key: one.name for one in keyring.trusted()}
    return names | {one.public_key: one.name for one in keyring.list()}


def revoked_keys() -> set[bytes]:
    """Return the public keys that this user trusts no more."""
    return {entry.public_key for entry in open_keyring().trusted() if entry.revoked}


def private_key(name: str) -> bytes:
    """Return a private key, asking for its passphrase when it has one (EYEFLOW_PASSPHRASE answers in scripts)."""
    keyring = open_keyring()
    try:
        return keyring.load(name, os.environ.get(PASSPHRASE_ENV))
    except EyeflowError as error:
        if error.code != "passphrase_needed" or not can_ask():
            raise
    return keyring.load(name, ask_secret(f"passphrase of the key {name}", PASSPHRASE_ENV))
