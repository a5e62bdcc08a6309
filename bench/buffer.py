"""Durable, chained, audited executions a second, beside a script that only writes rows.

The node is a process with its real engine and its real store, `synchronous=FULL`. The producers are in it, as a gateway
would be: each has up to 32 events that are not acknowledged. One event is one execution of one rule that changes its
state; each acts, or one in ten does. An action is visible when its driver has been told.
"""

from __future__ import annotations

import asyncio
import socket
import statistics
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.buffer_host import WINDOW, buffer_node
from bench.buffer_node import Measured
from bench.buffer_script import rows_a_second
from bench.measure import Report, Row
from bench.transport import TUNED
from bench.transport import rate as mqtt_rate
from eyeflow.node.broker.broker import EmbeddedBroker
from eyeflow.node.broker.settings import EmbeddedSection

PRODUCERS = (1, 16, 128)
ROUNDS, MEASURE_S = 3, 3.0
BAR = 10_000.0
BATCH = 256
KAFKA_HOME = Path(__file__).parents[1] / ".venv" / "kafka"
"""Where `eyeflow node kafka-setup --home .venv/kafka` puts it."""


def free_port() -> int:
    """Return a port that is free, and the next one with it."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            try:
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


@contextmanager
def broker(directory: Path) -> Iterator[int]:
    """Run an Apache Kafka that is not the node's; yields its port."""
    port, up, loop = free_port(), threading.Event(), asyncio.new_event_loop()
    section = EmbeddedSection(home=KAFKA_HOME, port=port)
    running = EmbeddedBroker(section, directory, on_up=up.set)
    task = loop.create_task(running.run())

    def run() -> None:
        try:
            loop.run_until_complete(asyncio.wait({task}))
        finally:
            loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        if not up.wait(120):
            raise RuntimeError(f"Kafka does not answer: {running.status.detail}")
        yield port
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()


def settings_of(backend: str, port: int) -> str:
    """Return what the configuration says of a backend, whose broker has or gets this port."""
    if backend == "kafka_embedded":
        return f'[kafka_embedded]\nhome = "{KAFKA_HOME}"\nport = {port}\n'
    return f'[kafka]\nbootstrap_servers = "127.0.0.1:{port}"\n' if backend == "kafka" else ""


def once(producers: int, window: int, acts_every: int) -> Measured:
    """Run a node and measure it."""
    options = {"window": window, "acts_every": acts_every}
    with tempfile.TemporaryDirectory() as folder, buffer_node(Path(folder) / "node", producers, **options) as node:
        return node.measure(MEASURE_S)


def scripts() -> dict[int, float]:
    """Return rows a second of the script, by how many go into one commit."""
    with tempfile.TemporaryDirectory() as folder:
        return {batch: rows_a_second(Path(folder) / f"{batch}.db", batch, MEASURE_S) for batch in (BATCH, 1)}


def report() -> Report:
    """Measure in alternating rounds."""
    cases = [(producers, WINDOW, acts) for producers in PRODUCERS for acts in (1, 10)]
    cases += [(producers, 1, 1) for producers in PRODUCERS]
    found: dict[tuple[int, int, int], list[Measured]] = {}
    written: list[dict[int, float]] = []
    for _ in range(ROUNDS):
        written.append(scripts())
        for case in cases:
            found.setdefault(case, []).append(once(*case))
    rows = [
        Row(f"script, {batch} rows in a commit", statistics.median(one[batch] for one in written), "rows/s")
        for batch in (BATCH, 1)
    ]
    rows += [_row(case, found[case]) for case in cases]
    rows.append(Row("over MQTT with QoS 1, each acts", mqtt_rate("node", TUNED), "executions/s", "one connection"))
    reached = statistics.median(one.a_second for one in found[16, WINDOW, 1])
    bar = (f"at least {BAR:,.0f} executions/s with 16 producers on sqlite, each acts ({reached:,.0f})", reached >= BAR)
    return Report("Durable executions", tuple(rows), (bar,))


def _row(case: tuple[int, int, int], runs: list[Measured]) -> Row:
    producers, window, acts_every = case
    name = f"{producers} producers, {window} unacknowledged, {'each' if acts_every == 1 else '1 in 10'} acts"

    def middle(what: str) -> float:
        return statistics.median(getattr(one, what) for one in runs)

    note = (
        f"p50 {middle('p50_ms'):.1f} ms, p99 {middle('p99_ms'):.1f} ms, {middle('each_us'):.1f} us processor, "
        f"{middle('rss_mb'):.0f} MB"
    )
    return Row(name, middle("a_second"), "executions/s", note)
