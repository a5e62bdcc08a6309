"""What people see of an audit record."""

from __future__ import annotations

from eyeflow.compiler.compile import compile_rule
from eyeflow.node.status.audit_view import record_view
from eyeflow.protocol.audit import ZERO_HASH, Record
from eyeflow.protocol.audit_bodies import ExecutionBody
from eyeflow.svm.execution import Outcome

RULE = """\
rule door {
    version "1.0.0"

    pin DOOR: input

    on every 1s

    let temp = adc.read_channel(2) else 0.0
    if gpio.read_pin(DOOR) == HIGH {
        log.info("open at {temp}")
    }
}
"""


def test_answers_are_shown_by_name_and_failures_as_none() -> None:
    program = compile_rule(RULE, name="door.eye").program
    assert program is not None
    sites = {site.capability: index for index, site in enumerate(program.sites)}
    answers = ((sites["adc.read_channel"], (2,), None), (sites["gpio.read_pin"], (0,), 1))
    body = ExecutionBody("door", bytes(32), 0, 5, int(Outcome.OK), 9, (), answers, ())
    view = record_view(Record("node-a", 1, 7, ZERO_HASH, 5, body), lambda _id: program)
    reads = [(one["capability"], one["arguments"], one["line"], one["value"]) for one in view["reads"]]
    assert reads == [
        ("adc.read_channel", {"channel": 2}, 8, None),
        ("gpio.read_pin", {"pin": "DOOR"}, 9, "HIGH"),
    ]
