"""The schemas of what the coordinator keeps of the audit of nodes."""

from __future__ import annotations

from eyeflow.coordinator.shape_words import COUNT, TEXT, TIME_US, Shape, array, closed, page_of, ref
from eyeflow.protocol.audit_bodies import Kind
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
_KINDS = [one.name.lower() for one in Kind]
_OUTCOMES = ["", *(one.name.lower() for one in Outcome)]
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
        },
    ),
    "KeptRecords": page_of(
        "Audit records of one chain of a node", "records", "KeptRecord", {"epoch": COUNT, "branch": COUNT}
    ),
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
        },
    ),
    "KeptChains": closed("The chains of a node, the newest first", {"copies": array(ref("KeptChain"))}),
}
