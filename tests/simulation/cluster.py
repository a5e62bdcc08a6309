"""A coordinator, nodes and an operator on one virtual loop: the real daemons, from `run_node` and `serve` down."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import hashlib
import json
import logging
import sys
import traceback
import warnings
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any

from eyeflow.base.errors import EyeflowError
from eyeflow.base.machine import Machine
from eyeflow.coordinator.serve import TOKEN_FILE, ServeOptions, serve
from eyeflow.node.config.config import load_config
from eyeflow.node.daemon import run_node
from eyeflow.node.store.store import Store
from eyeflow.node.store.types import StorageError
from eyeflow.protocol.audit import decode_record, record_hash
from eyeflow.protocol.audit_bodies import GapBody
from simulation.asking import NoAnswerError, ask
from simulation.disk import Image, SimDisk
from simulation.kafka import SimKafka, sim_services
from simulation.loop import CURRENT, REMAINS, Process, SimLoop, StalledError, as_process, pass_time
from simulation.network import Network
from simulation.programs import SIGNERS
from simulation.threads import SimStore, SimWriter, in_thread, sim_archive
from simulation.world import Life, Plant, make_world

START_US = 1_700_000_000_000_000
HOST, PORT = "127.0.0.1", 7700
CALL_S = 20.0
RESTART_S = 5.0
"""After so long the system starts a daemon again that ended by itself."""
LOG_CHARACTERS_MAX = 160
YOUNG_OBJECTS_MAX = 200_000

CONFIG = f"""
[node]
name = "{{name}}"
data_dir = "{{data}}"

[coordinator]
url = "http://{HOST}:{PORT}"
token_file = "{{token}}"

[offline]
buffer_backend = "{{backend}}"
max_buffer_age_hours = {{age_hours}}

[grants]
allow = {{grants}}

