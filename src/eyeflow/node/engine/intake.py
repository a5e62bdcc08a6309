"""Events on their way in: from subscriptions and the local bus to the queues of the rules that listen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from eyeflow.node.engine.admission import BUS_SOURCE
from eyeflow.node.engine.rounds import Emitted
from eyeflow.node.engine.running import QueuedEvent, Receipt, RunningRule, subscriptions_of
from eyeflow.node.engine.shadow import Shadow
from eyeflow.node.engine.shedding import REASON, Shedding, never_waits_for
from eyeflow.node.io.ports import IncomingEvent, Subscription
from eyeflow.node.run_key import RunKey, active, candidate
from eyeflow.node.store.types import Actuation, Standing
from eyeflow.node.streams import Streams
from eyeflow.protocol.audit_bodies import RejectedBody
from eyeflow.protocol.executions import FailureKind
from eyeflow.protocol.slot import Slot
from eyeflow.svm.program import SiteKind
from eyeflow.svm.schema import RejectedEvent

HOPS_MAX = 8
"""Rules that one event may come through by `emit`: rules that emit to each other stop here, not never."""

TIME_US_MAX = 2**62
REASON_CHARACTERS_MAX = 200
REJECTIONS_MAX = 1024
"""Different rejections that wait for the next commit; beyond that they are summed without their reason."""


@dataclass(slots=True)
class _Summary:
    count: int
    first_us: int
    last_us: int


@dataclass(slots=True)
class _Arrival:
    """An event on its way to the programs that listen; those in `unbounded` take it though they are full."""

    subscription: Subscription
    payload: Mapping[str, object]
    time_us: int
    now_us: int
    key: str | None
    only: frozenset[RunKey] | None = None
    hops: int = 0
    unbounded: frozenset[RunKey] = frozenset()


def plain_text(text: str, characters_max: int) -> str:
    """Return a text that can be recorded: cut, and without the lone surrogates that JSON can carry."""
    return text[:characters_max].encode("utf-8", "replace").decode()


class Intake:
    """The listeners of all running rules, and the rejected events that are not yet recorded."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._listeners: dict[Subscription, list[tuple[RunningRule, int]]] = {}
        self._rejected: dict[tuple[RunKey | None, str, str, str], _Summary] = {}
        self._number = 0
        self._has_candidates = False
        self.shedding = Shedding()
        self.refused_receipts: list[Receipt] = []
        """Receipts whose rejection the next commit records."""

    def rebuild(self, rules: Collection[RunningRule]) -> None:
        """Take the triggers of these rules, and no others."""
        listeners: dict[Subscription, list[tuple[RunningRule, int]]] = defaultdict(list)
        for rule in rules:
            for subscription, index in subscriptions_of(rule):
                listeners[subscription].append((rule, index))
        for pairs in listeners.values():
            pairs.sort(key=_is_active)  # a candidate first: what it cannot take, the active program acts on
        self._listeners = dict(listeners)
        self._has_candidates = any(rule.key.slot is Slot.CANDIDATE for rule in rules)
        listening = [(subscription.source, rule) for subscription, pairs in listeners.items() for rule, _ in pairs]
        emitting = [(BUS_SOURCE, rule) for rule in rules if _emitted(rule)]
        self.shedding.rebuild(listening + emitting)
        self._connect(rules)
        self._pair(rules)

    def _pair(self, rules: Collection[RunningRule]) -> None:
        """Tell each program which other one of its rule runs, and where they are compared: with one that only watches.

        One that has passed is kept warm to go back to it: that it differs is known.
        """
        by_key = {rule.key: rule for rule in rules}
        for rule in rules:
            rule.beside = by_key.get(candidate(rule.name) if rule.key.slot is Slot.ACTIVE else active(rule.name))
        for rule in rules:
            pair = [rule] if rule.beside is None else [rule, rule.beside]
            watching = [one for one in pair if not one.acts and one.row.standing is Standing.ON_TRIAL]
            if len(pair) < 2 or not watching:
                rule.shadow = None
            elif rule.shadow is None or rule.shadow is not pair[1].shadow:
                rule.shadow = pair[1].shadow = Shadow()

    def _connect(self, rules: Collection[RunningRule]) -> None:
        """Tell each rule whom it must not get ahead of. In a circle none waits for another: none would run."""
        direct = {rule.key: self._direct_listeners(rule) for rule in rules}
        reached = {key: _reached(key, direct) for key in direct}
        for rule in rules:
            direct_ones = (one for one in direct[rule.key].values() if not never_waits_for(rule, one))
            ahead = [one for one in direct_ones if rule.key not in reached[one.key]]
            rule.listeners = tuple(ahead)

    def _direct_listeners(self, rule: RunningRule) -> dict[RunKey, RunningRule]:
        names = _emitted(rule)
        if not rule.acts:  # what it emits goes nowhere
            return {}
        found = (self._listeners.get(Subscription(BUS_SOURCE, name), ()) for name in names)
        return {listener.key: listener for pairs in found for listener, _ in pairs if listener.acts}

    def subscriptions(self) -> dict[str, set[Subscription]]:
        """Return what sources are to deliver, by source; equal subscriptions of several rules are one."""
        wanted: dict[str, set[Subscription]] = defaultdict(set)
        for subscription, listeners in self._listeners.items():
            if subscription.source != BUS_SOURCE:
                keys = frozenset(rule.key for rule, _ in listeners)
                wanted[subscription.source].add(replace(subscription, rules=keys))
        return dict(wanted)

    def listens(self, name: str) -> bool:
        """Say whether a rule listens to emitted events of this name."""
        return Subscription(BUS_SOURCE, name) in self._listeners

    def _listening(self, event: IncomingEvent) -> list[tuple[RunningRule, int]]:
        listeners = self._listeners.get(event.subscription, [])
        return listeners if event.only is None else [pair for pair in listeners if pair[0].key in event.only]

    def _waited_for(self, listeners: Sequence[tuple[RunningRule, int]], key: str | None) -> list[RunningRule]:
        """Return the programs that an event's source and emitter wait for: the active ones, and who else acts on it.

        A slow candidate that only watches must not hold up the active program. Where no other is, all are waited for:
        somebody has to have recorded the event before it is acknowledged.
        """
        rules = [rule for rule, _ in listeners]
        if not self._has_candidates:
            return rules
        return [rule for rule in rules if rule.key.slot is Slot.ACTIVE or rule.acts_on(key)] or rules

    def waits_for(self, event: IncomingEvent) -> list[RunningRule]:
        """Return the rules that have no room for the event: its source keeps it until there are none."""
        listeners = self._listening(event) if event.can_wait else []
        full = (rule for rule in self._waited_for(listeners, event.key) if rule.is_full)
        return [rule for rule in full if not self.shedding.gives_way(rule, event.subscription.source)]

    def offer(self, event: IncomingEvent, now_us: int) -> None:
        """Queue an event for every rule that listens, or record why not."""
        listeners = self._listening(event)
        receipt = Receipt(max(1, len(self._waited_for(listeners, event.key))), event.done, mark=event.mark)
        if event.mark is not None:
            self._streams.take(event.mark)
        if not listeners:
            self._refuse(None, event.subscription, "no rule listens any more", now_us, receipt)
        arrival = _Arrival(event.subscription, event.payload, event.time_us, now_us, event.key, event.only)
        self._hand_out(listeners, arrival, receipt, event.rejected)

    def emit(self, event: Emitted, now_us: int, pending: tuple[int, int]) -> None:
        """Queue an event that a rule emitted; `pending` is its (seq, index) in the store, (0, 0) when it has none."""
        subscription = Subscription(BUS_SOURCE, event.name)
        listeners = self._listeners.get(subscription, [])
        receipt = Receipt(max(1, len(self._waited_for(listeners, event.key))), None, pending if pending[0] else None)
        if not listeners or event.hops > HOPS_MAX:
            receipt.left = 1
            reason = f"the event came through more than {HOPS_MAX} rules" if listeners else "no rule listens any more"
            self._refuse(None, subscription, reason, now_us, receipt)
            return
        # An emitter that waits for its listener may go beyond the bound with what one round emits.
        unbounded = frozenset(one.key for one in event.rule.listeners)
        arrival = _Arrival(subscription, event.payload, event.time_us, now_us, event.key, None, event.hops, unbounded)
        self._hand_out(listeners, arrival, receipt)

    def _hand_out(
        self, listeners: Sequence[tuple[RunningRule, int]], arrival: _Arrival, receipt: Receipt, rejected: str = ""
    ) -> None:
        """Give an event to all programs that listen. Of the two of a rule one acts on it; that is fixed here."""
        self._number += 1
        waited_for = {rule.key for rule in self._waited_for(listeners, arrival.key)} if self._has_candidates else None
        taken = set[str]()
        for rule, trigger in listeners:
            own = receipt if waited_for is None or rule.key in waited_for else None
            if rejected:
                self._refuse(rule, arrival.subscription, rejected, arrival.now_us, own, arrival.key)
            elif waited_for is None:
                self._queue(rule, trigger, arrival, own, Actuation.PERFORM)
            else:
                self._share(rule, trigger, arrival, own, taken)

    def _share(
        self, rule: RunningRule, trigger: int, arrival: _Arrival, receipt: Receipt | None, taken: set[str]
    ) -> None:
        """Queue an event for one of the two programs of a rule. `taken`: rules whose candidate acts on it."""
        if rule.key.slot is Slot.CANDIDATE:
            acts = rule.acts_on(arrival.key) and self._is_shared(rule, arrival)
        else:
            acts = rule.name not in taken
        if self._queue(rule, trigger, arrival, receipt, Actuation.PERFORM if acts else Actuation.WITHHOLD) and acts:
            taken.add(rule.name)

    def _is_shared(self, rule: RunningRule, arrival: _Arrival) -> bool:
        """Say whether a candidate may act on an event: not on one that the active program has had by itself before."""
        if arrival.only is None or rule.beside is None or rule.beside.key in arrival.only:
            return True
        return all(one is not rule.beside for one, _ in self._listeners.get(arrival.subscription, ()))

    def _queue(
        self, rule: RunningRule, trigger: int, arrival: _Arrival, receipt: Receipt | None, actuation: Actuation
    ) -> bool:
        """Queue an event for one program; False when it is refused and recorded so."""
        decoder, now_us = rule.decoders[trigger], arrival.now_us
        assert decoder is not None, "only triggers with a source have listeners"
        reason = ""
        if not 0 <= arrival.time_us < TIME_US_MAX:
            reason = "the event's time is out of range"
        elif rule.is_full and rule.key not in arrival.unbounded:
            shed = self.shedding.gives_way(rule, arrival.subscription.source)
            if shed:
                self.shedding.note(rule, now_us)
            reason = REASON if shed else "the rule does not keep up"
        else:
            try:
                inputs = decoder.from_mapping(arrival.payload)
            except RejectedEvent as error:
                reason = str(error)
        if reason:
            self._refuse(rule, arrival.subscription, reason, now_us, receipt, arrival.key)
            return False
        time_us, hops, number, key = arrival.time_us, arrival.hops, self._number, arrival.key
        rule.queue.append(QueuedEvent(trigger, inputs, time_us, now_us, receipt, hops, actuation, number, key))
        return True

    def drop_queue(self, rule: RunningRule, reason: str, now_us: int) -> None:
        """Reject everything that waits for a rule that goes away."""
        while rule.queue:
            event = rule.queue.popleft()
            self.reject(rule, event, reason, now_us)

    def reject(self, rule: RunningRule, event: QueuedEvent, reason: str, now_us: int) -> None:
        """Record that an event that was queued is not going to run."""
        trigger = rule.program.triggers[event.trigger]
        subscription = Subscription(trigger.source or trigger.kind.name.lower(), trigger.address)
        self._refuse(rule, subscription, reason, now_us, event.receipt, event.key)

    def _refuse(
        self,
        rule: RunningRule | None,
        subscription: Subscription,
        reason: str,
        now_us: int,
        receipt: Receipt | None,
        event_key: str | None = None,
    ) -> None:
        reason = plain_text(reason, REASON_CHARACTERS_MAX)
        if rule is not None:
            rule.health.reject(reason)
            if reason != REASON:  # which is no fault of the program
                rule.evidence.rejected += 1
                event = f"{subscription.source} {subscription.address}".strip()
                rule.evidence.note(FailureKind.REJECTED, now_us, reason, event=event, key=event_key)
        key = (rule.key if rule else None, subscription.source, subscription.address, reason)
        if key not in self._rejected and len(self._rejected) >= REJECTIONS_MAX:
            key = (None, "", "", "other")
        summary = self._rejected.setdefault(key, _Summary(0, now_us, now_us))
        summary.count += 1
        summary.last_us = now_us
        if receipt is not None and (
            receipt.done or receipt.pending or receipt.mark
        ):  # others would pile up while the disk refuses
            self.refused_receipts.append(receipt)

    @property
    def has_rejected(self) -> bool:
        """Whether rejections wait to be recorded."""
        return bool(self._rejected)

    def take_rejected(self) -> tuple[list[RejectedBody], list[Receipt]]:
        """Return the rejections to record, and the receipts that count down once they are."""
        bodies = [_rejected_body(*key, summary) for key, summary in self._rejected.items()]
        receipts, self.refused_receipts = self.refused_receipts, []
        self._rejected.clear()
        return bodies, receipts


def _rejected_body(key: RunKey | None, source: str, address: str, reason: str, summary: _Summary) -> RejectedBody:
    rule, slot = (key.rule, key.slot) if key else ("", Slot.ACTIVE)
    counted = (summary.count, summary.first_us, summary.last_us)
    return RejectedBody(rule, source, address, reason, *counted, slot.value)


def _emitted(rule: RunningRule) -> set[str]:
    return {site.capability for site in rule.program.sites if site.kind is SiteKind.EMIT}


def _is_active(pair: tuple[RunningRule, int]) -> bool:
    return pair[0].key.slot is Slot.ACTIVE


def _reached(key: RunKey, direct: Mapping[RunKey, Mapping[RunKey, RunningRule]]) -> set[RunKey]:
    """Return the rules that events of one rule can come to, by any number of `emit`."""
    found: set[RunKey] = set()
    waiting = list(direct[key])
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += direct[one]
    return found
