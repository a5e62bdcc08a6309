"""A plan tells what a deployment would do, and writes nothing."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from components.node_sim import program
from eyeflow.coordinator.histories import Doubt, Finding
from eyeflow.protocol.node_facts import NodeFacts
from eyeflow.rollout.deployment import Target, Wanted
from eyeflow.svm.container import decode
from eyeflow.svm.opcodes import ABI

FACTS = NodeFacts("linux", "", "x86_64", 1, ABI, ("log.*",), ("log",), ("mqtt",))
OLD = """rule overheat {
    version "1.0.0"
    state kept: int = 0
    state retyped: int = 0
    state gone: int = 0
    on every 1s
    let high = kept > 3
    if high for 2s {
        kept = kept + retyped + gone
    }
}
"""
NEW = """rule overheat {
    version "2.0.0"
    param limit: int = 3
    state kept: int = 0
    state retyped: float = 0.0
    state fresh: int = 0
    on every 1s
    let high = kept > limit
    if high for 2s {
        kept = kept + fresh
        retyped = 1.0
    }
}
"""


def plan(api: Any, *changes: dict[str, Any], **body: Any) -> Any:
    reply = api.ask("POST", "/api/deployments/plan", "read", json={"all": True, "changes": list(changes)} | body)
    assert reply.status_code == 200, reply.text
    return reply.json()


class Link:
    node = "node-a"
    is_away = False

    def offer(self, offer: object) -> None:
        """Take it."""


def brought(source: str, **more: Any) -> dict[str, Any]:
    return {"rule": "overheat", "program": base64.b64encode(program(source)).decode(), **more}


def stored(api: Any) -> object:
    return Path(api.store.file.path).read_bytes(), Path(f"{api.store.file.path}-wal").read_bytes()


def test_a_plan_of_a_program_that_comes_along_writes_nothing(full: Any) -> None:
    before = stored(full)
    told = plan(full, brought(NEW, params={"limit": 5}), strategy="canary")
    assert stored(full) == before
    assert (told["steps"], told["leastS"], told["untrusted"]) == (2, 60, [])
    (old,) = told["supersedes"]
    assert (old["id"], old["nodes"]) == (full.deployment["id"], ["node-a", "node-b"])
    first = told["nodes"][0]
    assert (first["node"], first["connected"], first["problems"]) == ("node-a", False, [])
    (change,) = first["changes"]
    assert (change["change"], change["programBefore"]) == ("replace", full.program_id)
    assert change["params"] == {"limit": 5}
    assert (change["state"]["new"], change["state"]["resetsTimeWords"]) == (["fresh", "kept", "retyped"], False)
    assert change["programId"] == decode(program(NEW)).program_id
    assert full.ask("GET", f"/api/programs/{change['programId']}").status_code == 404


def test_the_state_that_is_kept_is_told(full: Any) -> None:
    old = program(OLD)
    full.upload(old)
    assert full.ask("POST", "/api/rules/overheat/deploy", json={"nodeIds": ["node-a"]}).status_code == 202
    full.hub.links["node-a"] = Link()
    told = plan(full, brought(NEW))
    node, other = told["nodes"]
    assert (node["connected"], other["connected"]) == (True, False)
    (change,) = node["changes"]
    assert change["change"] == "replace"
    assert change["programBefore"] == decode(old).program_id
    assert change["state"] == {
        "kept": ["kept"], "reset": ["retyped"], "new": ["fresh"], "dropped": ["gone"], "resetsTimeWords": True,
    }  # fmt: skip


def test_a_program_of_a_stranger_is_told_and_refuses_no_plan(full: Any, make: Any) -> None:
    data = base64.b64encode(make.program(key=make.stranger)).decode()
    assert plan(full, {"rule": "overheat", "program": data})["untrusted"] == ["overheat"]


def test_each_kind_of_change_has_its_word(full: Any) -> None:
    full.ask("DELETE", "/api/nodes/node-b")
    full.join("node-b", full.nodes["node-b"])
    words = {
        "none": {"rule": "overheat"},
        "configure": {"rule": "overheat", "params": {"limit": 90}},
        "remove": {"rule": "overheat", "remove": True},
    }
    for word, change in words.items():
        (told, other) = plan(full, change)["nodes"]
        assert told["changes"][0]["change"] == word
        assert other["changes"][0]["change"] == ("none" if word == "remove" else "install")


def test_what_nodes_cannot_run_is_told_and_refuses_no_plan(full: Any) -> None:
    full.do(lambda writing: writing.record_hello("node-b", "1", 2, 1, replace(FACTS, profile="mcu", chip="RP2040")))
    able, unable = plan(full, {"rule": "overheat"}, strategy="shadow")["nodes"]
    assert able["problems"] == []
    assert "update eyeflow there" in unable["problems"][0]
    assert "is a board, which runs one program of a rule at a time" in unable["problems"][1]
    assert "is a board with the chip RP2040" in unable["problems"][2]


def test_a_wrong_plan_is_refused_as_the_deployment_would_be(full: Any) -> None:
    def refused(*changes: dict[str, Any], **body: Any) -> tuple[int, str]:
        request = {"all": True, "changes": list(changes)} | body
        reply = full.ask("POST", "/api/deployments/plan", "read", json=request)
        return reply.status_code, reply.json()["code"]

    assert refused({"rule": "overheat"}, nodeIds=["node-a"]) == (422, "invalid_body")
    assert refused({"rule": "overheet"}) == (404, "rule_not_found")
    assert refused({"rule": "overheat", "program": "!"}) == (422, "invalid_body")
    assert refused({"rule": "overheat", "program": "AAAA"}) == (422, "invalid_program")
    assert refused(brought(NEW, rule="pump")) == (422, "invalid_body")
    assert refused(brought(NEW, programId="00" * 32)) == (422, "invalid_body")
    assert refused({"rule": "overheat", "params": {"limit": "hot"}}) == (422, "invalid_params")
    assert refused({"rule": "overheat"}, strategy="rollin") == (422, "unavailable_strategy")


POLICY = '[[demand]]\nname = "all"\nnodes = ["*"]\napproval = true\nstrategies = ["canary"]\n'


def change_of(rule: str, word: str, new: str, old: str, **more: Any) -> dict[str, Any]:
    told = {"rule": rule, "change": word, "programId": new, "programBefore": old}
    return told | {"params": {}, "paramsBefore": {}, "state": None} | more


def test_a_whole_plan(full: Any, make: Any) -> None:
    """Each field: two rules on two nodes, one of which is linked and the other set aside."""
    full.upload(program(OLD))
    full.upload(make.program("pump"))
    ids = []
    for change, where in (
        ({"rule": "overheat"}, {"nodeIds": ["node-a"]}),
        ({"rule": "pump", "params": {"limit": 70}}, {"all": True}),
    ):
        ids.append(full.ask("POST", "/api/deployments", json={"changes": [change]} | where).json()["id"])
    full.ask("POST", "/api/policy", json={"text": POLICY})
    full.hub.links["node-a"] = Link()
    finding = Finding(Doubt.QUARANTINED, 1, 1, "set aside by anna")
    full.do(lambda writing: writing.set_quarantine("node-b", finding, 1))
    told = plan(full, brought(NEW, params={"limit": 5}), {"rule": "pump", "remove": True}, strategy="rolling")
    old, pump, new = (decode(one).program_id for one in (program(OLD), make.program("pump"), program(NEW)))
    kept = {"kept": ["kept"], "reset": ["retyped"], "new": ["fresh"], "dropped": ["gone"], "resetsTimeWords": True}
    removed = change_of("pump", "remove", "", pump, paramsBefore={"limit": 70.0})
    replaced = change_of("overheat", "replace", new, old, params={"limit": 5}, state=kept)
    installed = change_of("overheat", "install", new, "", params={"limit": 5})
    ended = [
        {"id": ids[0], "name": "overheat", "state": "installing", "nodes": ["node-a"]},
        {"id": ids[1], "name": "pump", "state": "installing", "nodes": ["node-a", "node-b"]},
    ]
    assert told == {
        "strategy": "rolling",
        "steps": 2,
        "leastS": 120,
        "untrusted": [],
        "broken": ["line 5 of the policy (`all`) demands canary for node-a, node-b, not rolling"],
        "approval": "another person must approve it: line 4 of the policy (`all`)",
        "supersedes": sorted(ended, key=lambda one: str(one["id"])),
        "nodes": [
            {"node": "node-a", "connected": True, "problems": [], "changes": [replaced, removed]},
            {
                "node": "node-b",
                "connected": False,
                "problems": ["in doubt: set aside by anna"],
                "changes": [installed, removed],
            },
        ],
        "replay": None,
    }


def test_of_a_program_whose_bytes_are_lost_no_state_is_told(full: Any) -> None:
    lost = Wanted("overheat", "active", Target("ab" * 32, "d-1"))
    full.do(lambda writing: writing.want("node-a", lost))
    told = plan(full, {"rule": "overheat"})["nodes"][0]["changes"]
    assert told == [change_of("overheat", "replace", full.program_id, "ab" * 32)]


def test_what_a_candidate_is_says_nothing_of_what_runs(full: Any) -> None:
    """A plan compares with the active program; another may run beside it."""
    beside = Wanted("overheat", "candidate", Target("ab" * 32, "d-1"))
    full.do(lambda writing: writing.want("node-a", beside))
    told = plan(full, {"rule": "overheat"})["nodes"][0]["changes"]
    assert told == [change_of("overheat", "none", full.program_id, full.program_id)]
