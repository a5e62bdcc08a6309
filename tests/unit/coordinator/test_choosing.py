"""Which nodes a deployment goes to: labels, what is left out, what is drained, and what is refused with near names."""

from __future__ import annotations

from typing import Any

import pytest

from eyeflow.coordinator.choosing import NAMES_SHOWN_MAX
from eyeflow.coordinator.rates import Rates
from eyeflow.protocol.messages import Health, HealthKind, HealthState, Status
from eyeflow.protocol.slot import Slot
from eyeflow.rollout.deployment import NODES_MAX

DEPLOY = "/api/rules/overheat/deploy"


def went_to(reply: Any) -> list[str]:
    assert reply.status_code == 202, reply.text
    return [node["node"] for node in reply.json()["nodes"]]


def label(api: Any, node: str, **labels: str) -> None:
    assert api.ask("PUT", f"/api/nodes/{node}/labels", json={"labels": labels}).json()["labels"] == labels


def test_labels_are_set_as_a_whole_and_choose_nodes(full: Any) -> None:
    label(full, "node-a", site="lyon", arch="arm64")
    label(full, "node-b", site="lyon")
    assert went_to(full.ask("POST", DEPLOY, json={"labels": {"site": "lyon"}})) == ["node-a", "node-b"]
    assert went_to(full.ask("POST", DEPLOY, json={"labels": {"site": "lyon", "arch": "arm64"}})) == ["node-a"]
    assert went_to(full.ask("POST", DEPLOY, json={"labels": {"site": "lyon"}, "exclude": ["node-a"]})) == ["node-b"]
    assert went_to(full.ask("POST", DEPLOY, json={"all": True, "exclude": ["node-b"]})) == ["node-a"]
    label(full, "node-a", site="oslo")
    assert went_to(full.ask("POST", DEPLOY, json={"labels": {"site": "lyon"}})) == ["node-b"]
    full.ask("DELETE", "/api/nodes/node-b")
    assert full.ask("POST", DEPLOY, json={"labels": {"site": "lyon"}}).status_code == 422, "they go with the node"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"labels": {"site": "lyn"}}, "did you mean `site=lyon`"),
        ({"labels": {"site": "lyon", "arch": "arm64"}}, "No node has all of the labels site=lyon, arch=arm64"),
        ({"labels": {}}, "Name a label"),
        ({"labels": {"site": "ly on"}}, "must match"),
        ({"labels": {"site": "lyon"}, "all": True}, "either `nodeIds`, `labels` or `all`"),
        ({"all": True, "exclude": ["node-aa"]}, "did you mean `node-a`"),
        ({"all": True, "exclude": ["node-a", "node-b"]}, "All 2 nodes that were asked for are left out"),
        ({"nodeIds": ["node-a"], "exclude": ["node-a"]}, "left out"),
    ],
)
def test_what_no_node_is_meant_by_is_refused(full: Any, body: dict[str, Any], says: str) -> None:
    label(full, "node-a", site="lyon")
    label(full, "node-b", arch="arm64")
    reply = full.ask("POST", DEPLOY, json=body)
    assert reply.status_code == 422 and says in reply.text, reply.text


def test_of_thousands_of_unknown_nodes_some_are_named(full: Any) -> None:
    """Each near name costs a look at all nodes, and a request may name ten thousand, by the longest names."""
    names = [f"{'unknown-' * 6}-{number:05}" for number in range(NODES_MAX)]
    reply = full.ask("POST", DEPLOY, json={"nodeIds": names})
    assert reply.status_code == 422 and reply.json()["code"] == "unknown_nodes", reply.text[:500]
    assert len(reply.json()["errors"]) == NAMES_SHOWN_MAX
    assert f" and {NODES_MAX - NAMES_SHOWN_MAX} more." in reply.json()["detail"] and len(reply.content) < 16_384


