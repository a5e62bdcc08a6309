"""The schemas of alarms."""

from __future__ import annotations

from eyeflow.coordinator.shape_words import TEXT, TIME_US, Shape, closed, names, page_of
from eyeflow.coordinator.store.alarms import NOTE_CHARS_MAX, AlarmKind

_NOTE: Shape = {"type": "string", "maxLength": NOTE_CHARS_MAX, "examples": ["Anna looks at the pump"]}
ALARM_SCHEMAS: dict[str, Shape] = {
    "Alarm": closed(
        "Something that needs a person; it ends by itself when it is so no more",
        {
            "id": {**TEXT, "examples": ["7"]},
            "kind": names(AlarmKind),
            "subject": {
                **TEXT,
                "description": "the node, the deployment by its id, or machine and file of the certificate",
                "examples": ["node-prod-01"],
            },
            "sinceUs": TIME_US,
            "evidence": {**TEXT, "description": "what shows it"},
            "nextStep": {**TEXT, "description": "what to do; empty when it has ended"},
            "open": {"type": "boolean", "description": "it lasts", "examples": [True]},
            "endedUs": TIME_US,
            "ended": {**TEXT, "description": "by what it ended; empty while it lasts"},
            "acknowledgedUs": TIME_US,
            "acknowledgedBy": {**TEXT, "description": "the name of the token, empty for nobody"},
            "note": _NOTE,
        },
    ),
    "Alarms": page_of("Alarms, the newest first", "alarms", "Alarm"),
    "Acknowledgement": closed("A note for others; the log keeps it with your name", {"note": _NOTE}, ()),
}
