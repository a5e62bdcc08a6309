"""Signing keys of a user or CI, and the list of public keys that are trusted: files in one directory of mode 0700.

`NAME.pem` holds a private key (PKCS #8, RFC 5958; encrypted when a passphrase was given) with mode 0600, `NAME.pub` the
public key as text. `trusted.toml` lists trusted keys; a revoked one stays in it, marked.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import datetime
import fcntl
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import tomli_w
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.names import near
from eyeflow.base.private import WRITERS, loose
from eyeflow.base.reading import Unreadable, decode_utf8, exit_code, parse_toml, read_bytes
from eyeflow.base.reasons import why
from eyeflow.base.record import dataclass
from eyeflow.base.whole_file import write_whole
from eyeflow.client.profile import config_dir, write_secret
from eyeflow.svm.signing import fingerprint, is_strong_key

ENV_KEYS = "EYEFLOW_KEYS"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
KEY_FILE_BYTES_MAX = 16 * 1024
TRUSTED_BYTES_MAX = 4 * 1024 * 1024
TRUSTED_MAX = 1024
TRUSTED_FILE = "trusted.toml"
_PUB = re.compile(r"eyeflow-ed25519 ([0-9a-f]{64}) (\S+)\s*")


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """One signing key, without its secret. `problem` says what is wrong with its files, empty when nothing is."""

    name: str
    public_key: bytes
    path: Path
    problem: str = ""

    @property
    def fingerprint(self) -> str:
        """The short text by which people compare keys."""
        return fingerprint(self.public_key)


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """One entry of the trust store."""

    name: str
    public_key: bytes
    added: datetime.date
    revoked: bool = False

    @property
    def fingerprint(self) -> str:
        """The short text by which people compare keys."""
        return fingerprint(self.public_key)


TrustedKeys = list[TrustedKey]
Before = Callable[[TrustedKey], None]


def _nothing(_entry: TrustedKey) -> None:
    """Nobody else is to be asked first."""


def keys_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Return EYEFLOW_KEYS, or `~/.config/eyeflow/keys`."""
    given = environ.get(ENV_KEYS)
    return Path(given).expanduser() if given else config_dir(environ) / "keys"