[mqtt]
host = "simulated"
"""
OWN_BROKERS = """
[kafka]
bootstrap_servers = "simulated:9092"
"""


class SimClock:
    """A clock of one machine; `ahead_us` is what it differs from the others."""

    def __init__(self, loop: SimLoop, ahead_us: int) -> None:
        self._loop, self.ahead_us = loop, ahead_us

    def now_us(self) -> int:
        return START_US + self.ahead_us + self.steady_us()

    def steady_us(self) -> int:
        return round(self._loop.time() * 1e6)

    async def sleep(self, duration_s: float) -> None:
        await pass_time(duration_s)


class Trace:
    """What happened, as lines with their times; equal runs have equal hashes."""

    def __init__(self, loop: SimLoop, directory: Path) -> None:
        self._loop, self._place, self._hash = loop, str(directory), hashlib.sha256()
        self.lines: list[str] = []

    def add(self, text: str) -> None:
        line = f"{self._loop.time():10.4f} {self.without_place(text)}"
        self._hash.update(line.encode() + b"\n")
        self.lines.append(line)

    def without_place(self, text: str) -> str:
        """Return a text without the directory of this run: another run has another one."""
        return text.replace(self._place, "")

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()


class Host:
    """One machine with a disk. What its process leaves there at its end is what the next one finds."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster, self.name, self.rng = cluster, name, Random(f"{cluster.seed} {name}")
        self.image: Image = {}
        self.process: Process | None = None
        self.disk: SimDisk | None = None
        self.starts = self.deaths = 0
        self.power_cut = False
        """Whether its next sudden end is one of the power: unsynced writes are lost, and no peer hears of it."""
        self.down_s = RESTART_S
        """How long it stays down after that."""
        self.wants_to_run = False
        self.clock = SimClock(cluster.loop, self.rng.randrange(-2_000_000, 2_000_000))
        self.on_image: Callable[[Image], None] = lambda image: None
        self._stop = asyncio.Event()

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.works

    def start(self) -> None:
        """Start the daemon on what the disk holds, unless it runs."""
        self.wants_to_run = True
        if self.process is not None and self.process.alive:
            return
        self.starts += 1
        self.on_image(self.image)
        process = self.process = Process(self.name)
        place = self.cluster.directory / f"{self.name}-{self.starts}"
        self.disk = SimDisk(place, process, self.rng, self.image)
        process.on_death.append(self._died)
        self._stop = asyncio.Event()
        self.cluster.trace.add(f"{self.name} starts")
        with as_process(process):
            main = self.cluster.loop.create_task(self.main(self.disk, self._stop))
        main.add_done_callback(lambda task: self._ended(process, task), context=self.cluster.context)

    async def main(self, disk: SimDisk, stop: asyncio.Event) -> None:
        raise NotImplementedError

    def machine(self, disk: SimDisk) -> Machine:
        rng = Random(f"{self.cluster.seed} {self.name} {self.starts}")
        return Machine(rng, disk.vfs, disk.free_bytes, disk.write_whole, in_thread)

    def _died(self) -> None:
        assert self.disk is not None and self.process is not None
        self.image = self.disk.after_power_cut() if self.power_cut else self.disk.after_kill()
        self.deaths += 1
        self.cluster.network.lose(self.process, silently=self.power_cut)
        self.cluster.trace.add(f"{self.name} died{' without power' if self.power_cut else ''}")
        self.power_cut = False
        if self.wants_to_run:
            self.cluster.later(self.down_s, self._again)

    def _ended(self, process: Process, task: asyncio.Task[None]) -> None:
        if not process.alive:
            return
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, EyeflowError):
            self.cluster.loop.faults.append(f"{self.name} ended with {error!r}")
        self.power_cut = False
        self.cluster.trace.add(f"{self.name} ended{f': {error}' if error else ''}")
        self.down_s = RESTART_S
        process.end()

    def _again(self) -> None:
        if self.wants_to_run:
            self.start()

    def crash(self, power_cut: bool, down_s: float, steps: int = -1, writes: int = -1, effects: int = -1) -> None:
        """End it suddenly: after some of its steps, writes or effects, or now; it comes back after `down_s`."""
        if not self.runs:
            return
        assert self.process is not None and self.disk is not None
        self.power_cut, self.down_s = power_cut, down_s
        self.process.steps_left, self.disk.dies_after, self.process.effects_left = steps, writes, effects
        if max(steps, writes, effects) < 0:
            self.process.end()

    def down(self) -> None:
        """End it now, for good."""
        self.wants_to_run = False
        if self.process is not None:
            self.process.end()

    def stop(self) -> None:
        """Ask it to end in good order."""
        self.wants_to_run = False
        if self.runs:
            assert self.process is not None
            with as_process(self.process):
                self._stop.set()


