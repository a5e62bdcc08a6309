"""The schemas of the REST API: JSON Schema objects with examples, checked on the way in and published by OpenAPI."""

from __future__ import annotations

from eyeflow.coordinator.histories import Doubt
from eyeflow.coordinator.problem import CODES
from eyeflow.coordinator.shape_words import (
    COUNT,
    HEX32,
    NAME,
    NODE_NAME,
    PEM,
    RULE,
    SCALAR,
    TEXT,
    TIME_US,
    Shape,
    array,
    closed,
    names,
    ref,
)
from eyeflow.coordinator.shapes_facts import FACTS
from eyeflow.coordinator.shapes_plan import PLAN_SCHEMAS
from eyeflow.coordinator.tokens import JOIN_TOKEN_S, JOIN_TOKEN_S_MAX, TOKEN_S, TOKEN_S_MAX
from eyeflow.evidence.verdict import Kind
from eyeflow.protocol.messages import HealthState
from eyeflow.protocol.signer_list import VERSION_MAX
from eyeflow.protocol.wire import PARAMS_MAX, PROGRAM_BYTES_MAX, SIGNERS_MAX
from eyeflow.rollout.deployment import (
    DEADLINE_S_MAX,
    NODES_MAX,
    OBSERVE_S_MAX,
    OFFLINE_S,
    RULES_MAX,
    STEPS_MAX,
    DeploymentState,
    NodeState,
    Place,
)
from eyeflow.rollout.strategies import STRATEGIES

_PARAMS: Shape = {
    "type": "object",
    "description": "values of the rule's parameters by name; an enum by its member's name, a duration in microseconds",
    "maxProperties": PARAMS_MAX,
    "additionalProperties": SCALAR,
    "examples": [{"limit": 75.5}],
}
_TARGET = closed("A program with its parameters", {"programId": HEX32, "params": _PARAMS, "deploymentId": TEXT})

