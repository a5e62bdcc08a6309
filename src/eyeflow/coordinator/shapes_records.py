"""The schemas of what the coordinator keeps of the audit of nodes."""

from __future__ import annotations

from eyeflow.audit.view import UNKNOWN
from eyeflow.coordinator.shape_words import (
    COUNT,
    HEX32,
    NODE_NAME,
    SCALAR,
    TEXT,
    TIME_US,
    Shape,
    array,
    closed,
    page_of,
    ref,
)
from eyeflow.protocol.audit_bodies import Disposition, Kind
from eyeflow.svm.execution import Outcome

COPY: Shape = {
    **closed(
        "How far the coordinator's copy of the node's audit is; null while it has none",
        {
            "epoch": COUNT,
            "seq": {**COUNT, "description": "the last record that it keeps; 0: none yet"},
            "hash": {**TEXT, "description": "the hash of that record, which the coordinator has signed"},
            "behind": {**COUNT, "description": "how many records of the node are still to come"},
            "keptUs": TIME_US,
            "trouble": {**TEXT, "description": "why the archive takes nothing now; empty: it does"},
        },
    ),
    "type": ["object", "null"],
}
_ARGUMENTS: Shape = {"type": "object", "additionalProperties": SCALAR, "examples": [{"pin": "RELAY"}]}
_LINE: Shape = {**COUNT, "description": "in the rule; 0: not known", "examples": [18]}
_TRAP: Shape = {
    **closed("The trap that ended it; null for none", {"name": TEXT, "line": _LINE}),
    "type": ["object", "null"],
}
_BOARD: Shape = {
    **closed(
        "What only the record of a board has; null for an execution of a node",
        {
            "boot": {**COUNT, "description": "at which start of the board"},
            "number": {**COUNT, "description": "of the record, among those of this start"},
            "instruction": {**COUNT, "description": "at which it ended"},
            "clockTold": {
                "type": "boolean",
                "description": "whether a host had told the board the time",
                "examples": [True],
            },
            "outputs": {
                "type": "object",
                "additionalProperties": {"type": "boolean"},
                "description": "the level of each output after it; true: high",
                "examples": [{"RELAY": True}],
            },
        },
    ),
    "type": ["object", "null"],
}
_KINDS = [*(one.name.lower() for one in Kind), UNKNOWN]
_OUTCOMES = ["", *(one.name.lower() for one in Outcome), UNKNOWN]
DISPOSITIONS = [*(one.name.lower() for one in Disposition), UNKNOWN]
RECORDS: dict[str, Shape] = {
    "KeptRecord": closed(
        "An audit record as the node stores it (`docs/reference/audit.md`), and what it is found by",
        {
            "seq": COUNT,
            "timeUs": {**TIME_US, "minimum": -(2**63), "description": "the node's clock, microseconds since 1970 UTC"},
            "kind": {"type": "string", "enum": _KINDS, "examples": ["execution"]},
            "rule": TEXT,
            "slot": TEXT,
            "key": TEXT,
            "outcome": {"type": "string", "enum": _OUTCOMES, "description": "of an execution", "examples": ["ok"]},
            "record": {"type": "string", "description": "its exact bytes, in base64", "examples": ["qAABAQE="]},
            "text": {**TEXT, "description": "an execution as a line; empty unless `texts` asks for it"},
        },
    ),
    "KeptRecords": page_of(
        "Audit records of one chain of a node", "records", "KeptRecord", {"epoch": COUNT, "branch": COUNT}
    ),
    "KeptState": closed(
        "The durable state of the program in a slot of a rule, as the node told it last",
        {
            "rule": TEXT,
            "slot": {**TEXT, "description": "active, candidate or previous", "examples": ["active"]},
            "key": {**TEXT, "description": "of which key; empty: of all events"},
            "programId": TEXT,
            "epoch": COUNT,
            "seq": {**COUNT, "description": "the record of the node's chain after which the rule stood so"},
            "keptUs": TIME_US,
            "values": {
                "type": ["object", "null"],
                "description": "each state variable by name; null when the coordinator has not the program",
                "examples": [{"trips": 3}],
            },
            "state": {
                "type": "string",
                "description": "the bytes that the node stores, in base64",
                "examples": ["AQ=="],
            },
        },
    ),
    "KeptStates": closed("How the rules of a node stood", {"states": array(ref("KeptState"))}),
    "KeptChain": closed(
        "One chain of a node, as far as it is kept, and its last record as the coordinator signed it",
        {
            "epoch": COUNT,
            "branch": {**COUNT, "description": "0: the copy that grows; else one that was set aside"},
            "firstSeq": {**COUNT, "description": "the first record that is kept; 0: none"},
            "seq": {**COUNT, "description": "the last record that was kept"},
            "hash": TEXT,
            "keptUs": TIME_US,
            "signature": TEXT,
            "losses": array(
                closed(
                    "What the node says in signed gaps that it lost for one reason: records that nobody holds",
                    {
                        "reason": {**TEXT, "description": "as in the gaps of the audit", "examples": ["size"]},
                        "gaps": COUNT,
                        "records": COUNT,
                        "lastUs": {**TIME_US, "minimum": -(2**63), "description": "by the node's clock"},
                    },
                )
            ),
        },
    ),
    "KeptChains": closed("The chains of a node, the newest first", {"copies": array(ref("KeptChain"))}),
    "Read": closed(
        "What a program read",
        {
            "capability": TEXT,
            "arguments": _ARGUMENTS,
            "line": _LINE,
            "value": {**SCALAR, "type": [*SCALAR["type"], "null"], "description": "null: it failed"},
        },
    ),
    "Action": closed(
        "An action that a program asked for, or an event that it emitted",
        {
            "capability": TEXT,
            "arguments": _ARGUMENTS,
            "line": _LINE,
            "disposition": {"type": "string", "enum": DISPOSITIONS, "examples": ["sent"]},
        },
    ),
    "Execution": closed(
        "One run of a rule on one event, with names and lines of its program; without them where that is not here",
        {
            "id": {**TEXT, "description": "NODE:EPOCH:SEQ", "examples": ["node-prod-01:1790000000:42"]},
            "node": NODE_NAME,
            "epoch": COUNT,
            "seq": COUNT,
            "timeUs": {**TIME_US, "minimum": -(2**63), "description": "the node's clock, microseconds since 1970 UTC"},
            "rule": TEXT,
            "version": {**TEXT, "description": "of the program; empty: the program is not here"},
            "program": {
                **HEX32,
                "pattern": "^([0-9a-f]{16}){1,4}$",
                "description": "its id; of a board whose program is not known, the first 16 digits",
            },
            "slot": TEXT,
            "trigger": {**TEXT, "examples": ["mqtt sensors/temp"]},
            "eventTimeUs": {**TIME_US, "minimum": -(2**63), "description": "the time that the program saw"},
            "key": TEXT,
            "inputs": {"type": "object", "description": "the fields of the event", "examples": [{"celsius": 85.0}]},
            "reads": array(ref("Read")),
            "outcome": {"type": "string", "enum": _OUTCOMES[1:], "examples": ["ok"]},
            "actions": array(ref("Action")),
            "fuel": COUNT,
            "trap": _TRAP,
            "board": _BOARD,
            "text": {**TEXT, "description": "all of it as a line for people"},
        },
    ),
    "Executions": page_of(
        "Executions, a page of them",
        "executions",
        "Execution",
        {
            "more": {
                "type": "boolean",
                "description": "whether more are there now; also where a page is short or empty: each look has a bound",
                "examples": [False],
            }
        },
    ),
}
