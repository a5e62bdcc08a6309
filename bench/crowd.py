"""A coordinator with a thousand, and with ten thousand simulated nodes: processor time for each, and how it grows.

The coordinator, its REST API and the link of each node are the real ones. They run in one process and in virtual time,
over a network in memory (`tests/simulation`), so a busy machine changes nothing in what follows what. The nodes are
light: they have neither rules nor a store. Each step is counted for the process that it belongs to: what nodes and
operator compute is not the coordinator's. What nodes cost by being there is measured first, and left out of what
happens meanwhile; so are the looks of the operator.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import httpx
import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from bench.light_nodes import LightLink, identity_of
from bench.measure import Report, Row
from bench.plant import RULE, SIGNER, program
from eyeflow.base.machine import Machine
from eyeflow.coordinator.nodes import Nodes
from eyeflow.coordinator.serve import STORE_FILE, TOKEN_FILE, ServeOptions, serve
from eyeflow.coordinator.store.cluster_store import Writing
from eyeflow.coordinator.store.sqlite_store import SqliteStore
from eyeflow.node.cluster.membership import JoinResult
from eyeflow.svm.signing import public_key_of
from simulation import loop as simulated
from simulation.cluster import the_dead_are_silent
from simulation.loop import Process, SimLoop, as_process, pass_time
from simulation.network import Network
from simulation.threads import SimStore

SIZES = (1_000, 10_000)
GROWTH_MAX = 1.25
"""How much more a node may cost among the most than among the fewest."""
START_US = 1_700_000_000_000_000
HOST, PORT = "127.0.0.1", 7700
PAGE_ROWS = 500
LOOK_S, ENDED_LOOK_S = 0.25, 5.0
DIALS_MAX = 200
STEPS_OF_A_NODE = 5_000
MEMORY = Path("/dev/shm")
"""A disk that is no disk: what counts here is processor time."""
COORDINATOR, NODES, OPERATOR = "coordinator", "nodes", "operator"


class CountingLoop(SimLoop):
    """Counts the processor time of each process."""

    def __init__(self, rng: Random) -> None:
        super().__init__(rng)
        self.spent_s: Counter[str] = Counter()

    def _step(self, process: Process, callback: Any, args: Any) -> None:
        began_s = time.thread_time()
        super()._step(process, callback, args)
        self.spent_s[process.name] += time.thread_time() - began_s


@dataclass(frozen=True, slots=True)
class Cost:
    """What one thing took of the coordinator: processor seconds, and how long it lasted in virtual time."""

    processor_s: float
    lasted_s: float


NOTHING = Cost(0.0, 1.0)


async def prepared(directory: Path, names: Sequence[str]) -> JoinResult:
    """Make a coordinator's store in which these nodes have joined; returns what each of them would know then."""
    directory.mkdir(mode=0o700)
    store = SqliteStore(directory / STORE_FILE)
    nodes = Nodes(store)

    def step(writing: Writing) -> None:
        for name in names:
            writing.register_node(name, identity_of(name).public_key, START_US)
        nodes.signers_changed(writing, START_US)

    await store.write(step)
    store.close()
    return JoinResult(f"http://{HOST}:{PORT}", "", store.coordinator_id, store.identity.public_key, ())


