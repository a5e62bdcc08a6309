"""A rule that runs on the node, and the events that wait for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from eyeflow.base.clock import STEP_US_MIN
from eyeflow.evidence.route import route
from eyeflow.node.clock import Clock
from eyeflow.node.engine.admission import Loaded, subscription_of
from eyeflow.node.engine.rule_health import RuleHealth
from eyeflow.node.engine.rule_host import RuleHost
from eyeflow.node.engine.run_evidence import RunEvidence
from eyeflow.node.engine.shadow import Shadow
from eyeflow.node.io.ports import Driver, Subscription
from eyeflow.node.run_key import RunKey
from eyeflow.node.store.types import Actuation, SlotRow, StateRow
from eyeflow.node.streams import Mark
from eyeflow.protocol.slot import Slot
from eyeflow.svm.arguments import named_arguments, plain_names
from eyeflow.svm.execution import Action
from eyeflow.svm.instance import Instance
from eyeflow.svm.program import Program, TriggerKind, Value
from eyeflow.svm.schema import PayloadDecoder

EVENTS_MAX = 1024
"""Events that wait for one rule. While they are that many, its sources wait, and so do the rules that emit to it."""


@dataclass(slots=True)
class Receipt:
    """Counts down the rules that an event goes to; at zero the source hears that the event is done.

    `pending` is the (seq, index) of the emitted event that this stands for: it is unfinished until then. So is the
    event at `mark`.
    """

    left: int
    done: Callable[[], None] | None = None
    pending: tuple[int, int] | None = None
    mark: Mark | None = None


class QueuedEvent(NamedTuple):
    """An event whose payload fits, waiting for one program. `hops` counts the rules it has come through.

    `actuation` is fixed when it arrives: whatever becomes of the slots meanwhile, one program acts on it. `number` is
    the same for all programs that one event goes to, 0 for a timer. `key` decides which of two programs acts; None: the
    event has none, and stands for its node.
    """

    trigger: int
    inputs: tuple[Value, ...]
    time_us: int
    arrived_us: int
    receipt: Receipt | None = None
    hops: int = 0
    actuation: Actuation = Actuation.PERFORM
    number: int = 0
    key: str | None = None


@dataclass(slots=True)
class RunningRule:
    """One running program of a rule with its instance, its queue and its health.

    `busy`: one of its executions runs in a thread; `stalled`: too many of its actions wait;
    `held`: it is being swapped. `listeners`: the rules that it emits to and that do not, by any way, emit back to it;
    `holds_back`: events that their sources keep for it.
    """

    row: SlotRow
    loaded: Loaded
    instance: Instance
    host: RuleHost
    health: RuleHealth
    decoders: tuple[PayloadDecoder | None, ...]
    started_us: int
    saved_state: bytes
    evidence: RunEvidence
    queue: deque[QueuedEvent] = field(default_factory=deque)
    busy: bool = False
    stalled: bool = False
    held: bool = False
    listeners: tuple[RunningRule, ...] = field(default=(), compare=False, repr=False)
    holds_back: int = 0
    told_us: int = 0
    """When the log was last told that it holds its sources back."""
    key: RunKey = field(init=False)
    """What it is called: its rule and its slot."""
    beside: RunningRule | None = field(default=None, compare=False, repr=False)
    """The other program of its rule that runs: the active one of a candidate, the candidate of an active one."""
    shadow: Shadow | None = field(default=None, compare=False, repr=False)
    """Where the decisions of both are compared; None: they are not."""
    clock_step_us: int = 0
    """By how much the clock was set since the memory of its time words was last moved along."""

    _plain_names: tuple[tuple[str, ...] | None, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.key = self.row.key
        self._plain_names = tuple(plain_names(site) for site in self.program.sites)

    @property
    def name(self) -> str:
        """The rule's name, its id."""
        return self.key.rule

    @property
    def acts(self) -> bool:
        """Whether actions of it reach the world. For one that only watches nobody waits: no source, no other rule."""
        return self.row.actuation is Actuation.PERFORM

    def acts_on(self, key: str | None) -> bool:
        """Say whether it is the one that acts on events with this key; the other program of its rule then does not."""
        if self.key.slot is Slot.CANDIDATE:
            return _takes(self.row, key)
        return self.beside is None or not _takes(self.beside.row, key)

    @property
    def acts_on_timers(self) -> bool:
        """Whether it acts on its own timers, which have no key. The active one does if its candidate has none."""
        if self.key.slot is Slot.CANDIDATE:
            return self.row.keyless
        return self.beside is None or not (self.beside.row.keyless and self.beside.has_timers)

    @property
    def has_timers(self) -> bool:
        """Whether it has timers."""
        return any(trigger.kind is not TriggerKind.SOURCE for trigger in self.program.triggers)

    @property
    def program(self) -> Program:
        """The program it runs."""
        return self.loaded.program

    def named(self, action: Action) -> dict[str, Value]:
        """Return the arguments of an action by name, as a driver gets them."""
        names = self._plain_names[action.site]
        if names is not None:
            return dict(zip(names, action.args, strict=True))
        return named_arguments(self.program.sites[action.site], action.args, self.program.pins)

    @property
    def runs_beside(self) -> bool:
        """Whether it asks models or makes slow reads: it then runs in a thread, so that nothing else waits."""
        return self.host.is_slow

    @property
    def is_ready(self) -> bool:
        """Whether its next event may run in the engine's turn."""
        waits = self.busy or self.stalled or self.held or self.clock_step_us
        return bool(self.queue) and not waits and not any(listener.is_full for listener in self.listeners)

    @property
    def is_full(self) -> bool:
        """Whether it has no room for another event."""
        return len(self.queue) >= EVENTS_MAX

    @property
    def is_slow(self) -> bool:
        """Whether it is the rule, not the engine, that does not keep up."""
        return self.runs_beside or self.stalled


