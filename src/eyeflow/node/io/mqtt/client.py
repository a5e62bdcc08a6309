"""paho's client, with one call of the system for everything that has come, in place of three for each packet."""

from __future__ import annotations

from typing import Any

import paho.mqtt.client as paho

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

    def _sock_recv(self, bufsize: int) -> bytes:
        if not self.has_more:
            if self._is_drained:  # as far as it was known; if more has come since, the event loop calls again
                self._is_drained = False
                raise BlockingIOError
            self._came, self._at = super()._sock_recv(READ_BYTES), 0
            self._is_drained = len(self._came) < READ_BYTES
        part = self._came[self._at : self._at + bufsize]
        self._at += len(part)
        return part
