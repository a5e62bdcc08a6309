"""Where a candidate would have decided otherwise than the program that ran, by the audit records of a rule.

An execution record holds all that a program saw: the event, its inputs, the time and what was read. So the candidate
can run on it, and its decisions are exact where its memory is. To know that memory, the program that ran runs again,
too: where its decisions are those recorded, it is right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from eyeflow.audit.memory import FindProgram, RuleMemory, SameAnswers, Track, Unanswered, is_same, run_again
from eyeflow.audit.traces import event_text, trace_of
from eyeflow.protocol.audit import Record
from eyeflow.protocol.audit_bodies import (
    ClockBody,
    ExecutionBody,
)
from eyeflow.protocol.executions import EVENT_CHARS_MAX, Trace
from eyeflow.protocol.replays import DIFFERENCES_SHOWN_MAX, MISSING_MAX, Memory, ReplayDifference, ReplayResult
from eyeflow.protocol.slot import Slot
from eyeflow.protocol.wire import REASON_CHARS_MAX, cut
from eyeflow.svm.arguments import named_arguments, trigger_text
from eyeflow.svm.execution import CapabilityFailure, Execution, Outcome
from eyeflow.svm.instance import Instance
from eyeflow.svm.layout import flatten
from eyeflow.svm.program import Program, Site, Type, Value
from eyeflow.svm.verify import Verified

Call = tuple[str, tuple[tuple[str, Value], ...]]


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is to be tried: `program_id` is 32 bytes."""

    verified: Verified
    program_id: bytes
    params: Mapping[str, Value]


class RecordedRule:
    """One candidate on the records of its rule, in their order. What comes before `since_us` only makes the memory."""

    def __init__(self, candidate: Candidate, since_us: int, find_program: FindProgram) -> None:
        self._candidate, self._since_us = candidate, since_us
        self._program = candidate.verified.program
        self._memory = RuleMemory(self._program.rule, find_program)
        self._instance: Instance | None = None
        self._mappings: dict[bytes, _Mapping] = {}
        self._found = _Found()

    @property
    def rule(self) -> str:
        """The rule's name."""
        return self._program.rule

    def take(self, seq: int, record: Record) -> None:
        """Take the next record; those of other rules change nothing."""
        body = record.body
        if isinstance(body, ExecutionBody):
            if body.rule == self.rule:
                self._execution(seq, body, record.time_us)
            return
        self._memory.change(body)
        if isinstance(body, ClockBody) and (body.rule, body.slot) == (self.rule, Slot.ACTIVE.value):
            self._clock_was_set(body.step_us)

    def _clock_was_set(self, step_us: int) -> None:
        if self._instance is not None:
            self._instance.shift_times(step_us)

    def forget_memory(self) -> None:
        """Executions are missing here: from now on no memory is known to be what it was."""
        self._memory.forget()

    # --- executions ---

    def _execution(self, seq: int, body: ExecutionBody, recorded_us: int) -> None:
        slot, track = Slot(body.slot), self._memory.track(body)
        is_compared = slot is Slot.ACTIVE and recorded_us >= self._since_us
        if track is None:
            self._found.forgotten += is_compared
            return
        if is_compared and self._instance is None:
            self._begin(track)
        again = run_again(track.instance, body.trigger, body.inputs, body, SameAnswers(body))
        if is_compared:
            self._compare(seq, body, track.instance.program, again)
        elif slot is Slot.ACTIVE:
            self._found.warmed += 1

    def _begin(self, track: Track) -> None:
        """The candidate takes the memory over, as it would have if it had been installed at this time."""
        self._instance = Instance(self._candidate.verified, self._candidate.params)
        self._instance.adopt(track.instance)
        empty = Memory.WARM if self._found.warmed else Memory.EMPTY
        self._found.memory = Memory.KNOWN if track.is_exact else empty

    def _compare(self, seq: int, body: ExecutionBody, program: Program, again: Execution | None) -> None:
        assert self._instance is not None, "it has begun"
        found, mapping = self._found, self._mapping(body.program, program)
        found.events += 1
        found.since_us, found.until_us = found.since_us or body.event_time_us, body.event_time_us
        trigger, inputs, execution = mapping.triggers[body.trigger], body.inputs, NOTHING
        if trigger is not None:
            inputs = mapping.inputs(body)
            ran = run_again(self._instance, trigger, inputs, body, _Answers(self._program, program, body))
            if ran is None:
                found.unanswered += 1
                return
            execution = ran
        if is_same(self._program, execution, program, body):
            return
        if again is None or not is_same(program, again, program, body):
            found.unlike += 1
            return
        found.differing += 1
        if len(found.differences) < DIFFERENCES_SHOWN_MAX:
            would = Trace()
            if trigger is not None:
                decided = _as_body(body, self._candidate.program_id, trigger, inputs, execution)
                would = trace_of(0, decided, self._program)
            what = (event_text(body, program), cut(body.key, EVENT_CHARS_MAX))
            did = trace_of(seq, body, program)
            found.differences.append(ReplayDifference(max(0, body.event_time_us), did, would, *what))

    def _mapping(self, program_id: bytes, program: Program) -> _Mapping:
        if program_id not in self._mappings:
            self._mappings[program_id] = _Mapping(program, self._program)
        return self._mappings[program_id]

    # --- the end ---

    def result(self, refusal: str = "") -> ReplayResult:
        """Return what was found so far; `refusal` says why it did not come to the end."""
        found = self._found
        if not refusal and not found.events:
            refusal = "it has no recorded executions of this rule in this time"
            if found.forgotten:
                refusal = f"it has forgotten the programs of all {found.forgotten} executions of this time"
        numbers = (max(0, found.since_us), max(0, found.until_us), found.memory, found.events, found.differing)
        rest = (found.unlike, found.unanswered, tuple(self._missing()), tuple(found.differences))
        return ReplayResult(
            self.rule, self._candidate.program_id.hex(), cut(refusal, REASON_CHARS_MAX), *numbers, *rest
        )

    def _missing(self) -> list[str]:
        """Say which handlers of the candidate nothing is recorded for."""
        if not self._mappings:
            return []
        reasons = [
            {mapping.reasons[index] for mapping in self._mappings.values()}
            for index in range(len(self._program.triggers))
        ]
        texts = [
            cut(f"{trigger_text(trigger)}: {'; '.join(sorted(filter(None, why)))}", 200)
            for trigger, why in zip(self._program.triggers, reasons, strict=True)
            if "" not in why
        ]
        return texts[:MISSING_MAX]


