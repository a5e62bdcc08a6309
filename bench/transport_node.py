"""A real node as a process, with rules that listen to MQTT: `python -m bench.transport_node PORT DATA_DIR RULES`.

One rule answers each message with one. RULES is how many rules of `bench/sources.py` listen beside it; they evaluate
each message, are recorded, and never act.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from bench.sources import compiled, stream_rules
from eyeflow.node import daemon
from eyeflow.node.config.config import NodeConfig
from eyeflow.node.io.connectors import ports_config
from eyeflow.node.io.http.settings import HttpServerConfig
from eyeflow.node.io.mqtt.settings import MqttConfig
from eyeflow.node.runtime import NodeRuntime
from eyeflow.svm.container import encode
from eyeflow.svm.signing import public_key_of, sign_program

SIGNER = bytes(range(32))
ONE = """rule one {
    version "1.0.0"
    record Reading { number: int, temp: float }
    on mqtt "in" as r: Reading
    if r.temp > 0.0 {
        mqtt.publish("out", "{r.number}")
    }
}
"""


def rules(count: int) -> list[str]:
    """Return the sources of the rules."""
    quiet = (source.replace("reading.pressure < 6.0", "reading.pressure < 0.0") for source in stream_rules(count))
    return [ONE, *(source.replace('on event "readings"', 'on mqtt "in"') for source in quiet)]


async def main(port: int, data_dir: Path, count: int) -> None:
    """Run until SIGTERM; writes `ready` once the rules are installed."""
    mqtt = MqttConfig.from_table({"host": "127.0.0.1", "port": port})
    ports = ports_config(mqtt, HttpServerConfig(port=0))
    config = NodeConfig("bench", data_dir, grants=("*",), trusted_keys=(public_key_of(SIGNER),), ports=ports)
    tasks: list[asyncio.Task[None]] = []

    async def install(node: NodeRuntime) -> None:
        for number, source in enumerate(rules(count)):
            program = sign_program(encode(compiled(source, f"rule_{number}")), SIGNER)
            result = await node.install(program, {}, "d", 1)
            if result.code:
                raise RuntimeError(result.message)
        os.write(1, b"ready\n")

    await daemon.run_node(
        config, make_link=lambda node: None, on_ready=lambda node: tasks.append(asyncio.ensure_future(install(node)))
    )


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
