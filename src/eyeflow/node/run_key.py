"""What runs on a node: a rule in a slot."""

from __future__ import annotations

from typing import NamedTuple

from eyeflow.protocol.slot import Slot


class RunKey(NamedTuple):
    """The name of a running program on its node. A node may run two programs of one rule: `active` and `candidate`.

    State, queue, timers, lane of actions, leases and counters are kept under it: under the rule alone, one program
    would take those of the other. The key of a keyed rule belongs here, too. No frozen dataclass: it is looked up more
    than ten times for each event, and a tuple is hashed and compared without a call of Python.
    """

    rule: str
    slot: Slot

    def __str__(self) -> str:
        """Return how people see it: the rule alone, as long as no other slot is meant."""
        return self.rule if self.slot is Slot.ACTIVE else f"{self.rule} ({self.slot.value})"


def active(rule: str) -> RunKey:
    """Return the key of the program that decides and acts for a rule."""
    return RunKey(rule, Slot.ACTIVE)


def candidate(rule: str) -> RunKey:
    """Return the key of the program that runs beside the active one."""
    return RunKey(rule, Slot.CANDIDATE)


def previous(rule: str) -> RunKey:
    """Return the key of the last known good program of a rule."""
    return RunKey(rule, Slot.PREVIOUS)
