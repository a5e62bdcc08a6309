"""`faulty.py FAULT ARGUMENTS...`: the real command with a fault in it, for the controls of what is killed and cut."""

from __future__ import annotations

import asyncio
import runpy
import sys
from collections.abc import Callable

from eyeflow.node.boards import records
from eyeflow.node.boards.chain import Cursor
from eyeflow.node.engine.engine import Engine
from eyeflow.node.engine.rounds import Round

LATE_S = 0.05


def acknowledges_before_the_commit() -> None:
    real = Engine._record

    async def record(self: Engine, round_: Round) -> None:
        self.core.acknowledge(round_)
        await asyncio.sleep(LATE_S)
        await real(self, round_)

    Engine._record = record  # type: ignore[method-assign]


def forgets_how_far_it_took_records() -> None:
    """Each start of a gateway begins anew with the records of its boards."""
    records.unpack_cursor = lambda data: Cursor()  # type: ignore[attr-defined]


FAULTS: dict[str, Callable[[], None]] = {
    one.__name__: one for one in (acknowledges_before_the_commit, forgets_how_far_it_took_records)
}

if __name__ == "__main__":
    fault = sys.argv.pop(1)
    FAULTS[fault]()
    runpy.run_module("eyeflow", run_name="__main__")
