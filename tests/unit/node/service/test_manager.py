"""What a real daemon tells its service manager, by the socket that systemd would give it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from eyeflow.node.service.manager import ServiceManager

WATCHDOG_S = 3
PATIENCE_S = 120


@contextmanager
def daemon(folder: Path, address: str) -> Iterator[tuple[socket.socket, subprocess.Popen[bytes]]]:
    """A node that runs, and the socket on which it tells what becomes of it. `@`: a name without a file."""
    config = folder / "eyeflow-svm.toml"
    config.write_text('[node]\nname = "node-a"\n', encoding="utf-8")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        manager.settimeout(PATIENCE_S)
        environment = {**os.environ, "NOTIFY_SOCKET": address, "WATCHDOG_USEC": str(WATCHDOG_S * 1_000_000)}
        command = [sys.executable, "-m", "eyeflow", "node", "start", "--config", str(config)]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield manager, process
        finally:
            process.kill()
            process.wait()


def told(manager: socket.socket, wanted: str) -> list[str]:
    """Return what is told up to a message with `wanted`."""
    found = []
    while not found or wanted not in found[-1]:
        found.append(manager.recv(4096).decode())
    return found


@pytest.mark.parametrize("named", ["file", "abstract"])
def test_it_is_ready_lives_and_stops(tmp_path: Path, named: str) -> None:
    address = str(tmp_path / "notify") if named == "file" else f"@eyeflow-test-{os.getpid()}"
    with daemon(tmp_path, address) as (manager, process):
        assert told(manager, "READY=1")[-1] == "READY=1\nSTATUS=node node-a runs"
        for _ in range(2):
            told(manager, "WATCHDOG=1")
        process.send_signal(signal.SIGTERM)
        assert told(manager, "STOPPING=1") and process.wait(PATIENCE_S) == 0


def test_control_one_that_hangs_gives_no_sign_of_life(tmp_path: Path) -> None:
    with daemon(tmp_path, str(tmp_path / "notify")) as (manager, process):
        told(manager, "READY=1")
        told(manager, "WATCHDOG=1")
        process.send_signal(signal.SIGSTOP)
        manager.settimeout(WATCHDOG_S)
        with pytest.raises(TimeoutError):  # one may have been on its way
            for _ in range(2):
                manager.recv(4096)


def test_it_is_taken_out_of_the_environment() -> None:
    given = {"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid()), "A": "1"}
    assert ServiceManager.of(given).watchdog_s == 30 and given == {"A": "1"}


@pytest.mark.parametrize(
    "given", [{}, {"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "-1"}]
)
def test_a_watchdog_of_others_is_none(given: dict[str, str]) -> None:
    assert ServiceManager.of(given).watchdog_s == 0


def test_nobody_to_tell_and_a_socket_that_is_gone_harm_nothing(tmp_path: Path) -> None:
    ServiceManager().tell(READY="1")
    ServiceManager(str(tmp_path / "gone")).tell(READY="1")


def test_a_fact_is_one_line(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        ServiceManager(str(tmp_path / "notify")).tell(STATUS="a\nREADY=1")
        assert manager.recv(4096) == b"STATUS=a READY=1"