@pytest.mark.parametrize("name", ["Site", "site-", "-site", "", "a" * 64, "a b"])
def test_a_label_has_a_plain_name(full: Any, name: str) -> None:
    reply = full.ask("PUT", "/api/nodes/node-a/labels", json={"labels": {name: "x"}})
    assert (reply.status_code, reply.json()["code"]) == (422, "invalid_body")
    assert full.ask("GET", "/api/nodes/node-a").json()["labels"] == {}


def test_a_drained_node_only_gets_what_names_it(full: Any) -> None:
    busy = full.ask("POST", "/api/nodes/node-a/drain")
    assert (busy.status_code, busy.json()["code"]) == (409, "deployment_open")
    assert full.ask("GET", "/api/nodes/node-a").json()["drainedUs"] == 0, "nothing was taken off"
    full.ask("POST", f"/api/deployments/{full.deployment['id']}/cancel")
    drained = full.ask("POST", "/api/nodes/node-a/drain").json()
    assert drained["drainedUs"] > 0 and not any(rule["wanted"] for rule in drained["rules"])
    assert went_to(full.ask("POST", DEPLOY, json={"all": True})) == ["node-b"]
    assert went_to(full.ask("POST", DEPLOY, json={"nodeIds": ["node-a"]})) == ["node-a"]
    full.ask("POST", "/api/nodes/node-a/undrain")
    assert went_to(full.ask("POST", DEPLOY, json={"all": True})) == ["node-a", "node-b"]
    unknown = full.ask("POST", "/api/nodes/node-aa/drain")
    assert unknown.status_code == 404 and "Did you mean `node-" in unknown.json()["detail"]


def test_a_deployment_that_has_ended_starts_again(full: Any) -> None:
    old = full.deployment["id"]
    busy = full.ask("POST", f"/api/deployments/{old}/retry")
    assert (busy.status_code, busy.json()["code"]) == (409, "deployment_open")
    full.ask("POST", f"/api/deployments/{old}/cancel")
    full.ask("DELETE", "/api/nodes/node-b")
    again = full.ask("POST", f"/api/deployments/{old}/retry")
    assert went_to(again) == ["node-a"], "the other one is gone"
    assert again.json()["id"] != old and again.headers["location"].endswith(again.json()["id"])
    assert again.json()["changes"] == full.deployment["changes"]
    full.ask("POST", f"/api/deployments/{again.json()['id']}/cancel")
    full.ask("DELETE", "/api/nodes/node-a")
    assert full.ask("POST", f"/api/deployments/{old}/retry").json()["code"] == "unknown_nodes"


def told(executions: int, rejected: int = 0, slot: Slot = Slot.ACTIVE) -> Status:
    counters = (("executions", executions), ("rejected", rejected))
    health = Health(HealthKind.RULE, "pump", HealthState.RUNNING, counters=counters, slot=slot)
    return Status(0, 1, 0, 0, (health, Health(HealthKind.PORT, "http", HealthState.RUNNING)))


def test_rates_are_of_the_last_minute_and_begin_anew_with_the_counters() -> None:
    rates = Rates()
    assert rates.a_minute() == (None, None)
    for second in range(0, 120, 5):
        rates.saw(told(second if second < 60 else 60 + 10 * (second - 60), rejected=second), second * 1_000_000)
    executions, errors = rates.a_minute()
    assert executions == pytest.approx(600, abs=50) and errors == pytest.approx(60, abs=1), "of the last minute"
    rates.saw(told(3), 125_000_000)
    assert rates.a_minute() == (None, None), "the node started again"
    rates.saw(told(3), 130_000_000)
    assert rates.a_minute() == (0, 0)


def test_what_a_candidate_executes_is_not_counted_twice() -> None:
    rates = Rates()
    for second in (0, 30):
        rates.saw(told(second * 9, slot=Slot.CANDIDATE), second * 1_000_000)
    assert rates.a_minute() == (0, 0)
