"""Which filters the node's rules want, what it asks the broker for, and which rules a message is for. No I/O.

A broker of MQTT 5 with subscription identifiers says which filters a message was sent for. An identifier holds a hash
of its filter: a session keeps messages over a restart of the node, which must read them as the run before did. It also
holds how often the filter was asked for anew, so that the retained messages that a new rule brings go to it alone.

Without identifiers the topic decides. Then filters that another one covers are not asked for, because a broker may send
a message once for each; and a shared subscription that meets another filter cannot be told from it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from eyeflow.node.io.mqtt.topics import TopicIndex, covers, overlaps, without_covered
from eyeflow.node.run_key import RunKey
from eyeflow.svm.addresses import is_shared

TIMES = 256
HASHES = 2**20
"""An identifier is `hash * TIMES + times`, at most 268,435,455 (MQTT 5.0, 3.8.2.1.2)."""
MEETS = "it meets another filter, and this broker does not say which of them a message is for"

STRUCK = "the broker ends the connection when it is asked for this"


@dataclass(frozen=True, slots=True)
class Asked:
    """One SUBSCRIBE: its identifier (0: none), and whether retained messages are wanted although it may be old."""

    identifier: int
    retained: bool


class Filters:
    """The wanted filters with their rules. A rule is *new* at a filter until its SUBSCRIBE was sent."""

    def __init__(self) -> None:
        self._rules: dict[str, frozenset[RunKey]] = {}
        self._index = TopicIndex(())
        self._by_hash: dict[int, list[str]] = {}
        self._new: dict[str, frozenset[RunKey]] = {}
        self._times: dict[str, int] = {}
        self._retained_for: dict[int | str, frozenset[RunKey]] = {}
        self._refused: dict[str, str] = {}
        self._silent: set[str] = set()
        self.has_identifiers = True

    def change(self, wanted: Mapping[str, frozenset[RunKey]], *, running: bool) -> None:
        """Replace the wanted filters; before the node runs, no rule is new: the last run had it already."""
        for topic_filter, rules in wanted.items():
            added = rules - self._rules.get(topic_filter, frozenset())
            if running and added:
                self._new[topic_filter] = self._new.get(topic_filter, frozenset()) | added
        self._rules, self._index = dict(wanted), TopicIndex(wanted)
        self._by_hash = {}
        for f in wanted:
            self._by_hash.setdefault(_hash(f), []).append(f)
        self._new = {f: new & wanted[f] for f, new in self._new.items() if f in wanted}

    def to_ask(self, problem: Callable[[str], str]) -> dict[str, bool]:
        """Return the filters to ask the broker for, and whether a rule is new at any that they stand for.

        `problem` says why a filter is not to be asked for, with an empty text when it is.
        """
        found = {f: problem(f) or (MEETS if self._is_unclear(f) else "") for f in self._rules}
        self._refused = {f: reason for f, reason in found.items() if reason}
        self._silent = {f for f, reason in found.items() if reason not in {"", STRUCK}}
        able = frozenset(f for f, reason in found.items() if not reason)
        asked = able if self.has_identifiers else without_covered(able)
        return {f: any(self._new.get(one) for one in self._stands_for(f)) for f in asked}

    def _is_unclear(self, topic_filter: str) -> bool:
        if self.has_identifiers or not is_shared(topic_filter):
            return False
        return any(f != topic_filter and overlaps(f, topic_filter) for f in self._rules)

    def _stands_for(self, topic_filter: str) -> list[str]:
        return [topic_filter] if self.has_identifiers else [f for f in self._rules if covers(topic_filter, f)]

    def ask(self, topic_filter: str) -> Asked:
        """Return how to subscribe to one filter of `to_ask` now."""
        new = {f: self._new[f] for f in self._stands_for(topic_filter) if self._new.get(f)}
        if self.has_identifiers and new:
            self._times[topic_filter] = self._times.get(topic_filter, 0) % (TIMES - 1) + 1
        identifier = _hash(topic_filter) * TIMES + self._times.get(topic_filter, 0) if self.has_identifiers else 0
        for f in self._stands_for(topic_filter):
            key = identifier or f
            if new:
                self._retained_for[key] = new.get(f, frozenset())
            else:
                self._retained_for.pop(key, None)
        return Asked(identifier, bool(new))

    def answered(self, topic_filter: str) -> None:
        """The broker took a filter: nobody is new at it any more."""
        for f in self._stands_for(topic_filter):
            self._new.pop(f, None)

    @property
    def refused(self) -> Mapping[str, str]:
        """Filters that are not asked for, with the reason; as of the last `to_ask`."""
        return self._refused

    def route(
        self, topic: str, identifiers: Iterable[int] | None, retained: bool
    ) -> dict[str, frozenset[RunKey] | None]:
        """Return the filters a message is for, and for which of their rules, None for all of them."""
        found: dict[str, frozenset[RunKey] | None] = {}
        fitting = self._index.fitting(topic)
        for key, f in self._candidates(fitting, identifiers):
            if f not in self._silent:  # one that is left out for a while is in the session, perhaps
                only = self._retained_for.get(key) if retained else None
                if only is None:
                    found[f] = None
                elif only:
                    found.setdefault(f, only)
        return found

    def _candidates(self, fitting: list[str], identifiers: Iterable[int] | None) -> list[tuple[int | str, str]]:
        if identifiers is None:
            return [(f, f) for f in fitting]
        # Two filters may have one hash, and a session may name a filter of an earlier run: the topic must fit, too.
        return [(one, f) for one in identifiers for f in self._by_hash.get(one // TIMES, ()) if f in fitting]


def _hash(topic_filter: str) -> int:
    digest = hashlib.sha256(topic_filter.encode()).digest()
    return int.from_bytes(digest[:4], "big") % (HASHES - 1) + 1
