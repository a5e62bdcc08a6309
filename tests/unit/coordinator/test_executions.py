"""`GET /api/executions`: filters, pages, what a token may see, and following what comes."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from websockets.asyncio.client import connect

from eyeflow.audit.execution_id import ExecutionId, parse_execution_id
from eyeflow.base.errors import EyeflowError
from eyeflow.compiler.compile import CompileOptions, compile_rule
from eyeflow.coordinator import known_programs
from eyeflow.coordinator.archive.chain import Owner
from eyeflow.coordinator.archive.database import DAMAGED
from eyeflow.coordinator.schema import check_shape
from eyeflow.protocol.audit_bodies import ExecutionBody
from eyeflow.protocol.identity import Identity
from eyeflow.svm.container import decode, encode
from eyeflow.svm.signing import sign_program
from unit.coordinator.archive.chains import NODE_KEY, Chain
from unit.coordinator.test_why import shape_of

EPOCH = 1_700_000_000
RULE = """\
rule fan {
    version "1.2.0"

    pin FAN: output

    record Reading {
        celsius: float
    }

    on event "temp" as reading: Reading

    if reading.celsius > 30.0 {
        gpio.set_pin(FAN, HIGH)
    }
}
"""


def program(make: Any) -> bytes:
    found = compile_rule(RULE, name="fan.eye", options=CompileOptions()).program
    assert found is not None
    return sign_program(encode(found), make.signer.private_bytes())


def ran(program_id: bytes, number: int, celsius: float) -> ExecutionBody:
    body = ExecutionBody("fan", program_id, 0, (EPOCH + number) * 1_000_000, 0, 9, (celsius,), key=f"k{number % 2}")
    return replace(body, actions=((0, (0, True), 0),)) if celsius > 30.0 else body


@pytest.fixture
def filled(api: Any, make: Any) -> Any:
    data = program(make)
    program_id = bytes.fromhex(decode(data).program_id)
    assert api.upload(data).status_code == 201
    for number, node in enumerate(("node-a", "node-b"), start=1):
        api.join(node, Identity(bytes([number]) * 32))
        chain = Chain(Owner(node, EPOCH, NODE_KEY.public_key))
        chain.add(*(ran(program_id, number, 25.0 + number) for number in range(10)))
        chain.add(replace(ran(bytes(32), 11, float("nan")), actions=((3, (1,), 3),)))
        api.runner.run(api.archive.append(chain.bundle(1, 12)))
    return api


def asked(api: Any, query: str = "") -> Any:
    reply = api.ask("GET", f"/api/executions{query}", "read")
    return reply.json() if reply.status_code == 200 else (reply.status_code, reply.json()["code"])


def ids(api: Any, query: str = "") -> list[str]:
    return [one["id"] for one in asked(api, query)["executions"]]


def test_an_execution_is_told_with_the_names_and_lines_of_its_program(filled: Any) -> None:
    (one,) = asked(filled, "?node=node-a&limit=1&action=gpio.set_pin")["executions"]
    assert one["id"] == f"node-a:{EPOCH}:11" and one["inputs"] == {"celsius": 34.0}
    assert one["actions"] == [
        {"capability": "gpio.set_pin", "arguments": {"pin": "FAN", "level": "HIGH"}, "line": 13, "disposition": "sent"}
    ]
    assert one["text"] == "fan on event temp: celsius = 34.0 -> gpio.set_pin(FAN, HIGH) at line 13"
    (unknown,) = asked(filled, "?node=node-a&limit=1")["executions"]
    assert unknown["version"] == "" and unknown["inputs"] == {"0": "nan"}, (
        "its program is nowhere: numbers stay numbers"
    )
    assert unknown["actions"][0]["capability"] == "site 3"


ODD = (
    {"trigger": 9},
    {"inputs": ()},
    {"actions": ((99, (0, True), 0),)},
    {"actions": ((0, ("x", True), 0),)},
    {"actions": ((0, (), 0),)},
    {"answers": ((7, (), 1),)},
    {"outcome": 2, "trap": (999, 0)},
    {"outcome": 2, "trap": (1, 2**60)},
    {"inputs": ("hot",)},
)


@pytest.mark.parametrize("odd", ODD)
def test_a_record_that_does_not_fit_its_program_goes_by_its_numbers(filled: Any, odd: dict[str, Any]) -> None:
    """A node may write any numbers. The lists go on, with this one and with the others."""
    program_id = bytes.fromhex(asked(filled, "?node=node-a&limit=2")["executions"][1]["program"])
    filled.join("node-c", Identity(bytes([3]) * 32))
    chain = Chain(Owner("node-c", EPOCH, NODE_KEY.public_key))
    chain.add(ran(program_id, 1, 20.0), replace(ran(program_id, 2, 20.0), **odd), ran(program_id, 3, 20.0))
    filled.runner.run(filled.archive.append(chain.bundle(1, 4)))
    after, found, before = asked(filled, "?node=node-c")["executions"]
    assert (before["version"], after["version"]) == ("1.2.0", "1.2.0")
    assert check_shape(shape_of("Execution"), found) == []
    records = filled.ask("GET", "/api/nodes/node-c/records?texts=true", "read").json()["records"]
    assert [bool(one["text"]) for one in records] == [False, True, True, True]
    why = filled.ask("GET", f"/api/executions/{found['id']}/why", "read")
    assert why.status_code == 200 and check_shape(shape_of("Why"), why.json()) == [], why.text
    assert filled.ask("GET", f"/api/executions/{after['id']}/why", "read").json()["again"]["verdict"] == "same"


def test_a_record_that_cannot_be_read_keeps_no_other_from_the_lists(filled: Any) -> None:
    filled.archive._database._db.execute("UPDATE records SET record = x'00' WHERE seq = 5")
    found = asked(filled, "?node=node-a")["executions"]
    assert len(found) == 11
    (spoiled,) = [one for one in found if one["seq"] == 5]
    assert spoiled["text"] == "fan: its record cannot be read" and spoiled["key"] == "k1"
    records = filled.ask("GET", "/api/nodes/node-a/records?texts=true", "read").json()["records"]
    assert [one["text"] for one in records if one["seq"] == 5] == ["its record cannot be read"]


def test_filters_and_pages(filled: Any) -> None:
    assert len(ids(filled)) == 22
    assert len(ids(filled, "?node=node-b")) == 11 and len(ids(filled, "?node=node-b&node=node-a")) == 22
    assert len(ids(filled, "?action=gpio.set_pin")) == 8 and ids(filled, "?action=gpio.set") == []
    assert len(ids(filled, "?rule=fan&key=k1&node=node-a")) == 6 and ids(filled, "?rule=pump") == []
    assert ids(filled, "?outcome=trapped") == [] and len(ids(filled, "?outcome=ok")) == 22
    start_us = 1_700_000_000 * 1_000_000
    assert len(ids(filled, f"?sinceUs={start_us + 4}&untilUs={start_us + 6}")) == 4
    pages, cursor = [], ""
    while True:
        page = asked(filled, f"?limit=5{cursor}")
        pages += [one["id"] for one in page["executions"]]
        cursor = f"&cursor={page['nextCursor']}"
        if not page["more"]:
            break
    assert pages == ids(filled)


def test_an_action_is_found_also_in_an_archive_that_was_begun_anew(filled: Any, make: Any) -> None:
    """There its programs have other numbers."""
    program_id = bytes.fromhex(decode(program(make)).program_id)
    assert len(ids(filled, "?action=gpio.set_pin")) == 8
    filled.runner.run(filled.archive._begin_anew(0, EyeflowError("pages are damaged", code=DAMAGED)))
    chain = Chain(Owner("node-a", EPOCH, NODE_KEY.public_key))
    chain.add(replace(ran(bytes(32), 1, 1.0), actions=((0, (1,), 3),)), ran(program_id, 2, 40.0))
    filled.runner.run(filled.archive.append(replace(chain.bundle(1, 3), generation=1)))
    assert ids(filled, "?action=gpio.set_pin") == [f"node-a:{EPOCH}:3"]


def test_how_programs_acted_is_looked_through_in_parts_and_within_a_bound(
    filled: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_programs, "ACTING_AT_ONCE", 1)
    monkeypatch.setattr(known_programs, "NAMES_MAX", 1)
    assert len(ids(filled, "?action=gpio.set_pin")) == 8
    monkeypatch.setattr(known_programs, "ACTING_MAX", 1)
    assert asked(filled, "?action=gpio.set_pin") == (422, "limit_reached")
    assert len(ids(filled)) == 22


def test_what_makes_no_sense_is_refused(filled: Any) -> None:
    assert asked(filled, "?node=nobody") == (404, "node_not_found")
    for query in (
        "?outcome=trap",
        "?rule=",
        "?order=oldest",
        "?cursor=WzVd",
        "?order=came&cursor=WzAsMF0",
        "?nod=a",
    ):
        assert asked(filled, query) == (422, "invalid_query"), query


def test_a_token_for_some_nodes_sees_theirs_only(filled: Any) -> None:
    filled.ask("PUT", "/api/nodes/node-b/labels", json={"labels": {"site": "lyon"}})
    body = {"name": "lyon", "role": "read", "labels": {"site": "lyon"}}
    token = filled.ask("POST", "/api/tokens", json=body).json()["token"]
    headers = {"Authorization": f"Bearer {token}"}
    for query in ("", "?order=came&cursor=WzAsMCwwXQ"):
        found = filled.client.get(f"/api/executions{query}", headers=headers).json()["executions"]
        assert len(found) == 11 and {one["node"] for one in found} == {"node-b"}
    assert filled.client.get("/api/executions?node=node-a", headers=headers).status_code == 404
    assert len(asked(filled)["executions"]) == 22, "the control"


def test_without_an_archive_it_says_why(api: Any) -> None:
    api.hub.copies.archive, api.hub.copies.missing = None, "its file is damaged"
    reply = api.ask("GET", "/api/executions", "read")
    assert reply.json()["code"] == "no_archive" and "its file is damaged" in reply.json()["detail"]


def test_the_feed_says_when_to_read_on_and_nothing_is_missed_or_told_twice(cluster: Any, make: Any) -> None:
    async def walk() -> None:
        async with cluster.coordinator() as client:
            node = make.control("node-a")
            node.note(*(ran(bytes(32), number, 1.0) for number in range(3)))
            await cluster.join(client, node)
            cursor = (await client.get("/api/executions?order=came")).json()["nextCursor"]
            url = f"{cluster.url.replace('http', 'ws')}/api/changes?kind=record"
            async with connect(
                url, additional_headers={"Authorization": f"Bearer {cluster.token}"}, proxy=None
            ) as websocket:
                cluster.dial(node)
                seen: list[int] = []
                more = [10, 5, 3]
                while len(seen) < 21:
                    message = json.loads(await asyncio.wait_for(websocket.recv(), 60))
                    if message["type"] != "changes":
                        continue
                    assert {(one["kind"], one["subject"]) for one in message["changes"]} == {("record", "node-a")}
                    page = (await client.get(f"/api/executions?order=came&cursor={cursor}")).json()
                    cursor = page["nextCursor"]
                    seen += [one["seq"] for one in page["executions"]]
                    if page["executions"] and more:
                        node.note(*(ran(bytes(32), number, 1.0) for number in range(more.pop())))
            assert seen == list(range(1, 22))
            await cluster.hang_up_all()

    asyncio.run(walk())


@pytest.mark.parametrize("text", ["node-a:1790000000:42", "node-a:42", "1790000000:42", "42"])
def test_an_id_is_read_as_it_is_written(text: str) -> None:
    found = parse_execution_id(text)
    assert found is not None and str(found) == text and found.seq == 42


def test_what_is_no_id_is_none() -> None:
    assert [parse_execution_id(text) for text in ("", "x", "a:b:1", "a:1:2:3", "-1", "1.5", "a/1")] == [None] * 7
    assert parse_execution_id("7:1:2") == ExecutionId("7", 1, 2)
