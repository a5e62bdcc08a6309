"""Whoever asks a running node gets an answer, also when the node fails in finding one; what is no question gets none."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from eyeflow.base.errors import EyeflowError
from eyeflow.node.status import local_socket
from eyeflow.node.status.local_socket import SOCKET_NAME, fetch_status, serve_status


def asked(path: Path, status: object) -> Mapping[str, object]:
    """Serve this status, or what it raises, and ask for it."""

    def told() -> Mapping[str, object]:
        if isinstance(status, Exception):
            raise status
        return status  # type: ignore[return-value]

    async def test() -> Mapping[str, object]:
        async with serve_status(path, told):
            return await asyncio.to_thread(fetch_status, path)

    return asyncio.run(test())


def test_control_a_status_is_told(tmp_path: Path) -> None:
    assert asked(tmp_path, {"rules": []}) == {"rules": []}


@pytest.mark.parametrize(
    ("status", "cause"), [(ValueError("a bug"), "ValueError('a bug')"), ({"key": b"no JSON"}, "TypeError")]
)
def test_a_status_that_fails_is_said_and_logged(
    tmp_path: Path, status: object, cause: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It must not read as a node that does not run: that would be started again, or looked for elsewhere."""
    with pytest.raises(EyeflowError) as refused:
        asked(tmp_path, status)
    assert refused.value.code == "internal" and cause in refused.value.cause
    assert [one.levelno for one in caplog.records if one.exc_info] == [logging.ERROR]


def test_a_node_that_is_there_and_says_nothing_is_no_node_that_does_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`SIGSTOP`, or a disk that hangs: who is told to start it would start a second one."""
    monkeypatch.setattr(local_socket, "STATUS_S", 0.05)
    with socket.socket(socket.AF_UNIX) as stopped:
        stopped.bind(str(tmp_path / SOCKET_NAME))
        stopped.listen()
        with pytest.raises(EyeflowError) as silent:
            fetch_status(tmp_path)
    assert silent.value.code == "node_silent" and "stopped" in silent.value.cause
    with pytest.raises(EyeflowError) as ended:
        fetch_status(tmp_path)
    assert ended.value.code == "node_not_running"


@pytest.mark.parametrize("line", [b"no JSON\n", b"[]\n", b'{"ask": 1}\n', b"x" * 300_000 + b"\n"])
def test_what_is_no_question_ends_the_connection_and_costs_the_node_nothing(
    tmp_path: Path, line: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        async with serve_status(tmp_path, lambda: {"rules": []}):
            reader, writer = await asyncio.open_unix_connection(tmp_path / SOCKET_NAME)
            writer.write(line)
            with suppress(ConnectionError):  # what was not read is dropped with the connection
                assert await reader.read() == b""
            writer.close()
            assert await asyncio.to_thread(fetch_status, tmp_path) == {"rules": []}

    asyncio.run(test())
    assert not caplog.records
