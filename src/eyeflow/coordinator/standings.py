"""How nodes do, as far as it is written down, so that thousands are counted and sorted without all that they told.

What a node told last stays in memory. Only when something happened, or half a minute has passed, is it written.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from eyeflow.coordinator.healths import health_list, standing
from eyeflow.coordinator.rates import Rates
from eyeflow.coordinator.store.facts import Seen
from eyeflow.protocol.boards import as_plain
from eyeflow.protocol.messages import HealthKind, HealthState, Status

SEEN_S = 30
"""How often the time a node was last seen is written down."""
UNHEARD_S = 30
"""A node with a link tells its status every few seconds: one that did not for this long is not heard."""
STORE = "store"
"""The port of a node that says how its store does."""
SILENT_S = SEEN_S + UNHEARD_S + 5
"""What is written down is older than what was heard: a node that was seen so long ago is surely not heard."""


@dataclass(frozen=True, slots=True)
class _Told:
    """What the status of a node says of how it does. `standing` has no counters in it."""

    standing: list[dict[str, Any]]
    failed: int
    waiting: int
    gaps: int
    lost_records: int


class Standings:
    """What is written down of nodes, by name. `is_shared`: other coordinators read it, and want its counters, too."""

    def __init__(self, *, is_shared: bool) -> None:
        self._is_shared = is_shared
        self._told: dict[str, _Told] = {}
        self._written: dict[str, tuple[int, list[dict[str, Any]], bool, int]] = {}
        """When a node had been seen, its standing, whether it was silent, and its gaps, as they were written last."""
        self._handed: dict[str, tuple[int, list[dict[str, Any]], bool, int]] = {}
        """The same, of what is being written."""

    def saw(self, name: str, status: Status) -> None:
        """The node told its status."""
        failed = sum(one.state is HealthState.FAILED for one in status.health)
        waiting = sum(dict(one.counters).get("waiting", 0) for one in status.health if one.kind is HealthKind.RULE)
        ports = (dict(one.counters) for one in status.health if one.kind is HealthKind.PORT and one.name == STORE)
        store = next(ports, {})
        lost = (store.get("gaps", 0), store.get("dropped_records", 0))
        self._told[name] = _Told(standing(health_list(status)), failed, waiting, *lost)

    def waiting(self, names: Iterable[str]) -> int:
        """Return how many events wait in the queues of these nodes."""
        return sum(self._told[name].waiting for name in names if name in self._told)

    def due(
        self, health: Mapping[str, Status], seen_us: Mapping[str, int], rates: Mapping[str, Rates], now_us: int
    ) -> list[Seen]:
        """Return what is to be written down now; `wrote` says that it was."""
        found, self._handed = [], {}
        for name, told in self._told.items():
            is_silent = now_us - seen_us[name] > UNHEARD_S * 1_000_000
            before_us, before, was_silent, gaps = self._written.get(name, (0, [], False, 0))
            is_news = told.standing != before or is_silent != was_silent or told.gaps != gaps
            if not is_news and seen_us[name] - before_us < SEEN_S * 1_000_000:
                continue
            status = health[name]
            text = json.dumps(health_list(status)) if is_news or self._is_shared else ""
            numbers = (status.epoch, status.next_seq, seen_us[name], text, told.failed, told.waiting)
            executions, errors = (rate or 0.0 for rate in rates[name].a_minute())
            lost = (told.gaps, told.lost_records)
            board = "" if status.board is None else json.dumps(as_plain(status.board))
            found.append(Seen(name, *numbers, executions, errors, is_silent, is_news, *lost, board))
            self._handed[name] = (seen_us[name], told.standing, is_silent, told.gaps)
        return found

    def wrote(self) -> None:
        """What was due was written down. A node that was forgotten meanwhile stays so."""
        self._written |= {name: one for name, one in self._handed.items() if name in self._told}

    def forget(self, name: str) -> None:
        """The node was removed, or its link is another coordinator's."""
        self._told.pop(name, None)
        self._written.pop(name, None)
