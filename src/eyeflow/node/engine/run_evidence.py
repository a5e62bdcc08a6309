"""What a program did in a slot since it began there for a deployment: the counts that it is judged by.

They are of the program, the slot and the deployment, not of the node's process: `Core` lets the store keep them every
few seconds, in the transaction that records what they count, so that nothing is counted twice.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from eyeflow.node.store.types import EvidenceRow, SlotRow
from eyeflow.protocol.executions import EVENT_CHARS_MAX, FAILURES_MAX, WHAT_CHARS_MAX, FailureKind
from eyeflow.protocol.wire import cut

EVIDENCE_US = 2_000_000
"""How often the store keeps counts that changed, with a batch that it is given anyhow."""
ALONE_US = 1_000_000
"""How much longer they wait for such a batch before they get one of their own. A crash loses at most both times."""

COUNTS = (
    "began_us",
    "boots",
    "executions",
    "acted",
    "traps",
    "failed_actions",
    "missed_deadlines",
    "rejected",
    "differing",
    "latency_us_sum",
    "latency_us_max",
)


class FailureNote(NamedTuple):
    """One execution that failed, or an event that could not be run; `seq` is its audit record, 0 when it has none.

    `event` and `key` are known here where there is no record, empty otherwise.
    """

    kind: FailureKind
    time_us: int
    what: str
    seq: int = 0
    event: str = ""
    key: str = ""


@dataclass(slots=True)
class RunEvidence:
    """The counts of a program that runs: `messages.Evidence` says what each is. Times and latency in microseconds.

    `pending` is not stored: the outbox holds the actions that have not ended.
    """

    began_us: int
    boots: int = 0
    executions: int = 0
    acted: int = 0
    pending: int = 0
    traps: int = 0
    failed_actions: int = 0
    missed_deadlines: int = 0
    rejected: int = 0
    differing: int = 0
    latency_us_sum: int = 0
    latency_us_max: int = 0
    judged: str = ""
    """What the node's own judgement remembers, as JSON."""
    failed: deque[FailureNote] = field(default_factory=lambda: deque(maxlen=FAILURES_MAX))
    """The newest failures: what a post-mortem shows."""
    kept: EvidenceRow | None = None
    """What the store was last given."""

    def note(
        self, kind: FailureKind, time_us: int, what: str, seq: int = 0, event: str = "", key: str | None = None
    ) -> None:
        """Keep how an execution failed; the oldest goes."""
        texts = cut(what, WHAT_CHARS_MAX), seq, cut(event, EVENT_CHARS_MAX), cut(key or "", EVENT_CHARS_MAX)
        self.failed.append(FailureNote(kind, max(0, time_us), *texts))

    def waited(self, latency_us: int) -> None:
        """Count how long an event took from its arrival to its commit."""
        if latency_us > 0:  # less only where the clock was set back meanwhile
            self.latency_us_sum += latency_us
            if latency_us > self.latency_us_max:
                self.latency_us_max = latency_us

    def row(self, of: SlotRow) -> EvidenceRow:
        """Return the counts of the program `of` as the store keeps them."""
        counts: Any = {name: getattr(self, name) for name in COUNTS}
        return EvidenceRow(
            of.key, of.program_id, of.deployment, **counts, judged=self.judged, failed=_dump(self.failed)
        )

    def news(self, of: SlotRow) -> EvidenceRow | None:
        """Return the counts if the store has others, and take them for kept."""
        row = self.row(of)
        if row == self.kept:
            return None
        self.kept = row
        return row


def evidence_of(row: EvidenceRow | None, of: SlotRow, now_us: int, *, clean: bool) -> RunEvidence:
    """Return the counts that a stored program goes on with at a start of the node.

    `clean`: the node stopped in good order before, so that this start says nothing against the program.
    """
    if row is None or (row.program_id, row.deployment) != (of.program_id, of.deployment):
        return RunEvidence(now_us)
    counts: Any = counts_of(row)
    found = RunEvidence(**counts, judged=row.judged, kept=row)
    found.failed.extend(notes_of(row))
    found.boots += not clean
    return found


def counts_of(row: EvidenceRow) -> dict[str, int]:
    """Return the counts as JSON-able data."""
    return {name: getattr(row, name) for name in COUNTS}


def _dump(notes: Iterable[FailureNote]) -> str:
    found = [[kind.value, *rest] for kind, *rest in notes]
    return json.dumps(found) if found else ""


def notes_of(row: EvidenceRow) -> list[FailureNote]:
    """Return the failures that the store kept of a program, the oldest first."""
    return [FailureNote(FailureKind(kind), *rest) for kind, *rest in json.loads(row.failed or "[]")]


class EvidenceKeeper:
    """Decides when the store is to keep the counts of the programs that run: every EVIDENCE_US, if there is news."""

    def __init__(self) -> None:
        self._has_news, self._due_us = False, 0

    @property
    def due_us(self) -> int | None:
        """When there is something to keep though nothing else is; None: never."""
        return self._due_us + ALONE_US if self._has_news else None

    def take(self, counted: Iterable[tuple[SlotRow, RunEvidence]], has_news: bool, now_us: int) -> list[EvidenceRow]:
        """Return what is to be kept with the batch of now. `has_news`: that batch counts something."""
        self._has_news |= has_news
        if not self._has_news or now_us < self._due_us:
            return []
        self._has_news, self._due_us = False, now_us + EVIDENCE_US
        return [row for of, evidence in counted if (row := evidence.news(of)) is not None]

    def not_kept(self) -> None:
        """The store has not got what was taken last."""
        self._has_news = True

    def hurry(self) -> None:
        """Keep all with the next batch: the node stops, or may end."""
        self._has_news, self._due_us = True, 0

    def clock_was_set(self, step_us: int) -> None:
        """Keep the pace."""
        self._due_us += step_us
