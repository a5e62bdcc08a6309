"""The schemas of signing in."""

from __future__ import annotations

from eyeflow.coordinator.shape_words import TEXT, TIME_US, Shape, closed
from eyeflow.coordinator.shapes_rollout import LABELS

SESSIONS: dict[str, Shape] = {
    "SignIn": closed(
        "Either an API token or the code of a sign-in link. Blanks around them do not count",
        {
            "token": {"type": "string", "maxLength": 256, "examples": ["eft_..."]},
            "code": {"type": "string", "maxLength": 256, "examples": ["ab" * 32]},
        },
        (),
    )
    | {"examples": [{"token": "eft_..."}]},
    "Session": closed(
        "Who asks. It has the rights of a token, whether it came by a session or by the token itself",
        {
            "name": {**TEXT, "description": "the name of the token", "examples": ["ci"]},
            "role": {"type": "string", "enum": ["admin", "deploy", "read"], "examples": ["deploy"]},
            "labels": {**LABELS, "description": "it is for the nodes that have all of these labels; empty: for all"},
            "expiresUs": TIME_US,
            "bySession": {"type": "boolean", "description": "false: by the token itself", "examples": [True]},
        },
    ),
    "SignInLink": closed(
        "A code that signs a browser in once. `path` is the page to open at this coordinator; it is shown only now",
        {
            "code": {**TEXT, "examples": ["ab" * 32]},
            "path": {**TEXT, "examples": ["/sign-in#" + "ab" * 32]},
            "expiresUs": TIME_US,
        },
    ),
}
