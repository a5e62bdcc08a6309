"""The schemas of the REST API: JSON Schema objects with examples, checked on the way in and published by OpenAPI."""

from __future__ import annotations

from eyeflow.coordinator.histories import REASON_CHARS_MAX, Doubt
from eyeflow.coordinator.problem import CODES
from eyeflow.coordinator.shape_words import (
    COUNT,
    HEX32,
    NAME,
    NEXT_CURSOR,
    NODE_NAME,
    PEM,
    RULE,
    TEXT,
    TIME_US,
    Shape,
    array,
    closed,
    names,
    page_of,
    ref,
)
from eyeflow.coordinator.shapes_alarms import ALARM_SCHEMAS
from eyeflow.coordinator.shapes_boards import BOARD, BOARD_SHAPES
from eyeflow.coordinator.shapes_cases import CASES
from eyeflow.coordinator.shapes_facts import FACTS
from eyeflow.coordinator.shapes_live import LIVE
from eyeflow.coordinator.shapes_plan import PLAN_SCHEMAS, REPLAY_REQUEST
from eyeflow.coordinator.shapes_policy import POLICY_SCHEMAS
from eyeflow.coordinator.shapes_programs import BESIDE_PROGRAMS
from eyeflow.coordinator.shapes_records import COPY, RECORDS
from eyeflow.coordinator.shapes_rollout import (
    BOARD_PROGRAMS,
    CHANGE,
    DEPLOY_EXAMPLE,
    LABELS,
    PARAMS,
    RATE,
    ROLLOUT,
    SUMMARY,
    TARGET,
    VERDICT,
)
from eyeflow.coordinator.shapes_sessions import SESSIONS
from eyeflow.coordinator.shapes_trend import TREND
from eyeflow.coordinator.shapes_trust import SIGNER_LIST
from eyeflow.coordinator.shapes_why import WHY
from eyeflow.coordinator.store.facts import ChangeKind
from eyeflow.coordinator.tokens import JOIN_TOKEN_S, JOIN_TOKEN_S_MAX, TOKEN_S, TOKEN_S_MAX
from eyeflow.protocol.messages import HealthState
from eyeflow.protocol.wire import PROGRAM_BYTES_MAX
from eyeflow.rollout.deployment import RULES_MAX, NodeState, Place

_SUM: Shape = {"type": "number", "minimum": 0, "examples": [1200.0]}
_HEAD: Shape = {"number": COUNT, "hash": HEX32}
_TOKEN_INFO: Shape = {
    "id": TEXT,
    "name": TEXT,
    "role": TEXT,
    "createdUs": TIME_US,
    "createdBy": TEXT,
    "labels": {**LABELS, "description": "it is for the nodes that have all of these labels; empty: for all"},
    "person": {**TEXT, "description": "whose it is; empty: its name says that"},
    "expiresUs": TIME_US,
    "usedUs": {**TIME_US, "description": "the last use, true to a minute; microseconds since 1970 UTC, 0 for never"},
    "revokedUs": TIME_US,
    "works": {"type": "boolean", "description": "neither revoked nor expired", "examples": [True]},
}

_CHANGES: Shape = {"type": "array", "minItems": 1, "maxItems": RULES_MAX}
_PROGRAM: Shape = {
    "type": "string",
    "maxLength": 4 * PROGRAM_BYTES_MAX // 3 + 4,
    "description": "the signed program in base64, in place of `programId`: it need not be uploaded",
    "examples": ["RVlF"],
}

_BOARD_PROGRAM = closed(
    "A program of the rule for boards with one chip, by its id or itself", {"programId": HEX32, "program": _PROGRAM}, ()
)

