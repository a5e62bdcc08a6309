"""Loopback ports for the servers that tests start."""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
from itertools import count
from pathlib import Path

# Below those that the system gives to clients (32768 on Linux), and above those that eyeflow picks by chance for its broker.
FIRST, LAST = 32_000, 32_768
PAIRS = (LAST - FIRST) // 2
_turns = count()
_held: list[int] = []


def free_port() -> int:
    """Return a loopback port that nobody uses, nor the next one, and that no other test gets before this process ends.

    A port that the system gives for 0 is one of those that it gives to clients: between the question and the server's
    start another test may have it. So each port is a locked file.

    Raises:
        AssertionError: each port of the range is taken.
    """
    directory = Path(tempfile.gettempdir()) / f"eyeflow-test-ports-{os.getuid()}"
    directory.mkdir(exist_ok=True)
    start = os.getpid() + next(_turns)
    for step in range(PAIRS):
        port = FIRST + 2 * ((start + step) % PAIRS)
        if _reserved(directory / str(port)) and _unused(port) and _unused(port + 1):
            return port
    raise AssertionError(f"no port from {FIRST} to {LAST - 1} is free")


def _reserved(file: Path) -> bool:
    handle = os.open(file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return False
    _held.append(handle)  # for as long as this process lives
    return True


def _unused(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
