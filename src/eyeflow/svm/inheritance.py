"""Which state a program takes over from the one that it replaces. Used where it happens, and where it is foretold."""

from __future__ import annotations

from eyeflow.base.record import dataclass
from eyeflow.svm.layout import state_slots
from eyeflow.svm.program import Program, StateVariable


@dataclass(frozen=True, slots=True)
class Inheritance:
    """Names of state variables: `kept` with their values, `reset` for another type, `new`, and `dropped`.

    `resets_memory`: what time words such as `for 2s` remember is lost.
    """

    kept: tuple[str, ...]
    reset: tuple[str, ...]
    new: tuple[str, ...]
    dropped: tuple[str, ...]
    resets_memory: bool


def same_memory(one: Program, other: Program) -> bool:
    """Say whether every state slot means the same in both programs."""
    return (one.code, one.constants, one.timers, one.arrays, one.state, one.regions, one.slots) == (
        other.code, other.constants, other.timers, other.arrays, other.state, other.regions, other.slots,
    )  # fmt: skip


def taken_over(new: Program, old: Program) -> list[tuple[StateVariable, StateVariable]]:
    """Return each state variable of `new` that goes on with the value of one of `old`: name and type are equal."""
    before = {(variable.name, variable.type): variable for variable in old.state}
    pairs = ((variable, before.get((variable.name, variable.type))) for variable in new.state)
    return [(variable, kept) for variable, kept in pairs if kept is not None]


def inherited(new: Program, old: Program) -> Inheritance:
    """Return what becomes of the state of `old` when `new` replaces it."""
    here, there = {one.name for one in new.state}, {one.name for one in old.state}
    kept = {variable.name for variable, _ in taken_over(new, old)}
    return Inheritance(
        kept=tuple(sorted(kept)),
        reset=tuple(sorted(here & there - kept)),
        new=tuple(sorted(here - there)),
        dropped=tuple(sorted(there - here)),
        resets_memory=_remembers(old) and not same_memory(new, old),
    )


def _remembers(program: Program) -> bool:
    """Say whether it has state beside that of its variables: that of time words."""
    return len(state_slots(program)) > sum(len(variable.initial) for variable in program.state)
