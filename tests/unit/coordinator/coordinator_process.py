"""A real coordinator in a process of its own: `python coordinator_process.py DATA_DIR [bare] [remembers] [deaf] [eager] [--store=URL]`.

It prints its URL. Controls: `eager` answers whatever credential it refuses at once; `deaf` knows no SIGHUP; `bare` lets uvicorn accept by itself; `remembers` keeps the newest 1024 challenges, whoever asked for them.
"""

from __future__ import annotations

import asyncio
import secrets
import signal
import sys
from collections import OrderedDict
from pathlib import Path

import uvicorn

from eyeflow.base import stop_signals
from eyeflow.cli.logs import LogFormat, set_up_log
from eyeflow.coordinator import hub, refusals
from eyeflow.coordinator.serve import ServeOptions, serve
from eyeflow.net.server import Server


class Remembered:
    def __init__(self, random: object) -> None:
        self._open: OrderedDict[bytes, None] = OrderedDict()

    def issue(self, now_us: int) -> bytes:
        nonce = secrets.token_bytes(32)
        self._open[nonce] = None
        while len(self._open) > 1024:
            self._open.popitem(last=False)
        return nonce

    def is_ours(self, nonce: bytes, now_us: int) -> bool:
        return nonce in self._open

    def use(self, node: str, nonce: bytes) -> bool:
        del self._open[nonce]
        return True


if __name__ == "__main__":
    set_up_log(LogFormat.TEXT, verbose=False)
    if "bare" in sys.argv[2:]:
        Server.startup = uvicorn.Server.startup  # type: ignore[method-assign]
        Server.shutdown = uvicorn.Server.shutdown  # type: ignore[method-assign]
    if "remembers" in sys.argv[2:]:
        hub.Challenges = Remembered  # type: ignore[misc, assignment, attr-defined]
    if "eager" in sys.argv[2:]:
        refusals.FREE = refusals.FREE_IN_ALL = 10**9
    if "deaf" in sys.argv[2:]:
        stop_signals.STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
    directory = Path(sys.argv[1])
    store = next((one.removeprefix("--store=") for one in sys.argv[2:] if one.startswith("--store=")), "")
    options = ServeOptions(directory, port=0, profile_path=directory / "client.toml", store=store)
    asyncio.run(serve(options, lambda started: print(started.url, flush=True)))
