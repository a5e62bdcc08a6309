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
from eyeflow.base.reading import parse_json
from eyeflow.base.reasons import internal, why
from eyeflow.node.backoff import Backoff

_log = logging.getLogger("eyeflow.node")

SOCKET_NAME = "node.sock"
ANSWER_BYTES_MAX = 16 * 1024 * 1024
ASK_BYTES_MAX = 256 * 1024
TIMEOUT_S = 10.0
ANSWER_S = 300.0
"""How long an answer may take to be found: a program may have to go over a slow line for it."""
STATUS_S = 30.0
"""How long a status may take: its node has nothing to find out for it. Longer waits a node that is stopped."""
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

    async def told_status(asked: Mapping[str, Any]) -> Mapping[str, object]:
        return status()

    known: Mapping[str, Answer] = {**(answers or {}), STATUS: told_status}

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(ConnectionError, TimeoutError):
                if (asked := await _question(reader)) is not None:
                    async with asyncio.timeout(ANSWER_S):
                        told = await _answered(known, asked)
                    async with asyncio.timeout(TIMEOUT_S):
                        writer.write(told)
                        await writer.drain()
        finally:
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


async def _question(reader: asyncio.StreamReader) -> Mapping[str, Any] | None:
    """Return what is asked, None for anything else. Raises OSError: it does not come."""
    async with asyncio.timeout(TIMEOUT_S):
        with suppress(ValueError):
            asked = parse_json(await reader.readline())
            if isinstance(asked, dict) and isinstance(asked.get("ask"), str):
                return asked
    return None


async def _answered(answers: Mapping[str, Answer], asked: Mapping[str, Any]) -> bytes:
    """Return the answer in JSON: what was asked for, or why there is none."""
    try:
        if asked["ask"] not in answers:
            raise EyeflowError(
                "the node that runs does not know this question",
                cause=f"it is of another version of eyeflow: {asked['ask'][:40]}",
                next_step="Start the node anew with this version.",
                code="other_version",
            )
        return json.dumps(await answers[asked["ask"]](asked)).encode()
    except EyeflowError as error:
        refusal = error
    except Exception as error:  # the node runs on, and who asked is told
        _log.exception("a question was not answered: %s", asked["ask"])
        cause, next_step = internal(error), "Look at its log."
        refusal = EyeflowError("the node failed in answering", cause=cause, next_step=next_step, code="internal")
    told = {"message": refusal.message, "cause": refusal.cause, "nextStep": refusal.next_step}
    return json.dumps({"error": {**told, "code": refusal.code, "exitCode": int(refusal.exit_code)}}).encode()


def fetch_status(data_dir: Path) -> dict[str, Any]:
    """Return the status of the node that runs on `data_dir`. Raises EyeflowError when none does."""
    return _ask(data_dir, {"ask": STATUS}, STATUS_S)


def ask(data_dir: Path, what: str, **more: object) -> dict[str, Any]:
    """Return what the node that runs on `data_dir` answers. Raises EyeflowError when none runs, and what it raises.

    Its code is `node_not_running`, or `node_silent` when a node is there and does not answer.
    """
    return _ask(data_dir, {"ask": what, **more}, ANSWER_S + 2 * TIMEOUT_S)


def _ask(data_dir: Path, question: Mapping[str, object], wait_s: float) -> dict[str, Any]:
    try:
        with _short_path(data_dir) as path, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(wait_s)
            client.connect(path)
            client.sendall(json.dumps(question).encode() + b"\n")
            answer = dict(parse_json(_read_all(client)))
    except TimeoutError as error:
        raise EyeflowError(
            f"the node on {data_dir} does not answer",
            cause=f"It has said nothing for {wait_s:g} s: its process was stopped, or its disk or its machine hangs.",
            next_step="Look at its log and its process (ps, top), then end the node and start it again.",
            code="node_silent",
        ) from error
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
