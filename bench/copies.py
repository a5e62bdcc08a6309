"""What copies to Kafka cost live events: the node of `buffer` with each backend, beside sqlite in the same round.

Broker and copies run on the same machine, and are told apart by the processor time of each process. The broker of
`kafka_embedded` is a child of the node, and writes to the node's disk. That of `kafka` stands for one on another
machine: it writes to memory.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.buffer import broker, free_port, settings_of
from bench.buffer_host import BufferNode, buffer_node
from bench.buffer_node import WARM_S, Measured
from bench.measure import Report, Row, processor_s

BACKENDS = ("sqlite", "kafka", "kafka_embedded")
LOADS = ((1, 0.0), (16, 0.0), (128, 0.0), (16, 2000.0))
"""Producers, and events a second of all together; 0: as many as are taken."""
ROUNDS, MEASURE_S, UNTIL_COPIES_FLOW_S = 5, 3.0, 3.0
BAR = 1.1
MEMORY = Path("/dev/shm")


@dataclass(frozen=True, slots=True)
class Run:
    """A run of a node: what it gave, cores that copies and broker took, and memory of the process of copies."""

    node: Measured
    copies_cores: float
    broker_cores: float
    copies_mb: float


@contextmanager
def brokers(directory: Path) -> Iterator[tuple[int, int]]:
    """Run a Kafka that is not the node's; yields its port and its process."""
    with broker(directory) as port:
        (java,) = (one.pid for one in psutil.Process().children() if "java" in one.name())
        yield port, java


def _children(node: BufferNode, java: int) -> dict[str, int]:
    """Return the processes beside the node: its copies, and the broker."""
    found = {"broker": java}
    for child in psutil.Process(node.pid).children():
        found["broker" if "java" in child.name() else "copies"] = child.pid
    return found


def once(backend: str, producers: int, pace: float, port: int, java: int) -> Run:
    """Run a node and measure it."""
    settings = settings_of(backend, port if backend == "kafka" else free_port())
    with (
        tempfile.TemporaryDirectory() as folder,
        buffer_node(Path(folder) / "node", producers, backend=backend, settings=settings) as node,
    ):
        if backend != "sqlite":
            node.measure(UNTIL_COPIES_FLOW_S, pace)
        beside = _children(node, java)
        before = {name: processor_s(pid) for name, pid in beside.items()}
        measured = node.measure(MEASURE_S, pace)
        cores = {name: (processor_s(pid) - before[name]) / (MEASURE_S + WARM_S) for name, pid in beside.items()}
        memory = psutil.Process(beside["copies"]).memory_info().rss / 2**20 if "copies" in beside else 0.0
    return Run(measured, cores.get("copies", 0.0), cores["broker"], memory)


def report() -> Report:
    """Measure in alternating rounds; each ratio is that to sqlite in the same round."""
    found: dict[tuple[str, int, float], list[Run]] = {}
    memory = MEMORY if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as folder, brokers(Path(folder)) as (port, java):
        for _ in range(ROUNDS):
            for producers, pace in LOADS:
                for backend in BACKENDS:
                    found.setdefault((backend, producers, pace), []).append(once(backend, producers, pace, port, java))
    rows = [_row(*case, runs, found["sqlite", *case[1:]]) for case, runs in found.items()]
    bars = [_bar(*case, runs, found["sqlite", *case[1:]]) for case, runs in found.items() if case[0] != "sqlite"]
    return Report("Copies to Kafka beside live events", tuple(rows), tuple(bars))


def _ratio(what: str, runs: list[Run], without: list[Run]) -> float:
    pairs = zip(runs, without, strict=True)
    return statistics.median(getattr(one.node, what) / getattr(other.node, what) for one, other in pairs)


def _name(backend: str, producers: int, pace: float) -> str:
    return f"{backend}, {producers} producers" + (f", {pace:,.0f} events/s" if pace else "")


def _row(backend: str, producers: int, pace: float, runs: list[Run], without: list[Run]) -> Row:
    def middle(what: str) -> float:
        return statistics.median(getattr(one.node, what) for one in runs)

    note = f"p50 {middle('p50_ms'):.1f} ms, p99 {middle('p99_ms'):.1f} ms, {middle('each_us'):.1f} us processor"
    if backend != "sqlite":
        shares = {what: _ratio(what, runs, without) for what in ("a_second", "each_us", "p50_ms", "p99_ms")}
        note += "; to sqlite: " + ", ".join(f"{what} {share:.2f}" for what, share in shares.items())
        note += f"; {statistics.median(one.node.copied / one.node.seconds for one in runs):,.0f} copies/s"
        for what in ("copies_cores", "broker_cores", "copies_mb"):
            note += f", {what} {statistics.median(getattr(one, what) for one in runs):.2f}"
    return Row(_name(backend, producers, pace), middle("a_second"), "executions/s", note)


def _bar(backend: str, producers: int, pace: float, runs: list[Run], without: list[Run]) -> tuple[str, bool]:
    share = _ratio("each_us", runs, without)
    name = _name(backend, producers, pace)
    return f"{name}: at most {BAR} times the node's processor time for an execution ({share:.2f})", share <= BAR
