"""A real node in a process of its own, for tests that kill it: `node_process.py DATA_DIR [early] [trial] [die=N]`.

Its source delivers events without pause; for every event whose `done` was called it writes the event's number to stdout, at
once. `early` acknowledges before the commit (the control). `die=N` ends the process by SIGKILL in the middle of commit N.
`trial` puts a program on trial that traps on every second event, and writes `back` once the good one runs again.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from components.node_sim import SIGNER, program
from components.waiting import until
from eyeflow.node import daemon
from eyeflow.node.clock import SystemClock
from eyeflow.node.config.config import NodeConfig
from eyeflow.node.engine.engine import Engine
from eyeflow.node.engine.rounds import Round
from eyeflow.node.io.connectors import ports_config
from eyeflow.node.io.mqtt.settings import MqttConfig
from eyeflow.node.io.ports import Deliver, IncomingEvent, PortStatus, Subscription
from eyeflow.node.io.world import World
from eyeflow.node.run_key import active
from eyeflow.node.runtime import NodeRuntime
from eyeflow.node.store.store import Store
from eyeflow.node.store.types import PASSED, Batch, Committed, Standing, Terms
from eyeflow.protocol.messages import Trial
from eyeflow.svm.signing import public_key_of

RULE = """
rule counter {
    version "1.0.0"
    record Event { number: int }
    state n: int = 0
    on mqtt "t" as e: Event
    n = n + 1
}
"""
BAD = RULE.replace("1.0.0", "2.0.0").replace("n = n + 1", "n = n + 1 / (e.number % 2)")
TRIAL = Trial(60, 50, 500, 100, True)
EVENTS_MAX = 20_000


class Stream:
    """A source that never rests; its event times are the events' numbers."""

    def __init__(self) -> None:
        self.status = PortStatus("mqtt", "up")
        self._wanted: Collection[Subscription] = ()
        self._go = asyncio.Event()

    def update(self, subscriptions: Collection[Subscription]) -> None:
        self._wanted = tuple(subscriptions)
        if self._wanted:
            self._go.set()

    async def run(self, deliver: Deliver) -> None:
        await self._go.wait()
        for number in range(EVENTS_MAX):

            def done(number: int = number) -> None:
                os.write(1, f"{number}\n".encode())

            await deliver(IncomingEvent(Subscription("mqtt", "t"), {"number": number}, number, done))
            if number % 10 == 0:
                await asyncio.sleep(0)


def acknowledge_early() -> None:
    async def record(self: Engine, round_: Round) -> None:
        self.core.settle(round_, 1, self.clock.now_us())
        self.core.acknowledge(round_)
        await self.disk.commit(round_.batch, len(round_.executed))

    Engine._record = record  # type: ignore[method-assign]


def die_in_commit(number: int) -> None:
    commit = Store.commit

    def fatal(self: Store, batch: Batch) -> Committed:
        if self.counters.commits == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return commit(self, batch)

    Store.commit = fatal  # type: ignore[method-assign]


async def install(node: NodeRuntime) -> None:
    if active("counter") not in node.engine.core.rules:
        await node.install(program(RULE), {}, "d", 1)


async def try_bad_program(node: NodeRuntime) -> None:
    await node.install(program(RULE), {}, "good", 1, PASSED)
    await node.install(program(BAD), {}, "bad", 2, Terms(Standing.ON_TRIAL, TRIAL))
    await until(lambda: bool(node.installer.table.taken_back))
    os.write(1, b"back\n")


async def main(data_dir: Path, begin: Callable[[NodeRuntime], Awaitable[object]]) -> None:
    source = Stream()
    config = NodeConfig(
        "killed",
        data_dir,
        grants=("*",),
        trusted_keys=(public_key_of(SIGNER),),
        ports=ports_config(MqttConfig("simulated")),
    )
    installs: list[asyncio.Task[object]] = []

    def ready(node: NodeRuntime) -> None:
        os.write(1, b"ready\n")
        installs.append(asyncio.ensure_future(begin(node)))

    await daemon.run_node(
        config,
        make_link=lambda node: None,
        on_ready=ready,
        clock=SystemClock(),
        make_world=lambda *unused: World({"mqtt": source}, {}),
    )
    os.write(1, b"stopped\n")


if __name__ == "__main__":
    for option in sys.argv[2:]:
        if option == "early":
            acknowledge_early()
        elif option.startswith("die="):
            die_in_commit(int(option.removeprefix("die=")))
    asyncio.run(main(Path(sys.argv[1]), try_bad_program if "trial" in sys.argv else install))
