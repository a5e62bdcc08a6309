"""Whose programs nodes may trust, and how many signers they need, said by a root key. No I/O.

The root, which the coordinator does not hold, signs a list of signer keys with a version that only grows. The
coordinator hands the list on; it can neither make nor change one, nor go back to an older one at a node that has seen
a newer one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from eyeflow.base.reading import Unreadable, parse_json
from eyeflow.protocol import wire
from eyeflow.protocol.identity import KEY_BYTES, SIGNATURE_BYTES, verifies

VERSION_MAX = 2**53 - 1
TEXT_BYTES_MAX = 64 * 1024
NEEDED_MIN, NEEDED_MAX = 2, 4
"""Signers that a threshold may ask for: a program carries no more signatures."""
THRESHOLDS_MAX = 64
PATTERN = re.compile(r"[A-Za-z0-9._*?-]{1,64}")
"""A pattern of names: `*` stands for any characters, `?` for one."""
LABEL = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}=[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
"""NAME=VALUE, as nodes have them at a coordinator."""
_FIELDS = {"version", "createdUs", "expiresUs", "signers", "root", "signature"}
_THRESHOLDS = "thresholds"
"""The field that a list without thresholds does not have: then it is what an earlier version made of it."""
_THRESHOLD_FIELDS = {"signers", "nodes", "rules", "labels"}


class SignerListError(Exception):
    """A list is malformed, not the root's, or not newer than the one that is known; its message is for people."""


@dataclass(frozen=True, slots=True, order=True)
class Threshold:
    """`signers` different trusted keys sign each program of the rules that match, on the nodes that match.

    `nodes` and `rules` are patterns of names. A node matches that also has all `labels` (ascending).
    """

    signers: int
    nodes: str = "*"
    rules: str = "*"
    labels: tuple[tuple[str, str], ...] = ()

    def is_for_node(self, name: str, labels: Mapping[str, str]) -> bool:
        """Say whether it holds on this node."""
        return fnmatchcase(name, self.nodes) and all(labels.get(key) == value for key, value in self.labels)

    def is_for_rule(self, rule: str) -> bool:
        """Say whether it holds for the programs of this rule."""
        return fnmatchcase(rule, self.rules)


def needed_signers(thresholds: Collection[Threshold], rule: str) -> int:
    """Return how many trusted keys must sign a program of `rule` on a node for which all `thresholds` hold."""
    return max((one.signers for one in thresholds if one.is_for_rule(rule)), default=1)


@dataclass(frozen=True, slots=True)
class SignerList:
    """The keys (32 bytes, ascending) of those who may sign programs. `expires_us` 0: never.

    `thresholds` (ascending) say where one signature is not enough.
    """

    version: int
    created_us: int
    expires_us: int
    signers: tuple[bytes, ...]
    root: bytes
    thresholds: tuple[Threshold, ...] = ()
    signature: bytes = b""

    @property
    def signed_bytes(self) -> bytes:
        """What the root signs: everything but the signature."""
        fields: list[Any] = [self.version, self.created_us, self.expires_us, list(self.signers), self.root]
        if not self.thresholds:
            return b"eyeflow signers v1\0" + wire.pack(fields)
        packed = [[one.signers, one.nodes, one.rules, [list(pair) for pair in one.labels]] for one in self.thresholds]
        return b"eyeflow signers v2\0" + wire.pack([*fields, packed])

    @property
    def is_signed(self) -> bool:
        """Whether the signature is by the root that the list names."""
        return verifies(self.root, self.signed_bytes, self.signature)

    def is_expired(self, now_us: int) -> bool:
        """Say whether nothing new may come by this list any more."""
        return 0 < self.expires_us <= now_us

    def text(self) -> str:
        """Return the list as JSON, as it stands in a file and goes over the wire."""
        plain: dict[str, Any] = {
            "version": self.version,
            "createdUs": self.created_us,
            "expiresUs": self.expires_us,
            "signers": [key.hex() for key in self.signers],
        }
        if self.thresholds:
            plain[_THRESHOLDS] = [
                {"signers": one.signers, "nodes": one.nodes, "rules": one.rules, "labels": dict(one.labels)}
                for one in self.thresholds
            ]
        return json.dumps(plain | {"root": self.root.hex(), "signature": self.signature.hex()}, indent=1) + "\n"


def make_list(
    version: int,
    now_us: int,
    expires_us: int,
    signers: Collection[bytes],
    root: bytes,
    sign: Callable[[bytes], bytes],
    thresholds: Collection[Threshold] = (),
) -> SignerList:
    """Return a list that the root signs: `root` is its public key, `sign` signs with the private one."""
    who, where = tuple(sorted(set(signers))), tuple(sorted(set(thresholds)))
    unsigned = SignerList(version, now_us, expires_us, who, root, where)
    return replace(unsigned, signature=sign(unsigned.signed_bytes))


