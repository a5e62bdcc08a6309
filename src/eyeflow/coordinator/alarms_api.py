"""`/api/alarms`: what needs a person, and who has taken note of it."""

from __future__ import annotations

from typing import Any

from eyeflow.coordinator.alarms import found_alarm
from eyeflow.coordinator.api import Call, Reply
from eyeflow.coordinator.hub import Hub
from eyeflow.coordinator.lists_api import PAGING, answer, limit_of, since
from eyeflow.coordinator.queries import Param, key_of
from eyeflow.coordinator.shape_words import NODE_NAME, names
from eyeflow.coordinator.store.alarms import Alarm, AlarmKind, AlarmsAsked

ALARMS_QUERY = (
    *PAGING,
    Param("kind", names(AlarmKind), "what it is about; again: or this", is_list=True),
    Param("open", {"type": "boolean", "examples": [True]}, "true: it lasts; false: it has ended"),
    Param("acknowledged", {"type": "boolean", "examples": [False]}, "whether somebody has taken note of it"),
    Param("node", NODE_NAME, "it is about this node"),
    since("begun"),
)


async def list_alarms(hub: Hub, call: Call) -> Reply:
    """Return alarms, the newest first, a page at a time."""
    query = call.query
    asked = AlarmsAsked(
        limit_of(query),
        key_of(query, int),
        frozenset(AlarmKind(value) for value in query.get("kind", ())),
        query.get("open"),
        query.get("acknowledged"),
        query.get("node", ""),
        query.get("sinceUs", 0),
    )
    page = await hub.store.read(lambda reading: reading.alarm_page(asked))
    return Reply(200, answer("alarms", [alarm_view(one) for one in page.rows], page))


async def get_alarm(hub: Hub, call: Call) -> Reply:
    """Return one alarm."""
    return Reply(200, alarm_view(await hub.store.read(lambda reading: found_alarm(reading, call.path["id"]))))


async def acknowledge_alarm(hub: Hub, call: Call) -> Reply:
    """Take note of an alarm, with a note for others; again: in place of the one before."""
    note = call.body.get("note", "")
    done = await hub.alarms.acknowledge(call.path["id"], call.actor.name, note, hub.clock())
    return Reply(200, alarm_view(done))


def alarm_view(alarm: Alarm) -> dict[str, Any]:
    """Return an `Alarm`."""
    return {
        "id": str(alarm.number),
        "kind": alarm.kind.value,
        "subject": alarm.subject,
        "sinceUs": alarm.since_us,
        "evidence": alarm.evidence,
        "nextStep": "" if alarm.ended_us else alarm.next_step,
        "open": not alarm.ended_us,
        "endedUs": alarm.ended_us,
        "ended": alarm.ended,
        "acknowledgedUs": alarm.seen_us,
        "acknowledgedBy": alarm.seen_by,
        "note": alarm.note,
    }
