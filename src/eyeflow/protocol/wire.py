"""What every part of the link protocol shares: its bounds, its fields, and msgpack with one encoding of each value.

msgspec decodes straight into typed structs and checks types and bounds on the way. It takes any encoding of a value, a
field that comes twice, and fields in any order, so `Codec` compares with its own encoding (docs/decisions/0012).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from msgspec import Meta

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.reasons import why

PROGRAM_BYTES_MAX = 8 * 1024 * 1024
MESSAGE_BYTES_MAX = PROGRAM_BYTES_MAX + 64 * 1024
"""Largest message on a link; a program, its manifest and every status stay far below."""
RULES_MAX = 512
PARAMS_MAX = 64
SIGNERS_MAX = 64
COUNTERS_MAX = 64
SHORT_CHARS_MAX = 64
REASON_CHARS_MAX = 1024
HASH_BYTES = 32
FAULT_CHARS_MAX = 300
"""How much of a decoder's reason is kept: it quotes names of fields that the peer chose."""
PROGRAM_ID = r"[0-9a-f]{64}"


class ProtocolError(EyeflowError):
    """A message that does not keep the protocol; the link that sent it is closed with this reason."""

    def __init__(self, message: str) -> None:
        super().__init__(
            message,
            cause="the peer does not keep the link protocol, or the bytes were changed on the way",
            next_step="run versions of eyeflow on node and coordinator that speak a common protocol version",
            code="protocol",
            exit_code=ExitCode.ENVIRONMENT,
        )


class Wire(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type"):
    """What travels: a msgpack map with exactly the fields of the struct, in their order. Maps of it are lists of pairs.

    Constructing one checks the order of such pairs. Encoding and decoding check all.
    """


Natural = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Version = Annotated[int, Meta(ge=1, le=255)]
Short = Annotated[str, Meta(max_length=SHORT_CHARS_MAX)]
Reason = Annotated[str, Meta(max_length=REASON_CHARS_MAX)]
NodeName = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")]
RuleName = Annotated[str, Meta(pattern=r"\A[a-z][a-z0-9_]{0,62}\Z")]
Identifier = Annotated[str, Meta(pattern=r"\A[A-Za-z_][A-Za-z0-9_]{0,62}\Z")]
ProgramId = Annotated[str, Meta(pattern=rf"\A{PROGRAM_ID}\Z")]
ProgramIdOrNone = Annotated[str, Meta(pattern=rf"\A({PROGRAM_ID})?\Z")]
Hash = Annotated[bytes, Meta(min_length=HASH_BYTES, max_length=HASH_BYTES)]
PublicKey = Annotated[bytes, Meta(min_length=32, max_length=32)]
Signature = Annotated[bytes, Meta(min_length=64, max_length=64)]
Scalar = bool | Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | float | Annotated[str, Meta(max_length=4096)]
Params = Annotated[tuple[tuple[Identifier, Scalar], ...], Meta(max_length=PARAMS_MAX)]
Counters = Annotated[tuple[tuple[Short, Natural], ...], Meta(max_length=COUNTERS_MAX)]

T = TypeVar("T")


class Codec(Generic[T]):
    """Strict bytes of one set of structs; `kinds` is a struct or a union of structs that differ in their tag."""

    def __init__(self, kinds: Any, what: str, size_bytes_max: int = MESSAGE_BYTES_MAX) -> None:
        self._decoder = msgspec.msgpack.Decoder(kinds)
        self._what = what
        self._size_bytes_max = size_bytes_max

    def encode(self, value: T) -> bytes:
        """Return the one encoding of `value`. Raises ProtocolError for what `decode` would refuse."""
        data = pack(value)
        self._read(data)
        return data

    def decode(self, data: bytes) -> T:
        """Return what `encode` turned into exactly `data`. Raises ProtocolError with the reason, and nothing else."""
        value = self._read(data)
        if pack(value) != data:
            raise ProtocolError(f"{self._what} is not in its one encoding")
        return value

    def _read(self, data: bytes) -> T:
        if len(data) > self._size_bytes_max:
            raise ProtocolError(f"{self._what} is longer than {self._size_bytes_max} bytes")
        try:
            value: T = self._decoder.decode(data)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise ProtocolError(f"{self._what} is malformed: {why(error)}"[:FAULT_CHARS_MAX]) from error
        return value


def pack(plain: Any) -> bytes:
    """Encode structs and plain values as msgpack. Raises ProtocolError for what has no encoding."""
    try:
        return msgspec.msgpack.encode(plain)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ProtocolError(f"a value has no encoding: {why(error)}"[:FAULT_CHARS_MAX]) from error


def check_ascending(pairs: Sequence[tuple[str, Any]], what: str) -> None:
    """Refuse pairs whose names do not ascend: a map has one encoding, and each name once."""
    names = [name for name, _ in pairs]
    if any(first >= second for first, second in pairwise(names)):
        raise ProtocolError(f"{what} do not ascend by name, each name once")


def check_params(params: Sequence[tuple[str, Any]]) -> None:
    """Refuse parameters that do not ascend by name or are NaN: NaN differs from itself."""
    check_ascending(params, "parameters")
    for name, value in params:
        if value != value:
            raise ProtocolError(f"the parameter `{name}` is NaN")


def cut(value: str, chars_max: int) -> str:
    """Return the start of a text that fits in `chars_max` characters; halves of surrogate pairs become `?`."""
    return value[:chars_max].encode("utf-8", "replace").decode("utf-8")