class Keyring:
    """The keys in `path` (default: `keys_dir()`). Every method raises EyeflowError with the next step."""

    def __init__(self, path: Path | None = None, today: Callable[[], datetime.date] = datetime.date.today) -> None:
        self.path = path if path is not None else keys_dir()
        self._today = today

    def new(self, name: str, passphrase: str | None = None) -> KeyInfo:
        """Make a key; never overwrites one. With a passphrase the file is encrypted."""
        if NAME.fullmatch(name) is None:
            raise _wrong(
                f"`{name[:80]}` is not a name for a key",
                "a name has letters, digits, `.`, `_` and `-`, at most 63, and starts with a letter or digit",
                "choose another name",
                "key_name",
            )
        if passphrase == "":
            raise _wrong("the passphrase is empty", "it would protect nothing", "give one, or none", "passphrase")
        private = Ed25519PrivateKey.generate()
        public = private.public_key().public_bytes_raw()
        self._make_directory()
        self._publish(self._pem(name), _private_pem(private, passphrase))
        self._publish(self._pub(name), f"eyeflow-ed25519 {public.hex()} {name}\n".encode())
        return KeyInfo(name, public, self._pem(name))

    def list(self) -> list[KeyInfo]:
        """Return all signing keys, ascending by name."""
        return [self.show(path.stem) for path in sorted(self.path.glob("*.pem"))]

    def show(self, name: str) -> KeyInfo:
        """Return one key's public part."""
        path = self._existing(name)
        return KeyInfo(name, self._public(name), path, loose(path) or loose(self.path))

    def load(self, name: str, passphrase: str | None = None) -> bytes:
        """Return the private key (32 bytes), for `svm.signing.sign_program`.

        Raises EyeflowError: `key_not_found`, `key_permissions`, `passphrase_needed`, `wrong_passphrase`, `key_file`.
        """
        path = self._existing(name)
        problem = loose(path) or loose(self.path)
        if problem:
            raise _unsafe(f"the key `{name}`", problem, _mend(self.path, path))
        return _private_bytes(name, path, _read_bounded(path), passphrase)

    def trust(self, key: bytes | str | Path, name: str, first: Before = _nothing) -> TrustedKey:
        """Trust a public key: 32 bytes, hex or base64 text, or a `.pub` or PEM file. A revoked one is trusted again.

        `first` is called before it is kept; what it raises leaves the trust store as it was.
        """
        public = read_public_key(key)
        if not is_strong_key(public):
            raise _wrong(
                "this public key protects nothing",
                "it has small order, or is not in its one form: anybody could sign with it",
                "get the signer's real key (`eyeflow keys show NAME` prints it there): nobody has a private one",
                "weak_key",
            )
        if NAME.fullmatch(name) is None:
            raise _wrong(
                f"`{name[:80]}` is not a name for a key", "letters, digits, . _ -", "choose another", "key_name"
            )
        with self._changing() as entries:
            other = [one for one in entries if one.name == name and one.public_key != public]
            if other:
                cause = f"it has the fingerprint {other[0].fingerprint}"
                raise _wrong(f"another trusted key is named `{name}`", cause, "choose another name", "key_exists")
            if len(entries) >= TRUSTED_MAX:
                raise _wrong("the trust store is full", f"{TRUSTED_MAX} keys", "remove entries", "trust_full")
            made = TrustedKey(name, public, self._today())
            first(made)
            entries[:] = [one for one in entries if one.public_key != public] + [made]
        return made

    def revoke(self, name: str, first: Before = _nothing) -> TrustedKey:
        """Trust a key no more, by its name, fingerprint or public key in hex; `first` is as in `trust`."""
        with self._changing() as entries:
            found = [one for one in entries if name in {one.name, one.fingerprint, one.public_key.hex()}]
            if len(found) != 1:
                guess = near(name, [one.name for one in entries])
                cause = f"did you mean `{guess}`?" if guess else "see `eyeflow keys list`"
                raise _wrong(f"no trusted key is `{name[:80]}`", cause, "give a name or fingerprint", "key_not_found")
            revoked = replace(found[0], revoked=True)
            first(revoked)
            entries[entries.index(found[0])] = revoked
        return revoked

    def trusted(self) -> TrustedKeys:
        """Return the trust store, revoked entries too."""
        file = self.path / TRUSTED_FILE
        if not file.exists():
            return []
        problem = loose(file, WRITERS) or loose(self.path, WRITERS)
        if problem:
            raise _unsafe(f"the trust store {file}", problem, _mend(self.path, file))
        try:
            plain = parse_toml(decode_utf8(_read_bounded(file, TRUSTED_BYTES_MAX)))
            return [_entry(one) for one in plain.get("key", [])]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            cause = why(error) if isinstance(error, Unreadable) else "an entry lacks a field, or one is of another type"
            raise _wrong(f"the trust store {file} is malformed", cause, "mend or remove it", "trust_store") from error

    def trusted_keys(self) -> frozenset[bytes]:
        """Return the public keys (32 bytes) that are trusted and not revoked."""
        return frozenset(entry.public_key for entry in self.trusted() if not entry.revoked)

    def _pem(self, name: str) -> Path:
        return self.path / f"{name}.pem"

    def _pub(self, name: str) -> Path:
        return self.path / f"{name}.pub"

    def _existing(self, name: str) -> Path:
        path = self._pem(name)
        if NAME.fullmatch(name) is None or not path.is_file():
            guess = near(name, [one.stem for one in self.path.glob("*.pem")])
            hint = f"did you mean `{guess}`?" if guess else f"{self.path} has no such file"
            raise _wrong(
                f"there is no key `{name[:80]}`", hint, f"make one: eyeflow keys new {name[:80]}", "key_not_found"
            )
        return path

    def _public(self, name: str) -> bytes:
        path = self._pub(name)
        if not path.is_file():
            raise _wrong(
                f"the public part of the key `{name}` is missing",
                f"{path} is not there",
                "restore it from a backup, or make a new key under another name",
                "key_file",
            )
        return read_public_key(path)

    def _make_directory(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise _no_write(self.path, error) from error
        problem = loose(self.path)
        if problem:
            raise _unsafe("the key directory", problem, _mend(self.path, self.path))

    def _publish(self, path: Path, data: bytes) -> None:
        """Create a file with all its bytes or not at all; never over another."""
        try:
            write_whole(path, data, 0o600, replace=False)
        except FileExistsError as error:
            cause = f"{path} exists, and a key is never overwritten"
            raise _wrong(f"there is a key `{path.stem}` already", cause, "choose another name", "key_exists") from error
        except OSError as error:
            raise _no_write(path, error) from error

    @contextlib.contextmanager
    def _changing(self) -> Iterator[TrustedKeys]:
        """Give the trust store's entries to change; writes them at the end. One process at a time."""
        self._make_directory()
        with (self.path / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            entries = self.trusted()
            yield entries
            plain = [
                {"name": one.name, "public_key": one.public_key.hex(), "added": one.added, "revoked": one.revoked}
                for one in entries
            ]
            write_secret(self.path / TRUSTED_FILE, tomli_w.dumps({"key": plain}))


def read_public_key(key: bytes | str | Path) -> bytes:
    """Return the 32 bytes of a public key: raw, hex, base64, a `.pub` line, or a file with that or PEM."""
    if isinstance(key, bytes):
        return _checked(key)
    text = _read_bounded(key).decode("utf-8", "replace") if isinstance(key, Path) else key.strip()
    named = _PUB.fullmatch(text)
    if named is not None:
        return _checked(bytes.fromhex(named[1]))
    if text.lstrip().startswith("-----BEGIN PUBLIC KEY"):
        return _from_pem(text)
    text = text.strip()
    if re.fullmatch(r"[0-9A-Fa-f]{64}", text):
        return _checked(bytes.fromhex(text))
    with contextlib.suppress(binascii.Error, ValueError):
        return _checked(base64.b64decode(text, validate=True))
    if isinstance(key, str) and (Path(key).exists() or "/" in key or key.endswith((".pub", ".pem"))):
        return read_public_key(Path(key))
    shown = f"what is in {key}" if isinstance(key, Path) else f"`{text[:40]}`"
    raise _not_public(f"{shown} is neither hex, base64, a .pub nor a PEM public key")


def _checked(public: bytes) -> bytes:
    if len(public) != 32:
        raise _not_public(f"it has {len(public)} bytes, an Ed25519 public key has 32")
    return public


def _from_pem(text: str) -> bytes:
    try:
        key = form.load_pem_public_key(text.encode())
    except ValueError as error:
        raise _not_public("its PEM is damaged, or of another kind") from error
    if not isinstance(key, Ed25519PublicKey):
        raise _not_public("it is not an Ed25519 key")
    return key.public_bytes_raw()


def _not_public(cause: str) -> EyeflowError:
    return _wrong("this is not a public key", cause, "give the NAME.pub file or the line that it holds", "public_key")


def _private_pem(key: Ed25519PrivateKey, passphrase: str | None) -> bytes:
    sealed: form.KeySerializationEncryption = form.NoEncryption()
    if passphrase is not None:
        sealed = form.BestAvailableEncryption(passphrase.encode())
    return key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, sealed)


def _private_bytes(name: str, path: Path, data: bytes, passphrase: str | None) -> bytes:
    sealed = b"ENCRYPTED" in data
    if sealed and passphrase is None:
        next_step = "give it when asked, or set EYEFLOW_PASSPHRASE"
        raise _wrong(f"the key `{name}` needs its passphrase", f"{path} is encrypted", next_step, "passphrase_needed")
    try:
        key = form.load_pem_private_key(data, passphrase.encode() if sealed and passphrase is not None else None)
    except ValueError as error:
        if sealed:
            cause = f"{path} cannot be decrypted with it"
            raise _wrong(f"wrong passphrase for the key `{name}`", cause, "try again", "wrong_passphrase") from error
        raise _wrong(
            f"the key file {path} is damaged", "it is no private key in PEM", "restore it from a backup", "key_file"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _wrong(f"the key file {path} is no Ed25519 key", "another kind", "make one: eyeflow keys new", "key_file")
    return key.private_bytes_raw()


def _entry(plain: Mapping[str, object]) -> TrustedKey:
    name, key, added, revoked = plain["name"], plain["public_key"], plain["added"], plain["revoked"]
    if not (isinstance(name, str) and isinstance(key, str) and isinstance(revoked, bool)):
        raise ValueError("an entry has a value of the wrong type")
    if not isinstance(added, datetime.date) or len(plain) != 4:
        raise ValueError("an entry has a wrong or unknown field")
    return TrustedKey(name, _checked(bytes.fromhex(key)), added, revoked)


def _mend(directory: Path, file: Path) -> str:
    return f"chmod 700 {directory}" if file == directory else f"chmod 700 {directory}; chmod 600 {file}"


def _read_bounded(path: Path, bytes_max: int = KEY_FILE_BYTES_MAX) -> bytes:
    try:
        return read_bytes(path, bytes_max)
    except (OSError, Unreadable) as error:
        raise EyeflowError(
            f"cannot read {path}",
            cause=why(error),
            next_step="check the path",
            code="key_file",
            exit_code=exit_code(error),
        ) from error


def _no_write(path: Path, error: OSError) -> EyeflowError:
    return EyeflowError(
        f"cannot write {path}",
        cause=why(error),
        next_step="check that the disk is not full and that you may write there",
        code="cannot_write",
    )


def _wrong(message: str, cause: str, next_step: str, code: str) -> EyeflowError:
    return EyeflowError(message, cause=cause, next_step=next_step, code=code, exit_code=ExitCode.PROBLEMS)


def _unsafe(what: str, cause: str, next_step: str) -> EyeflowError:
    return EyeflowError(f"{what} is not safe to use", cause=cause, next_step=next_step, code="key_permissions")
