"""The parts of the REST API's schemas that are about deployments: what one asks for, and what one sees of it."""

from __future__ import annotations

from eyeflow.coordinator.shape_words import (
    COUNT,
    HEX32,
    NODE_NAME,
    RULE,
    SCALAR,
    TEXT,
    TIME_US,
    Shape,
    array,
    closed,
    names,
)
from eyeflow.evidence.verdict import Kind
from eyeflow.protocol.wire import PARAMS_MAX
from eyeflow.rollout.deployment import (
    BOARD_PROGRAMS_MAX,
    DEADLINE_S_MAX,
    NODES_MAX,
    OBSERVE_S_MAX,
    OFFLINE_S,
    STEPS_MAX,
    DeploymentState,
)
from eyeflow.rollout.strategies import STRATEGIES

LABELS_MAX = 32
"""Labels of one node."""

PARAMS: Shape = {
    "type": "object",
    "description": "values of the rule's parameters by name; an enum by its member's name, a duration in microseconds",
    "maxProperties": PARAMS_MAX,
    "additionalProperties": SCALAR,
    "examples": [{"limit": 75.5}],
}
TARGET = closed("A program with its parameters", {"programId": HEX32, "params": PARAMS, "deploymentId": TEXT})

PERCENT: Shape = {"type": "number", "minimum": 0.01, "maximum": 100, "examples": [10]}
OPTIONS = closed(
    "How the strategy goes about it; what is left out is as the strategy has it",
    {
        "batch": {
            "type": "integer",
            "minimum": 1,
            "maximum": NODES_MAX,
            "description": "nodes at once",
            "examples": [3],
        },
        "batchPercent": {**PERCENT, "description": "nodes at once, as a share of all, in place of `batch`"},
        "observeS": {
            "type": "integer",
            "minimum": 0,
            "maximum": OBSERVE_S_MAX,
            "description": "how long to watch after each step, in seconds",
            "examples": [60],
        },
        "steps": {
            "type": "array",
            "items": PERCENT,
            "minItems": 1,
            "maxItems": STEPS_MAX,
            "description": "shares of a canary in percent, ascending",
            "examples": [[10, 50]],
        },
        "samplesMin": {
            "type": "integer",
            "minimum": 1,
            "maximum": 1_000_000,
            "description": "executions that a verdict needs",
            "examples": [20],
        },
        "failuresMaxPercent": {
            "type": "number",
            "minimum": 0,
            "maximum": 100,
            "description": "failed executions in percent that are fine in any case",
            "examples": [5],
        },
        "startsMax": {
            "type": "integer",
            "minimum": 0,
            "maximum": 1_000,
            "description": "starts of a node's process in an hour that are no crash loop",
            "examples": [3],
        },
    },
    (),
)
LABELS: Shape = {
    "type": "object",
    "description": "labels by name",
    "maxProperties": LABELS_MAX,
    "additionalProperties": {"type": "string", "pattern": "^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$"},
    "examples": [{"site": "lyon", "arch": "arm64"}],
}
ROLLOUT: Shape = {
    "nodeIds": {"type": "array", "items": NODE_NAME, "minItems": 1, "maxItems": NODES_MAX, "uniqueItems": True},
    "all": {"const": True, "description": "every node of the cluster", "examples": [True]},
    "labels": {**LABELS, "description": "every node that has all of these labels"},
    "exclude": {
        "type": "array",
        "items": NODE_NAME,
        "maxItems": NODES_MAX,
        "uniqueItems": True,
        "description": "nodes that are left out",
        "examples": [["node-prod-02"]],
    },
    "strategy": {"type": "string", "default": "immediate", "examples": sorted(STRATEGIES)},
    "options": OPTIONS,
    "rollbackOnError": {"type": "boolean", "default": True, "examples": [True]},
    "deadlineS": {
        "type": "integer",
        "minimum": 1,
        "maximum": DEADLINE_S_MAX,
        "default": OFFLINE_S,
        "description": "when it fails if it has not ended, in seconds: how long offline nodes are waited for",
        "examples": [3600],
    },
}
BOARD_PROGRAMS: Shape = {
    "type": "array",
    "maxItems": BOARD_PROGRAMS_MAX,
    "items": closed("A program of the rule for boards with one chip", {"programId": HEX32}),
    "description": "what boards get in place of `programId`: one program for each chip",
    "examples": [[]],
}
CHANGE = closed(
    "What becomes of one rule; without `programId` its last program for nodes is meant, else the last of all",
    {
        "rule": RULE,
        "programId": HEX32,
        "boardPrograms": BOARD_PROGRAMS,
        "params": PARAMS,
        "remove": {"const": True, "examples": [True]},
    },
    ("rule",),
)

