"""What the engine's core hands to its shell: one round of executions, and what may happen once it is durable.

What is made anew for every event is a tuple: a frozen dataclass takes four times as long to make.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from eyeflow.node.engine.run_evidence import RunEvidence
from eyeflow.node.engine.running import QueuedEvent, Receipt, RunningRule
from eyeflow.node.run_key import RunKey
from eyeflow.node.store.types import Batch, PendingRow
from eyeflow.node.streams import Streams
from eyeflow.svm.execution import Execution
from eyeflow.svm.program import Site, Value

LOG = "log."


class Ran(NamedTuple):
    """One execution that has run and is not recorded yet, with the time and local offset that it saw, in us."""

    rule: RunningRule
    event: QueuedEvent
    execution: Execution
    time_us: int
    utc_offset_us: int


class Executed(NamedTuple):
    """One execution of a round. `draft` is the place of its record among the drafts of the batch."""

    ran: Ran
    draft: int


class PlannedAction(NamedTuple):
    """An action to perform: number `index` of its execution, its site, its arguments by name, its resource's key.

    `ends` is the count of one that a crash left (`tries`).
    """

    index: int  # type: ignore[assignment]  # a tuple's own `index` looks for an element; nobody asks for that
    site: Site
    named: Mapping[str, Value]
    resource: str
    ends: int = 0


class Planned(NamedTuple):
    """The actions of one execution that are to be performed after the commit, in order."""

    rule: RunningRule
    draft: int
    actions: Sequence[PlannedAction]


class Emitted(NamedTuple):
    """An event that `rule` emitted and others listen to; `index` is its place among the actions of its execution."""

    rule: RunningRule
    name: str
    payload: Mapping[str, object]
    time_us: int
    draft: int
    index: int  # type: ignore[assignment]
    hops: int
    key: str | None = None


@dataclass(slots=True)
class Round:
    """A batch for the store and everything that waits for its commit."""

    batch: Batch
    executed: list[Executed] = field(default_factory=list)
    planned: list[Planned] = field(default_factory=list)
    emitted: list[Emitted] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)
    saved: dict[RunKey, bytes] = field(default_factory=dict)
    counted: list[Callable[[], None]] = field(default_factory=list)
    """Who waits until the counts of `batch.tried` are durable."""


def mark(streams: Streams, round_: Round) -> None:
    """Let the next commit keep which events of streams all have recorded with this round, and which only some."""
    for receipt in round_.receipts:
        if receipt.mark is not None and receipt.left == 0:
            streams.done(receipt.mark)
    for done in round_.executed:
        own = done.ran.event.receipt
        if own is not None and own.mark is not None and own.left > 0:
            streams.ran_by(own.mark, done.ran.rule.key)


def pending_rows(round_: Round) -> list[PendingRow]:
    """Return what must not be forgotten before it has ended: actions to perform and events to hand on."""
    executed = {done.draft: done.ran for done in round_.executed}
    places = [(p.draft, action.index) for p in round_.planned for action in p.actions]
    places += [(event.draft, event.index) for event in round_.emitted]
    return [_pending_row(executed[draft], draft, index) for draft, index in places]


def _pending_row(ran: Ran, draft: int, index: int) -> PendingRow:
    action, program_id = ran.execution.actions[index], ran.rule.loaded.program_id
    where = (draft, index, ran.rule.key, program_id, action.site)
    return PendingRow(*where, action.args, ran.time_us, ran.event.hops + 1, ran.event.key)


@dataclass(slots=True)
class Dispatch:
    """Actions of one recorded execution, on their way to the drivers; `seq` 0: the execution has no record.

    `program_id` is the program that decided them, in the slot of `key`, `signers` are the keys that signed it; another
    may run there by now. `evidence` counts how the execution ends; None: another program performs what a crash left.
    `has_acted`: it is pending no more; `has_failed`: it was counted as one that failed in its actions.
    """

    rule: RunningRule
    key: RunKey
    program_id: bytes
    seq: int
    actions: Sequence[PlannedAction]
    signers: tuple[bytes, ...]
    evidence: RunEvidence | None = None
    has_acted: bool = False
    has_failed: bool = False

    @property
    def last_acting(self) -> int:
        """The number of its last action that counts, -1: none does."""
        return last_acting(self.actions)


def last_acting(actions: Sequence[PlannedAction]) -> int:
    """Return the number of the last action that counts, -1: none does.

    A log line on every event would make a valve that never opens look like a rare failure.
    """
    for one in reversed(actions):
        if not one.site.capability.startswith(LOG):
            return one.index
    return -1
