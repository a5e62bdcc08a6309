"""How many reports of nodes the coordinator's store takes, on SQLite and on PostgreSQL, with one and two coordinators.

Each report is the step of a real one: the node's row, what it said, its progress, the counts and the feed. All are
handed over at once, as after a roll-out to all nodes. PostgreSQL runs on this machine, with its own flushes to disk.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import SystemRandom
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from bench.measure import Report, Row
from components.postgres import running_server
from eyeflow.coordinator.deployments import Deployments
from eyeflow.coordinator.store.cluster_store import ClusterStore, Writing
from eyeflow.coordinator.store.postgres_store import PostgresStore
from eyeflow.coordinator.store.sqlite_store import SqliteStore
from eyeflow.protocol.identity import Identity
from eyeflow.protocol.messages import ManifestResult, RuleResult, RuleState
from eyeflow.rollout.deployment import Deployment, NodeProgress, NodeState, Rollback, Target

NOW_US = 1_790_000_000_000_000
NODES = 1000
SINGLES = 200
HINTS = 100
IDENTITY = Identity(bytes(range(32)))


def deployment() -> Deployment:
    return Deployment(
        "d-1", (("pump", Target("1" * 64, "d-1")),), "immediate", Rollback.ON_ERROR, NOW_US, NOW_US * 2, "ci"
    )


def prepared(names: list[str]) -> Callable[[Writing], None]:
    def step(writing: Writing) -> None:
        for name in names:
            writing.register_node(name, bytes(32), NOW_US)
        sent = [NodeProgress(name, NodeState.SENT, manifest_version=1, due_us=NOW_US * 2) for name in names]
        writing.add_deployment(deployment(), sent)

    return step


async def reports(stores: list[ClusterStore], count: int) -> float:
    """Return seconds in which the stores together take one report of each node, all handed over at once."""
    names = [f"node-{number:05}" for number in range(count)]
    await stores[0].write(prepared(names))
    members = [Deployments(store, lambda: "", lambda writing: None) for store in stores]
    result = ManifestResult(1, (RuleResult("pump", "1" * 64, RuleState.INSTALLED),))
    begins = time.perf_counter()
    answers = [members[number % len(members)].reported(name, result, NOW_US) for number, name in enumerate(names)]
    await asyncio.gather(*answers)
    return time.perf_counter() - begins


async def singles(store: ClusterStore, count: int) -> float:
    """Return seconds of one step that is waited for alone."""
    begins = time.perf_counter()
    for number in range(count):
        await store.write(lambda writing, number=number: writing.record_problem("node-00000", f"p{number}", NOW_US))
    return (time.perf_counter() - begins) / count


async def hint(writer: ClusterStore, reader: ClusterStore) -> float:
    """Return seconds, the median, from a commit at one coordinator until the other hears of it."""
    told = asyncio.Event()
    reader.on_change(told.set)
    await asyncio.sleep(0.5)
    taken = []
    for number in range(HINTS):
        told.clear()
        await writer.write(lambda writing, number=number: writing.record_problem("node-00001", f"p{number}", NOW_US))
        begins = time.perf_counter()
        await told.wait()
        taken.append(time.perf_counter() - begins)
    return sorted(taken)[HINTS // 2]


def measured(name: str, stores: list[Any], rows: list[Row]) -> float:
    """Measure one arrangement; returns reports a second."""

    async def run() -> float:
        taken_s = await reports(stores, NODES)
        rows.append(Row(f"{name}: reports of nodes", NODES / taken_s, "1/s"))
        rows.append(Row(f"{name}: one step alone", 1000 * await singles(stores[0], SINGLES), "ms"))
        if len(stores) > 1:
            rows.append(Row(f"{name}: until the other one hears", 1000 * await hint(*stores[:2]), "ms", "median"))
        for store in stores:
            store.close()
        return NODES / taken_s

    return asyncio.run(run())


def report() -> Report:
    """Measure all arrangements."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as directory:
        alone = measured("SQLite", [SqliteStore(Path(directory) / "store.sqlite")], rows)
    with running_server(fsync=True) as server:
        for count in (1, 2):
            url = server.url()
            stores = [PostgresStore(url, lambda public_key: IDENTITY, SystemRandom()) for _ in range(count)]
            one = measured(f"PostgreSQL, {count} coordinator(s)", stores, rows)
    rows.append(Row("SQLite against PostgreSQL", alone / one, "times"))
    return Report("Reports that the store of the coordinator takes", tuple(rows))
