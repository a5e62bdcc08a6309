"""The schemas of policies."""

from __future__ import annotations

from eyeflow.coordinator.shape_words import COUNT, NODE_NAME, TEXT, TIME_US, Shape, array, closed
from eyeflow.rollout.policy import TEXT_CHARS_MAX

_EXAMPLE = '[[demand]]\nname = "production"\nnodes = ["node-prod-*"]\napproval = true\n'

POLICY_SCHEMAS: dict[str, Shape] = {
    "PolicyText": closed(
        "A policy in TOML; an empty text demands nothing",
        {"text": {"type": "string", "maxLength": TEXT_CHARS_MAX, "examples": [_EXAMPLE]}},
    ),
    "Policy": closed(
        "A policy with what it demands of deployments to which nodes",
        {
            "text": TEXT,
            "appliedUs": TIME_US,
            "appliedBy": TEXT,
            "demands": array(
                closed(
                    "What deployments to these nodes must keep; strategies empty: any",
                    {
                        "name": TEXT,
                        "line": COUNT,
                        "strategies": array(TEXT),
                        "observeS": COUNT,
                        "signers": COUNT,
                        "approval": {"type": "boolean", "examples": [True]},
                        "nodes": array(NODE_NAME),
                    },
                )
            ),
        },
    ),
}
