"""A real node as a process, fed from inside as a gateway would: `python -m bench.buffer_node DATA_DIR`.

The first line on its standard input is JSON: `backend`, `settings` (more lines of the configuration), `producers`,
`window` (events that each has sent and not heard of), `acts_every` (one event in so many acts), `pace` (events a
second of all producers together, 0: as fast as they are taken), `warm_s`, `measure_s`. It writes one line of JSON:
`Measured`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench.measure import own_rss_mb, quantile
from bench.sources import compiled
from eyeflow.base.clock import wall_clock_us
from eyeflow.base.collector import spare_what_stays
from eyeflow.node.config.config import NodeConfig, load_config
from eyeflow.node.daemon import run_node
from eyeflow.node.io.connector import PortsConfig
from eyeflow.node.io.ports import Deliver, IncomingEvent, PortStatus, Subscription
from eyeflow.node.io.world import World
from eyeflow.node.runtime import NodeRuntime
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
    """What a run gave: executions and actions while it was measured, delays from event to action, and what it took."""

    events: int
    seconds: float
    processor_s: float
    p50_ms: float
    p99_ms: float
    rss_mb: float
    commits: int
    copied: int


class Producers:
    """A source with several producers; each waits while `window` of its events are not acknowledged."""

    def __init__(self, count: int, window: int, acts_every: int, pace: float) -> None:
        self.status = PortStatus("mqtt", "up")
        self.sent: dict[int, float] = {}
        self.acknowledged = 0
        self.delays_s: list[float] = []
        self._count, self._window, self._acts_every, self._pace = count, window, acts_every, pace
        self._number = 0
        self._wanted: asyncio.Future[Subscription] = asyncio.get_running_loop().create_future()

    def update(self, subscriptions: Collection[Subscription]) -> None:
        for one in subscriptions:
            if not self._wanted.done():
                self._wanted.set_result(one)

    async def run(self, deliver: Deliver) -> None:
        wanted = await self._wanted
        async with asyncio.TaskGroup() as group:
            for number in range(self._count):
                group.create_task(self._produce(deliver, wanted, f"unit-{number}", number))

    async def _produce(self, deliver: Deliver, wanted: Subscription, key: str, place: int) -> None:
        room = asyncio.Semaphore(self._window)
        done = partial(self._done, room)
        due_s = time.perf_counter() + place / max(self._pace, 1e-9) if self._pace else 0.0
        while True:
            if self._pace:
                await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
                due_s += self._count / self._pace
            await room.acquire()
            self._number += 1
            number = self._number
            acts = number % self._acts_every == 0
            if acts:
                self.sent[number] = time.perf_counter()
            payload = {"number": number, "temp": HOT if acts else COLD}
            await deliver(IncomingEvent(wanted, payload, wall_clock_us(), done, key=key))

    def _done(self, room: asyncio.Semaphore) -> None:
        self.acknowledged += 1
        room.release()

    def acted(self, number: int) -> None:
        """The action on an event is visible."""
        self.delays_s.append(time.perf_counter() - self.sent.pop(number))


class Valve:
    """A driver whose actions are seen at once, and confirmed in the next step of the loop."""

    def __init__(self, producers: Producers) -> None:
        self.status, self.is_ready = PortStatus("mqtt", "up"), True
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


async def measure(node: NodeRuntime, producers: Producers, orders: Mapping[str, Any]) -> Measured:
    """Install the rule, let it warm up, and measure."""
    program = sign_program(encode(compiled(RULE, "dose")), SIGNER)
    result = await node.install(program, {}, "d", 1)
    if result.code:
        raise RuntimeError(result.message)
    await asyncio.sleep(orders["warm_s"])
    spare_what_stays()
    counters, copies = node.writer.store.counters, node.services.get("kafka_copies")
    before = (producers.acknowledged, time.perf_counter(), time.process_time(), counters.commits, _copied(copies))
    producers.delays_s.clear()
    await asyncio.sleep(orders["measure_s"])
    after = (producers.acknowledged, time.perf_counter(), time.process_time(), counters.commits, _copied(copies))
    events, seconds, processor_s, commits, copied = (b - a for a, b in zip(before, after, strict=True))
    delays_ms = sorted(delay * 1e3 for delay in producers.delays_s)
    return Measured(
        int(events),
        seconds,
        processor_s,
        quantile(delays_ms, 0.5),
        quantile(delays_ms, 0.99),
        own_rss_mb(),
        int(commits),
        int(copied),
    )


def _copied(copies: PortStatus | None) -> int:
    return 0 if copies is None else copies.counters["copied"]


async def main(directory: Path) -> None:
    """Run once."""
    orders = json.loads(sys.stdin.readline())
    producers = Producers(orders["producers"], orders["window"], orders["acts_every"], orders["pace"])
    ready: asyncio.Future[NodeRuntime] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()

    def world(ports: PortsConfig, name: str, now_us: Any) -> World:
        return World({"mqtt": producers}, {"mqtt": Valve(producers)})

    running = asyncio.create_task(
        run_node(
            config_of(directory, orders),
            make_link=None if orders.get("linked") else lambda node: None,
            on_ready=ready.set_result,
            stop=stop,
            make_world=world,
        )
    )
    await asyncio.wait({ready, running}, return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        running.result()
    measured = await measure(ready.result(), producers, orders)
    print(json.dumps(asdict(measured)), flush=True)
    stop.set()
    with contextlib.suppress(asyncio.CancelledError):
        await running


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
