"""Drives a node that runs as `bench.buffer_node`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.buffer_node import Measured
from bench.measure import processor_s

WINDOW = 32
"""Events that a producer has sent and not heard of: as a client of MQTT, which has at most 20 to 65,535."""


class BufferNode:
    """A node that obeys."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def tell(self, **orders: Any) -> None:
        """Send orders."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(orders) + "\n")
        self._process.stdin.flush()

    def answer(self) -> str:
        """Return the next line of it."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the node ended")
        return line

    def ask(self, do: str, **orders: Any) -> dict[str, Any]:
        """Give a command and return its answer."""
        self.tell(do=do, **orders)
        return dict(json.loads(self.answer()))

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def spent_s(self) -> float:
        """Return its processor time so far."""
        return processor_s(self._process.pid)

    def measure(self, seconds: float, pace: float = 0.0) -> Measured:
        """Let it measure."""
        return Measured(**self.ask("measure", seconds=seconds, pace=pace))


@contextmanager
def buffer_node(
    directory: Path,
    producers: int,
    *,
    window: int = WINDOW,
    acts_every: int = 1,
    backend: str = "sqlite",
    settings: str = "",
    installs: bool = True,
    environment: Mapping[str, str] | None = None,
) -> Iterator[BufferNode]:
    """Run a node; `installs` False: a coordinator, which `settings` name, brings the rule."""
    command = [sys.executable, "-m", "bench.buffer_node", str(directory)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment or dict(os.environ)
    )
    node = BufferNode(process)
    try:
        node.tell(
            producers=producers,
            window=window,
            acts_every=acts_every,
            backend=backend,
            settings=settings,
            installs=installs,
        )
        if node.answer() != "ready\n":
            raise RuntimeError("the node did not start")
        yield node
    finally:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.close()
        process.wait()
        process.stdout.close()
