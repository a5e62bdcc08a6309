"""How Python looks for garbage in a process that runs for months and makes thousands of objects a second."""

from __future__ import annotations

import gc

OBJECTS_BETWEEN = 20_000
"""New objects between two looks at the young ones. With Python's 700 a busy node looks 50 times in each round."""


def spare_what_stays() -> None:
    """Leave what exists now out of every look from now on: programs, tables and modules stay as long as the process.

    It took 8 % of the processor time of a busy node (docs/performance.md). Call it once, when the process is ready.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(OBJECTS_BETWEEN)
