"""Answers of HTTP peers, bounded before they are read: whoever answers decides how much and how long it sends."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx

PLAIN = {"Accept-Encoding": "identity"}
"""Headers for every request whose answer is read: 64 KB of a compressed answer may hold 64 MB."""


async def close_when_cancelled(request: httpx.Request) -> None:
    """A hook for requests of a client: a TLS handshake that is cancelled, by a timeout too, leaves no open connection.

    httpcore closes it after a failure only (1.0.9, `AnyIOStream.start_tls`). A peer that never answers would cost a
    descriptor each time, for ever.
    """
    request.extensions = {**request.extensions, "trace": _Closing()}


class _Closing:
    """Sees the steps of one request (httpcore's extension `trace`)."""

    def __init__(self) -> None:
        self._stream: Any = None

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        if event.endswith("connect_tcp.complete"):
            self._stream = info["return_value"]
        elif event.endswith("start_tls.failed") and isinstance(info["exception"], asyncio.CancelledError):
            await self._stream.aclose()


CLOSING: Mapping[str, list[Any]] = {"request": [close_when_cancelled]}
"""`event_hooks` for every client that may speak TLS."""


class RefusedAnswer(httpx.RemoteProtocolError):
    """An answer that is too large or compressed; the text is for people, as it is ours and not the library's."""


async def aread_body(response: httpx.Response, size_bytes_max: int) -> bytes:
    """Return the body of a streamed answer. The caller limits the time of the whole request: httpx limits each wait.

    Raises RefusedAnswer for one that is larger or compressed.
    """
    body = _Body(response, size_bytes_max)
    async for chunk in response.aiter_raw():
        body.take(chunk)
    return bytes(body.data)


class _Body:
    def __init__(self, response: httpx.Response, size_bytes_max: int) -> None:
        self.data = bytearray()
        self._max = size_bytes_max
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding != "identity":
            raise RefusedAnswer(f"the answer is encoded as {encoding[:32]!r}, which was not asked for")
        if response.headers.get("content-length", "0").strip().isdecimal():
            self._check(int(response.headers.get("content-length", "0")[:20]))

    def take(self, chunk: bytes) -> None:
        self._check(len(self.data) + len(chunk))
        self.data += chunk

    def _check(self, size_bytes: int) -> None:
        if size_bytes > self._max:
            raise RefusedAnswer(f"the answer has more than {self._max} bytes")
