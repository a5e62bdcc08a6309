"""The schemas of what is kept beside a program: the text of its rule, and how its tests went."""

from __future__ import annotations

from eyeflow.coordinator.shape_words import COUNT, TEXT, TIME_US, Shape, array, closed, ref
from eyeflow.coordinator.store.facts import SOURCE_CHARS_MAX

TESTS_MAX, NAME_CHARS_MAX, MESSAGE_CHARS_MAX = 500, 200, 1_000
_TESTS: Shape = {**array(ref("RuleTest")), "maxItems": TESTS_MAX}
BESIDE_PROGRAMS: dict[str, Shape] = {
    "ProgramSource": closed(
        "The text of the rule of a program; empty when it was not uploaded",
        {
            "source": {
                "type": "string",
                "maxLength": SOURCE_CHARS_MAX,
                "pattern": "^[^\\x00]*$",
                "examples": ["rule a {}"],
            }
        },
    ),
    "RuleTest": closed(
        "How one test of a rule went",
        {
            "name": {**TEXT, "maxLength": NAME_CHARS_MAX, "examples": ["trips only when it stays hot"]},
            "line": {**COUNT, "maximum": 1_000_000, "description": "where it stands in the text of the rule"},
            "passed": {"type": "boolean", "examples": [True]},
            "message": {
                **TEXT,
                "maxLength": MESSAGE_CHARS_MAX,
                "description": "what was expected and what happened; empty when it passed",
            },
        },
    ),
    "RuleTests": closed(
        "How the tests of a program's rule went, as somebody told: who, and when",
        {"toldUs": TIME_US, "toldBy": TEXT, "tests": array(ref("RuleTest"))},
    ),
    "TestReport": closed("How the tests of a program's rule went", {"tests": _TESTS}),
}
