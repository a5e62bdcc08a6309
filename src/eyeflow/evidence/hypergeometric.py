"""How many failures are among some of the outcomes when all orders are as probable: a draw of it, and a probability."""

from __future__ import annotations

from math import exp, lgamma
from random import Random

_ENOUGH = 1e-17


def draw(random: Random, total: int, failed: int, drawn: int) -> int:
    """Return how many failures are among `drawn` of `total` outcomes, of which `failed` are failures.

    By inversion, outwards from the most probable number: as many steps as the spread, not as outcomes.
    """
    low, high = max(0, drawn - (total - failed)), min(drawn, failed)
    if low == high:
        return low
    mode = min(high, max(low, (drawn + 1) * (failed + 1) // (total + 2)))
    rest, at_mode = random.random(), _probability(total, failed, drawn, mode)
    down = up = mode
    down_p = up_p = at_mode
    rest -= at_mode
    while rest > 0 and (down > low or up < high):
        if up < high:
            up_p *= (failed - up) * (drawn - up) / ((up + 1) * (total - failed - drawn + up + 1))
            up += 1
            rest -= up_p
            if rest <= 0:
                return up
        if down > low:
            down_p *= down * (total - failed - drawn + down) / ((failed - down + 1) * (drawn - down + 1))
            down -= 1
            rest -= down_p
            if rest <= 0:
                return down
    return mode


def tail(total: int, failed: int, drawn: int, least: int) -> float:
    """Return how probable `least` or more of the `failed` are among `drawn` of `total` outcomes.

    With all outcomes of two programs as the total, and those of one as drawn, it is the one-sided exact test of Fisher.
    """
    low, high = max(0, drawn - (total - failed)), min(drawn, failed)
    if least <= low:
        return 1.0
    if least > high:
        return 0.0
    if least * total <= failed * drawn:  # on this side of the mean the first term may be too small for a float
        return 1 - tail(total, total - failed, drawn, drawn - least + 1)
    sum_p = p = _probability(total, failed, drawn, least)
    for both in range(least, high):
        p *= (failed - both) * (drawn - both) / ((both + 1) * (total - failed - drawn + both + 1))
        sum_p += p
        if p < _ENOUGH:
            break
    return min(1.0, sum_p)


def _probability(total: int, failed: int, drawn: int, both: int) -> float:
    ways = _log_choose(failed, both) + _log_choose(total - failed, drawn - both) - _log_choose(total, drawn)
    return exp(ways)


def _log_choose(count: int, taken: int) -> float:
    return lgamma(count + 1) - lgamma(taken + 1) - lgamma(count - taken + 1)
