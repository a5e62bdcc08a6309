"""What a node is and may do, told in an extension of HELLO, so that a coordinator refuses at once what it cannot run.

The number in the extension's name is the version of its content: a content that has more gets the next number, and
stands beside this one as long as coordinators read it.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Annotated

from msgspec import Meta
from msgspec.structs import replace

from eyeflow.protocol import wire
from eyeflow.protocol.opening import EXTENSION_BYTES_MAX, Extensions, Hello
from eyeflow.protocol.wire import Natural, Short

FACTS_EXTENSION = "node.1"
NAMES_MAX = 128

_Names = Annotated[tuple[Annotated[str, Meta(max_length=128)], ...], Meta(max_length=NAMES_MAX)] | None


class NodeFacts(wire.Wire, frozen=True, tag=1):
    """The profile of the programs that a node runs, and its chip if it is one; its processor; its memory (0: unknown).

    `abi` is that of its SVM. `grants` are patterns of capabilities, `drivers` the namespaces that it has a driver for,
    `sources` the names of those that its configuration has. None: there are too many to be told.
    """

    profile: Short
    chip: Short
    architecture: Short
    memory_bytes: Natural
    abi: Natural
    grants: _Names
    drivers: _Names
    sources: _Names


_CODEC: wire.Codec[NodeFacts] = wire.Codec(NodeFacts, "what a node tells of itself", EXTENSION_BYTES_MAX)


def facts_extension(facts: NodeFacts) -> Extensions:
    """Return the extension of HELLO that tells `facts`, without the lists that do not fit."""
    for told in (facts, replace(facts, grants=None), replace(facts, grants=None, drivers=None, sources=None)):
        try:
            return ((FACTS_EXTENSION, _CODEC.encode(told)),)
        except wire.ProtocolError:
            continue
    return ()


def facts_in(hello: Hello) -> NodeFacts | None:
    """Return what a node tells of itself, None from one that does not. Raises ProtocolError when it is malformed."""
    data = dict(hello.extensions).get(FACTS_EXTENSION)
    return None if data is None else _CODEC.decode(data)


def is_granted(capability: str, grants: Iterable[str]) -> bool:
    """Say whether one of these patterns of a configuration grants a capability."""
    return any(fnmatchcase(capability, pattern) for pattern in grants)


def namespace_of(capability: str) -> str:
    """Return `gpio` of `gpio.set_pin`."""
    return capability.partition(".")[0]
