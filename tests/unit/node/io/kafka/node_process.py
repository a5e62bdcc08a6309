"""A real node in a process of its own that reads from a real Kafka, and copies its audit there.

`node_process.py DATA_DIR SERVERS [forgets] [counts]`. Two rules listen to one topic. `forgets` is the control: the store
does not keep how far it is, only the brokers know. With `counts` librdkafka calls back all the time.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[4]))

from components.node_sim import SIGNER, program
from eyeflow.node import daemon
from eyeflow.node.config.config import NodeConfig, OfflineConfig
from eyeflow.node.config.sections import Backend
from eyeflow.node.io.connectors import ports_config
from eyeflow.node.io.kafka import member
from eyeflow.node.io.kafka.settings import KafkaConfig
from eyeflow.node.run_key import active
from eyeflow.node.runtime import NodeRuntime
from eyeflow.node.store import store
from eyeflow.node.store.types import PASSED
from eyeflow.svm.signing import public_key_of

RULE = """
rule NAME {
    version "1.0.0"
    record Event { n: int }
    state sum: int = 0
    on kafka "events" as e: Event
    sum = sum + e.n
}
"""
RULES = ("first", "second")


async def install(node: NodeRuntime) -> None:
    for name in RULES:
        if active(name) not in node.engine.core.rules:
            await node.install(program(RULE.replace("NAME", name)), {}, "d", 1, PASSED)
    os.write(1, b"ready\n")


async def main(data_dir: Path, servers: str) -> None:
    config = NodeConfig(
        "killed",
        data_dir,
        grants=("*",),
        trusted_keys=(public_key_of(SIGNER),),
        offline=OfflineConfig(backend=Backend.KAFKA),
        ports=ports_config(KafkaConfig(servers, start="earliest")),
    )
    tasks: list[asyncio.Task[None]] = []
    await daemon.run_node(
        config,
        make_link=lambda node: None,
        on_ready=lambda node: tasks.append(asyncio.ensure_future(install(node))),
    )


if __name__ == "__main__":
    if "forgets" in sys.argv:
        vars(store)["write_progress"] = lambda db, progress: None
    if "counts" in sys.argv:
        member.STATISTICS_S = 0.001
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