def start_rule(
    row: SlotRow,
    loaded: Loaded,
    drivers: Mapping[str, Driver],
    clock: Clock,
    state: StateRow | None = None,
    evidence: RunEvidence | None = None,
) -> RunningRule:
    """Return a rule ready to run, with the state it had if that belongs to this program. Raises EyeflowError.

    `evidence` is what it goes on with; None: it begins now.
    """
    health = RuleHealth()
    instance = Instance(loaded.verified, row.params, machine=loaded.machine)
    if state is not None and state.program_id == loaded.program_id:
        instance.load_state_bytes(state.state)
    triggers = loaded.program.triggers
    decoders = tuple(PayloadDecoder(t) if t.kind is TriggerKind.SOURCE else None for t in triggers)
    host = RuleHost(row.key, loaded.program, drivers, health, clock)
    now_us = clock.now_us()
    evidence = evidence or RunEvidence(now_us)
    rule = RunningRule(row, loaded, instance, host, health, decoders, now_us, instance.state_bytes(), evidence)
    if instance.last_time_us - now_us >= STEP_US_MIN:
        rule.clock_step_us = now_us - instance.last_time_us  # set back while the node was off; how long, nobody knows
    return rule


def moved(running: RunningRule, row: SlotRow, drivers: Mapping[str, Driver], clock: Clock) -> RunningRule:
    """Return a program that goes on under the key of `row`: with its state and clock, and counters from zero."""
    health, loaded = RuleHealth(), running.loaded
    host = RuleHost(row.key, loaded.program, drivers, health, clock)
    shared = (running.instance, host, health, running.decoders)
    now_us = clock.now_us()
    return RunningRule(row, loaded, *shared, now_us, running.instance.state_bytes(), RunEvidence(now_us))


def _takes(row: SlotRow, key: str | None) -> bool:
    """Say whether a candidate acts on events with this key."""
    return row.keyless if key is None else row.share > 0 and route(row.key.rule, key) < row.share


def subscriptions_of(rule: RunningRule) -> list[tuple[Subscription, int]]:
    """Return (subscription, trigger index) of each trigger that listens to a source."""
    found = ((subscription_of(trigger), index) for index, trigger in enumerate(rule.program.triggers))
    return [(subscription, index) for subscription, index in found if subscription is not None]
