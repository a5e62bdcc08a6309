"""The text of a rule beside its program: kept if it compiles to it, and refused otherwise."""

from __future__ import annotations

from typing import Any

import pytest

from eyeflow.compiler.compile import CompileOptions, compile_rule
from eyeflow.compiler.hardware import Hardware
from eyeflow.svm.container import encode
from eyeflow.svm.program import Direction, Profile
from eyeflow.svm.signing import sign_program

SOURCE = """\
rule lamp {
    version "1.0.0"
    pin LAMP: output
    on every 1s
    gpio.set_pin(LAMP, HIGH)
}
"""


def uploaded(api: Any, options: CompileOptions | None = None, source: str = SOURCE) -> str:
    """Upload the program of a text, signed with the key that the cluster trusts; return its id."""
    made = compile_rule(source, name="lamp.eye", options=options)
    assert made.program is not None, made.diagnostics
    return str(api.upload(sign_program(encode(made.program), bytes(range(32)))).json()["id"])


def path(program_id: str) -> str:
    return f"/api/programs/{program_id}/source"


@pytest.mark.parametrize(
    "options", [None, CompileOptions(sequence=7), CompileOptions(Profile.MCU), CompileOptions(Profile.MCU, "RP2040")]
)
def test_the_text_of_a_program_is_kept(full: Any, options: CompileOptions | None) -> None:
    program_id = uploaded(full, options)
    assert full.ask("GET", path(program_id)).json() == {"source": ""}
    for _ in range(2):
        assert full.ask("PUT", path(program_id), "deploy", json={"source": SOURCE}).status_code == 204
    assert full.ask("GET", path(program_id), "read").json() == {"source": SOURCE}
    kept = [one for one in full.ask("GET", "/api/log/entries").json()["entries"] if one["action"] == "keep_source"]
    assert [one["subject"] for one in kept] == [program_id], "the same again is no change"


ON_A_BOARD = """\
rule triage {
    version "1.0.0"
    pin RELAY: output
    enum Kind { CALM, HOT }
    on every 1s
    let kind = llm.classify("what the probe says", Kind, "is it hot?") timeout 2s else CALM
    gpio.set_pin(RELAY, if kind == HOT or adc.read_channel(15) > 7 then HIGH else LOW)
    emit seen(hot: kind == HOT)
}
"""


def test_the_text_of_a_rule_is_kept_that_uses_what_only_some_boards_have(full: Any) -> None:
    """A language model that the board's gateway asks, its channels, and events for the gateway."""
    board = Hardware("press", {"adc": 16}, {"RELAY": Direction.OUTPUT}, delegates_llm=True, sends_events=True)
    for_board = CompileOptions(Profile.MCU, "STM32F401CC", hardware=board)
    program_id = uploaded(full, for_board, ON_A_BOARD)
    assert full.ask("PUT", path(program_id), json={"source": ON_A_BOARD}).status_code == 204
    for source in (SOURCE, ON_A_BOARD.replace("hot?", "cold?"), ON_A_BOARD.replace("llm.classify", "llm.ask")):
        assert full.ask("PUT", path(program_id), json={"source": source}).json()["code"] == "source_differs"
    assert full.ask("GET", path(program_id)).json() == {"source": ON_A_BOARD}


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (SOURCE.replace("HIGH", "LOW"), "compiles to another program"),
        (SOURCE.replace("1.0.0", "1.0.1"), "compiles to another program"),
        ("rule lamp {", "does not compile"),
        ("", "does not compile"),
        ("\N{GRINNING FACE}" * 10, "does not compile"),
    ],
)
def test_another_text_is_refused(full: Any, source: str, says: str) -> None:
    program_id = uploaded(full)
    reply = full.ask("PUT", path(program_id), json={"source": source})
    assert (reply.status_code, reply.json()["code"]) == (422, "source_differs"), reply.text
    assert says in reply.json()["detail"]
    assert full.ask("GET", path(program_id)).json() == {"source": ""}


def test_who_may_and_what_is_bounded(full: Any) -> None:
    program_id = uploaded(full)
    assert full.ask("PUT", path(program_id), "read", json={"source": SOURCE}).json()["code"] == "forbidden"
    for source in ("x\0", "x" * 65_537):
        assert full.ask("PUT", path(program_id), json={"source": source}).json()["code"] == "invalid_body"
    for method in ("GET", "PUT"):
        reply = full.ask(method, path("00" * 32), **({"json": {"source": SOURCE}} if method == "PUT" else {}))
        assert reply.json()["code"] == "program_not_found"