class NodeHost(Host):
    """A node with the world around it."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        super().__init__(cluster, name)
        self.plant = Plant()
        self.refuses = name.startswith(cluster.refuses)
        """Whether it grants less than one of the programs needs."""
        self.boards = ""
        """What its configuration says of boards."""
        self.records = 0
        """How long its audit chain was before this start."""
        self.written: dict[tuple[int, int], bytes] = {}
        """The hash of each record that it has written, by epoch and seq: of the last one where a disk was put back."""
        self.gaps: dict[tuple[int, int], GapBody] = {}
        """The gaps among them."""
        self._noted_seq = 0
        self.token_file = cluster.directory / f"{name.partition('~')[0]}.token"
        self.brokers = SimKafka(Random(f"{cluster.seed} {name} kafka"), cluster.later, SimClock(cluster.loop, 0).now_us)
        """Where its copies go, when the backend is one of Kafka; the node's own brokers are up while it runs."""

    def _note_written(self, store: Store) -> None:
        """Take note of the records that are new: later the node may have dropped them. Those of boards are not its own."""
        if store.node == self.name.partition("~")[0] and store.head[0] > self._noted_seq:
            with suppress(StorageError):  # the disk fails: they are read after the next job
                for data in store.audit_range(self._noted_seq + 1, store.head[0]):
                    record = decode_record(data)
                    self._noted_seq = record.seq
                    self.written[store.epoch, record.seq] = record_hash(data)
                    if isinstance(record.body, GapBody):
                        self.gaps[store.epoch, record.seq] = record.body

    def give_token(self, token: str) -> None:
        self.token_file.write_text(token)
        self.token_file.chmod(0o600)

    async def main(self, disk: SimDisk, stop: asyncio.Event) -> None:
        life, self._noted_seq = Life(self.records), 0
        self.plant.lives.append(life)
        assert self.process is not None
        process = self.process
        name = self.name.partition("~")[0]  # a copy has the name of the node that it is a copy of
        file = self.cluster.directory / f"{self.name}-{self.starts}.toml"
        # Too many to be told: else the coordinator would refuse what this node shall refuse by itself.
        many = [f"unused_{number:02}.*" for number in range(100)]
        grants = ["gpio.*", "mqtt.*", "llm.*", *(many if self.refuses else ["log.*"])]
        backend = self.cluster.backend
        more = {"grants": json.dumps(grants), "age_hours": self.cluster.buffer_age_hours, "backend": backend}
        text = CONFIG.format(name=name, data=disk.directory, token=self.token_file, **more)
        file.write_text(text + (OWN_BROKERS if backend == "kafka" else "") + self.boards)
        await run_node(
            load_config(file),
            stop=stop,
            clock=self.clock,
            machine=self.machine(disk),
            make_world=lambda ports, name, now_us: make_world(self.plant, life, process, self.rng, now_us),
            make_writer=lambda store: SimWriter(store, self._note_written),
            make_services=lambda node: sim_services(node, self.brokers, process),
        )


class CoordinatorHost(Host):
    """The coordinator."""

    async def main(self, disk: SimDisk, stop: asyncio.Event) -> None:
        trusted = tuple((name, key) for name, (_, key) in sorted(SIGNERS.items()))
        options = ServeOptions(disk.directory, port=PORT, trusted=trusted)
        await serve(
            options,
            lambda started: self.cluster.trace.add("coordinator listens"),
            stop,
            clock=self.clock.now_us,
            steady=self.clock.steady_us,
            machine=self.machine(disk),
            listen=self.cluster.network.listen,
            open_store=SimStore,
            open_archive=sim_archive,
        )

    @property
    def token(self) -> str:
        assert self.disk is not None
        return (self.disk.directory / TOKEN_FILE).read_text().strip()


class Cluster:
    """Everything of one run. `call` is what the operator does; the node `refuses` grants less than the others."""

    def __init__(self, seed: int, directory: Path, names: tuple[str, ...], refuses: str) -> None:
        self.seed, self.directory, self.rng = seed, directory, Random(seed)
        self.loop = SimLoop(Random(f"{seed} loop"))
        self.context = contextvars.copy_context()
        self.network = Network(self.loop, Random(f"{seed} network"))
        self.trace = Trace(self.loop, directory)
        self.log = _TraceLog(self.trace)
        self.refuses, self.buffer_age_hours, self.backend = refuses, 96.0, "sqlite"
        self.coordinator = CoordinatorHost(self, "coordinator")
        self.nodes = {name: NodeHost(self, name) for name in names}
        self.copies: list[NodeHost] = []
        self.operator = Process("operator")
        self.token = ""

    def run(self, scenario: Callable[[Cluster], Coroutine[Any, Any, None]]) -> None:
        """Run a scenario to its end. Raises what it raises; tells of exceptions that no process caught."""
        with seldom_collected(), without_sniffio(), self.log.capturing(), the_dead_are_silent():
            try:
                with as_process(self.operator):
                    main = self.loop.create_task(scenario(self))
                main.add_done_callback(lambda done: self.loop.stop(), context=self.context)
                self.loop.run_forever()
                if not main.done():
                    raise StalledError(self.loop.stalled)
                main.result()
            finally:
                self._tear_down()

    def _tear_down(self) -> None:
        self.log.is_on = False
        # A coroutine that is closed may gather nothing in its `finally`: without a loop, asyncio would make one, and leave it.
        asyncio.set_event_loop(self.loop)
        for host in (self.coordinator, *self.nodes.values(), *self.copies):
            host.down()
        self.operator.end()
        self.network.close()
        self.loop.close()
        REMAINS.clear()
        asyncio.set_event_loop(None)

    def later(self, after_s: float, act: Callable[[], None]) -> None:
        """Let something happen that belongs to no process."""
        self.loop.call_later(after_s, act, context=self.context)

    async def call(self, method: str, path: str, body: object = None, data: bytes | None = None) -> tuple[int, Any]:
        """Ask the coordinator; (0, None) when there was no answer, and nobody knows what became of it."""
        headers = {"Authorization": f"Bearer {self.token}"}
        content = data or b""
        if body is not None:
            content, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        elif data is not None:
            headers["Content-Type"] = "application/octet-stream"
        with suppress(OSError, NoAnswerError):  # a time-out is an OSError, too
            async with asyncio.timeout(CALL_S):
                status, answer = await ask((HOST, PORT), method, path, headers, content)
                return status, json.loads(answer) if answer else None
        return 0, None

    async def surely(self, method: str, path: str, body: object = None, data: bytes | None = None) -> Any:
        """Ask until there is an answer, which must be a success."""
        for _ in range(60):
            status, answer = await self.call(method, path, body, data)
            if status in {200, 201, 202, 204}:
                return answer
            if status not in {0, 503}:
                raise AssertionError(f"{method} {path}: {status} {answer}")
            await pass_time(1.0)
        raise AssertionError(f"{method} {path}: the coordinator never answers")


