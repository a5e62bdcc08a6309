"""The node's status without a coordinator: a unix socket in the data directory that answers with one JSON object."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any

from eyeflow.base.errors import EyeflowError
from eyeflow.base.reading import parse_json
from eyeflow.base.reasons import why
from eyeflow.node.backoff import Backoff

_log = logging.getLogger("eyeflow.node")

SOCKET_NAME = "node.sock"
ANSWER_BYTES_MAX = 16 * 1024 * 1024
TIMEOUT_S = 10.0
CHUNK_BYTES = 65_536


@contextmanager
def _short_path(data_dir: Path) -> Iterator[str]:
    """Yield a path of the socket that is short, as sun_path needs (108 bytes), however long the directory's is."""
    directory = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{SOCKET_NAME}"
    finally:
        os.close(directory)


@asynccontextmanager
async def serve_status(data_dir: Path, status: Callable[[], Mapping[str, object]]) -> AsyncIterator[None]:
    """Serve `status()` to whoever connects and may read the data directory."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(TIMEOUT_S):
                writer.write(json.dumps(status()).encode())
                await writer.drain()
        writer.close()

    socket_file = data_dir / SOCKET_NAME
    with _short_path(data_dir) as path:
        socket_file.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(answer, path)
        socket_file.chmod(0o600)
    try:
        yield
    finally:
        server.close()
        with suppress(OSError):  # a disk that is read-only now: the next start removes it
            socket_file.unlink(missing_ok=True)


async def keep_serving_status(
    data_dir: Path, status: Callable[[], Mapping[str, object]], tried: asyncio.Event, rng: Random | None = None
) -> None:
    """Serve `status()` until cancelled; sets `tried` once it does, or cannot.

    A disk that takes no socket now is tried again: rules do not wait for it.
    """
    backoff = Backoff(rng)
    while True:
        try:
            async with serve_status(data_dir, status):
                tried.set()
                await asyncio.get_running_loop().create_future()
        except OSError as error:
            _log.warning("`eyeflow node status` gets no answer for now: %s: %s", data_dir / SOCKET_NAME, why(error))
            tried.set()
        await asyncio.sleep(backoff.next_s())


def fetch_status(data_dir: Path) -> dict[str, Any]:
    """Return the status of the node that runs on `data_dir`. Raises EyeflowError when none does."""
    try:
        with _short_path(data_dir) as path, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(TIMEOUT_S)
            client.connect(path)
            answer = dict(parse_json(_read_all(client)))
    except (OSError, ValueError, TypeError) as error:
        raise EyeflowError(
            f"no node answers on {data_dir}",
            cause=why(error),
            next_step="Start it with `eyeflow node start`, or name its configuration with --config.",
            code="node_not_running",
        ) from error
    return answer


def _read_all(client: socket.socket) -> bytes:
    answer = bytearray()
    while chunk := client.recv(CHUNK_BYTES):
        answer += chunk
        if len(answer) > ANSWER_BYTES_MAX:
            raise ValueError("the answer is too long")
    return bytes(answer)
