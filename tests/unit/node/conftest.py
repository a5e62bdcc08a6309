"""Lets the tests of the node import the real components they run against: `from components.mosquitto import ...`."""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = str(Path(__file__).parents[2])
if TESTS not in sys.path:
    sys.path.insert(0, TESTS)
