"""Overload: what of the least urgent rules is not run, so that more urgent ones are not held up by it.

A rule that does not keep up makes its sources wait, and with them every other rule of these sources. For a rule of
priority `low` or `background` nobody more urgent waits: while its queue is full, its events are rejected, and recorded
with their reason. Rules of the other levels never lose an event by this.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable

from eyeflow.node.engine.running import RunningRule
from eyeflow.svm.program import Priority

_log = logging.getLogger("eyeflow.node")

GIVING_WAY = frozenset({Priority.LOW, Priority.BACKGROUND})
REASON = "overload: more urgent rules go first"
CALM_US = 10_000_000
"""After so long without an event that was shed, an overload is over."""


class Shedding:
    """Who gives way to whom, and what that has cost."""

    def __init__(self) -> None:
        self._most_urgent: dict[str, Priority] = {}
        self._since_us = self._last_us = 0
        self._shed: Counter[str] = Counter()
        self.total = 0

    def rebuild(self, listening: Iterable[tuple[str, RunningRule]]) -> None:
        """Take who listens to which source; an emitter counts for the bus as well."""
        self._most_urgent = {}
        for source, rule in listening:
            before = self._most_urgent.get(source, rule.program.priority)
            self._most_urgent[source] = min(before, rule.program.priority)

    def gives_way(self, rule: RunningRule, source: str) -> bool:
        """Whether a rule that is full does not run an event of `source`, which more urgent rules share."""
        level = rule.program.priority
        return level in GIVING_WAY and rule.is_full and self._most_urgent.get(source, level) < level

    def note(self, rule: RunningRule, now_us: int) -> None:
        """An event was shed."""
        if not self._since_us:
            self._since_us = now_us
            _log.warning("overload: events of %s are rejected, so that more urgent rules go on", rule.key)
        self._last_us = now_us
        self._shed[rule.name] += 1
        self.total += 1

    def look(self, now_us: int) -> None:
        """Say once that an overload is over."""
        if self._since_us and not self._lasts(now_us):
            told = ", ".join(f"{count} of {name}" for name, count in sorted(self._shed.items()))
            _log.warning("the overload is over: %s events were rejected (%s)", self._shed.total(), told)
            self._since_us = 0
            self._shed.clear()

    def _lasts(self, now_us: int) -> bool:
        return abs(now_us - self._last_us) < CALM_US

    def as_dict(self, now_us: int) -> dict[str, object]:
        """Return the overload of now as a port shows its state, with what was shed since the node started."""
        lasts = bool(self._since_us) and self._lasts(now_us)
        detail = f"{REASON}: {', '.join(sorted(self._shed))} does not keep up" if lasts else ""
        return {
            "state": "failed" if lasts else "up",
            "detail": detail,
            "since_us": self._since_us if lasts else 0,
            "shed": self.total,
        }


def never_waits_for(emitter: RunningRule, listener: RunningRule) -> bool:
    """Whether a rule emits on though a listener is full: that one gives way."""
    level = listener.program.priority
    return level in GIVING_WAY and emitter.program.priority < level
