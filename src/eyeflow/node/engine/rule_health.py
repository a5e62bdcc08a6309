"""What a running rule's health is judged by: counters and latency, cheap enough for every execution."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

from eyeflow.svm.opcodes import Trap

SAMPLES_MAX = 1024
REASONS_MAX = 32
"""Different reasons of rejected events that are told apart for each rule; the rest counts as `other`."""


@dataclass(slots=True)
class RuleHealth:
    """Counters of a program in a slot since it began there or the node started. Latency: arrival to commit, in us."""

    executions: int = 0
    skipped: int = 0
    traps: Counter[int] = field(default_factory=Counter)
    capability_failures: int = 0
    actions: int = 0
    repeated: int = 0
    withheld: int = 0
    action_retries: int = 0
    action_failures: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    missed: int = 0
    last_error: str = ""
    last_error_us: int = 0
    last_event_us: int = 0
    latencies_us: deque[int] = field(default_factory=lambda: deque(maxlen=SAMPLES_MAX))

    def reject(self, reason: str) -> None:
        """Count a rejected event."""
        known = reason in self.rejected or len(self.rejected) < REASONS_MAX
        self.rejected[reason if known else "other"] += 1

    def fail(self, message: str, now_us: int) -> None:
        """Keep the last thing that went wrong."""
        self.last_error, self.last_error_us = message, now_us

    def as_dict(self) -> dict[str, object]:
        """Return JSON-able data; traps by name, the most frequent reasons of rejected events under `reasons`."""
        ordered = sorted(self.latencies_us)
        return {
            "executions": self.executions,
            "skipped": self.skipped,
            "trapped": self.traps.total(),
            "traps": {Trap(code).name: count for code, count in sorted(self.traps.items())},
            "capability_failures": self.capability_failures,
            "actions": self.actions,
            "repeated": self.repeated,
            "withheld": self.withheld,
            "action_retries": self.action_retries,
            "action_failures": self.action_failures,
            "rejected": self.rejected.total(),
            "rejected_reasons": dict(self.rejected.most_common()),
            "missed": self.missed,
            "last_error": self.last_error,
            "last_error_us": self.last_error_us,
            "last_event_us": self.last_event_us,
            "latency_p50_us": _quantile(ordered, 50),
            "latency_p99_us": _quantile(ordered, 99),
        }


def _quantile(ordered: list[int], percent: int) -> int | None:
    """Return the nearest-rank percentile, None of nothing."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)] if ordered else None
