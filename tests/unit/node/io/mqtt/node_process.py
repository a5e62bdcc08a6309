"""A real node in a process of its own, with a real broker: `python node_process.py DATA_DIR BROKER_PORT [no-wait]`.

`no-wait` is the control: the node reads on, and hands on, whether or not its rules have room.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[4]))

from components.node_sim import SIGNER, program
from eyeflow.node import daemon
from eyeflow.node.config.config import NodeConfig
from eyeflow.node.engine import running
from eyeflow.node.engine.intake import Intake
from eyeflow.node.io.connectors import ports_config
from eyeflow.node.io.mqtt.connection import Connection
from eyeflow.node.io.mqtt.settings import MqttConfig
from eyeflow.node.run_key import active
from eyeflow.node.runtime import NodeRuntime
from eyeflow.svm.signing import public_key_of

RULE = """
rule fifth {
    version "1.0.0"
    record Event { n: int }
    on mqtt "in" as e: Event
    if e.n % 5 == 0 {
        mqtt.publish("out", "{e.n}")
    }
}
"""


async def main(data_dir: Path, port: int) -> None:
    ports = ports_config(MqttConfig("127.0.0.1", port))
    config = NodeConfig("flow", data_dir, grants=("*",), trusted_keys=(public_key_of(SIGNER),), ports=ports)
    tasks: list[asyncio.Task[None]] = []

    async def install(node: NodeRuntime) -> None:
        if active("fifth") not in node.engine.core.rules:
            await node.install(program(RULE), {}, "d", 1)
        os.write(1, b"ready\n")

    def ready(node: NodeRuntime) -> None:
        tasks.append(asyncio.ensure_future(install(node)))

    await daemon.run_node(config, make_link=lambda node: None, on_ready=ready)


QUEUE_MAX = 16
"""A queue that is full for certain, however fast the machine is."""

if __name__ == "__main__":
    running.EVENTS_MAX = QUEUE_MAX
    if "no-wait" in sys.argv:
        Intake.waits_for = lambda self, event: []  # type: ignore[method-assign]
        Connection.pause = lambda self: None  # type: ignore[method-assign]
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
