"""paho's client, with one call of the system for everything that has come, in place of three for each packet."""

from __future__ import annotations

from typing import Any

import paho.mqtt.client as paho
from paho.mqtt import _packet
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

READ_BYTES = 64 * 1024


class BufferedClient(paho.Client):
    """Reads ahead. Each call of the system lets go of Python's lock, and at a steady pace the store's thread takes it.

    `_sock_recv` is paho's one place to read; it is not public, so pyproject.toml names the versions that have it.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._came = b""
        self._at = 0
        self._is_drained = False

    @property
    def has_more(self) -> bool:
        """Whether bytes were read from the socket that paho has not taken yet: the socket does not say so."""
        return self._at < len(self._came)

    @property
    def is_drained(self) -> bool:
        """Whether all that had come is taken; asking for more would only be told so by an exception."""
        return self._is_drained and not self.has_more

    def expect_more(self) -> None:
        """The socket can be read again."""
        self._is_drained = False

    def _sock_recv(self, bufsize: int) -> bytes:
        if not self.has_more:
            if self._is_drained:
                raise BlockingIOError
            self._came, self._at = super()._sock_recv(READ_BYTES), 0
            self._is_drained = len(self._came) < READ_BYTES
        part = self._came[self._at : self._at + bufsize]
        self._at += len(part)
        return part


_NEW = vars(Properties(PacketTypes.PUBLISH))  # type: ignore[no-untyped-call]
_NAMES: dict[int, str] = {identifier: name.replace(" ", "") for name, identifier in _NEW["names"].items()}
_IDENTIFIERS: dict[str, int] = {name: identifier for identifier, name in _NAMES.items()}


class QuickProperties(Properties):
    """paho's properties of a packet that came, without three tables that it builds anew for each and searches by name.

    It took a quarter of the time that paho needs for a message. What it reads is the same; a test compares all of them.
    """

    def __init__(self, packet_type: int) -> None:
        vars(self).update(_NEW, packetType=packet_type)

    def clear(self) -> None:
        """Forget all properties."""
        for name in vars(self).keys() & _IDENTIFIERS.keys():
            delattr(self, name)

    def getIdentFromName(self, compressedName: str) -> int:  # noqa: N802, N803 - paho's name
        """Return the identifier of a property, -1 for none."""
        return _IDENTIFIERS.get(compressedName, -1)

    def getNameFromIdent(self, identifier: int) -> str | None:  # noqa: N802 - paho's name
        """Return the name of a property."""
        return _NAMES.get(identifier)


_packet.Properties = QuickProperties  # type: ignore[attr-defined]