class Crowd:
    """One coordinator with light nodes on a virtual loop. `run` takes a scenario."""

    def __init__(self, directory: Path, names: Sequence[str]) -> None:
        directory.mkdir(exist_ok=True)
        self.directory = directory / "coordinator"
        self.joined = asyncio.run(prepared(self.directory, names))
        self.loop = CountingLoop(Random("crowd"))
        self.network = Network(self.loop, Random("network"))
        self.coordinator, self.nodes = Process(COORDINATOR), Process(NODES)
        self.links = {name: LightLink(name, self._joined(name), self.now_us) for name in names}
        self.token = ""

    def _joined(self, name: str) -> JoinResult:
        joined = self.joined
        return JoinResult(joined.url, name, joined.coordinator_id, joined.coordinator_key, joined.signers)

    def steady_us(self) -> int:
        return round(self.loop.time() * 1e6)

    def now_us(self) -> int:
        return START_US + self.steady_us()

    def run(self, scenario: Coroutine[Any, Any, None]) -> None:
        """Run a scenario to its end. Raises what it raises."""
        simulated.STEPS_MAX = max(simulated.STEPS_MAX, STEPS_OF_A_NODE * len(self.links))
        with as_process(Process(OPERATOR)):
            main = self.loop.create_task(scenario)
        main.add_done_callback(lambda done: self.loop.stop())
        with the_dead_are_silent():
            try:
                self.loop.run_forever()
                main.result()
            finally:
                self._tear_down()

    def _tear_down(self) -> None:
        logging.disable()
        try:
            self.nodes.end()
            self.coordinator.end()
            self.network.close()
            self.loop.close()
            simulated.REMAINS.clear()
        finally:
            logging.disable(logging.NOTSET)

    async def start(self) -> None:
        """Start the coordinator; returns once it listens."""
        listens = asyncio.Event()
        with as_process(self.coordinator):
            self.loop.create_task(self._serve(listens))
        await listens.wait()
        self.token = (self.directory / TOKEN_FILE).read_text().strip()

    async def _serve(self, listens: asyncio.Event) -> None:
        await serve(
            ServeOptions(self.directory, port=PORT, trusted=(("bench", public_key_of(SIGNER)),)),
            lambda started: listens.set(),
            asyncio.Event(),
            clock=self.now_us,
            steady=self.steady_us,
            machine=Machine(Random("machine")),
            listen=self.network.listen,
            open_store=SimStore,
        )

    async def link_all(self) -> None:
        """Start the nodes, some at a time: all have one address, and few may dial from it at once."""
        links = list(self.links.values())
        for first in range(0, len(links), DIALS_MAX):
            some = links[first : first + DIALS_MAX]
            with as_process(self.nodes):
                for link in some:
                    self.loop.create_task(link.run())
            while not all(link.status.state == "up" for link in some):
                await pass_time(LOOK_S)

    async def call(self, method: str, path: str, body: object = None, data: bytes | None = None) -> Any:
        """Ask the coordinator; raises for anything but a success."""
        headers = {"Authorization": f"Bearer {self.token}"}
        if data is not None:
            headers["Content-Type"] = "application/octet-stream"
        async with httpx.AsyncClient(base_url=self.joined.url, timeout=600.0, trust_env=False) as client:
            reply = await client.request(method, path, json=body, content=data, headers=headers)
        if reply.status_code >= 400:
            raise RuntimeError(f"{method} {path}: {reply.status_code} {reply.text[:500]}")
        return reply.json() if reply.content else None

    async def deploy(self, version: int, **how: Any) -> str:
        """Bring a version of the rule to all nodes; returns the deployment's id."""
        uploaded = await self.call("POST", "/api/programs", data=program(version))
        body = {"all": True, "changes": [{"rule": RULE, "programId": uploaded["id"]}], "deadlineS": 3600, **how}
        return str((await self.call("POST", "/api/deployments", body))["id"])

    async def ended(self, deployment_id: str) -> dict[str, Any]:
        """Return a deployment once it is over. It is looked at so seldom that the looks cost nothing beside it."""
        while not (found := await self.call("GET", f"/api/deployments/{deployment_id}"))["over"]:
            await pass_time(ENDED_LOOK_S)
        return dict(found)

    async def status(self) -> int:
        """Ask what `eyeflow status --json` asks; returns how many nodes were told of."""
        await self.call("GET", "/api/status")
        cursor, found = "", 0
        while True:
            behind = f"&cursor={cursor}" if cursor else ""
            page = await self.call("GET", f"/api/nodes?limit={PAGE_ROWS}&sort=worst{behind}")
            found, cursor = found + len(page["nodes"]), page["nextCursor"]
            if not cursor:
                return found

    async def cost(self, work: Coroutine[Any, Any, Any], quiet: Cost = NOTHING) -> Cost:
        """Return what something takes of the coordinator beside nodes that cost `quiet` by being there."""
        before_s, began_s = self.loop.spent_s[COORDINATOR], self.loop.time()
        await work
        spent_s, lasted_s = self.loop.spent_s[COORDINATOR] - before_s, self.loop.time() - began_s
        return Cost(max(0.0, spent_s - quiet.processor_s * lasted_s / quiet.lasted_s), lasted_s)


@dataclass(frozen=True, slots=True)
class Spent:
    """What so many nodes took. `memory_kb` is what a node adds with both ends of its link, its own one included."""

    costs: dict[str, Cost]
    memory_kb: float


def measured(nodes: int) -> Spent:
    """Measure each thing once with so many nodes."""
    costs: dict[str, Cost] = {}
    memory: list[float] = []

    async def scenario(crowd: Crowd) -> None:
        await crowd.start()
        memory.append(memory_mb())
        costs["to link all"] = await crowd.cost(crowd.link_all())
        await pass_time(10)
        quiet = costs["a minute without events"] = await crowd.cost(pass_time(60))

        async def deployed() -> None:
            ended = await crowd.ended(await crowd.deploy(1, strategy="immediate"))
            if ended["counts"] != {"installed": nodes}:
                raise RuntimeError(f"the deployment is {ended['state']}: {ended['reason']} {ended['counts']}")

        costs["a deployment to all"] = await crowd.cost(deployed(), quiet)
        await pass_time(10)
        costs["eyeflow status --json"] = await crowd.cost(crowd.status(), quiet)
        memory.append(memory_mb())

    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        crowd = Crowd(Path(folder), [f"node-{number:05}" for number in range(nodes)])
        crowd.run(scenario(crowd))
    return Spent(costs, 1024 * (memory[1] - memory[0]) / nodes)


def memory_mb() -> float:
    return float(psutil.Process().memory_info().rss) / 2**20


def report() -> Report:
    """Measure each size once."""
    found = {nodes: measured(nodes) for nodes in SIZES}
    rows, bars = [], []
    for what in found[SIZES[0]].costs:
        each = [1000 * found[nodes].costs[what].processor_s / nodes for nodes in SIZES]
        for nodes, each_ms in zip(SIZES, each, strict=True):
            lasted = f"{found[nodes].costs[what].lasted_s:.1f} s of virtual time"
            rows.append(Row(f"{nodes} nodes: {what}", each_ms, "ms processor", f"for each; {lasted}"))
        grown = each[-1] / each[0]
        bars.append((f"{what}: at most {GROWTH_MAX} times for each node ({grown:.2f})", grown <= GROWTH_MAX))
    for nodes, spent in found.items():
        rows.append(
            Row(f"{nodes} nodes: memory", spent.memory_kb, "KB", "for each, with the node's own end of its link")
        )
    return Report(f"A coordinator with {SIZES[0]} to {SIZES[-1]} simulated nodes", tuple(rows), tuple(bars))
