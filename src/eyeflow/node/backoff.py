"""How long to wait before the next attempt to reach something that is gone: exponential, bounded, with jitter."""

from __future__ import annotations

import random

FIRST_S = 0.5
LAST_S = 60.0
JITTER = 0.25
"""Each delay is drawn from +-25 % around its value, so that a fleet does not come back in one instant."""

STABLE_S = 30.0
"""A connection that held this long was no failure. One that the other side ends at once is, or two nodes with the same
name would throw each other out as fast as they can dial."""

_DOUBLINGS_MAX = 16


class Backoff:
    """The delays of one series of attempts; `reset` after a success. `rng` makes them repeatable in a test."""

    def __init__(self, rng: random.Random | None = None, first_s: float = FIRST_S, last_s: float = LAST_S) -> None:
        self._rng = rng or random.Random()
        self._first_s = first_s
        self._last_s = last_s
        self._failures = 0

    def next_s(self) -> float:
        """Return the seconds to wait after one more failure: never more than `last_s` plus jitter."""
        base_s = min(self._first_s * float(1 << min(self._failures, _DOUBLINGS_MAX)), self._last_s)
        self._failures += 1
        return base_s * self._rng.uniform(1 - JITTER, 1 + JITTER)

    def after_s(self, lasted_s: float) -> float:
        """Return the seconds to wait after a connection that lasted `lasted_s`, 0 when it never came up."""
        if lasted_s >= STABLE_S:
            self.reset()
        return self.next_s()

    def reset(self) -> None:
        """Start anew: the last attempt succeeded."""
        self._failures = 0
