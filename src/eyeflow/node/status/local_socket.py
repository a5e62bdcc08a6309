"""What a node answers without a coordinator, on a unix socket in its data directory.

Who asks sends one line, `{"ask": "status"}`, and gets one JSON object. Only the node's own user may open the socket.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.reading import Unreadable, parse_json
from eyeflow.base.reasons import internal, why
from eyeflow.node.backoff import Backoff

_log = logging.getLogger("eyeflow.node")

SOCKET_NAME = "node.sock"
ANSWER_BYTES_MAX = 16 * 1024 * 1024
ASK_BYTES_MAX = 256 * 1024
TIMEOUT_S = 10.0
ANSWER_S = 60.0
"""How long an answer may take to be found: a board may have to be asked for it."""
CHUNK_BYTES = 65_536
STATUS = "status"

Answer = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, object]]]
"""Answers one kind of question; it gets the whole question, and may raise EyeflowError."""


@contextmanager
def _short_path(data_dir: Path) -> Iterator[str]:
    """Yield a path of the socket that is short, as sun_path needs (108 bytes), however long the directory's is."""
    directory = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{SOCKET_NAME}"
    finally:
        os.close(directory)


@asynccontextmanager
async def serve_status(
    data_dir: Path, status: Callable[[], Mapping[str, object]], answers: Mapping[str, Answer] | None = None
) -> AsyncIterator[None]:
    """Serve `status()`, and `answers` by what is asked, to whoever connects and may read the data directory."""
    known = answers or {}

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, TimeoutError, ValueError):
            async with asyncio.timeout(TIMEOUT_S):
                asked = _question(await reader.readline())
            async with asyncio.timeout(ANSWER_S):
                told = status() if asked["ask"] == STATUS else await _answered(known, asked)
            async with asyncio.timeout(TIMEOUT_S):
                writer.write(json.dumps(told).encode())
                await writer.drain()
        writer.close()

    socket_file = data_dir / SOCKET_NAME
    with _short_path(data_dir) as path:
        socket_file.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(answer, path, limit=ASK_BYTES_MAX)
        socket_file.chmod(0o600)
    try:
        yield
    finally:
        server.close()
        with suppress(OSError):  # a disk that is read-only now: the next start removes it
            socket_file.unlink(missing_ok=True)


async def keep_serving_status(
    data_dir: Path,
    status: Callable[[], Mapping[str, object]],
    tried: asyncio.Event,
    rng: Random | None = None,
    answers: Mapping[str, Answer] | None = None,
) -> None:
    """Serve `status()` and `answers` until cancelled; sets `tried` once it does, or cannot.

    A disk that takes no socket now is tried again: rules do not wait for it.
    """
    backoff = Backoff(rng)
    while True:
        try:
            async with serve_status(data_dir, status, answers):
                tried.set()
                await asyncio.get_running_loop().create_future()
        except OSError as error:
            _log.warning("`eyeflow node status` gets no answer for now: %s: %s", data_dir / SOCKET_NAME, why(error))
            tried.set()
        await asyncio.sleep(backoff.next_s())


def _question(line: bytes) -> Mapping[str, Any]:
    """Return what is asked; raises ValueError for anything else."""
    asked = parse_json(line)
    if not isinstance(asked, dict) or not isinstance(asked.get("ask"), str):
        raise Unreadable("no question")
    return asked


async def _answered(answers: Mapping[str, Answer], asked: Mapping[str, Any]) -> Mapping[str, object]:
    try:
        if asked["ask"] not in answers:
            raise EyeflowError(
                "the node that runs does not know this question",
                cause=f"it is of another version of eyeflow: {asked['ask'][:40]}",
                next_step="Start the node anew with this version.",
                code="other_version",
            )
        return await answers[asked["ask"]](asked)
    except EyeflowError as error:
        told = {"message": error.message, "cause": error.cause, "nextStep": error.next_step}
        return {"error": {**told, "code": error.code, "exitCode": int(error.exit_code)}}
    except Exception as error:  # the node runs on, and who asked is told
        _log.exception("a question was not answered: %s", asked["ask"])
        told = {"message": "the node failed in answering", "cause": internal(error), "nextStep": "Look at its log."}
        return {"error": {**told, "code": "internal", "exitCode": int(ExitCode.ENVIRONMENT)}}


def fetch_status(data_dir: Path) -> dict[str, Any]:
    """Return the status of the node that runs on `data_dir`. Raises EyeflowError when none does."""
    return ask(data_dir, STATUS)


def ask(data_dir: Path, what: str, **more: object) -> dict[str, Any]:
    """Return what the node that runs on `data_dir` answers. Raises EyeflowError when none runs, and what it raises."""
    try:
        with _short_path(data_dir) as path, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(ANSWER_S + 2 * TIMEOUT_S)
            client.connect(path)
            client.sendall(json.dumps({"ask": what, **more}).encode() + b"\n")
            answer = dict(parse_json(_read_all(client)))
    except (OSError, ValueError, TypeError) as error:
        raise EyeflowError(
            f"no node answers on {data_dir}",
            cause=why(error),
            next_step="Start it with `eyeflow node start`, or name its configuration with --config.",
            code="node_not_running",
        ) from error
    if (refusal := answer.get("error")) is not None:
        told = {"cause": refusal["cause"], "next_step": refusal["nextStep"], "code": refusal["code"]}
        raise EyeflowError(refusal["message"], **told, exit_code=ExitCode(refusal["exitCode"]))
    return answer


def _read_all(client: socket.socket) -> bytes:
    answer = bytearray()
    while chunk := client.recv(CHUNK_BYTES):
        answer += chunk
        if len(answer) > ANSWER_BYTES_MAX:
            raise ValueError("the answer is too long")
    return bytes(answer)
