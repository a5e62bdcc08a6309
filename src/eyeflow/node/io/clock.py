"""The clock that stamps events which carry no time of their own."""

from __future__ import annotations

import time
from collections.abc import Callable

NowUs = Callable[[], int]
"""Returns the time in microseconds since 1970-01-01 UTC."""


def system_clock() -> int:
    """Return the time of this machine."""
    return time.time_ns() // 1000
