"""The engine without I/O: queues, timers and executions in, batches and effects out. No clock, no disk, no tasks.

A turn goes: `tick` queues what is due, `next_round` runs waiting events and returns one batch, the shell makes the
batch durable, `settle` gives back what may happen now. Nothing that `next_round` decided is visible before that.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from eyeflow.audit.traces import texts_of
from eyeflow.base.reasons import internal
from eyeflow.node.engine.intake import Intake
from eyeflow.node.engine.levels import Levels, resource_key
from eyeflow.node.engine.queues import acting, drop_run, emptied, moved_event, queue_timer, reroute
from eyeflow.node.engine.rounds import (
    Dispatch,
    Emitted,
    Executed,
    Planned,
    PlannedAction,
    Ran,
    Round,
    last_acting,
    mark,
    pending_rows,
)
from eyeflow.node.engine.run_evidence import EvidenceKeeper
from eyeflow.node.engine.running import QueuedEvent, RunningRule
from eyeflow.node.engine.shadow import Decision, Shadow, event_id
from eyeflow.node.engine.tries import Tries
from eyeflow.node.engine.turns import EVENTS_PER_ROUND, Turns
from eyeflow.node.run_key import RunKey, active, candidate
from eyeflow.node.store.types import Actuation, Batch, Draft, EvidenceRow, StateRow, Unrecorded
from eyeflow.node.streams import Streams
from eyeflow.protocol.audit_bodies import Body, CheckpointBody, ClockBody, DifferenceBody, Disposition, ExecutionBody
from eyeflow.protocol.executions import FailureKind
from eyeflow.protocol.slot import Slot
from eyeflow.svm.arguments import event_payload, trigger_text
from eyeflow.svm.execution import Action, Outcome
from eyeflow.svm.opcodes import Trap
from eyeflow.svm.program import SiteKind, Value
from eyeflow.svm.scheduler import Scheduler, UtcOffset
from eyeflow.svm.source_map import line_of

_log = logging.getLogger("eyeflow.node")

CHECKPOINT_RECORDS = 1000
"""Records after which the node signs the chain again."""
NOTES_MAX = 10_000
"""Records that are no executions and wait while the disk refuses; the oldest go first."""
FORGET_US = 100_000
"""Longest time until an ended action is forgotten when no other batch takes that along: a commit of its own for each
would double what the disk has to do. A crash before it repeats a message, as one before the commit does."""


class Core:
    """All running programs and everything that waits for a turn. `public_key` goes into checkpoints."""

    def __init__(
        self, scheduler: Scheduler[RunKey], utc_offset: UtcOffset, public_key: bytes, streams: Streams | None = None
    ) -> None:
        self.rules: dict[RunKey, RunningRule] = {}
        self.streams = streams or Streams()
        self.intake, self.levels, self.scheduler = Intake(self.streams), Levels(), scheduler
        self._turns, self._utc_offset, self._public_key = Turns(), utc_offset, public_key
        self._notes: list[Draft] = []
        self._finished: list[tuple[int, int]] = []
        self.tries = Tries()
        self._forget_due_us = 0
        self.evidence = EvidenceKeeper()
        self._completed: list[Ran] = []
        self.kept: dict[str, bytes] = {}
        """What `keep` was given and no batch has taken yet."""
        self._unvouched = 0
        self._unsaved: set[RunKey] = set()
        """Rules whose memory changed in rounds that were not recorded."""
        self._to_shift: set[RunKey] = set()
        """Rules whose time words have yet to follow a clock that was set."""

    def put(self, rule: RunningRule, now_us: int, heir_of: RunningRule | None = None) -> None:
        """Run a program from now on, in place of the old one of its slot, whose waiting events go to it if they can.

        `heir_of` is the program whose state it took over.
        """
        if heir_of is not None:
            rule.clock_step_us += heir_of.clock_step_us
        old = self.rules.get(rule.key)
        self.rules[rule.key] = rule
        self.intake.rebuild(self.rules.values())
        self.scheduler.put(
            rule.key, rule.program, now_us, in_step_with=None if rule.beside is None else rule.beside.key
        )
        if old is not None:
            self._hand_over(old, rule, now_us)
        self.reroute(rule.name)
        if rule.clock_step_us:
            self._to_shift.add(rule.key)

    def _hand_over(self, old: RunningRule, new: RunningRule, now_us: int) -> None:
        # A queued event has the number of its trigger and decoded inputs: other triggers would read them wrongly.
        if old.program.triggers == new.program.triggers:
            new.queue.extend(old.queue)
            old.queue.clear()
        else:
            self.intake.drop_queue(old, "the rule was replaced while the event waited", now_us)

    def switch(self, pairs: Sequence[tuple[RunningRule, RunningRule | None]], now_us: int) -> None:
        """Let candidates act in place of the active programs of their rules, each with its timers and waiting events.

        Each comes with the old program as it goes on as candidate, None: it goes.
        """
        for new, old in pairs:
            if old is None:
                self._promote(new, now_us)
            else:
                self._swap(new, old)
        self.intake.rebuild(self.rules.values())  # who watches, and is waited for, may be another
        for new, old in pairs:
            if old is not None:
                reroute(new, old, old.acts_on)

    def _promote(self, rule: RunningRule, now_us: int) -> None:
        beside = candidate(rule.name)
        old, waited = self.rules.get(rule.key), self.rules.pop(beside)
        self.rules[rule.key] = rule
        self.scheduler.move(beside, rule.key)
        if old is not None:
            self.intake.refused_receipts += drop_run(waited.queue, old.queue)
        rule.queue.extend(acting(waited.queue, old.queue) if old else waited.queue)
        waited.queue.clear()
        if old is not None:
            self._hand_over(old, rule, now_us)
        rule.clock_step_us = waited.clock_step_us
        self._to_shift -= {beside, rule.key}
        if rule.clock_step_us:
            self._to_shift.add(rule.key)

    def _swap(self, new: RunningRule, old: RunningRule) -> None:
        # Who acts on an event was fixed when it came, so the old program still acts on what came before.
        for rule, was in ((new, self.rules[old.key]), (old, self.rules[new.key])):
            rule.queue.extend(was.queue)
            was.queue.clear()
            rule.clock_step_us = was.clock_step_us
        self.rules |= {new.key: new, old.key: old}
        self.scheduler.swap(new.key, old.key)
        self._to_shift -= {new.key, old.key}
        self._to_shift |= {rule.key for rule in (new, old) if rule.clock_step_us}

    def reroute(self, name: str) -> None:
        """Other events go to each program of a rule from now on."""
        self.intake.rebuild(self.rules.values())  # who watches, and is waited for, may be another
        acts, beside = self.rules.get(active(name)), self.rules.get(candidate(name))
        if acts is not None and beside is not None:
            reroute(acts, beside, beside.acts_on)

    def remove(self, key: RunKey, now_us: int, why: str = "the rule was removed") -> None:
        """Stop running a program. What a candidate was to act on and nobody has run, the active program acts on."""
        rule = self.rules.pop(key)
        if rule.key.slot is Slot.CANDIDATE and rule.beside is not None:
            reroute(rule.beside, rule, lambda event_key: False)
        self._to_shift.discard(key)
        self.intake.rebuild(self.rules.values())
        self.scheduler.remove(key)
        self.intake.drop_queue(rule, f"{why} while the event waited", now_us)

    def clock_was_set(self, step_us: int, now_us: int) -> None:
        """Let timers, waiting events and, in the next round, the memory of all time words follow the clock."""
        self.scheduler.clock_was_set(step_us, now_us)
        self._forget_due_us += step_us
        self.evidence.clock_was_set(step_us)
        for rule in self.rules.values():
            rule.clock_step_us += step_us
            rule.evidence.began_us += step_us
            for _ in range(len(rule.queue)):
                event = rule.queue.popleft()
                rule.queue.append(moved_event(event, step_us))
        self._to_shift |= self.rules.keys()

    def tick(self, now_us: int) -> None:
        """Queue the events of the timers that are due; one that still waits is not queued twice: it is missed."""
        for due in self.scheduler.due(now_us):
            rule = self.rules[due.key]
            waits = any(event.trigger == due.trigger for event in rule.queue)
            rule.health.missed += due.missed + waits
            # One late look may miss thousands, after a sleep of the machine: that is one deadline missed.
            if due.missed or waits:
                rule.evidence.missed_deadlines += 1
                why = f"{due.missed} before it were missed" if due.missed else "the one before it still waited"
                what = trigger_text(rule.program.triggers[due.trigger])
                rule.evidence.note(FailureKind.DEADLINE, due.time_us, f"the timer came late: {why}", event=what)
            if not waits:
                acts = Actuation.PERFORM if rule.acts_on_timers else Actuation.WITHHOLD
                queue_timer(rule, QueuedEvent(due.trigger, (), due.time_us, now_us, actuation=acts))

    def note(self, now_us: int, body: Body) -> None:
        """Record something with the next batch."""
        self._notes.append(Draft(now_us, body))

    def finish(self, seq: int, index: int, now_us: int) -> bool:
        """An action ended: forget with the next batch that it was pending. Says whether `next_due_us` came nearer."""
        if not seq:
            return False
        self._finished.append((seq, index))
        if len(self._finished) > 1:
            return False
        self._forget_due_us = now_us + FORGET_US
        return True

    def keep(self, key: str, value: bytes) -> None:
        """Keep a small value durably with the next batch."""
        self.kept[key] = value

    def was_kept(self, values: Mapping[str, bytes]) -> None:
        """These values are durable: forget them, unless newer ones have taken their place."""
        self.kept = {key: value for key, value in self.kept.items() if values.get(key) != value}

    def complete(self, ran: Ran) -> None:
        """Take an execution that ran in a thread into the next round."""
        self._completed.append(ran)

    @property
    def has_events(self) -> bool:
        """Whether executions wait: to run or, having run in a thread, to be recorded."""
        return bool(self._completed) or any(rule.is_ready and not rule.runs_beside for rule in self.rules.values())

    def has_work(self, now_us: int) -> bool:
        """Say whether `next_round` would return a round."""
        waits = self._notes or self.kept or self.tries or self.intake.has_rejected or self.streams.has_changes
        if waits or self.has_events or any(not self.rules[key].busy for key in self._to_shift):
            return True
        return any(due_us is not None and now_us >= due_us for due_us in (self._forgets_us, self.evidence.due_us))

    def next_due_us(self) -> int | None:
        """Return when time alone makes work: a timer fires, ended actions are to be forgotten, counts to be kept."""
        found = (self.scheduler.next_us(), self._forgets_us, self.evidence.due_us)
        return min((due_us for due_us in found if due_us is not None), default=None)

    @property
    def _forgets_us(self) -> int | None:
        return self._forget_due_us if self._finished else None

    def next_round(self, now_us: int, unrecorded: Unrecorded | None = None) -> Round | None:
        """Run waiting events and return what is to be recorded, None when there is nothing."""
        if not self.has_work(now_us) and unrecorded is None:
            return None
        return self._round(now_us, unrecorded, self._turns.pick(self.rules.values()))

    def round_of(self, rule: RunningRule, events_max: int, now_us: int) -> Round:
        """Run the next events of one program alone, held as it is, and return what is to be recorded."""
        count = min(events_max, EVENTS_PER_ROUND, len(rule.queue))
        return self._round(now_us, None, [(rule, rule.queue.popleft()) for _ in range(count)])

    def _round(
        self, now_us: int, unrecorded: Unrecorded | None, picked: list[tuple[RunningRule, QueuedEvent]]
    ) -> Round:
        rejected, receipts = self.intake.take_rejected()
        notes, self._notes = self._notes, []
        drafts = [*notes, *(Draft(now_us, body) for body in rejected)]
        finished, self._finished = self._finished, []
        completed, self._completed = self._completed, []
        round_ = Round(Batch(), receipts=receipts)
        for ran in completed:
            self._plan(round_, Executed(ran, len(drafts)), drafts, now_us)
        self._shift_times({ran.rule.key for ran in completed}, drafts, now_us)
        for ran in self._run(picked, now_us):
            self._plan(round_, Executed(ran, len(drafts)), drafts, now_us)
        self._vouch(drafts, now_us)
        finished += emptied(round_.receipts)
        mark(self.streams, round_)
        states = self._changed_states(round_)
        kept, self.kept = tuple(self.kept.items()), {}
        evidence = self.take_evidence(bool(drafts or finished), now_us)
        rows = (drafts, states, pending_rows(round_), finished)
        tried, round_.counted = self.tries.take()
        batch = Batch(*rows, put_meta=kept, put_evidence=evidence, unrecorded=unrecorded, tried=tried)
        round_.batch = replace(batch, progress=self.streams.changes())
        return round_

    def take_evidence(self, has_news: bool, now_us: int) -> list[EvidenceRow]:
        """Return the counts that a batch of now has to keep; it counts something itself if it `has_news`."""
        return self.evidence.take(((one.row, one.evidence) for one in self.rules.values()), has_news, now_us)

    def put_back_evidence(self, rows: Sequence[EvidenceRow]) -> None:
        """These counts were not kept: keep them with a later batch."""
        if rows:
            self.evidence.not_kept()
        for key in {row.key for row in rows} & self.rules.keys():
            self.rules[key].evidence.kept = None

    def _run(self, picked: list[tuple[RunningRule, QueuedEvent]], now_us: int) -> list[Ran]:
        return [ran for rule, event in picked if (ran := self.execute(rule, event, now_us)) is not None]

    def _shift_times(self, completed: set[RunKey], drafts: list[Draft], now_us: int) -> None:
        """Move the times that rules remember along with the clock, and record it; not while an execution uses them."""
        for key in sorted((k for k in self._to_shift if k in completed or not self.rules[k].busy), key=str):
            rule = self.rules[key]
            if rule.clock_step_us and rule.program.timers:
                drafts.append(Draft(now_us, _clock_body(rule)))
            rule.instance.shift_times(rule.clock_step_us)
            rule.clock_step_us = 0
            self._to_shift.discard(key)
            self._unsaved.add(key)

    def execute(self, rule: RunningRule, event: QueuedEvent, now_us: int) -> Ran | None:
        """Run one event. When the SVM itself fails, a bug that must not end the node: reject the event, return None."""
        try:
            return self.step(rule, event, now_us)
        except Exception as error:
            self.failed(rule, event, error, now_us)
            return None

    def step(self, rule: RunningRule, event: QueuedEvent, now_us: int) -> Ran:
        """Run one event. Changes nothing but the rule's own memory, so that another thread may call it."""
        # A time in the future counts as now: a rule's time never goes back, so it would stand still until then.
        time_us = max(min(event.time_us, now_us), rule.instance.last_time_us)
        offset_us = self._utc_offset(time_us)
        execution = rule.instance.step(event.trigger, event.inputs, time_us, offset_us, rule.host)
        return Ran(rule, event, execution, time_us, offset_us)

    def failed(self, rule: RunningRule, event: QueuedEvent, error: Exception, now_us: int) -> None:
        """An event could not be run, for a reason that is none of its rule: reject it."""
        _log.error("internal error while running %s", rule.key, exc_info=error)
        rule.health.fail(internal(error), now_us)
        self.intake.reject(rule, event, f"internal error: {type(error).__name__}", now_us)

    def _plan(self, round_: Round, done: Executed, drafts: list[Draft], now_us: int) -> None:
        """Add one execution to the round: its record, its actions, its emitted events."""
        actions, planned = [], list[PlannedAction]()
        for index, action in enumerate(done.ran.execution.actions):
            disposition = self._dispose(round_, done, index, action, planned)
            actions.append((action.site, action.args, int(disposition)))
        drafts.append(Draft(now_us, _body(done.ran, tuple(actions))))
        round_.executed.append(done)
        if planned:
            # Together with the execution: a verdict in between would take it for one whose actions have ended.
            done.ran.rule.evidence.pending += last_acting(planned) >= 0
            round_.planned.append(Planned(done.ran.rule, done.draft, planned))
        if done.ran.event.receipt is not None:
            round_.receipts.append(done.ran.event.receipt)
        _count(done.ran, now_us)

    def _dispose(
        self, round_: Round, done: Executed, index: int, action: Action, planned: list[PlannedAction]
    ) -> Disposition:
        rule, hops = done.ran.rule, done.ran.event.hops + 1
        site = rule.program.sites[action.site]
        if done.ran.event.actuation is Actuation.WITHHOLD:
            rule.health.withheld += 1
            return Disposition.WITHHELD
        if site.kind is SiteKind.EMIT:
            if self.intake.listens(site.capability):
                payload = event_payload(site, action.args, rule.program.pins)
                where = (done.ran.time_us, done.draft, index, hops, done.ran.event.key)
                round_.emitted.append(Emitted(rule, site.capability, payload, *where))
            return Disposition.EMITTED
        named = rule.named(action)
        key = resource_key(site, named)
        if self.levels.repeats(site, named, key, rule.key):
            rule.health.repeated += 1
            return Disposition.REPEATED
        planned.append(PlannedAction(index, site, named, key))
        return Disposition.SENT

    def _vouch(self, drafts: list[Draft], now_us: int) -> None:
        self._unvouched += len(drafts)
        if self._unvouched >= CHECKPOINT_RECORDS:
            drafts.append(Draft(now_us, CheckpointBody(self._public_key)))
            self._unvouched = 0

    def settle(self, round_: Round, first_seq: int, now_us: int) -> list[Dispatch]:
        """Let a round happen: events go to the bus; returns the actions to perform. Then `acknowledge` it.

        `first_seq` is the seq of the batch's first draft, 0 when the round was not recorded and acts nevertheless.
        """
        for done in round_.executed:
            rule = done.ran.rule
            latency_us = now_us - done.ran.event.arrived_us
            rule.health.latencies_us.append(latency_us)
            rule.evidence.waited(latency_us)
            rule.busy = rule.busy and not rule.runs_beside
            if done.ran.execution.trap is not None:
                _note_trap(done.ran, first_seq and first_seq + done.draft)
            if rule.shadow is not None and first_seq:
                self._compare(rule.shadow, done, first_seq + done.draft, now_us)
        self._saved(round_) if first_seq else self._put_back(round_)
        for counted in round_.counted:
            counted()
        for event in round_.emitted:
            pending = (first_seq + event.draft, event.index) if first_seq else (0, 0)
            self.intake.emit(event, now_us, pending)
        return [_dispatch(planned, first_seq) for planned in round_.planned]

    def _compare(self, shadow: Shadow, done: Executed, seq: int, now_us: int) -> None:
        """Record that a candidate decided otherwise than the active program on the same event."""
        ran, rule = done.ran, done.ran.rule
        event = event_id(rule.program, ran.event.trigger, ran.event.number, ran.event.time_us)
        decision = Decision(rule.key.slot, seq, texts_of(rule.program, ran.execution))
        unlike = shadow.compare(event, ran.event.time_us, decision)
        if unlike is not None:
            watching = self.rules.get(candidate(rule.name), rule)
            watching.evidence.differing += 1
            seqs = (unlike.active.seq, unlike.candidate.seq)
            self.note(now_us, DifferenceBody(rule.name, watching.loaded.program_id, unlike.time_us, *seqs))

    def acknowledge(self, round_: Round) -> None:
        """Tell the sources of a round that happened that their events are done."""
        for receipt in round_.receipts:
            if receipt.left == 0 and receipt.done is not None:
                done_once, receipt.done = receipt.done, None
                done_once()

    def _changed_states(self, round_: Round) -> list[StateRow]:
        """Return the durable memory of the rules whose executions changed it, now or in a round not recorded."""
        touched = {done.ran.rule.key: done.ran.rule for done in round_.executed}
        # What runs in a thread changes its memory right now; its own round comes.
        touched |= {key: self.rules[key] for key in self._unsaved & self.rules.keys() if not self.rules[key].busy}
        self._unsaved.clear()
        rows = []
        for key, rule in touched.items():
            state = rule.instance.state_bytes() if rule.program.regions.state else rule.saved_state
            if state != rule.saved_state:
                round_.saved[key] = state
                rows.append(StateRow(key, rule.loaded.program_id, state))
        return rows

    def _saved(self, round_: Round) -> None:
        self.streams.were_kept(round_.batch.progress)
        for key, state in round_.saved.items():
            if key in self.rules:
                self.rules[key].saved_state = state

    def _put_back(self, round_: Round) -> None:
        """Of a round that was not recorded, keep for the next one what is no execution, and who remembers more."""
        self._unsaved |= round_.saved.keys()
        # The executions have acted already. They are counted, and become a gap once the disk is back.
        self._notes += [draft for draft in round_.batch.drafts if not isinstance(draft.body, ExecutionBody)]
        del self._notes[:-NOTES_MAX]
        self._finished += round_.batch.finished
        self.kept = dict(round_.batch.put_meta) | self.kept
        self.put_back_evidence(round_.batch.put_evidence)
        self.streams.were_not_kept(round_.batch.progress)


