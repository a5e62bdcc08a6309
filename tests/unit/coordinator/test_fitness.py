"""What a node cannot run is refused before anything is stored, with the reason for each node."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from eyeflow.coordinator.fitness import Needs, unfitness
from eyeflow.coordinator.store.facts import NodeRecord
from eyeflow.protocol.node_facts import NodeFacts
from eyeflow.svm.opcodes import ABI

FACTS = NodeFacts("linux", "", "x86_64", 1 << 30, ABI, ("gpio.*", "adc.*"), ("gpio", "mqtt"), ("mqtt",))
NEEDS = Needs("pump", "linux", "", ("gpio.set_pin",), ("event", "mqtt"))


def node(facts: NodeFacts | None = FACTS, protocol: int = 3) -> NodeRecord:
    return NodeRecord("node-a", bytes(32), 1, 1, "", 1, 1, 1, 1, "", protocol, facts)


def test_a_node_that_has_all_can_run_it() -> None:
    for strategy in ("immediate", "canary", "shadow", "blue_green", "rolling"):
        assert unfitness(node(), [NEEDS], strategy) == ()


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (
            {"profile": "mcu", "chip": "RP2040"},
            "is a board with the chip RP2040, and no program of `pump` comes for that",
        ),
        ({"abi": ABI - 1}, "update eyeflow there"),
        ({"grants": ("adc.*",)}, "does not grant gpio.set_pin"),
        ({"drivers": ("mqtt",)}, "has no driver for gpio.set_pin"),
        ({"sources": ()}, "has no source mqtt, which"),
    ],
)
def test_what_it_lacks_is_told(changed: dict[str, Any], says: str) -> None:
    (why,) = unfitness(node(replace(FACTS, **changed)), [NEEDS], "immediate")
    assert says in why


def test_what_it_does_not_tell_is_no_reason() -> None:
    assert unfitness(node(None, protocol=0), [NEEDS], "canary") == ()
    silent = replace(FACTS, grants=None, drivers=None, sources=None)
    assert unfitness(node(silent), [NEEDS], "immediate") == ()


def test_an_older_node_knows_no_candidates() -> None:
    for strategy in ("canary", "shadow", "blue_green"):
        (why,) = unfitness(node(protocol=2), [NEEDS], strategy)
        assert "update eyeflow there" in why
    assert unfitness(node(protocol=2), [NEEDS], "rolling") == ()


def tell(api: Any, name: str, facts: NodeFacts | None, protocol: int = 3) -> None:
    api.do(lambda writing: writing.record_hello(name, "1", protocol, 1, facts))


def test_a_deployment_to_a_node_that_cannot_run_it_is_refused_and_nothing_is_kept(full: Any) -> None:
    tell(full, "node-b", replace(FACTS, profile="mcu", chip="RP2040"))
    before = full.ask("GET", "/api/deployments").json()
    reply = full.ask("POST", "/api/rules/overheat/deploy", json={"nodeIds": ["node-a", "node-b"]})
    assert (reply.status_code, reply.json()["code"]) == (422, "unfit_nodes")
    (error,) = reply.json()["errors"]
    assert error["pointer"] == "/nodeIds/1"
    assert error["message"].startswith("node-b is a board with the chip RP2040")
    reply = full.ask("POST", "/api/rules/overheat/deploy", json={"all": True})
    assert reply.json()["errors"][0]["message"].startswith("node-b is a"), "no deployment to a part by surprise"
    assert full.ask("GET", "/api/deployments").json() == before
    assert full.ask("POST", "/api/rules/overheat/deploy", json={"nodeIds": ["node-a"]}).status_code == 202


def test_a_removal_needs_nothing_of_a_node(full: Any) -> None:
    tell(full, "node-b", replace(FACTS, profile="mcu", chip="RP2040"))
    body = {"all": True, "changes": [{"rule": "overheat", "remove": True}]}
    assert full.ask("POST", "/api/deployments", json=body).status_code == 202


def test_what_a_node_tells_is_shown_until_it_tells_otherwise(full: Any) -> None:
    assert full.ask("GET", "/api/nodes/node-a").json()["facts"] is None
    tell(full, "node-a", replace(FACTS, grants=None))
    shown = full.ask("GET", "/api/nodes/node-a").json()["facts"]
    assert (shown["profile"], shown["abi"], shown["grants"]) == ("linux", ABI, None)
    assert (shown["drivers"], shown["sources"], shown["memoryBytes"]) == (["gpio", "mqtt"], ["mqtt"], 1 << 30)
    tell(full, "node-a", None)
    assert full.ask("GET", "/api/nodes/node-a").json()["facts"] is None, "an older eyeflow runs there now"
