"""A node's life from a seed: events, time, new versions, failing drivers, crashes; the promises hold throughout."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from components.node_sim import NODE_KEY, NodeSim, SimClock
from eyeflow.node.engine.core import FORGET_US
from eyeflow.node.run_key import active
from eyeflow.protocol.audit import verify_chain
from eyeflow.protocol.audit_bodies import ActionResultBody, Disposition, ExecutionBody

S = 1_000_000
STEPS = 80


def counter(version: int) -> str:
    return (
        f'rule counter {{\n version "{version}.0.0"\n record Event {{ number: int }}\n state n: int = 0\n'
        f' on mqtt "t" as e: Event\n n = n + 1\n emit seen(number: e.number)\n'
        f' mqtt.publish("v{version}", "{{e.number}}") retry 2 backoff 100ms else skip\n}}\n'
    )


FOLLOWER = """
rule follower {
    version "1.0.0"
    priority low
    record Seen { number: int }
    state n: int = 0
    on event "seen" as s: Seen
    n = n + 1
}
"""
TIMER = """
rule timer {
    version "1.0.0"
    priority high
    state n: int = 0
    on every 700ms
    n = n + 1
    log.info("{n}")
}
"""


class Life:
    """The node and what the world knows of it: `done` are the events that were acknowledged."""

    def __init__(self, path: Path, seed: int) -> None:
        self.path, self.rng, self.clock = path, random.Random(seed), SimClock()
        self.sent, self.done, self.version, self.manifest = 0, set[int](), 1, 1

    async def start(self, *sources: str) -> None:
        self.sim = await NodeSim.started(self.path, *sources, clock=self.clock)

    async def send(self) -> None:
        if len(self.sim.node.engine.core.rules[active("counter")].queue) > 500:
            await self.sim.advance(10 * S)
        for _ in range(self.rng.randrange(1, 40)):
            number = self.sent
            self.sent += 1
            event = self.sim.event("t", {"number": number})
            done = lambda number=number: self.done.add(number)  # noqa: E731
            await self.sim.node.engine.deliver(type(event)(event.subscription, event.payload, event.time_us, done))
        if self.rng.random() < 0.7:
            await self.sim.node.engine.turn()

    async def pass_time(self) -> None:
        await self.sim.advance(self.rng.randrange(3 * S))

    async def upgrade(self) -> None:
        self.version += 1
        self.manifest += 1
        result = await self.sim.install(counter(self.version), self.manifest)
        assert result.code == "", result

    async def break_driver(self) -> None:
        self.sim.drivers["mqtt"].failures["mqtt.publish"] = self.rng.randrange(6)

    async def crash(self) -> None:
        self.sim.crash()
        await self.start()

    async def stop(self) -> None:
        await self.sim.stop()
        await self.start()

    async def step(self) -> None:
        moves = [self.send] * 6 + [self.pass_time] * 4 + [self.break_driver, self.upgrade, self.crash, self.stop]
        await self.rng.choice(moves)()

    def check(self) -> None:
        report = verify_chain(self.sim.store.audit_range(1, 10**6), NODE_KEY.public_key)
        assert report.holds, report.problem
        executions = self.sim.bodies(ExecutionBody)
        counted = [body.inputs[0] for body in executions if body.rule == "counter"]
        assert self.done <= set(counted), "acknowledged, so recorded"
        assert len(counted) == len(set(counted)), "an event that was not acknowledged is the source's to send again"
        state = self.sim.node.engine.core.rules[active("counter")].instance.state_values()
        assert state == {"n": len(counted)}, "the state is that of the recorded executions, no more and no less"

    def check_actions(self) -> None:
        """Each sent action reached the world at least once or has a record that says what became of it."""
        ended = {(body.execution_seq, body.index) for body in self.sim.bodies(ActionResultBody)}
        sent = [
            (record.seq, index, record.body.inputs[0])
            for record in self.sim.records()
            if isinstance(record.body, ExecutionBody) and record.body.rule == "counter"
            for index, action in enumerate(record.body.actions)
            if action[2] == Disposition.SENT
        ]
        for row in self.sim.store.restore().pending:
            record = self.sim.store.record(row.seq)
            assert record is not None and self.sim.clock.now_us() - record.time_us <= FORGET_US, "it has just ended"
        assert len(sent) == len({number for _, _, number in sent}) and len(ended) <= len(sent)
        follower = self.sim.node.engine.core.rules[active("follower")].instance.state_values()
        assert follower["n"] == len(sent), "every emitted event reached its listener, whatever happened between"


@pytest.mark.parametrize("seed", range(4))
def test_a_life_of_a_node(tmp_path: Path, seed: int) -> None:
    async def test() -> None:
        life = Life(tmp_path, seed)
        await life.start(counter(1), FOLLOWER, TIMER)
        for _ in range(STEPS):
            await life.step()
        life.check()
        await life.sim.advance(60 * S)
        life.check()
        life.check_actions()
        assert life.done and life.version > 1
        await life.sim.stop()

    asyncio.run(test())


def test_the_same_seed_gives_the_same_life(tmp_path: Path) -> None:
    """Everything that depends on time or chance comes in from outside: two runs write the same bytes."""

    async def test(path: Path) -> list[bytes]:
        path.mkdir()
        life = Life(path, 42)
        await life.start(counter(1), FOLLOWER, TIMER)
        for _ in range(30):
            await life.step()
        await life.sim.stop()
        return life.sim.store_bytes

    assert asyncio.run(test(tmp_path / "a")) == asyncio.run(test(tmp_path / "b"))
