"""The schemas of the REST API for what a root key says."""

from __future__ import annotations

from eyeflow.coordinator.shape_words import HEX32, TIME_US, Shape, array, closed
from eyeflow.coordinator.shapes_rollout import LABELS
from eyeflow.protocol.signer_list import NEEDED_MAX, NEEDED_MIN, PATTERN, THRESHOLDS_MAX, VERSION_MAX
from eyeflow.protocol.wire import SIGNERS_MAX

_PATTERN: Shape = {"type": "string", "pattern": f"^{PATTERN.pattern}$"}
_THRESHOLD: Shape = closed(
    "How many trusted signers the programs of some rules need on some nodes",
    {
        "signers": {"type": "integer", "minimum": NEEDED_MIN, "maximum": NEEDED_MAX, "examples": [2]},
        "nodes": {**_PATTERN, "description": "a pattern of names", "examples": ["node-prod-*"]},
        "rules": {**_PATTERN, "description": "a pattern of names", "examples": ["*"]},
        "labels": {**LABELS, "description": "labels in the configuration of the node, all of them"},
    },
)
SIGNER_LIST: Shape = closed(
    "Whose programs nodes with this root may trust: see `eyeflow keys root`",
    {
        "version": {"type": "integer", "minimum": 1, "maximum": VERSION_MAX, "examples": [1]},
        "createdUs": {**TIME_US, "maximum": VERSION_MAX},
        "expiresUs": {**TIME_US, "maximum": VERSION_MAX},
        "signers": {**array(HEX32), "maxItems": SIGNERS_MAX},
        "thresholds": {**array(_THRESHOLD), "minItems": 1, "maxItems": THRESHOLDS_MAX},
        "root": HEX32,
        "signature": {"type": "string", "pattern": "^[0-9a-f]{128}$", "examples": ["ab" * 64]},
    },
    ("version", "createdUs", "expiresUs", "signers", "root", "signature"),
)
