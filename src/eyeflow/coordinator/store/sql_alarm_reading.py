"""The questions of `alarms` as SQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eyeflow.coordinator.store.alarms import OF_NODES, Alarm, AlarmKind, AlarmsAsked
from eyeflow.coordinator.store.lists import Page
from eyeflow.coordinator.store.sql import Row, Sql
from eyeflow.coordinator.store.sql_lists import Conditions, page_of

_ALARM = "number, kind, subject, since_us, evidence, ended_us, ended, seen_us, seen_by, note"


class SqlAlarmReading:
    """Satisfies `AlarmReading`."""

    _db: Sql

    def alarm(self, number: int) -> Alarm | None:
        """Return one alarm."""
        found = self._db.rows(f"SELECT {_ALARM} FROM alarms WHERE number = ?", [number])
        return _alarm_of(found[0]) if found else None

    def open_alarms(self) -> Sequence[Alarm]:
        """Return the alarms that last, the oldest first."""
        found = self._db.rows(f"SELECT {_ALARM} FROM alarms WHERE ended_us = 0 ORDER BY number", [])
        return [_alarm_of(row) for row in found]

    def alarm_page(self, asked: AlarmsAsked) -> Page[Alarm]:
        """Return alarms, the newest first."""
        where = Conditions()
        where.among("kind", asked.kinds)
        where.since("since_us", asked.since_us)
        where.behind("number", asked.after, falls=True)
        if asked.is_open is not None:
            where.add("ended_us = 0" if asked.is_open else "ended_us > 0")
        if asked.is_seen is not None:
            where.add("seen_us > 0" if asked.is_seen else "seen_us = 0")
        if asked.node:
            where.same("subject", asked.node)
            where.among("kind", OF_NODES)
        found = self._db.rows(
            f"SELECT {_ALARM} FROM alarms {where.sql} ORDER BY number DESC LIMIT ?", [*where.values, asked.limit + 1]
        )
        return page_of(found, asked.limit, lambda row: (row[0],), _alarm_of)


def _alarm_of(row: Row) -> Alarm:
    number, kind, *rest = row
    fields: list[Any] = rest
    return Alarm(number, AlarmKind(kind), *fields)