SCHEMAS: dict[str, Shape] = {
    **PLAN_SCHEMAS,
    **POLICY_SCHEMAS,
    **ALARM_SCHEMAS,
    **BOARD_SHAPES,
    **RECORDS,
    **WHY,
    **SESSIONS,
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
        "What to deploy where. Give `nodeIds`, `labels` or `all`; without `programId` the last upload is meant, for "
        "nodes where there is one",
        {
            **ROLLOUT,
            "programId": HEX32,
            "boardPrograms": BOARD_PROGRAMS,
            "params": PARAMS,
        },
        (),
    )
    | {"examples": [DEPLOY_EXAMPLE]},
    "DeploySetRequest": closed(
        "Which rules to deploy where, as one: they all succeed, or all go back. Give `nodeIds`, `labels` or `all`",
        {
            **ROLLOUT,
            "changes": {**_CHANGES, "items": CHANGE},
            "skipUnchanged": {
                "type": "boolean",
                "default": False,
                "description": "leave out the rules that are so already on all the nodes",
                "examples": [True],
            },
        },
        ("changes",),
    )
    | {"examples": [{"all": True, "changes": [{"rule": "overheat_relay"}], "strategy": "rolling"}]},
    "PlanRequest": closed(
        "A deployment that is not to begin: what would it do? As for a deployment; a program may come along",
        {
            **ROLLOUT,
            "changes": {
                **_CHANGES,
                "items": {
                    **CHANGE,
                    "properties": {
                        **CHANGE["properties"],
                        "program": _PROGRAM,
                        "boardPrograms": {**BOARD_PROGRAMS, "items": _BOARD_PROGRAM},
                    },
                },
            },
            "replay": REPLAY_REQUEST,
        },
        ("changes",),
    )
    | {"examples": [{"all": True, "changes": [{"rule": "overheat_relay"}], "strategy": "rolling"}]},
    "Unchanged": closed(
        "Nothing is left to change: these rules are so already on all the nodes", {"unchanged": array(RULE)}
    ),
    "NodeProgress": closed(
        "One node of a deployment",
        {
            "node": NODE_NAME,
            "connected": {"type": "boolean", "description": "whether its link is open now", "examples": [True]},
            "state": names(NodeState),
            "reason": TEXT,
            "place": names(Place),
            "phase": {
                "type": "integer",
                "minimum": -1,
                "description": "the step in which its turn came; -1: not yet",
                "examples": [0],
            },
            "executions": {
                **COUNT,
                "type": ["integer", "null"],
                "description": "of its new programs, as the node told last; null while it told none, or nobody watches",
            },
            "failures": {
                **COUNT,
                "type": ["integer", "null"],
                "description": "executions that failed, and actions that failed",
            },
            "previous": array(closed("The last known good of a rule", {"rule": RULE, "programId": TEXT})),
        },
    ),
    "DeploymentSummary": closed(
        "One attempt to move rules to programs on a set of nodes, with the number of nodes in each state", SUMMARY
    ),
    "Deployment": closed(
        "One attempt to move rules to programs on a set of nodes, with each node",
        {
            **SUMMARY,
            "own": {
                "type": "boolean",
                "description": "whether the person of your token began it: then another one must approve it",
                "examples": [True],
            },
            "verdict": {**VERDICT, "type": ["object", "null"]},
            "nodes": array(ref("NodeProgress")),
            "nextCursor": {**NEXT_CURSOR, "description": "of its further nodes: GET /api/deployments/{id}/nodes"},
            **CASES,
        },
    ),
    "Deployments": page_of("Deployments, the newest first", "deployments", "DeploymentSummary"),
    "DeploymentNodes": page_of("Nodes of a deployment, ascending by name", "nodes", "NodeProgress"),
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
        "A rule, the newest of its programs and those that nodes shall run, and how many nodes shall run which",
        {
            "rule": RULE,
            "programs": array(
                closed("A program", {"id": HEX32, "version": TEXT, "uploadedUs": TIME_US, "nodes": COUNT})
            ),
            "nodes": COUNT,
        },
    ),
    "Rules": page_of("Rules, ascending by name", "rules", "Rule"),
    "Programs": page_of("Programs, the last uploaded first", "programs", "Program"),
    "RuleOnNode": closed(
        "One rule on a node: `wanted` by the coordinator (null: to be removed) and what the node said last",
        {
            "rule": RULE,
            "wanted": {**TARGET, "type": ["object", "null"]},
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
        "What contradicts the history of a node: an older copy, a fork, a twin with the same key, a lost store, or "
        "what a person says",
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
            "proof": closed(
                "What shows it: a record, its hash as it was known and as the node told it now, and the last links. "
                "Hashes are empty where none are at odds",
                {
                    "epoch": COUNT,
                    "seq": COUNT,
                    "knownHash": TEXT,
                    "toldHash": TEXT,
                    "links": array(
                        closed(
                            "A link that the node opened: by which start of its process, from where, and when",
                            {"process": TEXT, "address": TEXT, "timeUs": TIME_US},
                        )
                    ),
                },
            ),
            "nextStep": TEXT,
        },
    ),
    "QuarantineRequest": closed("Why, for others", {"reason": {**TEXT, "maxLength": REASON_CHARS_MAX}}, ()),
    "Node": closed(
        "One node; `problem` says why its link was last refused or closed",
        {
            "name": NODE_NAME,
            "connected": {"type": "boolean", "examples": [True]},
            "connectedSinceUs": {**TIME_US, "description": "since when it has its link; 0 while it has none"},
            "executionsPerMinute": RATE,
            "errorsPerMinute": RATE,
            "fingerprint": HEX32,
            "software": TEXT,
            "protocol": {
                **COUNT,
                "description": "the version of the link protocol that it spoke last; 0 before its first link",
            },
            "facts": {**FACTS, "type": ["object", "null"]},
            "board": {**BOARD, "type": ["object", "null"]},
            "labels": LABELS,
            "drainedUs": {
                **TIME_US,
                "description": "since when deployments that do not name it leave it out; 0 while they do not",
            },
            "joinedUs": TIME_US,
            "lastSeenUs": TIME_US,
            "epoch": COUNT,
            "nextSeq": COUNT,
            "manifestVersion": COUNT,
            "appliedVersion": COUNT,
            "aheadVersion": {**COUNT, "description": "the manifest that it has and the store never knew; 0: none"},
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
            "copy": COPY,
            "rules": array(ref("RuleOnNode")),
            "health": array(ref("Health")),
        },
    ),
    "Nodes": page_of(
        "Nodes", "nodes", "Node", {"total": {**COUNT, "description": "how many fit, on all pages together"}}
    ),
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
            "alarms": closed("Alarms that last. `new`: nobody has acknowledged them", {"open": COUNT, "new": COUNT}),
            "trouble": TEXT,
            "summary": closed(
                "How the nodes stand. `active`: heard over a link; `pending`: programs; `waiting`: events in queues",
                {
                    **dict.fromkeys(("nodes", "active", "failing", "pending", "drained", "waiting"), COUNT),
                    "executionsPerMinute": _SUM,
                    "errorsPerMinute": _SUM,
                },
            ),
        },
    ),
    "LabelsRequest": closed("The labels of a node, in place of those before", {"labels": LABELS}),
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
    "LogEntries": page_of("Entries of the log", "entries", "LogEntry"),
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
    "SignerList": SIGNER_LIST,
    "Changes": closed(
        "What changed, the newest of each thing; `cursor`: ask for what came after it",
        {"cursor": COUNT, "changes": array(ref("Change")), "rows": ref("Rows")},
        ("cursor", "changes"),
    ),
    **LIVE,
    **TREND,
    **BESIDE_PROGRAMS,
    "Change": closed(
        "What changed: look at it again, unless it is gone. `subject`: the thing by its name or id",
        {
            "number": COUNT,
            "timeUs": TIME_US,
            "kind": names(ChangeKind),
            "subject": TEXT,
            "node": {**TEXT, "description": "for `progress`: the node of the deployment; else empty"},
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
    "Keys": page_of("Signer keys, in the order they came", "keys", "Key"),
    "TokenRequest": closed(
        "A name that no other token has that works, a role, and how long the token works",
        {
            "name": NAME,
            "role": {"type": "string", "enum": ["admin", "deploy", "read"], "examples": ["deploy"]},
            "validS": {
                "type": "integer",
                "minimum": 0,
                "maximum": TOKEN_S_MAX,
                "default": TOKEN_S,
                "description": "in seconds; 0: it never expires",
                "examples": [90 * 86_400],
            },
            "labels": {
                **LABELS,
                "minProperties": 1,
                "description": "it is only for the nodes that have all of these labels; not with the role admin",
            },
            "person": {**NAME, "description": "whose it is: tokens of one person approve nothing of one another"},
        },
        ("name", "role"),
    ),
    "Token": closed("An API token; it is shown only now", {"token": TEXT, **_TOKEN_INFO}),
    "TokenInfo": closed("An API token, without its secret; its id is the token's second part", _TOKEN_INFO),
    "Tokens": page_of("API tokens, in the order they were made", "tokens", "TokenInfo"),
    "Challenge": closed(
        "A nonce for one link, and the coordinator that the node must sign it for",
        {"coordinatorId": HEX32, "nonce": HEX32, "expiresS": COUNT},
    ),
    "Healthz": closed(
        "Whether the coordinator can do its work", {"status": {"enum": ["ok", "degraded"], "type": "string"}}
    ),
}
