"""The schemas of plans."""

from __future__ import annotations

from eyeflow.coordinator.replaying import TIMEOUT_S
from eyeflow.coordinator.shape_words import COUNT, NODE_NAME, RULE, SCALAR, TEXT, TIME_US, Shape, array, closed, names
from eyeflow.coordinator.shapes_cases import EVENT, TRACE
from eyeflow.protocol.replays import DIFFERENCES_SHOWN_MAX, DIFFERENCES_TOLD_MAX, REPLAY_S_MAX, Memory
from eyeflow.rollout.deployment import OBSERVE_S_MAX

_NAMES = array({"type": "string", "examples": ["trips"]})
_STATE = closed(
    "What becomes of state variables, by name; null when no program replaces another",
    {
        "kept": _NAMES,
        "reset": {**_NAMES, "description": "the type is another: they start anew"},
        "new": _NAMES,
        "dropped": _NAMES,
        "resetsTimeWords": {
            "type": "boolean",
            "description": "what `for 2s` and other time words remember starts anew",
            "examples": [False],
        },
    },
)
_VALUES: Shape = {"type": "object", "additionalProperties": SCALAR, "examples": [{"limit": 75.5}]}
_CHANGE = closed(
    "What becomes of one rule on a node, compared with what the node shall run now",
    {
        "rule": RULE,
        "change": {
            "type": "string",
            "enum": ["install", "replace", "configure", "remove", "none"],
            "description": "configure: the same program with other parameters",
            "examples": ["replace"],
        },
        "programId": TEXT,
        "programBefore": TEXT,
        "params": _VALUES,
        "paramsBefore": _VALUES,
        "state": {**_STATE, "type": ["object", "null"]},
    },
)

REPLAY_REQUEST = closed(
    "Let the nodes run the programs on their own records of the time before: where would they decide otherwise? "
    "Nothing is changed by it",
    {
        "spanS": {
            "type": "integer",
            "minimum": 1,
            "maximum": OBSERVE_S_MAX,
            "description": "how much time before now, in seconds",
            "examples": [86_400],
        },
        "timeoutS": {
            "type": "integer",
            "minimum": 1,
            "maximum": REPLAY_S_MAX,
            "default": TIMEOUT_S,
            "description": "how long nodes may take, in seconds: what they have got through by then, they tell",
            "examples": [60],
        },
    },
    ("spanS",),
)
_REPLAY_DIFFERENCE = closed(
    "One event that was decided otherwise than the program would have",
    {"timeUs": TIME_US, **EVENT, "active": TRACE, "candidate": TRACE},
)
_REPLAY = closed(
    "What a node found for one rule",
    {
        "node": NODE_NAME,
        "rule": RULE,
        "programId": TEXT,
        "problem": {
            "type": "string",
            "description": "why it could not, or not to the end; empty when it could",
            "examples": ["it is offline"],
        },
        "sinceUs": {**TIME_US, "description": "the time of the first event that was compared, 0 for none"},
        "untilUs": {**TIME_US, "description": "the time of the last one"},
        "memory": {
            **names(Memory),
            "description": "state and time words at the begin: known, or begun empty before the time (warm) or with it",
        },
        "events": {**COUNT, "description": "executions that are recorded in this time"},
        "differing": {**COUNT, "description": "those that it would have decided otherwise"},
        "unlike": {**COUNT, "description": "not comparable: the memory of then is not known"},
        "unanswered": {**COUNT, "description": "not comparable: it reads what was not read then"},
        "missing": {
            **array({"type": "string"}),
            "description": "its handlers for which nothing is recorded",
            "examples": [["mqtt sensors/wind: the program that ran has no such handler"]],
        },
        "differences": {
            **array(_REPLAY_DIFFERENCE),
            "description": f"the first {DIFFERENCES_SHOWN_MAX} at most, {DIFFERENCES_TOLD_MAX} of a node",
        },
    },
)

PLAN_SCHEMAS: dict[str, Shape] = {
    "Plan": closed(
        "What a deployment would do",
        {
            "strategy": TEXT,
            "steps": {**COUNT, "description": "how often it changes nodes, when all goes well"},
            "leastS": {**COUNT, "description": "for how long it watches in all: it cannot end before"},
            "untrusted": {
                "type": "array",
                "items": RULE,
                "description": "rules whose program no trusted key has signed: it would be refused",
            },
            "broken": array({"type": "string", "description": "what the policy does not allow", "examples": [""]}),
            "approval": {"type": "string", "description": "why another person must agree first", "examples": [""]},
            "replay": {
                "type": ["array", "null"],
                "items": _REPLAY,
                "examples": [None],
                "description": "by node and rule that it changes; null when it was not asked for",
            },
            "supersedes": array(
                closed(
                    "An open deployment that this one would end, with the nodes that it takes from it",
                    {"id": TEXT, "name": TEXT, "state": TEXT, "nodes": array(NODE_NAME)},
                )
            ),
            "nodes": array(
                closed(
                    "One node; with a problem the deployment is refused, or fails there",
                    {
                        "node": NODE_NAME,
                        "connected": {"type": "boolean", "examples": [True]},
                        "problems": array({"type": "string", "examples": ["does not grant gpio.set_pin"]}),
                        "changes": array(_CHANGE),
                    },
                )
            ),
        },
    )
}
