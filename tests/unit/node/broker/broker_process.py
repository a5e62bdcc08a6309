"""A process with a broker of its own, to be killed: `broker_process.py DIRECTORY HOME PORT`. It writes the broker's pid."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from eyeflow.node.broker.broker import EmbeddedBroker
from eyeflow.node.broker.settings import EmbeddedSection


async def main(directory: Path, home: Path, port: int) -> None:
    broker = EmbeddedBroker(EmbeddedSection(home=home, port=port), directory, on_up=lambda: tell())

    def tell() -> None:
        os.write(1, f"{broker.status.counters['pid']}\n".encode())

    await broker.run()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
