"""A broker of MQTT 5 that does what real ones do rarely or never: says what it lacks, ends connections, floods."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK = 1, 2, 3, 4, 8, 9, 10, 11
PINGREQ, PINGRESP, DISCONNECT = 12, 13, 14
IDENTIFIER = 0x0B
"""The property Subscription Identifier."""


def varint(number: int) -> bytes:
    """Encode a variable byte integer (MQTT 5.0, 1.5.5)."""
    out = bytearray()
    while True:
        number, low = divmod(number, 128)
        out.append(low | (128 if number else 0))
        if not number:
            return bytes(out)


def text(value: str) -> bytes:
    """Encode a UTF-8 string (MQTT 5.0, 1.5.4)."""
    data = value.encode()
    return len(data).to_bytes(2, "big") + data


@dataclass
class FakeBroker:
    """`properties` go into CONNACK. `ends_at` says of a topic or filter whether to end the connection instead."""

    properties: bytes = b""
    ends_at: Callable[[str], bool] = lambda _address: False
    retained: Mapping[str, bytes] = field(default_factory=dict)
    confirms: bool = True
    """Whether it confirms what is published to it."""
    connects: int = 0
    pings: int = 0
    subscribed: list[tuple[str, int, int]] = field(default_factory=list)
    """Filter, identifier (0: none) and options of each SUBSCRIBE."""
    published: list[tuple[str, bytes, int]] = field(default_factory=list)
    acknowledged: list[int] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    port: int = 0

    async def __aenter__(self) -> FakeBroker:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_exception: object) -> None:
        self._server.close()
        for writer in self.writers:
            writer.close()
        await self._server.wait_closed()

    def send(self, topic: str, payload: bytes, mid: int = 0, *, identifier: int = 0, retain: bool = False) -> None:
        """Send a PUBLISH to the newest connection, with QoS 1 when it has a packet identifier."""
        properties = bytes([IDENTIFIER]) + varint(identifier) if identifier else b""
        head = text(topic) + (mid.to_bytes(2, "big") if mid else b"") + varint(len(properties)) + properties
        _write(self.writers[-1], PUBLISH, head + payload, (2 if mid else 0) | retain)

    @property
    def unsent_bytes(self) -> int:
        """What the node has not taken, beyond what the kernel holds for it."""
        return self.writers[-1].transport.get_write_buffer_size()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while await self._answer(*await _packet(reader), writer):
                pass
        writer.close()

    async def _answer(self, kind: int, flags: int, body: bytes, writer: asyncio.StreamWriter) -> bool:
        if kind == CONNECT:
            self.connects += 1
            self.writers.append(writer)
            _write(writer, CONNACK, b"\0\0" + varint(len(self.properties)) + self.properties)
        elif kind == SUBSCRIBE:
            return self._subscribe(body, writer)
        elif kind == UNSUBSCRIBE:
            _write(writer, UNSUBACK, body[:2] + b"\0\0")
        elif kind == PUBLISH:
            return self._publish(flags, body, writer)
        elif kind == PUBACK:
            self.acknowledged.append(int.from_bytes(body[:2], "big"))
        elif kind == PINGREQ:
            self.pings += 1
            _write(writer, PINGRESP, b"")
        return kind != DISCONNECT

    def _subscribe(self, body: bytes, writer: asyncio.StreamWriter) -> bool:
        length = body[2]
        identifier = _varint_of(body[4 : 3 + length]) if length and body[3] == IDENTIFIER else 0
        topic_filter, options = body[3 + length + 2 : -1].decode(), body[-1]
        self.subscribed.append((topic_filter, identifier, options))
        if self.ends_at(topic_filter):
            return False
        _write(writer, SUBACK, body[:2] + b"\0\1")
        if options >> 4 == 0:
            for topic, payload in self.retained.items():
                self.send(topic, payload, identifier=identifier, retain=True)
        return True

    def _publish(self, flags: int, body: bytes, writer: asyncio.StreamWriter) -> bool:
        length = int.from_bytes(body[:2], "big")
        topic, qos = body[2 : 2 + length].decode(), (flags >> 1) & 3
        if self.ends_at(topic):
            return False
        self.published.append((topic, body[2 + length :], flags))
        if qos and self.confirms:
            _write(writer, PUBACK, body[2 + length : 4 + length])
        return True


def _write(writer: asyncio.StreamWriter, kind: int, body: bytes, flags: int = 0) -> None:
    writer.write(bytes([kind << 4 | flags]) + varint(len(body)) + body)


async def _packet(reader: asyncio.StreamReader) -> tuple[int, int, bytes]:
    head = (await reader.readexactly(1))[0]
    length, place = 0, 0
    while True:
        byte = (await reader.readexactly(1))[0]
        length += (byte & 127) << place
        place += 7
        if byte < 128:
            return head >> 4, head & 15, await reader.readexactly(length)


def _varint_of(data: bytes) -> int:
    number = place = 0
    for byte in data:
        number += (byte & 127) << place
        place += 7
        if byte < 128:
            break
    return number
