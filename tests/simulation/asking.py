"""The operator's requests: HTTP in its simplest form. A whole client library would take a tenth of the time of a run."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping


class NoAnswerError(Exception):
    """The connection ended before there was a whole answer."""


async def ask(
    address: tuple[str, int], method: str, path: str, headers: Mapping[str, str], body: bytes
) -> tuple[int, bytes]:
    """Send one request over a connection of its own; return status and body.

    HTTP/1.0, so that the end of the connection is the end of the answer. Raises OSError and NoAnswerError.
    """
    reader, writer = await asyncio.open_connection(*address)
    try:
        lines = [f"{method} {path} HTTP/1.0", f"Host: {address[0]}:{address[1]}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        return _parsed(await reader.read())
    finally:
        writer.close()


def _parsed(answer: bytes) -> tuple[int, bytes]:
    head, is_whole, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
    if not is_whole or len(body) != int(fields.get(b"content-length", len(body))):
        raise NoAnswerError
    return int(first.split()[1]), body
