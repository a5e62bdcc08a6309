"""What people see of an audit record."""

from __future__ import annotations

from dataclasses import replace

from eyeflow.audit.filters import ExecutionFilter
from eyeflow.audit.view import defaults, record_view
from eyeflow.cli.audit import _line
from eyeflow.compiler.compile import compile_rule
from eyeflow.protocol.audit import ZERO_HASH, Record, encode_record
from eyeflow.protocol.audit_bodies import (
    ActionOutcome,
    ActionResultBody,
    ExecutionBody,
    GapBody,
    InstallBody,
    RejectedBody,
    StartBody,
)
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


def test_a_line_leaves_out_what_goes_without_saying() -> None:
    usual = InstallBody("pump", bytes(32), "1.0.0", "d-1", 2, (("hold", 3),))
    record = Record("node-a", 1, 7, ZERO_HASH, 5, usual)
    view = record_view(record, lambda _id: None)
    assert (view["manifestVersion"], view["slot"], view["withholds"]) == (2, "active", False), "JSON has all fields"
    shown = _line(view, defaults(record)).split("install", 1)[1].split()
    assert shown == ["rule=pump", "program=00000000", "version=1.0.0", "deployment=d-1", "manifestVersion=2", 'params=[["hold",', "3]]"]  # fmt: skip
    record = replace(record, body=replace(usual, slot="candidate", withholds=True))
    assert _line(record_view(record, lambda _id: None), defaults(record)).endswith(" slot=candidate withholds=true")


def test_json_names_are_in_one_spelling() -> None:
    """Of every kind of record: as the REST API writes them."""
    bodies = (
        GapBody(1, 2, 2, "size", bytes(32), 1, 2, 2, bytes(32)),
        StartBody("1", bytes(32), True, replaced_epoch=3),
        RejectedBody("pump", "http", "/a", "no number", 1, 5, 6),
        ActionResultBody("pump", bytes(32), 3, 0, int(ActionOutcome.FAILED), 1),
        ExecutionBody("pump", bytes(32), 0, 5, int(Outcome.OK), 9),
    )
    for body in bodies:
        view = record_view(Record("node-a", 1, 7, ZERO_HASH, 5, body), lambda _id: None)
        assert [name for name in view if "_" in name] == []


def test_a_record_that_does_not_fit_its_program_is_shown_as_it_is() -> None:
    """A node may write any numbers."""
    program = compile_rule(RULE, name="door.eye").program
    assert program is not None
    bodies = (
        ExecutionBody("door", bytes(32), 7, 5, int(Outcome.OK), 9),
        ExecutionBody("door", bytes(32), 0, 5, int(Outcome.OK), 9, actions=((99, (), 0),)),
        ExecutionBody("door", bytes(32), 0, 5, 77, 9),
    )
    for body in bodies:
        view = record_view(Record("node-a", 1, 7, ZERO_HASH, 5, body), lambda _id: program)
        assert view["outcome"] == body.outcome and view["trigger"] == body.trigger
        data = encode_record(Record("node-a", 1, 7, ZERO_HASH, 5, body))
        assert ExecutionFilter(action="log.info").fitting(data, lambda _id: program) is None
    ended = ActionResultBody("door", bytes(32), 3, 0, 55, 1)
    assert record_view(Record("node-a", 1, 7, ZERO_HASH, 5, ended), lambda _id: program)["result"] == "unknown"
