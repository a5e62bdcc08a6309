"""Nodes in this process: the real daemon with its store, and a plant that sends keyed events and notes who acts.

The broker of the plant keeps each event until the node acknowledges it, and delivers it again to the next start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from eyeflow.base.clock import wall_clock_us
from eyeflow.compiler.compile import compile_rule
from eyeflow.node.config.config import NodeConfig
from eyeflow.node.config.sections import CoordinatorConfig
from eyeflow.node.daemon import MakeLink, MakeWriter, run_node
from eyeflow.node.io.connectors import ports_config
from eyeflow.node.io.mqtt.settings import MqttConfig
from eyeflow.node.io.ports import Deliver, IncomingEvent, PortStatus, Subscription
from eyeflow.node.io.world import World
from eyeflow.node.runtime import NodeRuntime
from eyeflow.node.store.writer import ThreadWriter
from eyeflow.svm.container import encode
from eyeflow.svm.execution import CapabilityFailure
from eyeflow.svm.program import Value
from eyeflow.svm.signing import public_key_of, sign_program

SIGNER = bytes(range(32))
RULE = "dose"
KEPT_MAX = 512
"""Events that the broker has given and that are not acknowledged, at most: as a broker's window does."""
VALVE = "valve"
SOURCES = {
    RULE: """rule dose {{
    version "{version}.0.0"
    record Order {{ number: int }}
    state orders: int = 0
    on mqtt "dose/orders" as order: Order
    orders = orders + 1
    mqtt.publish("dose/valve", "{version} {{order.number}}")
    emit dosed(number: order.number)
}}
""",
    VALVE: """rule valve {{
    version "{version}.0.0"
    record Dosed {{ number: int }}
    on event "dosed" as dosed: Dosed
    mqtt.publish("dose/valve", "{version} {{dosed.number}}")
}}
""",
}
"""Each order is decided by `dose`, and then by `valve` if it runs; what they do tells their version."""


def program(version: int, rule: str = RULE) -> bytes:
    """Return the signed program of a version."""
    result = compile_rule(SOURCES[rule].format(version=version), name=f"{rule}.eye")
    assert result.program is not None, result.diagnostics
    return sign_program(encode(result.program), SIGNER)


@dataclass(frozen=True, slots=True)
class Acted:
    """One action: which version of the rule did it for which event."""

    version: int
    number: int


class Broker:
    """A source that keeps what is not acknowledged, and gives it again to the next start of the node."""

    def __init__(self) -> None:
        self.status = PortStatus("mqtt", "up")
        self.kept: dict[int, str | None] = {}
        self._wanted: tuple[Subscription, ...] = ()
        self._came, self._went = asyncio.Event(), asyncio.Event()

    def update(self, subscriptions: Collection[Subscription]) -> None:
        self._wanted = tuple(subscriptions)
        self._came.set()

    async def run(self, deliver: Deliver) -> None:
        last = 0
        while True:
            self._came.clear()
            for number in [number for number in self.kept if number > last] if self._wanted else []:
                (wanted,), last = self._wanted, number
                key, done = self.kept[number], partial(self._acknowledged, number)
                await deliver(IncomingEvent(wanted, {"number": number}, wall_clock_us(), done, key=key))
            await self._came.wait()

    def _acknowledged(self, number: int) -> None:
        self.kept.pop(number, None)
        self._went.set()

    async def send(self, number: int, key: str | None) -> None:
        """Send an event; waits while the node has many that it has not acknowledged. Numbers grow."""
        await self.until_kept(KEPT_MAX)
        self.kept[number] = key
        self._came.set()

    async def until_kept(self, count: int = 0) -> None:
        """Return when no more than `count` events are not acknowledged."""
        while len(self.kept) > count:
            self._went.clear()
            await self._went.wait()


class Valve:
    """A driver that notes each action, in order."""

    def __init__(self, acted: list[Acted]) -> None:
        self.status, self.is_ready = PortStatus("mqtt", "up"), True
        self.slow_reads: tuple[str, ...] = ()
        self._acted = acted

    async def until_ready(self) -> None:
        return None

    def read(self, capability: str, args: Mapping[str, Value], timeout_us: int) -> Value:
        raise CapabilityFailure("nothing to read here")

    async def act(self, capability: str, args: Mapping[str, Value]) -> None:
        self._acted.append(Acted(*map(int, str(args["payload"]).split())))

    def begin(self, capability: str, args: Mapping[str, Value]) -> asyncio.Future[None]:
        return asyncio.ensure_future(self.act(capability, args))

    async def close(self) -> None:
        return None


class PlantNode:
    """One node with its plant. Without `coordinator` it runs alone, and `node` is what a link would hold."""

    def __init__(
        self,
        directory: Path,
        name: str = "bench",
        coordinator: CoordinatorConfig | None = None,
        grants: tuple[str, ...] = ("*",),
    ) -> None:
        ports = ports_config(MqttConfig("simulated"))
        alone = {} if coordinator is not None else {"trusted_keys": (public_key_of(SIGNER),)}
        self.config = NodeConfig(
            name, directory, coordinator=coordinator or CoordinatorConfig(), grants=grants, ports=ports, **alone
        )
        self.broker, self.acted = Broker(), list[Acted]()
        self.node: NodeRuntime
        self._make_link: MakeLink | None = None if coordinator is not None else lambda node: None
        self._stop = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    async def start(self, make_writer: MakeWriter = ThreadWriter) -> None:
        """Start the daemon; returns once its rules run."""
        ready: asyncio.Future[NodeRuntime] = asyncio.get_running_loop().create_future()
        self._stop = asyncio.Event()
        self._running = asyncio.create_task(
            run_node(
                self.config,
                make_link=self._make_link,
                on_ready=ready.set_result,
                stop=self._stop,
                make_world=lambda ports, name, now_us: World({"mqtt": self.broker}, {"mqtt": Valve(self.acted)}),
                make_writer=make_writer,
            )
        )
        await asyncio.wait({ready, self._running}, return_when=asyncio.FIRST_COMPLETED)
        if self._running.done():
            self._running.result()
        self.node = ready.result()

    async def stop(self) -> None:
        """End in good order."""
        assert self._running is not None
        self._stop.set()
        await self._running

    async def crash(self) -> None:
        """End without a word, wherever it is; what the store has committed stays."""
        assert self._running is not None
        self._running.cancel()
        with suppress(asyncio.CancelledError):
            await self._running