NOTHING = Execution(Outcome.OK, 0)


@dataclass(slots=True)
class _Found:
    memory: Memory = Memory.EMPTY
    warmed: int = 0
    forgotten: int = 0
    events: int = 0
    differing: int = 0
    unlike: int = 0
    unanswered: int = 0
    since_us: int = 0
    until_us: int = 0
    differences: list[ReplayDifference] = field(default_factory=list)


class _Answers:
    """The host of the candidate: what was read on one event, by capability and arguments."""

    def __init__(self, asks: Program, recorded: Program, body: ExecutionBody) -> None:
        self._asks, self._recorded, self._body = asks, recorded, body
        self._found: dict[Call, list[tuple[Type | None, Value | None]]] | None = None

    def read(self, site: int, args: tuple[Value, ...]) -> Value:
        """Answer as the world did; what is read again after the last answer is as it was then."""
        declared = self._asks.sites[site]
        if self._found is None:
            self._found = self._recorded_answers()
        answers = self._found.get(_call(declared, args, self._asks))
        if not answers or answers[0][0] != declared.result:
            raise Unanswered
        _, value = answers.pop(0) if len(answers) > 1 else answers[0]
        if value is None:
            raise CapabilityFailure("as recorded")
        return value

    def _recorded_answers(self) -> dict[Call, list[tuple[Type | None, Value | None]]]:
        found: dict[Call, list[tuple[Type | None, Value | None]]] = {}
        for site, args, value in self._body.answers:
            declared = self._recorded.sites[site]
            found.setdefault(_call(declared, args, self._recorded), []).append((declared.result, value))
        return found


def _call(site: Site, args: Sequence[Value], program: Program) -> Call:
    return site.capability, tuple(sorted(named_arguments(site, args, program.pins).items()))


def _as_body(
    body: ExecutionBody, program_id: bytes, trigger: int, inputs: tuple[Value, ...], execution: Execution
) -> ExecutionBody:
    return ExecutionBody(
        rule=body.rule,
        program=program_id,
        trigger=trigger,
        event_time_us=body.event_time_us,
        outcome=int(execution.outcome),
        fuel=execution.fuel,
        inputs=inputs,
        answers=tuple((answer.site, answer.args, answer.value) for answer in execution.answers),
        actions=tuple((action.site, action.args, 0) for action in execution.actions),
        trap=(int(execution.trap.code), execution.trap.pc) if execution.trap else None,
    )


class _Mapping:
    """From the handlers and inputs of a program that ran to those of the candidate.

    `triggers`: by trigger of the old program, that of the candidate or None. `reasons`: by trigger of the candidate,
    why it has no events, empty when it has.
    """

    def __init__(self, old: Program, new: Program) -> None:
        places = {place: index for index, place in enumerate(_places(old))}
        self.triggers: list[int | None] = [None] * len(old.triggers)
        self.reasons: list[str] = []
        self._slots: dict[int, list[int] | None] = {}
        for index, place in enumerate(_places(new)):
            was = places.get(place)
            if was is None:
                self.reasons.append("the program that ran has no such handler")
                continue
            lacking, slots = _input_slots(old, was, new, index)
            if lacking:
                self.reasons.append(f"the field `{lacking}` is not in the recorded events")
                continue
            self.reasons.append("")
            self.triggers[was], self._slots[was] = index, slots

    def inputs(self, body: ExecutionBody) -> tuple[Value, ...]:
        """Return the inputs of an event as the candidate's handler takes them."""
        slots = self._slots[body.trigger]
        return body.inputs if slots is None else tuple(body.inputs[slot] for slot in slots)


def _places(program: Program) -> list[tuple[object, ...]]:
    """Return what each handler listens to; the number tells handlers of the same events apart."""
    found: list[tuple[object, ...]] = []
    for one in program.triggers:
        what = (one.kind, one.source, one.address, one.period_us)
        found.append((*what, sum(place[:4] == what for place in found)))
    return found


def _input_slots(old: Program, was: int, new: Program, index: int) -> tuple[str, list[int] | None]:
    """Return the field that is not recorded, or where each input of the new handler stands in those of the old one."""
    if old.triggers[was].fields == new.triggers[index].fields:
        return "", None
    at, known = 0, dict[tuple[str, Type], range]()
    for one in old.triggers[was].fields:
        count = len(flatten(one.type))
        known[one.name, one.type] = range(at, at + count)
        at += count
    slots: list[int] = []
    for one in new.triggers[index].fields:
        if (one.name, one.type) not in known:
            return one.name, None
        slots += known[one.name, one.type]
    return "", slots
