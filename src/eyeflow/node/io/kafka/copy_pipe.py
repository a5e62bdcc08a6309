"""What a node and the process that copies its audit to Kafka say to each other, over the pipes between them.

The process asks, the node answers, one question at a time; `Shown` needs no answer. The node speaks first: `Begin`.
Each message is msgpack behind its length, four bytes with the highest first.
"""

from __future__ import annotations

import asyncio

from eyeflow.protocol.collecting import BUNDLE_BYTES_MAX, KeptHead
from eyeflow.protocol.wire import MESSAGE_BYTES_MAX, Codec, Hash, Wire

LENGTH_BYTES = 4


class Begin(Wire, frozen=True, tag=1):
    """Copy what is behind `kept`. `settings` are those of librdkafka, with secrets: they go over the pipe alone."""

    settings: dict[str, str | int | bool]
    where: str
    node: str
    kept: KeptHead


class After(Wire, frozen=True, tag=2):
    """The brokers hold what `kept` says. What follows?"""

    kept: KeptHead


class Page(Wire, frozen=True, tag=3):
    """Audit records that follow, as the node stores them."""

    records: tuple[bytes, ...]


class WantedProgram(Wire, frozen=True, tag=4):
    """The program with this id?"""

    program_id: Hash


class Stored(Wire, frozen=True, tag=5):
    """The program; None: the node has it no more."""

    program: bytes | None


class CannotRead(Wire, frozen=True, tag=6):
    """The node cannot read its store now."""

    reason: str


class Shown(Wire, frozen=True, tag=7):
    """How the copies do, as a `PortStatus`."""

    state: str
    detail: str


TO_PROCESS: Codec[Begin | Page | Stored | CannotRead] = Codec(
    Begin | Page | Stored | CannotRead, "what a node says to its copies", MESSAGE_BYTES_MAX + BUNDLE_BYTES_MAX
)
TO_NODE: Codec[After | WantedProgram | Shown] = Codec(After | WantedProgram | Shown, "what copies say to their node")


def framed(message: bytes) -> bytes:
    """Return a message as it goes over a pipe."""
    return len(message).to_bytes(LENGTH_BYTES, "big") + message


async def next_message(reader: asyncio.StreamReader) -> bytes:
    """Return the next message of the other side. Raises asyncio.IncompleteReadError at its end."""
    return await reader.readexactly(int.from_bytes(await reader.readexactly(LENGTH_BYTES), "big"))
