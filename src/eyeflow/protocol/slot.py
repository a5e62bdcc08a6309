"""The slots of a rule: the word that nodes, messages and the coordinator use for which program of a rule is meant."""

from __future__ import annotations

from enum import Enum


class Slot(Enum):
    """Where a node keeps a program of a rule.

    `active` decides and acts. `candidate` may run beside it while a strategy judges it. `previous` is the last known
    good: only a pass moves it.
    """

    ACTIVE = "active"
    CANDIDATE = "candidate"
    PREVIOUS = "previous"

    __hash__ = object.__hash__
    """There is one object of each: a node looks programs up by their slot several times for each event."""
