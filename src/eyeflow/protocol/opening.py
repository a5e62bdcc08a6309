"""HELLO and WELCOME: the two messages that open a link, before a protocol version is chosen.

They are frozen: every version of eyeflow reads and writes exactly these fields. What is new goes into `extensions`, or
into a message of a new protocol version (docs/decisions/0012).
"""

from __future__ import annotations

import hashlib
from typing import Annotated

from msgspec import Meta
from msgspec.structs import replace

from eyeflow.protocol import wire
from eyeflow.protocol.wire import Natural, NodeName, ProgramId, Short, Signature, Version

NONCE_BYTES = 32
EXTENSIONS_MAX = 32
EXTENSION_BYTES_MAX = 1024

ExtensionName = Annotated[str, Meta(pattern=r"\A[a-z][a-z0-9_.-]{0,62}\Z")]
ExtensionValue = Annotated[bytes, Meta(max_length=EXTENSION_BYTES_MAX)]
Extensions = Annotated[tuple[tuple[ExtensionName, ExtensionValue], ...], Meta(max_length=EXTENSIONS_MAX)]
"""Pairs that ascend by name. Whoever does not know a name ignores it, and keeps it: the signature covers it."""


class Hello(wire.Wire, frozen=True, tag=1):
    """First message of a node: the protocol versions that it speaks, and the manifest it accepted last (0 for none).

    `nonce` is fresh: the coordinator signs this whole message in its answer.
    """

    protocol_min: Version
    protocol_max: Version
    software: Short
    node: NodeName
    manifest_version: Natural
    nonce: Annotated[bytes, Meta(min_length=NONCE_BYTES, max_length=NONCE_BYTES)]
    extensions: Extensions = ()

    def __post_init__(self) -> None:
        if self.protocol_min > self.protocol_max:
            raise wire.ProtocolError("the highest protocol version of a HELLO is below its lowest")
        wire.check_ascending(self.extensions, "extensions")


class Welcome(wire.Wire, frozen=True, tag=2):
    """The coordinator's answer: the chosen protocol version and the version of its latest manifest.

    `signature` is by the coordinator's key over `welcome_bytes`. `status_s`: how often the node shall tell its status.
    """

    protocol: Version
    software: Short
    coordinator_id: ProgramId
    manifest_version: Natural
    status_s: Annotated[int, Meta(ge=1, le=3600)]
    extensions: Extensions = ()
    signature: Signature = bytes(64)

    def __post_init__(self) -> None:
        wire.check_ascending(self.extensions, "extensions")


Opening = Hello | Welcome
OPENING: wire.Codec[Opening] = wire.Codec(Opening, "the opening message")


def welcome_bytes(hello: Hello, welcome: Welcome) -> bytes:
    """Return what the coordinator signs: all of the HELLO that it got, and all of its WELCOME but the signature.

    The HELLO's nonce makes an old answer useless. Its other fields keep somebody between the two from talking them down
    to an older protocol.
    """
    unsigned = OPENING.encode(replace(welcome, signature=bytes(64)))
    return b"eyeflow welcome v1\0" + hashlib.sha256(OPENING.encode(hello)).digest() + unsigned
