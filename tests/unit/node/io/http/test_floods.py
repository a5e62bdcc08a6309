"""A real node with few descriptors under clients that never finish what they began; the control accepts as asyncio does."""

from __future__ import annotations

import contextlib
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from components.flood import flood
from components.waiting import HANG_S, wait_until
from eyeflow.node.status.local_socket import fetch_status

PROCESS = Path(__file__).with_name("webhook_process.py")
DESCRIPTORS = 256
LOG_LINES_MAX = 20


def few_descriptors() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))


@contextlib.contextmanager
def node(data_dir: Path, log: Path, *options: str) -> Iterator[int]:
    command = [sys.executable, str(PROCESS), str(data_dir), *options]
    with log.open("wb") as stderr:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, preexec_fn=few_descriptors)
    with process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
            process.terminate()
            assert process.wait(HANG_S) == 0
        finally:
            process.kill()


def post(port: int, number: int, timeout_s: float = HANG_S) -> int:
    url = f"http://127.0.0.1:{port}/hooks/door"
    return httpx.post(url, json={"number": number}, timeout=timeout_s, trust_env=False).status_code


@pytest.mark.parametrize(
    "first",
    [b"", b"POST /hooks/door HTTP/1.1\r\nX-A: ", b"POST /hooks/door HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"],
)
def test_silent_connections_cost_honest_callers_nothing(tmp_path: Path, first: bytes) -> None:
    with node(tmp_path / "data", tmp_path / "log") as port, flood(port, 450, first) as attack:
        wait_until(lambda: attack.opened > 2 * DESCRIPTORS, "the flood holds everything it can get")
        assert [post(port, number) for number in range(20)] == [202] * 20
        assert fetch_status(tmp_path / "data")["node"] == "flooded", "the status socket still has descriptors"
        lines = tmp_path / "data" / "door.txt"
        wait_until(
            lambda: lines.exists() and len(lines.read_text().split()) == 20, "file actions have descriptors, too"
        )
        assert attack.opened > 2 * DESCRIPTORS
    log = (tmp_path / "log").read_text()
    assert log.count("\n") < LOG_LINES_MAX, log[:5000]
    assert "webhooks: " in log and "from 127.0.0.1" in log


def test_control_without_the_listener_the_same_flood_stops_the_node(tmp_path: Path) -> None:
    with (
        contextlib.suppress(AssertionError, subprocess.TimeoutExpired),
        node(tmp_path / "data", tmp_path / "log", "bare") as port,
        flood(port, 450) as attack,
    ):
        wait_until(lambda: attack.held > DESCRIPTORS, "the flood holds everything it can get")
        failed = False
        try:
            failed = post(port, 1, timeout_s=5) != 202
        except httpx.HTTPError:
            failed = True
        log = (tmp_path / "log").read_text()
    assert failed or log.count("\n") >= LOG_LINES_MAX
    assert "out of system resource" in log
