"""The schemas of single executions: those that failed, and those on which two programs decided otherwise."""

from __future__ import annotations

from eyeflow.coordinator.shape_words import COUNT, HEX32, NODE_NAME, RULE, TIME_US, Shape, array, closed, names
from eyeflow.coordinator.store.cases import CASES_MAX
from eyeflow.protocol.executions import FailureKind
from eyeflow.protocol.slot import Slot

_LINES = {**array({"type": "string"}), "examples": [["gpio.set_pin(RELAY, HIGH) at line 14"]]}
_TRACE = {
    "seq": {**COUNT, "description": "the number of its audit record on the node, 0 for none"},
    "reads": {**_LINES, "description": "what it read", "examples": [["adc.read_channel(0) = 850"]]},
    "decided": {**_LINES, "description": "its actions and its trap, with lines of the rule"},
}
TRACE = closed("What one program did on one event", _TRACE)
EVENT: Shape = {
    "event": {
        "type": "string",
        "description": "what it was about; empty when the node has forgotten it",
        "examples": ["mqtt sensors/temp: value = 85.0"],
    },
    "key": {"type": "string", "description": "the event's key, empty for none", "examples": [""]},
}
_EPOCH = {**COUNT, "description": "the epoch of the node's audit records"}
_FAILURE = closed(
    "One execution that failed, or an event that could not be run",
    {
        "node": NODE_NAME,
        "rule": RULE,
        "slot": names(Slot),
        "programId": HEX32,
        "kind": names(FailureKind),
        "timeUs": TIME_US,
        **EVENT,
        "what": {"type": "string", "examples": ["trap DIV_BY_ZERO at line 12"]},
        "epoch": _EPOCH,
        **_TRACE,
    },
)
_DIFFERENCE = closed(
    "One event on which a candidate that acts on nothing decided otherwise than the active program",
    {
        "node": NODE_NAME,
        "rule": RULE,
        "programId": HEX32,
        "timeUs": TIME_US,
        **EVENT,
        "epoch": _EPOCH,
        "active": TRACE,
        "candidate": TRACE,
    },
)
_NEWEST = f"the newest {CASES_MAX} at most, newest first; of many nodes each is heard"
CASES: Shape = {
    "failures": {**array(_FAILURE), "description": f"executions that failed: {_NEWEST}"},
    "differences": {**array(_DIFFERENCE), "description": f"where a shadow decided otherwise: {_NEWEST}"},
}
