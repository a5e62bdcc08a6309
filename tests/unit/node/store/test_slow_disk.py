"""The event loop runs while the disk works: a commit does not hold Python's lock."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from components.slow_disk import slow_disk

TESTS = Path(__file__).parents[3]
SYNC_MS = 500
BEATS = 10
"""Of a loop that beats each 10 ms: a commit of 500 ms leaves time for 50, also where the machine is busy."""

PROCESS = """
import asyncio, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from components.node_sim import NODE_KEY
from eyeflow.node.store import audit_log, store as module
from eyeflow.node.store.store import Store
from eyeflow.node.store.types import Batch, BufferLimits, Draft
from eyeflow.node.store.writer import ThreadWriter
from eyeflow.protocol.audit_bodies import StopBody

if sys.argv[3] == "control":
    module.transaction = audit_log.transaction = lambda db: db

beats = 0

async def beat():
    global beats
    while True:
        await asyncio.sleep(0.01)
        beats += 1

async def during(name, job):
    before = beats
    await job
    print(name, beats - before)

async def main():
    store = Store(Path(sys.argv[2]), "n", NODE_KEY, BufferLimits(8 << 20, 10**12))
    writer = ThreadWriter(store)
    heart = asyncio.create_task(beat())
    batch = Batch([Draft(1, StopBody("x"))])
    await during("commit", writer.commit(batch))
    await during("flush_log", writer.run(lambda store: store._file.flush_log()))
    await writer.commit(batch)
    await during("drop", writer.run(lambda store: store._audit.drop_oldest("size", 1)))
    await during("close", writer.run(lambda store: store.close(clean=True)))
    heart.cancel()
    writer.stop()

asyncio.run(main())
"""


def beats(tmp_path: Path, variant: str) -> dict[str, int]:
    """Return how often the event loop beat during each job of the store's thread."""
    done = subprocess.run(
        [sys.executable, "-c", PROCESS, str(TESTS), str(tmp_path), variant],
        env=slow_disk(tmp_path, SYNC_MS),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return {name: int(count) for name, count in (line.split() for line in done.stdout.splitlines())}


def test_the_event_loop_runs_while_the_disk_syncs(tmp_path: Path) -> None:
    counted = beats(tmp_path, "product")
    assert counted.keys() == {"commit", "flush_log", "drop", "close"}
    assert all(count >= BEATS for count in counted.values()), counted


def test_control_a_commit_by_with_stops_the_event_loop(tmp_path: Path) -> None:
    counted = beats(tmp_path, "control")
    assert counted["commit"] < BEATS and counted["drop"] < BEATS, counted