class _TraceLog(logging.Handler):
    """Puts what the daemons log into the trace."""

    def __init__(self, trace: Trace) -> None:
        super().__init__(logging.WARNING)
        self._trace, self.is_on = trace, True
        self.trace_backs: list[str] = []
        """Of what the daemons logged as errors: no part of the trace, which names no lines of code."""

    def emit(self, record: logging.LogRecord) -> None:
        process = CURRENT.get()
        if self.is_on and (process is None or process.alive):
            text = self._trace.without_place(record.getMessage())[:LOG_CHARACTERS_MAX]
            self._trace.add(f"{process.name if process else '-'} logs: {text}")
            if record.exc_info:
                self.trace_backs.append("".join(traceback.format_exception(*record.exc_info)))

    @contextmanager
    def capturing(self) -> Iterator[None]:
        logs = [logging.getLogger(name) for name in ("eyeflow", "uvicorn", "websockets", "asyncio")]
        before = [log.propagate for log in logs]
        for log in logs:
            log.addHandler(self)
            log.propagate = False
        try:
            yield
        finally:
            for log, propagates in zip(logs, before, strict=True):
                log.removeHandler(self)
                log.propagate = propagates


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Search for unreachable objects seldom, and never among what was there before: a tenth of the time of a short run.

    What was there before the first run is frozen once. Frozen anew before each run, what is left of the last one would
    never be found.
    """
    if not gc.get_freeze_count():
        gc.collect()
        gc.freeze()
    usual = gc.get_threshold()
    gc.set_threshold(YOUNG_OBJECTS_MAX, 10, 10)
    try:
        yield
    finally:
        gc.set_threshold(*usual)


@contextmanager
def without_sniffio() -> Iterator[None]:
    """Say at once that there is no `sniffio`: httpcore looks for it in all directories several times for each request."""
    here = sys.modules.pop("sniffio", None)
    sys.modules["sniffio"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["sniffio"]
        if here is not None:
            sys.modules["sniffio"] = here


@contextmanager
def the_dead_are_silent() -> Iterator[None]:
    """What the coroutines of dead processes do when they are closed reaches nothing, and its errors nobody."""
    hooks = sys.unraisablehook, sys.excepthook  # apsw calls the second for connections that nobody closed
    sys.unraisablehook = sys.excepthook = lambda *told: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
            gc.collect()
    finally:
        sys.unraisablehook, sys.excepthook = hooks