def parse_list(text: str | bytes) -> SignerList:
    """Return the list that `text` made. Raises SignerListError for another form, or one that its root did not sign."""
    try:
        plain = parse_json(text, unique_names=True)
    except Unreadable as error:
        raise SignerListError(f"it is {error}") from error
    if not isinstance(plain, dict) or plain.keys() - {_THRESHOLDS} != _FIELDS:
        raise SignerListError("it has other fields than a list of signers")
    version, created_us, expires_us = (_number(plain[name]) for name in ("version", "createdUs", "expiresUs"))
    keys = plain["signers"] if isinstance(plain["signers"], list) else [None]
    signers = tuple(_bytes(key, KEY_BYTES) for key in keys)
    if version < 1 or list(signers) != sorted(set(signers)) or len(signers) > wire.SIGNERS_MAX:
        raise SignerListError(f"its version is 0, its keys do not ascend, or there are more than {wire.SIGNERS_MAX}")
    root, signature = _bytes(plain["root"], KEY_BYTES), _bytes(plain["signature"], SIGNATURE_BYTES)
    thresholds = _thresholds(plain[_THRESHOLDS]) if _THRESHOLDS in plain else ()
    made = SignerList(version, created_us, expires_us, signers, root, thresholds, signature)
    if not made.is_signed:
        raise SignerListError("the root that it names has not signed it")
    return made


def check_newer(new: SignerList, known: SignerList | None) -> bool:
    """Say whether `new` takes the place of `known`: False when it is the same. Raises SignerListError for an older one.

    Another list with the same version is refused, too: of two that a root signed, nobody could say which holds. A new
    root goes on with the versions of the one before: else an old list of that one could come back.
    """
    if known is None or new.version > known.version:
        return True
    if new.version < known.version:
        raise SignerListError(f"version {new.version} is older than version {known.version}, which is known here")
    if new.signed_bytes != known.signed_bytes:
        raise SignerListError(f"it differs from the version {new.version} that is known here")
    return False


class RootTrust:
    """What a node knows of its roots. Without roots it lets every signer pass that the coordinator names."""

    def __init__(self, roots: Collection[bytes]) -> None:
        self.roots = frozenset(roots)
        self.newest: SignerList | None = None

    def take(self, text: str | bytes) -> bool:
        """Take a list that came; say whether it is a new one. Raises SignerListError, and then nothing changes."""
        new = parse_list(text)
        if new.root not in self.roots:
            raise SignerListError("it is signed by a root that this node does not know")
        if not check_newer(new, self.newest):
            return False
        self.newest = new
        return True

    def allowed(self, signers: Collection[bytes]) -> set[bytes]:
        """Return which of the signers that the coordinator names the root allows."""
        if not self.roots:
            return set(signers)
        return set(signers) & set(self.newest.signers if self.newest is not None else ())

    def thresholds(self, node: str, labels: Mapping[str, str]) -> tuple[Threshold, ...]:
        """Return the thresholds of the newest list that hold on a node."""
        found = () if self.newest is None else self.newest.thresholds
        return tuple(one for one in found if one.is_for_node(node, labels))

    def refusal(self, now_us: int) -> str:
        """Return why no new program may come now, empty when one may."""
        if self.newest is None or not self.newest.is_expired(now_us):
            return ""
        return f"the root's list of signers (version {self.newest.version}) has expired"


def _thresholds(value: Any) -> tuple[Threshold, ...]:
    found = tuple(_threshold(one) for one in value) if isinstance(value, list) else ()
    if not 1 <= len(found) <= THRESHOLDS_MAX or list(found) != sorted(set(found)):
        raise SignerListError(f"its thresholds do not ascend, or are not 1 to {THRESHOLDS_MAX}")
    return found


def _threshold(value: Any) -> Threshold:
    if not isinstance(value, dict) or value.keys() != _THRESHOLD_FIELDS or not isinstance(value["labels"], dict):
        raise SignerListError("a threshold in it has other fields")
    labels = tuple(value["labels"].items())
    made = Threshold(value["signers"], value["nodes"], value["rules"], labels)
    if fault := fault_of(made):
        raise SignerListError(fault)
    return made


def fault_of(threshold: Threshold) -> str:
    """Return what is wrong with a threshold, for people; empty when nothing is."""
    if type(threshold.signers) is not int or not NEEDED_MIN <= threshold.signers <= NEEDED_MAX:
        return f"a threshold asks for {NEEDED_MIN} to {NEEDED_MAX} signers: a program carries no more signatures"
    for pattern in (threshold.nodes, threshold.rules):
        if not isinstance(pattern, str) or PATTERN.fullmatch(pattern) is None:
            return f"a pattern of names has letters, digits and . _ - * ?, not {str(pattern)[:64]!r}"
    for name, value in threshold.labels:
        if not isinstance(value, str) or LABEL.fullmatch(f"{name}={value}") is None:
            return f"no label is `{name[:64]}={str(value)[:64]}`"
    return "" if list(threshold.labels) == sorted(threshold.labels) else "the labels of a threshold do not ascend"


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= VERSION_MAX:
        raise SignerListError("a number in it is out of its bounds")
    return value


def _bytes(value: Any, size: int) -> bytes:
    try:
        found = bytes.fromhex(value)
    except (TypeError, ValueError):
        found = b""
    if len(found) != size or value != found.hex():
        raise SignerListError(f"a key or signature in it has not {2 * size} small hex digits")
    return found
