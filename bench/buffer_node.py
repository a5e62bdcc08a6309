"""A real node as a process, fed from inside as a gateway would: `python -m bench.buffer_node DATA_DIR`.

The first line on its standard input is JSON: `backend`, `settings` (more lines of the configuration), `producers`,
`window` (events that each has sent and not heard of), `acts_every` (one event in so many acts), `installs` (false: a
coordinator brings the rule). Each further line is a command, answered by one line of JSON:

* `{"do": "measure", "seconds": 4, "pace": 0}`: run the producers and say what came of it (`Measured`). `pace`: events a
  second of all together, 0: as fast as they are taken
* `{"do": "fill", "records": 100000}`: run them until the audit has so many records more
* `{"do": "catch_up"}`: return once the coordinator holds all: how many records that were, and how long it took from the
  moment when the link was up
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from operator import sub
from pathlib import Path
from typing import Any

from bench.measure import own_rss_mb, quantile
from bench.sources import compiled
from eyeflow.base.clock import wall_clock_us
from eyeflow.base.collector import spare_what_stays
from eyeflow.node import backoff
from eyeflow.node.config.config import NodeConfig, load_config
from eyeflow.node.daemon import run_node
from eyeflow.node.io.connector import PortsConfig
from eyeflow.node.io.ports import Deliver, IncomingEvent, PortStatus, Subscription
from eyeflow.node.io.world import World
from eyeflow.node.runtime import NodeRuntime
from eyeflow.node.store.cursors import COORDINATOR
from eyeflow.svm.container import encode
from eyeflow.svm.execution import CapabilityFailure
from eyeflow.svm.program import Value
from eyeflow.svm.signing import public_key_of, sign_program

SIGNER = bytes(range(32))
RULE = """rule dose {
    version "1.0.0"
    record Reading { number: int, temp: float }
    state hot: int = 0
    on mqtt "in" as r: Reading
    if r.temp > 80.0 {
        hot = hot + 1
        mqtt.publish("out", "{r.number}")
    }
}
"""
HOT, COLD = 81.5, 20.5
WARM_S = 1.0
CONFIG = """
[node]
name = "bench"
data_dir = "{data_dir}"
[mqtt]
host = "127.0.0.1"
[grants]
allow = ["*"]
[trust]
keys = ["{key}"]
[offline]
buffer_backend = "{backend}"
{settings}
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a run gave: executions, what it took, records copied to another place, and delays from event to action."""

    events: float
    seconds: float
    processor_s: float
    commits: float
    copied: float
    p50_ms: float
    p99_ms: float
    rss_mb: float

    @property
    def a_second(self) -> float:
        """Executions a second."""
        return self.events / self.seconds

    @property
    def each_us(self) -> float:
        """Processor time of the node for one execution."""
        return self.processor_s / self.events * 1e6


class Producers:
    """A source with several producers; each waits while `window` of its events are not acknowledged."""

    def __init__(self, count: int, window: int, acts_every: int) -> None:
        self.status = PortStatus("mqtt", "up")
        self.acknowledged = 0
        self.delays_s: list[float] = []
        self.pace = 0.0
        self.goes, self.wanted = asyncio.Event(), asyncio.Event()
        self._sent: dict[int, float] = {}
        self._count, self._window, self._acts_every = count, window, acts_every
        self._number = 0
        self._subscription: Subscription

    def update(self, subscriptions: Collection[Subscription]) -> None:
        for self._subscription in subscriptions:
            self.wanted.set()

    async def run(self, deliver: Deliver) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(self._count):
                group.create_task(self._produce(deliver, f"unit-{number}"))

    async def _produce(self, deliver: Deliver, key: str) -> None:
        room = asyncio.Semaphore(self._window)
        done, due_s = partial(self._done, room), 0.0
        while True:
            await self.goes.wait()
            if self.pace:
                due_s = max(due_s + self._count / self.pace, time.perf_counter() - 0.1)
                await asyncio.sleep(due_s - time.perf_counter())
            await room.acquire()
            self._number += 1
            number, acts = self._number, self._number % self._acts_every == 0
            if acts:
                self._sent[number] = time.perf_counter()
            payload = {"number": number, "temp": HOT if acts else COLD}
            await deliver(IncomingEvent(self._subscription, payload, wall_clock_us(), done, key=key))

    def _done(self, room: asyncio.Semaphore) -> None:
        self.acknowledged += 1
        room.release()

    def acted(self, number: int) -> None:
        """The action on an event is visible."""
        self.delays_s.append(time.perf_counter() - self._sent.pop(number))


class Valve:
    """A driver whose actions are seen at once, and confirmed in the next step of the loop."""

    def __init__(self, producers: Producers) -> None:
        self.status, self.is_ready = PortStatus("mqtt", "up"), True
        self.slow_reads: tuple[str, ...] = ()
        self._producers = producers

    async def until_ready(self) -> None:
        return None

    def read(self, capability: str, args: Mapping[str, Value], timeout_us: int) -> Value:
        raise CapabilityFailure("nothing to read here")

    async def act(self, capability: str, args: Mapping[str, Value]) -> None:
        self._producers.acted(int(args["payload"]))

    def begin(self, capability: str, args: Mapping[str, Value]) -> asyncio.Future[None]:
        self._producers.acted(int(args["payload"]))
        confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        confirmed.set_result(None)
        return confirmed

    async def close(self) -> None:
        return None


def config_of(directory: Path, orders: Mapping[str, Any]) -> NodeConfig:
    """Return the configuration of the node, read as a user's file is."""
    path = directory / "eyeflow-svm.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    key, values = public_key_of(SIGNER).hex(), {"backend": orders["backend"], "settings": orders.get("settings", "")}
    path.write_text(CONFIG.format(data_dir=directory / "data", key=key, **values))
    return load_config(path)


