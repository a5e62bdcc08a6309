"""The schemas of why an execution decided as it did."""

from __future__ import annotations

from eyeflow.audit.history import MemoryFound, Verdict
from eyeflow.audit.view import UNKNOWN
from eyeflow.coordinator.shape_words import COUNT, HEX32, SCALAR, TEXT, Shape, array, closed, names, ref
from eyeflow.coordinator.shapes_records import DISPOSITIONS
from eyeflow.protocol.audit_bodies import ActionOutcome

_VALUES: Shape = {"type": "object", "examples": [{"trips": 1}]}
_FITS: Shape = {"type": ["boolean", "null"], "description": "null: that record is not here", "examples": [True]}
_TEXTS: Shape = {"type": "array", "items": {"type": "string"}, "examples": [["gpio.set_pin(RELAY, HIGH)"]]}
_STATE: Shape = {**_VALUES, "type": ["object", "null"], "description": "the state variables; null: not known"}
WHY: dict[str, Shape] = {
    "Signer": closed(
        "Who signed a program",
        {
            "publicKey": HEX32,
            "fingerprint": TEXT,
            "name": {**TEXT, "description": "of the key here; empty: it is not known"},
            "holds": {"type": "boolean", "description": "whether the signature holds", "examples": [True]},
        },
    ),
    "Step": closed(
        "A branch of the rule that the execution took",
        {
            "line": COUNT,
            "column": COUNT,
            "taken": {"type": "boolean", "description": "whether its condition was true", "examples": [True]},
            "compared": {**_TEXTS, "examples": [["85.0 > 80.0 is true"]]},
        },
    ),
    "EndedAction": closed(
        "An action with what became of it",
        {
            "capability": TEXT,
            "arguments": {"type": "object", "additionalProperties": SCALAR, "examples": [{"pin": "RELAY"}]},
            "line": COUNT,
            "disposition": {"type": "string", "enum": DISPOSITIONS},
            "result": {
                "type": "string",
                "enum": ["", *(one.name.lower() for one in ActionOutcome), UNKNOWN],
                "description": "empty: it was not sent. `done` with no record of its own: no failure is recorded",
            },
            "attempts": COUNT,
            "error": TEXT,
            "resultSeq": {**COUNT, "description": "the record that tells its end; 0: it has none"},
        },
    ),
    "Why": closed(
        "Why an execution decided as it did, and whether its program decides the same again",
        {
            "execution": ref("Execution"),
            "program": closed(
                "What ran",
                {
                    "id": {**HEX32, "pattern": "^([0-9a-f]{16}){1,4}$"},
                    "version": {**TEXT, "description": "empty: the program is not here"},
                    "signers": array(ref("Signer")),
                    "params": _VALUES,
                    "paramsKnown": {
                        "type": "boolean",
                        "description": "false: the record that tells them is gone",
                        "examples": [True],
                    },
                    "installSeq": {**COUNT, "description": "the record of its installation; 0: not here"},
                    "deployment": TEXT,
                },
            ),
            "memory": closed(
                "What is known of the memory with which it decided",
                {
                    "found": names(MemoryFound),
                    "executions": {**COUNT, "description": "how many earlier ones ran again"},
                    "unlike": {**COUNT, "description": "how many of them decided otherwise than recorded"},
                    "note": TEXT,
                },
            ),
            "stateBefore": _STATE,
            "stateAfter": _STATE,
            "path": array(ref("Step")),
            "pathLeftOut": {**COUNT, "description": "branches more than are told"},
            "again": closed(
                "The decision when it ran again",
                {"verdict": names(Verdict), "why": TEXT, "recorded": _TEXTS, "decided": _TEXTS},
            ),
            "actions": array(ref("EndedAction")),
            "texts": closed(
                "Values as a rule writes them, a line for each",
                {"wentIn": _TEXTS, "state": _TEXTS, "actions": _TEXTS, "params": _TEXTS},
            ),
            "vouched": {
                **_TEXTS,
                "description": "of an execution on a board: how far it holds; empty for one of a node",
                "examples": [["the board told outcome, trap, instruction, time and levels"]],
            },
            "chain": closed(
                "Its place in the chain of its node",
                {
                    "prev": HEX32,
                    "hash": HEX32,
                    "prevFits": {**_FITS, "description": "whether `prev` is the hash of the record before"},
                    "nextFits": {**_FITS, "description": "whether the next record names its hash"},
                    "checkpoint": {**COUNT, "description": "the next record by which the node vouches; 0: none yet"},
                    "cosignedSeq": {**COUNT, "description": "up to where the coordinator has signed the chain"},
                    "cosigned": {
                        "type": "boolean",
                        "description": "whether that covers this record",
                        "examples": [True],
                    },
                },
            ),
        },
    ),
}