DEPLOY_EXAMPLE: Shape = {
    "nodeIds": ["node-prod-01", "node-edge-01"],
    "strategy": "immediate",
    "rollbackOnError": True,
    "params": {"limit": 75.5},
    "deadlineS": 3600,
}
"""Written out: an example made of the members' own would have both `nodeIds` and `all`, which is refused."""

SUMMARY: Shape = {
    "id": {"type": "string", "examples": ["d-3f9a10c2b7e4"]},
    "name": {"type": "string", "description": "its rule, or how many there are", "examples": ["overheat_relay"]},
    "changes": array(
        closed(
            "A rule with the program that it shall have, empty for none",
            {
                "rule": RULE,
                "programId": TEXT,
                "boardPrograms": {
                    **array(closed("What boards with this chip get in its place", {"chip": TEXT, "programId": HEX32})),
                    "examples": [[]],
                },
                "params": PARAMS,
            },
        )
    ),
    "strategy": TEXT,
    "options": OPTIONS,
    "phase": COUNT,
    "phaseSinceUs": TIME_US,
    "paused": array(
        closed("Why it does not go on", {"code": TEXT, "text": TEXT, "sinceUs": TIME_US}),
    ),
    "rollbackOnError": {"type": "boolean", "examples": [True]},
    "state": names(DeploymentState),
    "over": {"type": "boolean", "description": "whether the state is terminal", "examples": [False]},
    "reason": TEXT,
    "createdBy": TEXT,
    "createdUs": TIME_US,
    "updatedUs": TIME_US,
    "deadlineUs": TIME_US,
    "counts": {
        "type": "object",
        "description": "how many nodes stand in each state; a state without nodes is left out",
        "additionalProperties": COUNT,
        "examples": [{"installed": 7, "waiting": 2}],
    },
}


RATE: Shape = {
    "type": ["number", "null"],
    "description": "of all its rules, over the last minute; null while too little is known",
    "examples": [600],
}

_INTERVAL: Shape = {
    **closed(
        "The exact 95 % interval of the share of failures; null without executions",
        {
            "lowPercent": {"type": "number", "examples": [7.3]},
            "highPercent": {"type": "number", "examples": [32.8]},
        },
    ),
    "type": ["object", "null"],
}
VERDICT = closed(
    "What the evidence tells of what was deployed, as of the last look; null while nothing is watched",
    {
        "kind": names(Kind),
        "reason": TEXT,
        "leftS": {"type": "number", "description": "seconds of the time to watch that are left", "examples": [42]},
        "executions": COUNT,
        "failures": COUNT,
        "executionsBefore": COUNT,
        "failuresBefore": COUNT,
        "interval": _INTERVAL,
        "intervalBefore": _INTERVAL,
        "counts": {
            "type": "string",
            "enum": ["executions", "actions"],
            "description": "what is counted: executions, or those that acted",
            "examples": ["executions"],
        },
        "missing": closed(
            "Executions that a verdict still needs: of the new program, and of the active one beside it. `pending`: "
            "executions of the new program whose actions have to end first",
            {"executions": COUNT, "executionsBefore": COUNT, "pending": COUNT},
        ),
        "silent": {**array(NODE_NAME), "description": "nodes that are not heard of, the first of them"},
        "e": {"type": "number", "description": "evidence against it: at `alarmE` it fails", "examples": [1.2]},
        "alarmE": {"type": "number", "examples": [20]},
        "differing": COUNT,
    },
)
