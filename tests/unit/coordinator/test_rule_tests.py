"""How the tests of a rule went, beside its program: whoever ran them tells it, and the newest word holds."""

from __future__ import annotations

from typing import Any

import pytest

from .test_sources import uploaded

PASSED = {"name": "stays off", "line": 7, "passed": True, "message": ""}
FAILED = {"name": "<b>trips</b> \u00e9", "line": 11, "passed": False, "message": "line 12: expected HIGH; it was LOW"}


def path(program_id: str) -> str:
    return f"/api/programs/{program_id}/tests"


def test_the_newest_word_is_kept_with_who_said_it(full: Any) -> None:
    program_id = uploaded(full)
    assert full.ask("GET", path(program_id), "read").json() == {"toldUs": 0, "toldBy": "", "tests": []}
    for tests in ([FAILED], [PASSED, FAILED], []):
        assert full.ask("PUT", path(program_id), "deploy", json={"tests": tests}).status_code == 204
        told = full.ask("GET", path(program_id), "read").json()
        assert told["tests"] == tests
        assert told["toldUs"] > 0 and told["toldBy"] == "deploy"
    logged = [one for one in full.ask("GET", "/api/log/entries").json()["entries"] if one["action"] == "keep_tests"]
    assert [one["detail"].partition(": ")[2] for one in logged] == [
        "0 passed, 1 failed",
        "1 passed, 1 failed",
        "0 passed, 0 failed",
    ]
    assert all(one["subject"] == program_id for one in logged)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "x" * 201},
        {"message": "x" * 1_001},
        {"passed": "yes"},
        {"line": -1},
        {"line": 10**12},
        {"more": 1},
    ],
)
def test_what_is_no_result_is_refused(full: Any, change: dict[str, Any]) -> None:
    program_id = uploaded(full)
    assert full.ask("PUT", path(program_id), json={"tests": [PASSED | change]}).json()["code"] == "invalid_body"
    assert full.ask("PUT", path(program_id), json={"tests": [PASSED] * 501}).json()["code"] == "invalid_body"
    assert full.ask("GET", path(program_id)).json()["toldUs"] == 0, "nothing was kept"


def test_who_may_and_of_what(full: Any) -> None:
    program_id = uploaded(full)
    assert full.ask("PUT", path(program_id), "read", json={"tests": []}).json()["code"] == "forbidden"
    assert full.ask("PUT", path("00" * 32), json={"tests": []}).json()["code"] == "program_not_found"
    assert full.ask("GET", path("00" * 32)).json()["code"] == "program_not_found"
