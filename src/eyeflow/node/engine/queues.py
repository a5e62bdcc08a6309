"""The queues of running programs: timers in their place, and what becomes of events when programs change places."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from eyeflow.node.engine.running import QueuedEvent, Receipt, RunningRule
from eyeflow.node.store.types import Actuation
from eyeflow.svm.scheduler import order_of


def reroute(active: RunningRule, candidate: RunningRule, takes: Callable[[str | None], bool]) -> None:
    """Let who acts on an event follow a change of the slots, where neither program has run it; `takes`: the candidate.

    Such events came while the change was made durable. As they were, one could be acted on after a later one.
    """
    both = {event.number for event in candidate.queue} & {event.number for event in active.queue} - {0}
    receipts = {event.number: event.receipt for event in active.queue if event.number in both}
    for rule, acts_if in ((active, False), (candidate, True)):
        for _ in range(len(rule.queue) if both else 0):
            event = rule.queue.popleft()
            if event.number in both:
                acts = Actuation.PERFORM if takes(event.key) is acts_if else Actuation.WITHHOLD
                event = event._replace(actuation=acts, receipt=_waited_for(event, acts, receipts[event.number]))
            rule.queue.append(event)


def _waited_for(event: QueuedEvent, acts: Actuation, receipt: Receipt | None) -> Receipt | None:
    """Return what counts an event down: whoever acts on it is waited for."""
    if event.receipt is None and receipt is not None and acts is Actuation.PERFORM:
        receipt.left += 1
        return receipt
    return event.receipt


def emitted(queue: Sequence[QueuedEvent]) -> int:
    """Return how many events of a queue have to run so that none waits any more that a rule emitted."""
    return max((place for place, event in enumerate(queue, 1) if event.hops), default=0)


def acting(candidate: Sequence[QueuedEvent], active: deque[QueuedEvent]) -> list[QueuedEvent]:
    """Return the events of a candidate, which now acts on those that the active program has not run. Takes them off it.

    Else an event that waits for both would run twice in the memory of the promoted program.
    """
    own = {event.number: event for event in active if event.number}
    acting = [_merged(event, own[event.number]) if event.number in own else event for event in candidate]
    taken = {event.number for event in candidate}
    left = [event for event in active if event.number not in taken or not event.number]
    active.clear()
    active.extend(left)
    return acting


def _merged(event: QueuedEvent, own: QueuedEvent) -> QueuedEvent:
    """Return one event for two copies of it: whichever was to act on it, and whoever waits for it."""
    if event.receipt is not None and own.receipt is not None:
        own.receipt.left -= 1  # one execution for both
    acts = own if own.actuation is Actuation.PERFORM else event
    return event._replace(actuation=acts.actuation, receipt=event.receipt or own.receipt)


def drop_run(candidate: Sequence[QueuedEvent], active: deque[QueuedEvent]) -> list[Receipt]:
    """Take off what the candidate has run and acted on already; return who waits for it still."""
    waiting = {event.number for event in candidate}
    done = [e for e in active if e.number and e.number not in waiting and e.actuation is Actuation.WITHHOLD]
    left = [event for event in active if event not in done]
    active.clear()
    active.extend(left)
    return [event.receipt for event in done if event.receipt is not None]


def queue_timer(rule: RunningRule, timer: QueuedEvent) -> None:
    """Queue a timer behind what comes before it, so that a node decides as `test` and `run` do; events keep theirs."""
    triggers, queue = rule.program.triggers, rule.queue
    place, own = len(queue), order_of(triggers[timer.trigger], timer.time_us)
    while place > 0 and order_of(triggers[queue[place - 1].trigger], queue[place - 1].time_us) > own:
        place -= 1
    queue.insert(place, timer)


def moved_event(event: QueuedEvent, step_us: int) -> QueuedEvent:
    """Return an event whose times follow a clock that was set."""
    return event._replace(time_us=event.time_us + step_us, arrived_us=event.arrived_us + step_us)


def emptied(receipts: Sequence[Receipt]) -> list[tuple[int, int]]:
    """Count the receipts of a round down; return the emitted events that every listener has had."""
    finished = []
    for receipt in receipts:
        # Before the commit, so that the row of an emitted event that all have had goes with the same batch.
        receipt.left -= 1
        if receipt.left == 0 and receipt.pending is not None:
            finished.append(receipt.pending)
    return finished
