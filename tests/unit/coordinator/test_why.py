"""`GET /api/executions/{id}/why`: from the copies of a real node's records, and what is refused."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from components.node_sim import NODE_KEY, NodeSim, program
from eyeflow.audit.why import explain
from eyeflow.coordinator import explaining, openapi
from eyeflow.coordinator.archive.chain import Owner
from eyeflow.coordinator.archive.database import Bundle
from eyeflow.coordinator.schema import check_shape
from eyeflow.node.store.reader import AuditReader
from eyeflow.protocol.audit import decode_record
from eyeflow.protocol.audit_bodies import ExecutionBody
from eyeflow.protocol.collecting import bundled

RULE = """\
rule count {
 version "1.0.0"
 state seen: int = 0
 record Event { temp: int }
 on mqtt "t" as e: Event
 seen = seen + 1
 if seen % 2 == 0 { log.warn("{seen} of {e.temp}") }
}
"""


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    path = tmp_path_factory.mktemp("node")

    async def live() -> None:
        sim = await NodeSim.started(path, RULE)
        for temp in range(30):
            await sim.send("t", temp=temp)
            await sim.turns()
            await sim.advance(1_000_000)
        await sim.stop()

    asyncio.run(live())
    with AuditReader(path) as reader:
        return list(reader.records())


@pytest.fixture
def filled(api: Any, records: list[bytes]) -> Any:
    assert api.upload(program(RULE)).status_code == 201
    api.join("sim", NODE_KEY)
    api.epoch = decode_record(records[0]).epoch
    append(api, records[:20])
    append(api, records[20:])
    api.seqs = [decode_record(one).seq for one in records if isinstance(decode_record(one).body, ExecutionBody)]
    return api


def append(api: Any, records: list[bytes]) -> None:
    owner = Owner("sim", decode_record(records[0]).epoch, NODE_KEY.public_key)
    last = decode_record(records[-1]).seq
    api.runner.run(api.archive.append(Bundle(owner, bundled(records), last, api.clock())))


def why(api: Any, execution: str) -> Any:
    return api.ask("GET", f"/api/executions/{execution}/why", "read")


def test_each_execution_is_explained_as_the_api_says(filled: Any) -> None:
    for number, seq in enumerate(filled.seqs, start=1):
        reply = why(filled, f"sim:{filled.epoch}:{seq}")
        assert reply.status_code == 200, reply.text
        found = reply.json()
        assert not check_shape(shape_of("Why"), found)
        assert found["again"]["verdict"] == "same" and found["memory"]["found"] == "known"
        assert (found["stateBefore"], found["stateAfter"]) == ({"seen": number - 1}, {"seen": number})
        assert found["program"]["signers"][0]["name"] == "test" and found["program"]["signers"][0]["holds"]
        assert found["chain"]["cosigned"] and found["chain"]["prevFits"]
        assert found["path"][0]["compared"] == [f"{number % 2} == 0 is {'true' if number % 2 == 0 else 'false'}"]


def shape_of(name: str) -> Any:
    """Return a schema of the API that refers to no other."""
    schemas = openapi.document()["components"]["schemas"]

    def whole(shape: Any) -> Any:
        if isinstance(shape, dict) and "$ref" in shape:
            return whole(schemas[shape["$ref"].rsplit("/", 1)[1]])
        if isinstance(shape, dict):
            return {name: whole(value) for name, value in shape.items()}
        return [whole(one) for one in shape] if isinstance(shape, list) else shape

    return whole(schemas[name])


def test_what_is_bounded_is_said(filled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explaining, "RECORDS_MAX", 5)
    found = why(filled, f"sim:{filled.seqs[20]}").json()
    assert found["memory"]["found"] == "warm" and found["memory"]["executions"] == 5
    assert "more records than are run again at once" in found["memory"]["note"]
    assert found["again"]["verdict"] == "unknown", "it counts from 0, so it decides otherwise: nothing is proven by it"
    monkeypatch.setattr(explaining, "RECORDS_MAX", 1000)
    monkeypatch.setattr(explaining, "SECONDS_MAX", 0.0)
    found = why(filled, f"sim:{filled.seqs[20]}").json()
    assert (found["memory"]["found"], found["memory"]["executions"]) == ("empty", 0)


def test_records_that_never_came_are_not_passed_over(api: Any, records: list[bytes], tmp_path: Path) -> None:
    """The node dropped some before they were copied, and told so by a gap."""
    assert api.upload(program(RULE)).status_code == 201
    api.join("sim", NODE_KEY)
    epoch = decode_record(records[0]).epoch
    append(api, records[:10])
    owner = Owner("sim", epoch, NODE_KEY.public_key)
    bundle = Bundle(owner, bundled(records[15:]), 10**6, api.clock())
    api.runner.run(api.archive.append(bundle))
    found = why(api, f"sim:{decode_record(records[20]).seq}").json()
    assert found["memory"]["found"] == "warm" and found["again"]["verdict"] in ("same", "unknown")
    whole = why(api, f"sim:{decode_record(records[8]).seq}").json()
    assert whole["memory"]["found"] == "known", "the control: before the hole all is there"


@pytest.mark.parametrize(
    ("execution", "code"),
    [
        ("nonsense", "execution_not_found"),
        ("12", "execution_not_found"),
        ("sim:1", "execution_not_found"),
        ("sim:999999", "execution_not_found"),
        ("sim:7:3", "execution_not_found"),
        ("nobody:3", "node_not_found"),
    ],
)
def test_what_is_none_is_told(filled: Any, execution: str, code: str) -> None:
    reply = why(filled, execution)
    assert (reply.status_code, reply.json()["code"]) == (404, code)


def test_a_token_for_other_nodes_gets_no_explanation(filled: Any) -> None:
    body = {"name": "lyon", "role": "read", "labels": {"site": "lyon"}}
    token = filled.ask("POST", "/api/tokens", json=body).json()["token"]
    headers = {"Authorization": f"Bearer {token}"}
    path = f"/api/executions/sim:{filled.seqs[0]}/why"
    assert filled.client.get(path, headers=headers).status_code == 404
    filled.ask("PUT", "/api/nodes/sim/labels", json={"labels": {"site": "lyon"}})
    assert filled.client.get(path, headers=headers).status_code == 200, "the control"


def test_who_asks_for_more_than_can_wait_is_refused_and_told_when_to_ask_again(
    filled: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    def waits(*asked: Any) -> Any:
        assert go_on.wait(60)
        return explain(*asked)

    async def scenario() -> list[Any]:
        async def ask() -> Any:
            return await filled.client._http.get(path, headers={"Authorization": f"Bearer {filled.tokens['read']}"})

        taken = [asyncio.create_task(ask()) for _ in range(2)]
        async with asyncio.timeout(60):
            while filled.hub.copies.explanations < 2:
                await asyncio.sleep(0)
        refused = await asyncio.wait_for(ask(), 60)
        go_on.set()
        return [refused, *await asyncio.gather(*taken), await ask()]

    path = f"/api/executions/sim:{filled.seqs[0]}/why"
    monkeypatch.setattr(explaining, "ASKED_MAX", 2)
    monkeypatch.setattr(explaining, "explain", waits)
    refused, *answered = filled.runner.run(scenario())
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_explanations")
    assert refused.headers["Retry-After"] == str(explaining.RETRY_S)
    assert [one.status_code for one in answered] == [200, 200, 200]
