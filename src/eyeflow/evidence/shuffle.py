"""Outcomes that came at once, in a random order and in parts: what a sequential test can learn from.

A node tells sums. A test that learns from earlier outcomes to bet on later ones would learn nothing from the first big
sum. In a random order the outcomes of a sum are a sequence again: they are exchangeable if nothing changed meanwhile.
"""

from __future__ import annotations

from itertools import pairwise
from math import ceil, log

PARTS_MAX = 64
GROWTH = 1.25
"""A part adds about a quarter to what is known, so that no bet is made on much older knowledge."""


def parts(known: tuple[int, int], new: tuple[int, int]) -> list[tuple[int, int]]:
    """Return into what parts `new` outcomes of two arms are cut, at least one of each arm in a part.

    They depend on numbers of executions only, never on what failed: else the bets would not be fair.
    """
    grown = max((old + more) / (old + 1) for old, more in zip(known, new, strict=True))
    count = max(1, min(*new, PARTS_MAX, ceil(log(grown) / log(GROWTH))))
    if count == 1:
        return [new]
    ends = [tuple(_end(size, step, count, grown) for size in new) for step in range(count + 1)]
    return [(end[0] - start[0], end[1] - start[1]) for start, end in pairwise(ends)]


def _end(size: int, step: int, count: int, grown: float) -> int:
    """Return how many of `size` outcomes are in the first `step` of `count` parts, which grow; each part has one."""
    share = (grown ** (step / count) - 1) / (grown - 1)
    return step + int((size - count) * share + 0.5)