_PERCENT: Shape = {"type": "number", "minimum": 0.01, "maximum": 100, "examples": [10]}
_OPTIONS = closed(
    "How the strategy goes about it; what is left out is as the strategy has it",
    {
        "batch": {
            "type": "integer",
            "minimum": 1,
            "maximum": NODES_MAX,
            "description": "nodes at once",
            "examples": [3],
        },
        "batchPercent": {**_PERCENT, "description": "nodes at once, as a share of all, in place of `batch`"},
        "observeS": {
            "type": "integer",
            "minimum": 0,
            "maximum": OBSERVE_S_MAX,
            "description": "how long to watch after each step, in seconds",
            "examples": [60],
        },
        "steps": {
            "type": "array",
            "items": _PERCENT,
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
_ROLLOUT: Shape = {
    "nodeIds": {"type": "array", "items": NODE_NAME, "minItems": 1, "maxItems": NODES_MAX, "uniqueItems": True},
    "all": {"const": True, "description": "every node of the cluster", "examples": [True]},
    "strategy": {"type": "string", "default": "immediate", "examples": sorted(STRATEGIES)},
    "options": _OPTIONS,
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
_CHANGE = closed(
    "What becomes of one rule; without `programId` its last uploaded program is meant",
    {"rule": RULE, "programId": HEX32, "params": _PARAMS, "remove": {"const": True, "examples": [True]}},
    ("rule",),
)

_DEPLOY_EXAMPLE: Shape = {
    "nodeIds": ["node-prod-01", "node-edge-01"],
    "strategy": "immediate",
    "rollbackOnError": True,
    "params": {"limit": 75.5},
    "deadlineS": 3600,
}
"""Written out: an example made of the members' own would have both `nodeIds` and `all`, which is refused."""

_SUMMARY: Shape = {
    "id": {"type": "string", "examples": ["d-3f9a10c2b7e4"]},
    "name": {"type": "string", "description": "its rule, or how many there are", "examples": ["overheat_relay"]},
    "changes": array(
        closed(
            "A rule with the program that it shall have, empty for none",
            {"rule": RULE, "programId": TEXT, "params": _PARAMS},
        )
    ),
    "strategy": TEXT,
    "options": _OPTIONS,
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

_HEAD: Shape = {"number": COUNT, "hash": HEX32}
_TOKEN_INFO: Shape = {
    "id": TEXT,
    "name": TEXT,
    "role": TEXT,
    "createdUs": TIME_US,
    "expiresUs": TIME_US,
    "usedUs": {**TIME_US, "description": "the last use, true to a minute; microseconds since 1970 UTC, 0 for never"},
    "revokedUs": TIME_US,
    "works": {"type": "boolean", "description": "neither revoked nor expired", "examples": [True]},
}

_VERDICT = closed(
    "What the evidence tells of what was deployed, as of the last look; null while nothing is watched",
    {
        "kind": names(Kind),
        "reason": TEXT,
        "leftS": {"type": "number", "description": "seconds of the time to watch that are left", "examples": [42]},
        "executions": COUNT,
        "failures": COUNT,
        "executionsBefore": COUNT,
        "failuresBefore": COUNT,
        "e": {"type": "number", "description": "evidence against it: at `alarmE` it fails", "examples": [1.2]},
        "alarmE": {"type": "number", "examples": [20]},
        "differing": COUNT,
    },
)

_CHANGES: Shape = {"type": "array", "minItems": 1, "maxItems": RULES_MAX}
_PROGRAM: Shape = {
    "type": "string",
    "maxLength": 4 * PROGRAM_BYTES_MAX // 3 + 4,
    "description": "the signed program in base64, in place of `programId`: it need not be uploaded",
    "examples": ["RVlF"],
}

SCHEMAS: dict[str, Shape] = {
    **PLAN_SCHEMAS,
    "Problem": closed(
        "A refusal as problem details (RFC 9457)",
        {
            "type": {"type": "string", "format": "uri", "examples": ["urn:eyeflow:problem:invalid_body"]},
            "title": TEXT,
            "status": {"type": "integer", "minimum": 400, "maximum": 599, "examples": [422]},
            "code": {"type": "string", "enum": sorted(CODES), "examples": ["invalid_body"]},
            "detail": TEXT,
            "nextStep": TEXT,
            "errors": array(closed("One wrong place", {"pointer": TEXT, "message": TEXT})),
        },
        ("type", "title", "status", "code", "detail"),
    ),
    "DeployRequest": closed(
        "What to deploy where. Give `nodeIds` or `all`; without `programId` the rule's last uploaded program is meant",
        {
            **_ROLLOUT,
            "programId": HEX32,
            "params": _PARAMS,
        },
        (),
    )
    | {"examples": [_DEPLOY_EXAMPLE]},
    "DeploySetRequest": closed(
        "Which rules to deploy where, as one: they all succeed, or all go back. Give `nodeIds` or `all`",
        {**_ROLLOUT, "changes": {**_CHANGES, "items": _CHANGE}},
        ("changes",),
    )
    | {"examples": [{"all": True, "changes": [{"rule": "overheat_relay"}], "strategy": "rolling"}]},
    "PlanRequest": closed(
        "A deployment that is not to begin: what would it do? As for a deployment; a program may come along",
        {
            **_ROLLOUT,
            "changes": {
                **_CHANGES,
                "items": {**_CHANGE, "properties": {**_CHANGE["properties"], "program": _PROGRAM}},
            },
        },
        ("changes",),
    )
    | {"examples": [{"all": True, "changes": [{"rule": "overheat_relay"}], "strategy": "rolling"}]},
    "NodeProgress": closed(
        "One node of a deployment",
        {
            "node": NODE_NAME,
            "connected": {"type": "boolean", "description": "whether its link is open now", "examples": [True]},
            "state": names(NodeState),
            "reason": TEXT,
            "place": names(Place),
            "previous": array(closed("The last known good of a rule", {"rule": RULE, "programId": TEXT})),
        },
    ),
    "DeploymentSummary": closed(
        "One attempt to move rules to programs on a set of nodes, with the number of nodes in each state", _SUMMARY
    ),
    "Deployment": closed(
        "One attempt to move rules to programs on a set of nodes, with each node",
        {**_SUMMARY, "verdict": {**_VERDICT, "type": ["object", "null"]}, "nodes": array(ref("NodeProgress"))},
    ),
    "Deployments": closed("The newest deployments, newest first", {"deployments": array(ref("DeploymentSummary"))}),
    "Program": closed(
        "One compiled, signed program",
        {
            "id": HEX32,
            "rule": RULE,
            "version": TEXT,
            "sequence": COUNT,
            "profile": {"type": "string", "enum": ["linux", "mcu"], "examples": ["linux"]},
            "description": TEXT,
            "chip": TEXT,
            "priority": TEXT,
            "signers": array(HEX32),
            "capabilities": array(TEXT),
            "sources": array(TEXT),
            "params": array({"type": "object", "description": "name, type, default, and low, high, members if any"}),
            "limits": {"type": "object", "additionalProperties": COUNT, "description": "proven by the verifier"},
            "sizeBytes": COUNT,
            "uploadedUs": TIME_US,
            "uploadedBy": TEXT,
        },
    ),
    "Rule": closed(
        "A rule with its programs, the last uploaded first, and what nodes shall run of it",
        {
            "rule": RULE,
            "programs": array(closed("A program", {"id": HEX32, "version": TEXT, "uploadedUs": TIME_US})),
            "nodes": array(closed("A node", {"node": NODE_NAME, "programId": HEX32})),
        },
    ),
    "Rules": closed("All rules", {"rules": array(ref("Rule"))}),
    "RuleOnNode": closed(
        "One rule on a node: `wanted` by the coordinator (null: to be removed) and what the node said last",
        {
            "rule": RULE,
            "wanted": {**_TARGET, "type": ["object", "null"]},
            "state": {"type": "string", "enum": ["pending", "installed", "refused"]},
            "reason": TEXT,
        },
    ),
    "Health": closed(
        "Counters of a rule, or of a source, driver or buffer of the node",
        {
            "kind": {"type": "string", "enum": ["rule", "port"]},
            "name": TEXT,
            "slot": {
                "type": "string",
                "enum": ["", "active", "candidate"],
                "description": "which program of the rule this is; empty for a port",
                "examples": ["active"],
            },
            "state": names(HealthState),
            "detail": TEXT,
            "programId": TEXT,
            "counters": {"type": "object", "additionalProperties": COUNT, "examples": [{"executions": 42}]},
        },
    ),
    "Finding": closed(
        "What contradicts the history of a node: an older copy, a fork, a twin with the same key, or a lost store",
        {
            "kind": names(Doubt),
            "blocks": {
                "type": "boolean",
                "description": "whether deployments to this node fail until it is accepted",
                "examples": [True],
            },
            "sinceUs": TIME_US,
            "lastUs": TIME_US,
            "evidence": TEXT,
            "nextStep": TEXT,
        },
    ),
    "Node": closed(
        "One node; `problem` says why its link was last refused or closed",
        {
            "name": NODE_NAME,
            "connected": {"type": "boolean", "examples": [True]},
            "fingerprint": HEX32,
            "software": TEXT,
            "protocol": {
                **COUNT,
                "description": "the version of the link protocol that it spoke last; 0 before its first link",
            },
            "facts": {**FACTS, "type": ["object", "null"]},
            "joinedUs": TIME_US,
            "lastSeenUs": TIME_US,
            "epoch": COUNT,
            "nextSeq": COUNT,
            "manifestVersion": COUNT,
            "appliedVersion": COUNT,
            "problem": TEXT,
            "inDoubt": {
                "type": "boolean",
                "description": "whether a finding keeps results of this node from counting",
                "examples": [False],
            },
            "head": {
                **closed(
                    "the highest audit record that the coordinator saw; null before the first link",
                    {"epoch": COUNT, "seq": COUNT, "hash": TEXT},
                ),
                "type": ["object", "null"],
            },
            "findings": array(ref("Finding")),
            "rules": array(ref("RuleOnNode")),
            "health": array(ref("Health")),
        },
    ),
    "Nodes": closed("All nodes", {"nodes": array(ref("Node"))}),
    "Status": closed(
        "The cluster in one look",
        {
            "coordinatorId": HEX32,
            "software": TEXT,
            "startedUs": TIME_US,
            "nodes": COUNT,
            "connected": COUNT,
            "inDoubt": COUNT,
            "rules": COUNT,
            "openDeployments": COUNT,
            "trouble": TEXT,
        },
    ),
    "JoinTokenRequest": closed(
        "How long the token is valid",
        {
            "validS": {
                "type": "integer",
                "minimum": 1,
                "maximum": JOIN_TOKEN_S_MAX,
                "default": JOIN_TOKEN_S,
                "examples": [3600],
            }
        },
        (),
    ),
    "JoinToken": closed("A single-use token for one node; it is shown only now", {"token": TEXT, "expiresUs": TIME_US}),
    "JoinRequest": closed(
        "A node's name, public key and proof that it holds the key: see the link protocol",
        {
            "token": {"type": "string", "maxLength": 256, "examples": ["efj_..."]},
            "node": NODE_NAME,
            "publicKey": HEX32,
            "signature": {"type": "string", "pattern": "^[0-9a-f]{128}$", "examples": ["ab" * 64]},
        },
    ),
    "Joined": closed(
        "What the node keeps: the coordinator's key, and the keys whose programs it shall trust",
        {
            "coordinatorId": HEX32,
            "publicKey": HEX32,
            "signers": array(HEX32),
            "ca": {**PEM, "description": "the CA of the cluster; empty: it has none of its own"},
        },
    ),
    "LogEntry": closed(
        "One entry of the coordinator's log: who changed what. `prev` is the hash of the entry before",
        {
            "number": COUNT,
            "timeUs": TIME_US,
            "actor": TEXT,
            "action": TEXT,
            "subject": TEXT,
            "detail": TEXT,
            "prev": HEX32,
        },
    ),
    "LogEntries": closed("Entries of the log, oldest first", {"entries": array(ref("LogEntry"))}),
    "Log": closed(
        "The log from `first` to `head`, and the head that the coordinator signed last",
        {
            "first": {**COUNT, "description": "the oldest entry that is kept; 0 for an empty log"},
            "head": closed("The newest entry", _HEAD),
            "signed": {
                **closed("null before the first", {**_HEAD, "signature": TEXT}),
                "type": ["object", "null"],
            },
            "coordinatorId": HEX32,
            "publicKey": {**HEX32, "description": "of the coordinator; its SHA-256 is `coordinatorId`"},
            "trouble": {**TEXT, "description": "what is wrong with the log; empty while it fits"},
        },
    ),
    "SignerList": closed(
        "Whose programs nodes with this root may trust: see `eyeflow keys root`",
        {
            "version": {"type": "integer", "minimum": 1, "maximum": VERSION_MAX, "examples": [1]},
            "createdUs": {**TIME_US, "maximum": VERSION_MAX},
            "expiresUs": {**TIME_US, "maximum": VERSION_MAX},
            "signers": {**array(HEX32), "maxItems": SIGNERS_MAX},
            "root": HEX32,
            "signature": {"type": "string", "pattern": "^[0-9a-f]{128}$", "examples": ["ab" * 64]},
        },
    ),
    "Ca": closed("The CA of the cluster", {"ca": PEM}),
    "CertificateRequest": closed(
        "Which node asks, and for which key: see the link protocol",
        {
            "node": NODE_NAME,
            "nonce": HEX32,
            "request": {**PEM, "maxLength": 4096, "examples": ["-----BEGIN CERTIFICATE REQUEST-----..."]},
            "signature": {"type": "string", "pattern": "^[0-9a-f]{128}$", "examples": ["ab" * 64]},
        },
    ),
    "Certificate": closed(
        "A certificate for the link of a node, and the CA of the cluster", {"certificate": PEM, "ca": PEM}
    ),
    "KeyRequest": closed("A public key to trust", {"publicKey": HEX32, "name": NAME}),
    "Key": closed(
        "A key whose programs the cluster trusts, unless it was revoked",
        {"publicKey": HEX32, "fingerprint": HEX32, "name": NAME, "addedUs": TIME_US, "revokedUs": TIME_US},
    ),
    "Keys": closed("All signer keys", {"keys": array(ref("Key"))}),
    "TokenRequest": closed(
        "A name that no other token has that works, a role, and how long the token works",
        {
            "name": NAME,
            "role": {"type": "string", "enum": ["admin", "deploy", "read"]},
            "validS": {
                "type": "integer",
                "minimum": 0,
                "maximum": TOKEN_S_MAX,
                "default": TOKEN_S,
                "description": "in seconds; 0: it never expires",
                "examples": [90 * 86_400],
            },
        },
        ("name", "role"),
    ),
    "Token": closed("An API token; it is shown only now", {"token": TEXT, **_TOKEN_INFO}),
    "TokenInfo": closed("An API token, without its secret; its id is the token's second part", _TOKEN_INFO),
    "Tokens": closed("All API tokens", {"tokens": array(ref("TokenInfo"))}),
    "Challenge": closed(
        "A nonce for one link, and the coordinator that the node must sign it for",
        {"coordinatorId": HEX32, "nonce": HEX32, "expiresS": COUNT},
    ),
    "Healthz": closed(
        "Whether the coordinator can do its work", {"status": {"enum": ["ok", "degraded"], "type": "string"}}
    ),
}
