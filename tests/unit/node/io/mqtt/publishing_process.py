"""A real node in a process of its own, with a real broker: `python publishing_process.py DATA_DIR PORT [control]`.

Its one rule publishes each number that it gets. `control` performs what a crash left as nodes did before: at once, when
no broker is connected yet, with the attempts that the rule declares.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[4]))

from components.node_sim import SIGNER, program
from eyeflow.node import daemon
from eyeflow.node.config.config import NodeConfig
from eyeflow.node.engine import performing
from eyeflow.node.engine.actions import ActionRunner
from eyeflow.node.io.connectors import ports_config
from eyeflow.node.io.http.settings import HttpServerConfig
from eyeflow.node.io.mqtt.connection import NotConnected
from eyeflow.node.io.mqtt.publisher import Publisher
from eyeflow.node.io.mqtt.settings import MqttConfig
from eyeflow.node.run_key import active
from eyeflow.node.runtime import NodeRuntime
from eyeflow.svm.signing import public_key_of

RULE = """
rule relayed {
    version "1.0.0"
    record Event { number: int }
    on mqtt "in" as e: Event
    mqtt.publish("out", "{e.number}")
}
"""


async def main(data_dir: Path, port: int) -> None:
    mqtt = MqttConfig.from_table({"host": "127.0.0.1", "port": port})
    ports = ports_config(mqtt, HttpServerConfig(port=0))
    config = NodeConfig("killed", data_dir, grants=("*",), trusted_keys=(public_key_of(SIGNER),), ports=ports)
    tasks: list[asyncio.Task[None]] = []

    async def install(node: NodeRuntime) -> None:
        if active("relayed") not in node.engine.core.rules:
            await node.install(program(RULE), {}, "d", 1)
        os.write(1, b"ready\n")

    def ready(node: NodeRuntime) -> None:
        tasks.append(asyncio.ensure_future(install(node)))

    await daemon.run_node(config, make_link=lambda node: None, on_ready=ready)
    os.write(1, b"stopped\n")


def only_when_up(begin: Callable[..., asyncio.Future[None]]) -> Callable[..., asyncio.Future[None]]:
    """Return `Publisher.begin` as it was: a message fails at once while no broker is connected."""

    def refusing(self: Publisher, *message: Any) -> asyncio.Future[None]:
        answer = begin(self, *message)
        if not self.is_up and not answer.done():
            answer.set_exception(NotConnected("not connected to the broker yet"))
        return answer

    return refusing


if __name__ == "__main__":
    if "control" in sys.argv:
        performing.START_US = 0
        ActionRunner.resume = ActionRunner.submit  # type: ignore[method-assign]
        Publisher.begin = only_when_up(Publisher.begin)  # type: ignore[method-assign]
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
