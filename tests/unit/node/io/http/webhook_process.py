"""A real node with webhooks and a file, in a process of its own: `python webhook_process.py DATA_DIR [bare] [deaf]`.

It prints the port of its webhooks. Controls: `bare` lets uvicorn accept by itself, `deaf` knows no SIGHUP.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[4]))

from components.node_sim import SIGNER, program
from components.waiting import until
from eyeflow.base import stop_signals
from eyeflow.cli.logs import LogFormat, set_up_log
from eyeflow.net.server import Server
from eyeflow.node import daemon
from eyeflow.node.config.config import NodeConfig
from eyeflow.node.io.connectors import ports_config
from eyeflow.node.io.file.settings import FileConfig
from eyeflow.node.io.http.settings import HttpServerConfig
from eyeflow.node.io.http.source import HttpSource
from eyeflow.node.runtime import NodeRuntime
from eyeflow.svm.signing import public_key_of

RULE = """
rule door {
    version "1.0.0"
    record Event { number: int }
    on http "/hooks/door" as e: Event
    file.append("door.txt", "{e.number}")
}
"""


def accept_as_uvicorn_does() -> None:
    import uvicorn

    Server.startup = uvicorn.Server.startup  # type: ignore[method-assign]
    Server.shutdown = uvicorn.Server.shutdown  # type: ignore[method-assign]


async def main(data_dir: Path) -> None:
    config = NodeConfig(
        "flooded",
        data_dir,
        grants=("*",),
        trusted_keys=(public_key_of(SIGNER),),
        ports=ports_config(HttpServerConfig(port=0), FileConfig((data_dir,))),
    )
    tasks: list[asyncio.Task[None]] = []

    async def install(node: NodeRuntime) -> None:
        await node.install(program(RULE), {}, "d", 1)
        source = node.sources["http"]
        assert isinstance(source, HttpSource)
        await until(lambda: source.port != 0)
        os.write(1, f"{source.port}\n".encode())

    await daemon.run_node(
        config, make_link=lambda node: None, on_ready=lambda node: tasks.append(asyncio.ensure_future(install(node)))
    )


if __name__ == "__main__":
    set_up_log(LogFormat.TEXT, verbose=False)
    if "deaf" in sys.argv[2:]:
        stop_signals.STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
    if "bare" in sys.argv[2:]:
        accept_as_uvicorn_does()
    asyncio.run(main(Path(sys.argv[1])))
