"""What a board's counters say of the programs that the cluster wants there: the evidence that they are judged by.

A board counts from the moment at which it began to run a program, and anew after each start. The gateway adds that up,
so that a restart of the board loses nothing that was told before. After a restart of the gateway only what the board
counts itself is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from eyeflow.board_link.conversations import Status
from eyeflow.board_link.messages import Counters, Reset
from eyeflow.node.boards.programs import went_back
from eyeflow.node.boards.wanted import Fate, Wanted
from eyeflow.protocol.messages import Evidence, EvidenceStanding
from eyeflow.protocol.slot import Slot
from eyeflow.protocol.wire import REASON_CHARS_MAX, cut
from eyeflow.svm.opcodes import Trap

IN_GOOD_ORDER = frozenset({Reset.POWER, Reset.PIN, Reset.SOFTWARE})
"""Why boards start that did not go down. One that does not tell counts as one that did."""

Count = tuple[int, int, int]
"""Executions, those that trapped, and capabilities that failed."""


@dataclass(slots=True)
class Ran:
    """A program on a board: what it did up to the last start or change there, and since (`now`)."""

    before: Count = (0, 0, 0)
    now: Count = (0, 0, 0)
    is_stopped: bool = False
    last_fault: Counters | None = None
    crashes: int = 0

    @property
    def count(self) -> Count:
        """What it did since this process knows it."""
        return _plus(self.before, self.now)

    def saw(self, counters: Counters, *, is_anew: bool) -> None:
        """The board told its counters; `is_anew`: it began to count after the last ones."""
        told = (counters.executions, counters.traps, counters.failures)
        if is_anew or any(new < old for new, old in zip(told, self.now, strict=True)):
            self.before = self.count
        self.now, self.is_stopped = told, not counters.running
        self.last_fault = counters if counters.trap else self.last_fault


@dataclass(slots=True)
class Began:
    """Where a program stood when a deployment wanted it in a slot first, as far as this process knows."""

    at_us: int
    count: Count
    crashes: int


@dataclass(slots=True)
class BoardEvidence:
    """Adds up what a board tells, by program. `line_of` returns the line of an instruction of a program, 0: unknown."""

    line_of: Callable[[str, int], int]
    _ran: dict[tuple[str, str], Ran] = field(default_factory=dict)
    _began: dict[tuple[str, Slot, str, str], Began] = field(default_factory=dict)
    _running: dict[str, str] = field(default_factory=dict)
    _boot: int | None = None

    def saw(self, found: Status, wanted: Iterable[Wanted], now_us: int) -> None:
        """The board told its counters; `wanted` is what the cluster wants there now."""
        for one in wanted:
            self._begin(one, now_us)
        is_start = self._boot is not None and self._boot != found.hello.boot
        crashed = is_start and found.health.reset_cause not in IN_GOOD_ORDER
        before, self._boot = self._running, found.hello.boot
        self._running = {program.rule: program.program_id for program, _ in found.pairs}
        for program, counters in found.pairs:
            ran = self._ran.setdefault((program.rule, program.program_id), Ran())
            ran.crashes += crashed and before.get(program.rule) == program.program_id
            ran.saw(counters, is_anew=is_start or before.get(program.rule) != program.program_id)

    def told(self, wanted: Iterable[Wanted], now_us: int) -> tuple[Evidence, ...]:
        """Return the evidence of the wanted programs, one for each rule: of its candidate on trial, else of the other.

        Programs on other boards are no control of this one: they have other sensors. So nothing is told of a program
        while another one is tried in its place.
        """
        subjects: dict[str, Wanted] = {}
        for one in wanted:
            is_subject = one.slot is Slot.ACTIVE or one.acts or one.on_trial
            if one.program_id and is_subject and (one.slot is Slot.CANDIDATE or one.rule not in subjects):
                subjects[one.rule] = one
        self._forget_others(subjects.values())
        return tuple(self._evidence(one, now_us) for _, one in sorted(subjects.items()))

    def _forget_others(self, subjects: Iterable[Wanted]) -> None:
        self._began = {key: one for key, one in self._began.items() if key in {_key(wanted) for wanted in subjects}}
        kept = {*self._running.items(), *((rule, program_id) for rule, _, program_id, _ in self._began)}
        kept |= {(one.rule, one.program_id) for one in subjects}
        self._ran = {key: one for key, one in self._ran.items() if key in kept}

    def _begin(self, wanted: Wanted, now_us: int) -> Began:
        """What a program did on the board before this deployment wanted it is no evidence for it."""
        ran = self._ran.get((wanted.rule, wanted.program_id), Ran())
        return self._began.setdefault(_key(wanted), Began(now_us, ran.count, ran.crashes))

    def _evidence(self, wanted: Wanted, now_us: int) -> Evidence:
        ran, began = self._ran.get((wanted.rule, wanted.program_id), Ran()), self._begin(wanted, now_us)
        executions, traps, failures = (now - then for now, then in zip(ran.count, began.count, strict=True))
        standing, reason = self._standing(wanted, ran)
        return Evidence(
            wanted.rule,
            wanted.slot,
            wanted.program_id,
            wanted.deployment_id,
            began_us=began.at_us,
            boots=ran.crashes - began.crashes,
            executions=executions,
            acted=executions,  # a board does not count which of them acted
            pending=0,  # and performs each action within the execution
            traps=traps,
            failed_actions=min(failures, executions),
            missed_deadlines=0,
            rejected=0,
            differing=0,
            latency_us_sum=0,
            latency_us_max=0,
            standing=standing,
            reason=cut(reason, REASON_CHARS_MAX),
        )

    def _standing(self, wanted: Wanted, ran: Ran) -> tuple[EvidenceStanding, str]:
        is_given_up = wanted.fate is Fate.GIVEN_UP
        if not is_given_up and not ran.is_stopped:
            return EvidenceStanding.TRIAL if wanted.on_trial else EvidenceStanding.PASSED, ""
        stopped = f"the board stopped {wanted.rule} after repeated faults"
        why, fault = went_back(wanted).brief if is_given_up else stopped, ran.last_fault
        if fault is not None:
            why += f"; last fault: {trap_text(fault, self.line_of(wanted.program_id, fault.pc))}"
        return EvidenceStanding.ROLLED_BACK, why


def _key(wanted: Wanted) -> tuple[str, Slot, str, str]:
    return wanted.rule, wanted.slot, wanted.program_id, wanted.deployment_id


def trap_text(counters: Counters, line: int = 0) -> str:
    """Return the last fault of a program, empty when it had none since the board started. `line` 0 is not known."""
    if not counters.trap:
        return "" if counters.running else "no fault since the board started"
    name = Trap(counters.trap).name if counters.trap in set(Trap) else f"trap {counters.trap}"
    return f"{name} at line {line}" if line else f"{name} at instruction {counters.pc}"


def _plus(one: Count, other: Count) -> Count:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2]
