"""The node's own broker as a process: started, watched, started again, and ended with the node."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import shutil
import signal
import socket
import subprocess
from collections import deque
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from eyeflow.base.errors import EyeflowError
from eyeflow.base.machine import FreeBytes, free_bytes_of
from eyeflow.base.reasons import why
from eyeflow.node.backoff import Backoff
from eyeflow.node.broker.home import KafkaHome, Refused, find_home, first_error, format_arguments, java_version, run
from eyeflow.node.broker.properties import MB, properties
from eyeflow.node.broker.settings import EmbeddedSection
from eyeflow.node.broker.share import Share, Usage, kept_bytes, usage_of
from eyeflow.node.io.ports import PortStatus

if TYPE_CHECKING:
    from eyeflow.node.io.kafka.asking import Asking

_log = logging.getLogger("eyeflow.node")

START_S = 120.0
"""Within which it answers: an old Raspberry Pi that has to recover its log is slow."""
STOP_S = 20.0
FORMAT_S = 120.0
LOOK_S, ASK_S = 0.1, 1.0
LINES_MAX = 40
WATCH_S = 5.0
"""How often it is measured. New topics get their part of the share then."""
FULL_BYTES = 16 * 1024 * 1024
"""Less free space than this means that a broker ended for lack of it."""


def tie() -> list[str]:
    """Return what a command is put behind so that it ends with the node, however that ends; nothing where none may.

    By SIGKILL: Kafka that gets SIGTERM while it starts may wait for itself for ever, with its folder locked. What it
    has confirmed is on disk. Nobody would end the broker else, and its port and folder would stay taken. In the sandbox
    of the unit setpriv may not run; systemd ends whatever a service leaves.
    """
    command = [shutil.which("setpriv") or "", "--pdeathsig", "KILL"]
    if not command[0]:
        return []
    tried = subprocess.run([*command, "true"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return command if tried.returncode == 0 else []


NOT_RUN = (126, 127)
"""Exit codes of setpriv and of a shell whose command could not be run."""


class EmbeddedBroker:
    """Runs one Apache Kafka below `directory`, on loopback, for as long as `run` runs."""

    def __init__(
        self,
        config: EmbeddedSection,
        directory: Path,
        share: Share | None = None,
        random: Random | None = None,
        free_bytes: FreeBytes = free_bytes_of,
        on_up: Callable[[], None] = lambda: None,
    ) -> None:
        """`share` is its part of the node's buffer. `on_up` is called each time it answers."""
        self.status = PortStatus("kafka_embedded", counters={"starts": 0, "pid": 0, "size_bytes": 0, "partitions": 0})
        self._share, self._is_over = share or Share(), False
        self._data = directory / "data"
        self._config, self._directory, self._free_bytes, self._on_up = config, directory, free_bytes, on_up
        self._backoff = Backoff(random)
        self._lines: deque[str] = deque(maxlen=LINES_MAX)
        self._asking: Asking
        self._tie: list[str] = []
        self._told_bytes = 0
        """How much of each partition the broker was told to keep; 0: nothing yet."""

    async def run(self) -> None:
        """Run until cancelled. A broker that ends is started again, after a wait that grows with each failure."""
        while True:
            lasted_s, reason = await self._once()
            wait_s = self._backoff.after_s(lasted_s)
            self._show("failed", f"{reason}; next attempt in {wait_s:.1f} s")
            _log.error("kafka_embedded: %s", reason)
            await asyncio.sleep(wait_s)

    async def _once(self) -> tuple[float, str]:
        """Run it once; return how long it answered, and why it ended."""
        self._show("connecting", "it starts")
        try:
            home = await asyncio.to_thread(self._prepare)
        except EyeflowError as error:
            return 0.0, error.whole
        except Refused as error:
            return 0.0, self._reason(error.told)
        except OSError as error:
            return 0.0, self._reason(why(error))
        loop = asyncio.get_running_loop()
        began_s = None
        process = await self._start(home)
        beside = [asyncio.ensure_future(self._read(process))]
        try:
            if await self._answers(process):
                began_s = loop.time()
                self._show("up", f"127.0.0.1:{self._config.port}")
                self._on_up()
                beside.append(asyncio.ensure_future(self._watch()))
            elif process.returncode is None:
                return 0.0, f"it did not answer within {START_S:.0f} s"
            await process.wait()
        finally:
            await self._end(process)
            self.status.counters["pid"] = 0
            for task in beside[1:]:
                task.cancel()
            await asyncio.wait(beside)
        lasted_s = 0.0 if began_s is None else loop.time() - began_s
        return lasted_s, self._reason(self._last_error() or self._ended(process.returncode))

    def _prepare(self) -> KafkaHome:
        from eyeflow.node.io.kafka.asking import Asking  # late: it imports the library

        config, data = self._config, self._data
        self._asking = Asking(f"127.0.0.1:{config.port}")
        java_version(config.java)
        home = find_home(config.home or self._directory / "home")
        self._require_free_ports()
        self._tie = tie()
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = self._directory / "server.properties"
        age_hours = min(config.topic_age_hours, self._share.age_hours)
        file.write_text(properties(data, config.port, self._kept_bytes(usage_of(data)), age_hours))
        if not (data / "meta.properties").exists():
            run(home.command(config.java, config.heap_mb, *format_arguments(file)), FORMAT_S)
        return home

    def _require_free_ports(self) -> None:
        for port in (self._config.port, self._config.port + 1):
            with socket.socket() as trial:
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Java does
                try:
                    trial.bind(("127.0.0.1", port))
                except OSError as error:
                    taken = error.errno == errno.EADDRINUSE
                    raise EyeflowError(
                        f"the embedded Kafka cannot listen on 127.0.0.1:{port}",
                        cause="Another program has this port." if taken else why(error),
                        next_step="Stop that one, or set [kafka_embedded] port.",
                        code="port_in_use",
                    ) from error

    async def _start(self, home: KafkaHome) -> asyncio.subprocess.Process:
        config = self._config
        file = str(self._directory / "server.properties")
        command = home.command(config.java, config.heap_mb, "kafka.Kafka", file)
        command = [*self._tie, *command]
        self._lines.clear()
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=self._directory,
        )
        self.status.counters["starts"] += 1
        self.status.counters["pid"] = process.pid
        return process

    def _kept_bytes(self, usage: Usage) -> int:
        return kept_bytes(self._share.size_bytes, usage.partitions, self._config.topic_size_mb * MB)

    async def _watch(self) -> None:
        """Look every few seconds. A look that fails is told, and the next one is made: the disk may fill meanwhile."""
        self._told_bytes = 0
        while True:
            try:
                await self._look()
            except Exception as error:
                told = f"its size is not known: {why(error)}"
                if told not in self.status.detail:
                    _log.exception("kafka_embedded: %s", told)
                self._show("up", f"127.0.0.1:{self._config.port}: {told}")
            await asyncio.sleep(WATCH_S)

    async def _look(self) -> None:
        """Measure what it takes, and let its topics share what there is, also those that come later."""
        usage = await asyncio.to_thread(usage_of, self._data)
        self.status.counters |= {"size_bytes": usage.size_bytes, "partitions": usage.partitions}
        wanted_bytes = self._kept_bytes(usage)
        if wanted_bytes != self._told_bytes and await asyncio.to_thread(self._asking.keep, wanted_bytes):
            self._told_bytes = wanted_bytes
        self._tell_size(usage)

    def _tell_size(self, usage: Usage) -> None:
        was_over, self._is_over = self._is_over, usage.size_bytes > self._share.size_bytes
        where = f"127.0.0.1:{self._config.port}"
        if was_over and self._is_over:  # one look alone may have come before Kafka had deleted
            told = f"it takes {usage.size_bytes // MB} MB in {usage.partitions} partitions, and its half of "
            told += f"max_buffer_size_mb is {self._share.size_bytes // MB} MB. Raise that, or delete topics"
            if told not in self.status.detail:
                _log.warning("kafka_embedded: %s", told)
            where = f"{where}: {told}"
        self._show("up", where)

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:  # longer than the stream's bound
                continue
            if not line:
                return
            text = line.decode("utf-8", "replace").rstrip()
            self._lines.append(text)
            _log.debug("kafka_embedded: %s", text)

    async def _answers(self, process: asyncio.subprocess.Process) -> bool:
        """Wait until it answers a question; False when it ended before, or the time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_S):
                while process.returncode is None:
                    if await asyncio.to_thread(self._asking.answers, ASK_S):
                        return True
                    await asyncio.sleep(LOOK_S)
        return False

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_S):
                await process.wait()
        except TimeoutError:
            _log.warning("kafka_embedded: it did not end within %.0f s, and is killed", STOP_S)
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def _ended(self, code: int | None) -> str:
        """Say how it ended. Of a command that could not be run at all, its last line is the reason."""
        return f"it ended with code {code}" + (f": {self._lines[-1]}" if self._lines and code in NOT_RUN else "")

    def _last_error(self) -> str:
        return first_error("\n".join(self._lines))

    def _reason(self, told: str) -> str:
        """Tell a disk that is full from a broker that is broken."""
        full = "No space left" in told or any("No space left" in line for line in self._lines)
        with contextlib.suppress(OSError):
            full = full or self._free_bytes(self._directory) < FULL_BYTES
        if full:
            return f"the disk of {self._directory} is full. Free space on it: the broker then starts by itself"
        return told

    def _show(self, state: str, detail: str) -> None:
        self.status.state, self.status.detail = state, detail
