"""What stands around a node and never dies: the broker that delivers until it is answered, and the devices that act."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

from eyeflow.node.io.ports import Deliver, IncomingEvent, PortStatus, Subscription
from eyeflow.node.io.world import World
from eyeflow.svm.execution import CapabilityFailure
from eyeflow.svm.program import Value
from simulation.loop import Process, SimLoop, pass_time

SLOW_SHARE, SLOW_S, FAILS_SHARE = 0.02, 3.0, 0.02
THINKS_S, MOOD = 1.6, "CALM"
"""How long the language model takes for an answer, and what it says."""


def key_of(number: int) -> str | None:
    """Return the key of an event; every third one has none."""
    return f"unit-{number % 5}" if number % 3 else None


@dataclass
class Life:
    """What one start of a node did to the world, in order; `records` is how long its audit chain was before."""

    records: int
    fired: list[str] = field(default_factory=list)
    published: list[int] = field(default_factory=list)


@dataclass
class Plant:
    """The world of one node. `waiting` are events that nobody has acknowledged."""

    waiting: dict[int, str] = field(default_factory=dict)
    acknowledged: list[int] = field(default_factory=list)
    delivered: Counter[int] = field(default_factory=Counter)
    lives: list[Life] = field(default_factory=list)
    wanted: asyncio.Event = field(default_factory=asyncio.Event)
    topics: frozenset[str] = frozenset()
    """What the node listens to now."""

    @property
    def is_behind(self) -> bool:
        """Whether there is an event that the node is still to take."""
        return any(topic in self.topics for topic in self.waiting.values())

    def happen(self, event_id: int, topic: str) -> None:
        self.waiting[event_id] = topic
        self.wanted.set()


class SimSource:
    """A broker's session: what was not acknowledged before comes again at each start."""

    def __init__(self, plant: Plant, process: Process, now_us: Any) -> None:
        self.status = PortStatus("mqtt", "up")
        self._plant, self._process, self._now_us = plant, process, now_us

    def update(self, subscriptions: Collection[Subscription]) -> None:
        self._plant.topics = frozenset(one.address for one in subscriptions)
        self._plant.wanted.set()

    async def run(self, deliver: Deliver) -> None:
        delivered: set[int] = set()
        while True:
            due = [(number, topic) for number, topic in self._plant.waiting.items() if number not in delivered]
            for number, topic in due:
                if topic in self._plant.topics:
                    delivered.add(number)
                    self._plant.delivered[number] += 1
                    await deliver(self._event(number, topic))
            self._plant.wanted.clear()
            await self._plant.wanted.wait()

    def _event(self, number: int, topic: str) -> IncomingEvent:
        done = partial(self._acknowledge, number)
        return IncomingEvent(Subscription("mqtt", topic), {"id": number}, self._now_us(), done, key=key_of(number))

    def _acknowledge(self, number: int) -> None:
        if self._process.works and self._plant.waiting.pop(number, None):
            self._plant.acknowledged.append(number)


class SimDriver:
    """Acts after a while, and fails now and then."""

    def __init__(self, name: str, life: Life, process: Process, rng: Random) -> None:
        self.status, self.is_ready = PortStatus(name, "up"), True
        self.slow_reads: tuple[str, ...] = ()
        self._name, self._life, self._process, self._rng = name, life, process, rng

    async def until_ready(self) -> None:
        return None

    def read(self, capability: str, args: Mapping[str, Value], timeout_us: int) -> Value:
        if self._name != "llm":
            raise CapabilityFailure("nothing to read here")
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimLoop)
        loop.lasted_s += THINKS_S  # the thread of the rule waits for so long; see `SimLoop.run_in_executor`
        return MOOD

    async def act(self, capability: str, args: Mapping[str, Value]) -> None:
        if self._process.works:
            self._happen(args)
        if args.get("topic") == "kills":
            self._process.doomed = True
        await pass_time(self._rng.uniform(0, SLOW_S if self._rng.random() < SLOW_SHARE else 0.05))
        if args.get("topic") == "fails" or self._rng.random() < FAILS_SHARE:
            raise CapabilityFailure("the device did not answer")

    def _happen(self, args: Mapping[str, Value]) -> None:
        if self._name == "mqtt":
            self._life.published.append(int(str(args["payload"])))
        elif self._name == "gpio":
            self._life.fired.append(f"{args['pin']} {args['level']}")

    def begin(self, capability: str, args: Mapping[str, Value]) -> asyncio.Future[None] | None:
        return asyncio.ensure_future(self.act(capability, args)) if self._name == "mqtt" else None

    async def close(self) -> None:
        return None


def make_world(plant: Plant, life: Life, process: Process, rng: Random, now_us: Any) -> World:
    """Return sources and drivers of one start of a node."""
    drivers = {name: SimDriver(name, life, process, rng) for name in ("gpio", "mqtt", "log", "llm")}
    return World({"mqtt": SimSource(plant, process, now_us)}, drivers)  # type: ignore[dict-item]