def _dispatch(planned: Planned, first_seq: int) -> Dispatch:
    rule, seq = planned.rule, first_seq + planned.draft if first_seq else 0
    return Dispatch(rule, rule.key, rule.loaded.program_id, seq, planned.actions, rule.loaded.signers, rule.evidence)


def _body(ran: Ran, actions: tuple[tuple[int, tuple[Value, ...], int], ...]) -> ExecutionBody:
    execution = ran.execution
    return ExecutionBody(
        rule=ran.rule.name,
        program=ran.rule.loaded.program_id,
        trigger=ran.event.trigger,
        event_time_us=ran.time_us,
        outcome=int(execution.outcome),
        fuel=execution.fuel,
        inputs=ran.event.inputs,
        answers=tuple((answer.site, answer.args, answer.value) for answer in execution.answers),
        actions=actions,
        trap=(int(execution.trap.code), execution.trap.pc) if execution.trap else None,
        utc_offset_us=ran.utc_offset_us,
        slot=ran.rule.key.slot.value,
        key=ran.event.key or "",
    )


def _clock_body(rule: RunningRule) -> ClockBody:
    return ClockBody(rule.name, rule.loaded.program_id, rule.clock_step_us, rule.key.slot.value)


def _note_trap(ran: Ran, seq: int) -> None:
    ran.rule.evidence.note(FailureKind.TRAP, ran.time_us, _trap_text(ran), seq, key=ran.event.key)


def _trap_text(ran: Ran) -> str:
    """Return how an execution trapped, for people."""
    trap = ran.execution.trap
    assert trap is not None, "it trapped"
    line = line_of(ran.rule.program, trap.pc)
    return f"trap {Trap(trap.code).name} at {f'line {line}' if line else f'instruction {trap.pc}'}"


def _count(ran: Ran, now_us: int) -> None:
    health, evidence, trap = ran.rule.health, ran.rule.evidence, ran.execution.trap
    health.executions += 1
    evidence.executions += 1
    health.last_event_us = ran.time_us
    if ran.execution.outcome is Outcome.SKIPPED:
        health.skipped += 1
    elif trap is not None:
        health.traps[trap.code] += 1
        evidence.traps += 1
        health.fail(_trap_text(ran), now_us)
