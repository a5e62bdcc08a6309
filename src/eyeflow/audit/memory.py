"""The programs of one rule that run again on its audit records, so that their memory is known at any record.

An execution record holds all that a program saw: the event, its inputs, the time and what was read. So a program that
runs again on the records since it began has the memory that it had, in each slot of the rule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from eyeflow.audit.traces import texts_of
from eyeflow.protocol.audit_bodies import (
    UNRECORDED,
    ClockBody,
    ExecutionBody,
    GapBody,
    InstallBody,
    RemoveBody,
    SlotBody,
    SlotChange,
    StartBody,
)
from eyeflow.protocol.slot import Slot
from eyeflow.svm.execution import Action, CapabilityFailure, Execution, Host, Outcome, TrapInfo
from eyeflow.svm.instance import Instance
from eyeflow.svm.program import Program, Value
from eyeflow.svm.verify import Verified


@dataclass(frozen=True, slots=True)
class Known:
    """A program that ran, with the parameters that it has in its slot; None: no slot holds it."""

    verified: Verified
    params: Mapping[str, Value] | None


FindProgram = Callable[[bytes], Known | None]
"""From a program's id (32 bytes) to the program, None when the node has forgotten it."""


@dataclass(slots=True)
class Track:
    """A program that ran, running again. `is_exact`: its memory is what it was."""

    instance: Instance
    program_id: bytes
    is_exact: bool


class RuleMemory:
    """The programs of one rule, in its slots. Records are taken in their order; those of other rules change nothing."""

    def __init__(self, rule: str, find_program: FindProgram) -> None:
        self.rule = rule
        self._find = lru_cache(maxsize=None)(find_program)
        self._slots: dict[Slot, Track] = {}
        self._aside: dict[bytes, Track] = {}
        """Programs that were replaced, with the memory that they had then: one may be gone back to."""

    def change(self, body: object) -> None:
        """Take what a record says of slots, starts and the clock; executions are for `track`."""
        if isinstance(body, InstallBody | SlotBody | ClockBody | RemoveBody):
            if body.rule == self.rule:
                self._changed(body)
        elif isinstance(body, GapBody) and body.reason == UNRECORDED:
            self.forget()
        elif isinstance(body, StartBody):
            self._started(body)

    def track(self, body: ExecutionBody) -> Track | None:
        """Return the program that ran an execution, as it was before; None when it is forgotten."""
        slot = Slot(body.slot)
        track = self._slots.get(slot)
        if track is None or track.program_id != body.program:
            track = self._begun(body.program)
            self._put(slot, track)
        return track

    def forget(self) -> None:
        """Executions are missing here: from now on no memory is known to be what it was."""
        for track in (*self._slots.values(), *self._aside.values()):
            track.is_exact = False

    def _changed(self, body: InstallBody | SlotBody | ClockBody | RemoveBody) -> None:
        if isinstance(body, InstallBody):
            self._installed(body)
        elif isinstance(body, RemoveBody):
            self._slots.clear()
        elif isinstance(body, ClockBody):
            self._clock_was_set(body)
        elif body.change == SlotChange.PROMOTED:
            self._put(Slot.ACTIVE, self._slots.pop(Slot.CANDIDATE, None))
        elif body.change == SlotChange.SWAPPED:
            acts, beside = self._slots.pop(Slot.ACTIVE, None), self._slots.pop(Slot.CANDIDATE, None)
            self._put(Slot.ACTIVE, beside)
            self._put(Slot.CANDIDATE, acts)
        elif body.change == SlotChange.ROLLED_BACK:
            self._rolled_back(body.program)
        elif body.change == SlotChange.DROPPED:
            for slot in [slot for slot, track in self._slots.items() if track.program_id == body.program]:
                del self._slots[slot]

    def _put(self, slot: Slot, track: Track | None) -> None:
        old = self._slots.pop(slot, None)
        if old is not None:
            self._aside[old.program_id] = old
        if track is not None:
            self._slots[slot] = track

    def _installed(self, body: InstallBody) -> None:
        heir_of = self._slots.get(Slot.ACTIVE)
        is_first = body.previous is None and body.slot == Slot.ACTIVE.value
        track = self._begun(body.program, dict(body.params), is_first or (heir_of is not None and heir_of.is_exact))
        if track is not None and heir_of is not None:
            track.instance.adopt(heir_of.instance)
        self._put(Slot(body.slot), track)

    def _rolled_back(self, program_id: bytes) -> None:
        warm = self._slots.get(Slot.CANDIDATE)
        if warm is not None and warm.program_id == program_id:
            self._put(Slot.ACTIVE, self._slots.pop(Slot.CANDIDATE))
        else:
            self._put(Slot.ACTIVE, self._aside.get(program_id) or self._begun(program_id))

    def _started(self, body: StartBody) -> None:
        """A start goes on with the memory that was; where nothing is known, it says what runs."""
        for slot, programs in ((Slot.ACTIVE, body.programs), (Slot.CANDIDATE, body.candidates)):
            program_id = dict(programs).get(self.rule)
            if program_id is not None and slot not in self._slots:
                self._put(slot, self._begun(program_id))

    def _begun(
        self, program_id: bytes, params: Mapping[str, Value] | None = None, is_exact: bool = False
    ) -> Track | None:
        found = self._find(program_id)
        if found is None:
            return None
        return Track(Instance(found.verified, params if params is not None else found.params), program_id, is_exact)

    def _clock_was_set(self, body: ClockBody) -> None:
        if (track := self._slots.get(Slot(body.slot))) is not None:
            track.instance.shift_times(body.step_us)


class Unanswered(Exception):  # noqa: N818 - an answer that is missing
    """A program reads what was not read on this event."""


class SameAnswers:
    """The host of a program that runs again: the answers in their order."""

    def __init__(self, body: ExecutionBody) -> None:
        self._left = iter(body.answers)

    def read(self, site: int, args: tuple[Value, ...]) -> Value:
        """Answer as the world did; what else is asked says that the memory is another."""
        answer = next(self._left, None)
        if answer is None or answer[:2] != (site, args):
            raise Unanswered
        if answer[2] is None:
            raise CapabilityFailure("as recorded")
        return answer[2]


def run_again(
    instance: Instance, trigger: int, inputs: Sequence[Value], body: ExecutionBody, host: Host
) -> Execution | None:
    """Run an event; None when something is read that was not read then: that changes no memory, as a trap does not."""
    try:
        return instance.step(trigger, inputs, body.event_time_us, body.utc_offset_us, host)
    except Unanswered:
        return None


def is_same(decides: Program, execution: Execution, program: Program, body: ExecutionBody) -> bool:
    """Say whether an execution decided what is recorded, whatever the numbers of sites are."""
    if decides is program and (execution.trap is None) is (body.trap is None):
        if [(site, args) for site, args in execution.actions] == [(site, args) for site, args, _ in body.actions]:
            return True
    elif not execution.actions and execution.trap is None and not body.actions and body.trap is None:
        return True
    return texts_of(decides, execution) == texts_of(program, _as_execution(body))


def _as_execution(body: ExecutionBody) -> Execution:
    actions = [Action(site, args) for site, args, _ in body.actions]
    return Execution(Outcome(body.outcome), 0, actions, trap=None if body.trap is None else TrapInfo(*body.trap))