class Bench:
    """Carries the commands out on one node."""

    def __init__(self, node: NodeRuntime, producers: Producers) -> None:
        self._node, self._producers = node, producers

    async def install(self) -> None:
        result = await self._node.install(program(), {}, "d", 1)
        if result.code:
            raise RuntimeError(result.message)

    async def measure(self, seconds: float, pace: float = 0.0) -> dict[str, Any]:
        """Run the producers for so long; the first second is left out."""
        producers = self._producers
        producers.pace = pace
        producers.goes.set()
        await asyncio.sleep(WARM_S)
        before = self._counts()
        producers.delays_s.clear()
        await asyncio.sleep(seconds)
        events, took_s, processor_s, commits, copied = map(sub, self._counts(), before)
        producers.goes.clear()
        delays_ms = sorted(delay * 1e3 for delay in producers.delays_s)
        p50_ms, p99_ms = (quantile(delays_ms, share) for share in (0.5, 0.99))
        return asdict(Measured(events, took_s, processor_s, commits, copied, p50_ms, p99_ms, own_rss_mb()))

    def _counts(self) -> tuple[float, ...]:
        store, copies = self._node.writer.store, self._node.services.get("kafka_copies")
        copied = self._kept_seq if copies is None else copies.counters["copied"]
        return (self._producers.acknowledged, time.perf_counter(), time.process_time(), store.counters.commits, copied)

    @property
    def _kept_seq(self) -> int:
        kept = self._node.kept_by(COORDINATOR)
        return 0 if kept is None else kept.seq

    async def fill(self, records: int) -> dict[str, Any]:
        """Run the producers until there are so many records more."""
        self._producers.pace = 0.0
        until_seq = self._node.audit_head.seq + records
        self._producers.goes.set()
        await self._node.grows_beyond(until_seq)
        self._producers.goes.clear()
        return {"head": self._node.audit_head.seq}

    async def catch_up(self) -> dict[str, Any]:
        """Wait until the coordinator holds what the node has now."""
        link, until_seq, from_seq = self._node.link, self._node.audit_head.seq, self._kept_seq
        assert link is not None, "it has a coordinator"
        while link.status.state != "up":
            await asyncio.sleep(0.01)
        began_s, spent_s = time.perf_counter(), time.process_time()
        while self._kept_seq < until_seq:
            await asyncio.sleep(0.01)
        return {
            "records": until_seq - from_seq,
            "seconds": time.perf_counter() - began_s,
            "processor_s": time.process_time() - spent_s,
        }


def program() -> bytes:
    """Return the signed program."""
    return sign_program(encode(compiled(RULE, "dose")), SIGNER)


async def obey(bench: Bench, installs: bool) -> None:
    """Carry out commands until the input ends."""
    loop = asyncio.get_running_loop()
    if installs:
        await bench.install()
    print("ready", flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        orders = json.loads(line)
        answer = await getattr(bench, orders.pop("do"))(**orders)
        print(json.dumps(answer), flush=True)


async def main(directory: Path) -> None:
    """Run until the input ends."""
    orders = json.loads(sys.stdin.readline())
    backoff.STABLE_S = 0.0  # no outage here is a failure, so that the next one is dialled as soon
    producers = Producers(orders["producers"], orders["window"], orders["acts_every"])
    ready: asyncio.Future[NodeRuntime] = asyncio.get_running_loop().create_future()
    stop, installs = asyncio.Event(), orders.get("installs", True)

    def world(ports: PortsConfig, name: str, now_us: Any) -> World:
        return World({"mqtt": producers}, {"mqtt": Valve(producers)})

    running = asyncio.create_task(
        run_node(
            config_of(directory, orders),
            make_link=(lambda node: None) if installs else None,
            on_ready=ready.set_result,
            stop=stop,
            make_world=world,
        )
    )
    await asyncio.wait({ready, running}, return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        running.result()
    spare_what_stays()
    await obey(Bench(ready.result(), producers), installs)
    stop.set()
    await running


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
