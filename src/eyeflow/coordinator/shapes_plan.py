"""The schemas of plans."""

from __future__ import annotations

from eyeflow.coordinator.shape_words import COUNT, NODE_NAME, RULE, SCALAR, TEXT, Shape, array, closed

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
