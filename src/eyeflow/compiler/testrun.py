"""Plays a rule's `test` blocks on a virtual clock. What a step means stands in docs/language.md, section Tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from datetime import UTC

from eyeflow.base.duration import format_duration
from eyeflow.base.record import dataclass
from eyeflow.compiler import testplan as t
from eyeflow.compiler.show import show_call
from eyeflow.compiler.testdiff import (
    Happening,
    action_difference,
    describe,
    emit_difference,
    state_lines,
    that_difference,
)
from eyeflow.svm.execution import CapabilityFailure, Machine, Outcome
from eyeflow.svm.instance import Instance
from eyeflow.svm.opcodes import Trap
from eyeflow.svm.program import Program, SiteKind, Value
from eyeflow.svm.scheduler import Timetable, edge_triggers
from eyeflow.svm.source_map import line_of, site_lines
from eyeflow.svm.verify import Verified

TIMER_FIRINGS_MAX = 1_000_000
"""Timer firings of one test; a test that moves its clock further at its period is refused with what to do."""

READ_PIN = "gpio.read_pin"


@dataclass(frozen=True, slots=True)
class TestFailure:
    """One expectation that did not hold: its step, what was expected, and lines that say what happened instead."""

    __test__ = False
    where: t.Where
    message: str
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TestOutcome:
    """The result of one `test` block; it passed when there is no failure. `time_us` is how far its clock went."""

    __test__ = False
    name: str
    line: int
    column: int
    failures: tuple[TestFailure, ...]
    executions: int
    time_us: int

    @property
    def passed(self) -> bool:
        """Whether every expectation held."""
        return not self.failures


def run_test(plan: t.TestPlan, verified: Verified, machine: Machine | None = None) -> TestOutcome:
    """Play one test on a new instance; `machine` (for coverage: an Interpreter that traces) runs its executions."""
    from eyeflow.svm.interpreter import Interpreter

    run = _Run(verified, machine or Interpreter(verified))
    for step in plan.steps:
        run.play(step)
        if run.stopped:
            break
    run.end_window()
    return TestOutcome(
        plan.name, plan.line, plan.column, tuple(run.failures), run.executions, run.now_us - run.start_us
    )


class _StopTest(Exception):  # noqa: N818 - it ends a test, it is no error of the runner
    pass


@dataclass(slots=True)
class _Window:
    """What happened since the clock last moved or an event was last sent."""

    from_us: int
    happenings: list[Happening] = field(default_factory=list)
    traps: list[Happening] = field(default_factory=list)
    unexpected_traps: list[Happening] = field(default_factory=list)
    trapped_in: t.Where | None = None
    executions: int = 0


class _Run:
    def __init__(self, verified: Verified, machine: Machine) -> None:
        self._program: Program = verified.program
        self._instance = Instance(verified, machine=machine)
        self._answers: dict[tuple[str, tuple[Value, ...]], Value | None] = {}
        self._levels: dict[int, Value] = {}
        self._lines = site_lines(self._program)
        self._moved = False
        self._step: t.Step | None = None
        self._failed_by_test = False
        self._missing: str = ""
        self._window = _Window(0)
        self._timetable = Timetable(self._program, 0, UTC)
        self.start_us = 0
        self.now_us = 0
        self.executions = 0
        self.stopped = False
        self.failures: list[TestFailure] = []

    # --- steps ---

    def play(self, step: t.Step) -> None:
        """Play one step; failures are collected."""
        self._step = step
        players: dict[type, Callable[..., None]] = {
            t.Advance: self._advance,
            t.SetRead: self._set_read,
            t.SetParam: self._set_param,
            t.SetTime: self._set_time,
            t.SendEvent: self._send,
            t.ExpectAction: self._expect_action,
            t.ExpectEmit: self._expect_emit,
            t.ExpectNoActions: self._expect_no_actions,
            t.ExpectTrap: self._expect_trap,
            t.ExpectThat: self._expect_that,
        }
        try:
            players[type(step)](step)
        except _StopTest:
            self.stopped = True

    def _advance(self, step: t.Advance) -> None:
        target_us = self.start_us + step.time_us
        if target_us > self.now_us or not self._moved:
            self._new_window()
        self._moved = True
        self._run_timers(step, target_us)
        self.now_us = max(self.now_us, target_us)

    def _run_timers(self, step: t.Step, until_us: int) -> None:
        """Run what is due before an event of this time."""
        for firings, due in enumerate(self._timetable.until(until_us)):
            if firings >= TIMER_FIRINGS_MAX:
                hours = f"the timers would fire more than {TIMER_FIRINGS_MAX} times until then"
                self._fail(step.where, hours, "Move the clock less far, or test with a longer period.")
                raise _StopTest
            self.now_us = max(self.now_us, due.time_us)
            self._execute(due.trigger, ())

    def _set_read(self, step: t.SetRead) -> None:
        self._answers[step.capability, step.args] = step.value
        if step.capability != READ_PIN or step.value is None:
            return
        pin = int(step.args[0])
        before = self._levels.get(pin)
        self._levels[pin] = step.value
        if before is None and not self._moved:
            return  # where the pin starts: nothing changed
        if step.value != (before or 0):
            for trigger in edge_triggers(self._program, pin, rises=bool(step.value)):
                self._run_timers(step, self.now_us)
                self._execute(trigger, ())

    def _set_param(self, step: t.SetParam) -> None:
        self._instance.set_params({step.name: step.value})

    def _set_time(self, step: t.SetTime) -> None:
        self.start_us = self.now_us = step.time_us
        self._window = _Window(step.time_us)
        self._timetable = Timetable(self._program, step.time_us, UTC)

    def _send(self, step: t.SendEvent) -> None:
        self._moved = True
        self._run_timers(step, self.now_us)
        self._new_window()
        self._execute(step.trigger, step.inputs)

    # --- executions ---

    def _execute(self, trigger: int, inputs: tuple[Value, ...]) -> None:
        self.executions += 1
        self._window.executions += 1
        self._failed_by_test, self._missing = False, ""
        execution = self._instance.step(trigger, inputs, self.now_us, 0, self)
        if self._missing:
            self._report_missing()
        at_us = self.now_us - self.start_us
        for action in execution.actions:
            site = self._program.sites[action.site]
            text = show_call(self._program, site, action.args)
            self._window.happenings.append(Happening(at_us, site, action.args, text, self._lines[action.site]))
        if execution.outcome is Outcome.TRAPPED and execution.trap is not None:
            line = line_of(self._program, execution.trap.pc)
            happening = Happening(at_us, None, (), Trap(execution.trap.code).name, line)
            self._window.traps.append(happening)
            if not (execution.trap.code == Trap.CAPABILITY_FAILED and self._failed_by_test):
                self._window.unexpected_traps.append(happening)
                self._window.trapped_in = self._window.trapped_in or (self._step.where if self._step else None)

    def read(self, site: int, args: tuple[Value, ...]) -> Value:
        """Answer a read from the `given` steps: the Host of the executions."""
        capability = self._program.sites[site].capability
        key = (capability, args)
        if key not in self._answers:
            self._missing = self._missing or show_call(self._program, self._program.sites[site], args)
            raise CapabilityFailure(f"the test gives no answer to {capability}")
        value = self._answers[key]
        if value is None:
            self._failed_by_test = True
            raise CapabilityFailure(f"the test makes {capability} fail")
        return value

    def _report_missing(self) -> None:
        assert self._step is not None
        at = format_duration(self.now_us - self.start_us)
        given = [
            show_call(self._program, site, args)
            for capability, args in self._answers
            for site in self._program.sites
            if site.capability == capability and site.kind in (SiteKind.READ, SiteKind.LLM)
        ]
        known = f"Given so far: {', '.join(dict.fromkeys(given))}." if given else "The test gives no answers so far."
        self._fail(
            self._step.where,
            f"the rule read `{self._missing}` at {at}, and the test does not say what it answers",
            f"Add `given {self._missing} = ...` (or `... fails`) before this step.",
            known,
        )
        raise _StopTest

    # --- expectations ---

    def _expect_action(self, step: t.ExpectAction) -> None:
        wanted = [h for h in self._window.happenings if _is_action(h, step)]
        if _holds(step.count, len(wanted)):
            return
        site = next((s for s in self._program.sites if s.capability == step.capability), None)
        call = show_call(self._program, site, step.args) if site else f"{step.capability}()"
        message, details = action_difference(call, step.count, wanted, self._window.happenings, step.capability)
        self._fail(step.where, f"{message} {self._interval()}", *details, *self._context())

    def _expect_emit(self, step: t.ExpectEmit) -> None:
        wanted = [h for h in self._window.happenings if _is_event(h, step)]
        if _holds(step.count, len(wanted)):
            return
        message, details = emit_difference(self._program, step, wanted, self._window.happenings)
        self._fail(step.where, f"{message} {self._interval()}", *details, *self._context())

    def _expect_no_actions(self, step: t.ExpectNoActions) -> None:
        actions = [h for h in self._window.happenings if h.site is not None and h.site.kind is SiteKind.ACT]
        if actions:
            message = f"expected no actions {self._interval()}"
            self._fail(step.where, message, *describe("asked for", actions), *self._context())

    def _expect_trap(self, step: t.ExpectTrap) -> None:
        if not self._window.traps:
            self._fail(step.where, f"expected a trap {self._interval()}, and none happened", *self._context())
        self._window.unexpected_traps.clear()

    def _expect_that(self, step: t.ExpectThat) -> None:
        result = t.evaluate_that(step, self._instance.params, self._instance.state, self.now_us)
        if not result.holds:
            at = format_duration(self.now_us - self.start_us)
            self._fail(
                step.where, f"expected `{_condition(step)}` at {at}", *that_difference(step, result), *self._context()
            )

    # --- windows and messages ---

    def _new_window(self) -> None:
        self.end_window()
        self._window = _Window(self.now_us)

    def end_window(self) -> None:
        """Report the traps of the window that no `expect trap` asked for."""
        where = self._window.trapped_in
        if self._window.unexpected_traps and where is not None and not self.stopped:
            trap = self._window.unexpected_traps[0]
            at = format_duration(trap.at_us)
            message = f"the rule trapped at {at}, in line {trap.line}: {trap.text}"
            hint = "Write `expect trap` when it should; the state is what it was before, and no action happened."
            self._fail(where, message, hint, *self._context())
        self._window.unexpected_traps.clear()

    def _interval(self) -> str:
        start, end = (format_duration(moment - self.start_us) for moment in (self._window.from_us, self.now_us))
        return f"at {end}" if start == end else f"after {start} until {end}"

    def _context(self) -> list[str]:
        lines = [] if self._window.executions else ["no handler ran in this time"]
        if self._window.traps:
            lines += describe("trapped", self._window.traps)
        return lines + state_lines(self._instance)

    def _fail(self, where: t.Where, message: str, *details: str) -> None:
        self.failures.append(TestFailure(where, message, details))


def _is_action(happening: Happening, step: t.ExpectAction) -> bool:
    site = happening.site
    if site is None or site.kind is not SiteKind.ACT or site.capability != step.capability:
        return False
    return all(wanted is None or wanted == got for wanted, got in zip(step.args, happening.args, strict=False))


def _is_event(happening: Happening, step: t.ExpectEmit) -> bool:
    site = happening.site
    if site is None or site.kind is not SiteKind.EMIT or site.capability != step.event:
        return False
    got = dict(zip((name for name, _kind in site.args), happening.args, strict=True))
    return all(name in got and got[name] == value for name, value in step.fields)


def _holds(count: int | None, found: int) -> bool:
    return found >= 1 if count is None else found == count


def _condition(step: t.ExpectThat) -> str:
    return step.where.text.partition("expect")[2].strip() or step.where.text
