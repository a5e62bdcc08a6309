"""What the cluster wants of a rule on a board, and what the board has of it: data, and how it is written down."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from eyeflow.base.reading import Unreadable
from eyeflow.board_link.conversations import Status
from eyeflow.protocol.slot import Slot
from eyeflow.protocol.wire import PROGRAM_ID
from eyeflow.svm.program import Value

Key = tuple[str, Slot]


class Fate(StrEnum):
    """Whether the board ever ran a wanted program, with these parameters: one that it gave up is not pushed again."""

    OPEN = "open"
    TAKEN = "taken"
    GIVEN_UP = "givenUp"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A program that a board shall have in a slot; `program_id` empty: the rule shall go. `params` ascend by name.

    The active program runs, and a candidate waits beside it: one that `acts` runs in its place. `on_trial`: it has not
    passed yet in the deployment that wants it. `after`: the program that ran before and had passed, if any: the board
    shall keep that one to go back to.
    """

    rule: str
    program_id: str
    params: tuple[tuple[str, Value], ...] = ()
    manifest_version: int = 0
    slot: Slot = Slot.ACTIVE
    acts: bool = False
    deployment_id: str = field(default="", compare=False)
    on_trial: bool = field(default=True, compare=False)
    fate: Fate = field(default=Fate.OPEN, compare=False)
    after: str = field(default="", compare=False)

    @property
    def key(self) -> Key:
        """Its rule and slot: there is one of each."""
        return self.rule, self.slot

    def is_same_program(self, other: Wanted | None) -> bool:
        """Whether another manifest wants the same: the same program with the same parameters."""
        return other is not None and (self.program_id, self.params) == (other.program_id, other.params)


@dataclass(frozen=True, slots=True)
class There:
    """The ids of the programs that a board has, by rule: those that run, those before them, and those that wait."""

    running: Mapping[str, str] = field(default_factory=dict)
    previous: Mapping[str, str] = field(default_factory=dict)
    staged: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, found: Status | None) -> There:
        """Return what the board said last. A program that it stopped after faults counts as one that runs."""
        if found is None:
            return cls()
        slots = (found.programs, found.previous, found.staged)
        return cls(*({one.rule: one.program_id for one in slot} for slot in slots))

    def without_stopped(self, found: Status | None) -> There:
        """Return the same without the programs that the board has stopped."""
        pairs = () if found is None else found.pairs
        return replace(self, running={one.rule: one.program_id for one, counters in pairs if counters.running})

    def has(self, rule: str, program_id: str) -> bool:
        """Whether the board keeps a program of a rule, in whatever slot."""
        return program_id in (slot.get(rule) for slot in (self.running, self.previous, self.staged))

    def knows(self, rule: str) -> bool:
        """Whether anything of a rule is on the board."""
        return rule in self.running or rule in self.staged


def as_plain(one: Wanted) -> dict[str, object]:
    """Return it as JSON-able data."""
    plain: dict[str, object] = {"rule": one.rule, "slot": one.slot.value, "programId": one.program_id}
    plain |= {"params": one.params, "version": one.manifest_version, "acts": one.acts}
    plain |= {"deployment": one.deployment_id, "onTrial": one.on_trial}
    return plain | {"fate": one.fate.value, "after": one.after}


def from_plain(plain: Any) -> Wanted:
    """Return what was written down. Raises Unreadable, KeyError, TypeError or ValueError for what never was."""
    rule, program_id, version = plain["rule"], plain["programId"], plain["version"]
    params = tuple((name, value) for name, value in plain["params"])
    acts, deployment, on_trial, after = (plain[name] for name in ("acts", "deployment", "onTrial", "after"))
    types = [(rule, str), (version, int), (acts, bool), (deployment, str), (on_trial, bool)]
    ids = all(re.fullmatch(f"({PROGRAM_ID})?", one) for one in (program_id, after))
    if any(type(value) is not kind for value, kind in types) or not ids:
        raise Unreadable("a value has the wrong type")
    slot, fate = Slot(plain["slot"]), Fate(plain["fate"])
    return Wanted(rule, program_id, params, version, slot, acts, deployment, on_trial, fate, after)
