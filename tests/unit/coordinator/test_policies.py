"""The policy over the real API: what breaks it is refused with its line, and who may approve."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from eyeflow.coordinator.tokens import Role
from eyeflow.rollout.deployment import DeploymentState, Target, Wanted
from eyeflow.svm.signing import sign_program

APPROVAL = '[[demand]]\nname = "all"\nnodes = ["*"]\napproval = true\n'
WATCH = '[[demand]]\nname = "a"\nnodes = ["node-a"]\nstrategies = ["rolling"]\nobserve = "2min"\n'
SIGNERS = '[[demand]]\nname = "two"\nnodes = ["node-b"]\nsigners = 2\n'


def apply(api: Any, text: str) -> None:
    reply = api.ask("POST", "/api/policy", json={"text": text})
    assert reply.status_code == 200, reply.text


def deploy(api: Any, who: str = "admin", **body: Any) -> Any:
    return api.ask("POST", "/api/rules/overheat/deploy", who, json={"all": True} | body)


def person(api: Any, name: str, made_by: str = "test", role: Role = Role.DEPLOY) -> str:
    made = api.run(lambda: api.hub.tokens.create(name, role, api.clock(), made_by, 0))
    api.tokens[name] = made.secret
    return name


@pytest.fixture
def idle(full: Any) -> Any:
    """A cluster without an open deployment."""
    full.ask("POST", f"/api/deployments/{full.deployment['id']}/cancel")
    for _ in range(200):
        full.clock.pass_s(1)
        full.tick()
    assert full.ask("GET", f"/api/deployments/{full.deployment['id']}").json()["over"]
    return full


def test_a_deployment_that_breaks_the_policy_is_refused_with_its_line(idle: Any) -> None:
    apply(idle, WATCH)
    reply = deploy(idle)
    assert (reply.status_code, reply.json()["code"]) == (422, "policy_broken")
    told = [one["message"] for one in reply.json()["errors"]]
    assert "line 4 of the policy (`a`) demands rolling for node-a, not immediate" in told
    assert any(one.startswith("line 5 of the policy") for one in told)
    assert deploy(idle, nodeIds=["node-b"]).status_code == 422, "both nodeIds and all"
    assert idle.ask("POST", "/api/rules/overheat/deploy", json={"nodeIds": ["node-b"]}).status_code == 202
    assert deploy(idle, strategy="rolling", options={"observeS": 120}).status_code == 202


def test_a_threshold_counts_keys_that_are_trusted_now(idle: Any, make: Any) -> None:
    apply(idle, SIGNERS)
    assert "demands 2 trusted signers for node-b; `overheat` has 1" in deploy(idle).text
    idle.trust(make.stranger, "second")
    assert idle.upload(sign_program(make.program(), make.stranger.private_bytes())).status_code == 200
    assert deploy(idle).status_code == 202
    idle.revoke(make.stranger)
    assert deploy(idle).json()["code"] == "policy_broken"


def test_an_approval_is_waited_for_and_is_another_persons(idle: Any) -> None:
    apply(idle, APPROVAL)
    alice, bob = person(idle, "alice"), person(idle, "bob")
    begun = deploy(idle, alice)
    assert begun.status_code == 202
    waits = begun.json()
    assert (waits["state"], waits["paused"][0]["code"]) == ("pending", "approval")
    assert "line 4 of the policy (`all`)" in waits["paused"][0]["text"]
    path = f"/api/deployments/{waits['id']}"
    assert idle.ask("POST", f"{path}/resume", alice).json()["paused"][0]["code"] == "approval"
    assert idle.ask("POST", f"{path}/promote", alice).status_code == 409
    assert idle.ask("GET", path).json()["state"] == "pending"
    assert {one["place"] for one in idle.ask("GET", path).json()["nodes"]} == {"nothing"}
    assert idle.ask("POST", f"{path}/approve", alice).json()["code"] == "own_approval"
    approved = idle.ask("POST", f"{path}/approve", bob)
    assert approved.status_code == 202, approved.text
    assert (approved.json()["state"], approved.json()["paused"]) == ("installing", [])


def test_whom_the_requester_made_is_no_other_person(idle: Any) -> None:
    apply(idle, APPROVAL)
    boss = person(idle, "boss", role=Role.ADMIN)
    made = idle.ask("POST", "/api/tokens", boss, json={"name": "second", "role": "admin"}).json()
    assert made["createdBy"] == "boss"
    idle.tokens["second"] = made["token"]
    third = idle.ask("POST", "/api/tokens", "second", json={"name": "third", "role": "deploy"}).json()
    idle.tokens["third"] = third["token"]
    path = f"/api/deployments/{deploy(idle, boss).json()['id']}/approve"
    for puppet in ("second", "third"):
        assert idle.ask("POST", path, puppet).json()["code"] == "own_approval", puppet
    other = person(idle, "other")
    assert idle.ask("POST", path, other).status_code == 202


def test_who_made_the_requester_is_no_other_person_and_a_name_is_nobody_new(idle: Any) -> None:
    apply(idle, APPROVAL)
    boss = person(idle, "boss", role=Role.ADMIN)
    made = idle.ask("POST", "/api/tokens", boss, json={"name": "puppet", "role": "deploy"}).json()
    idle.tokens["puppet"] = made["token"]
    path = f"/api/deployments/{deploy(idle, 'puppet').json()['id']}/approve"
    assert idle.ask("POST", path, boss).json()["code"] == "own_approval"
    idle.ask("DELETE", f"/api/tokens/{made['id']}")
    person(idle, "puppet", made_by="somebody")
    assert idle.ask("POST", path, "puppet").json()["code"] == "own_approval", "the same name again"
    assert idle.ask("POST", path, person(idle, "other")).status_code == 202


def test_tokens_of_one_person_approve_nothing_of_one_another(idle: Any) -> None:
    """The laptop's and the phone's: other names, and an admin made both."""
    apply(idle, APPROVAL)
    boss = person(idle, "boss", role=Role.ADMIN)
    for name, whose in (("laptop", "anna"), ("phone", "anna"), ("desk", "ben"), ("nobodys", "")):
        asked = {"name": name, "role": "admin"} | ({"person": whose} if whose else {})
        idle.tokens[name] = idle.ask("POST", "/api/tokens", boss, json=asked).json()["token"]
    made = idle.ask("POST", "/api/tokens", "phone", json={"name": "of-anna", "role": "deploy"}).json()
    idle.tokens["of-anna"] = made["token"]
    path = f"/api/deployments/{deploy(idle, 'laptop').json()['id']}/approve"
    for same in ("laptop", "phone", "of-anna", "boss"):
        assert idle.ask("POST", path, same).json()["code"] == "own_approval", same
        assert idle.ask("GET", path.removesuffix("/approve"), same).json()["own"], same
    assert idle.ask("GET", path.removesuffix("/approve"), "desk").json()["own"] is False
    path = f"/api/deployments/{deploy(idle, 'of-anna').json()['id']}/approve"
    assert idle.ask("POST", path, "laptop").json()["code"] == "own_approval", "another token of who made it"
    path = f"/api/deployments/{deploy(idle, 'nobodys').json()['id']}/approve"
    assert idle.ask("POST", path, "desk").status_code == 202, "a name is a person when nothing else is told"


def test_what_waits_for_approval_ends_nothing_that_has_begun(full: Any) -> None:
    apply(full, APPROVAL)
    reply = deploy(full)
    assert (reply.status_code, reply.json()["code"]) == (409, "deployment_open")
    assert not full.ask("GET", f"/api/deployments/{full.deployment['id']}").json()["over"]


def test_a_newer_request_takes_the_place_of_one_that_waits(idle: Any) -> None:
    apply(idle, APPROVAL)
    first = deploy(idle).json()["id"]
    assert deploy(idle).status_code == 202
    assert idle.ask("GET", f"/api/deployments/{first}").json()["over"]


@pytest.mark.parametrize(("policy", "status"), [(APPROVAL, 422), (WATCH, 422), (SIGNERS, 204), ("", 204)])
def test_a_rule_is_not_retired_around_the_policy(idle: Any, policy: str, status: int) -> None:
    wanted = Wanted("overheat", "active", Target(idle.program_id, "d-0"))
    idle.do(lambda writing: writing.want("node-a", wanted))
    apply(idle, policy)
    drained = idle.ask("POST", "/api/nodes/node-a/drain")
    if status == 422:
        assert drained.json()["code"] == "policy_broken"
    else:
        assert drained.status_code == 200
        idle.do(lambda writing: writing.want("node-a", wanted))
    reply = idle.ask("DELETE", "/api/nodes/node-a/rules/overheat")
    assert reply.status_code == status, reply.text
    assert status == 204 or reply.json()["code"] == "policy_broken"


def test_a_demand_for_a_label_holds_for_the_nodes_that_have_it(idle: Any) -> None:
    apply(idle, '[[demand]]\nname = "lyon"\nlabels = { site = "lyon" }\nstrategies = ["rolling"]\n')
    assert deploy(idle).status_code == 202
    labelled = idle.ask("PUT", "/api/nodes/node-b/labels", json={"labels": {"site": "lyon"}})
    assert labelled.status_code == 200, labelled.text
    assert "demands rolling for node-b, not immediate" in deploy(idle).text
    assert idle.ask("PUT", "/api/nodes/node-b/labels", "deploy", json={"labels": {}}).status_code == 403


def test_to_try_again_is_held_against_the_policy_too(idle: Any) -> None:
    old = idle.deployment["id"]
    apply(idle, WATCH)
    assert idle.ask("POST", f"/api/deployments/{old}/retry").json()["code"] == "policy_broken"
    apply(idle, APPROVAL)
    again = idle.ask("POST", f"/api/deployments/{old}/retry")
    assert again.json()["paused"][0]["code"] == "approval", again.text


def test_a_promotion_waits_for_the_time_that_the_policy_demands(idle: Any) -> None:
    apply(idle, '[[demand]]\nname = "slow"\nnodes = ["*"]\nobserve = "2min"\n')
    begun = deploy(idle, strategy="shadow", options={"observeS": 600}).json()
    path = f"/api/deployments/{begun['id']}"

    def observes(writing: Any) -> None:
        deployment = writing.deployment(begun["id"])
        watching = DeploymentState.OBSERVING
        writing.save_deployment(replace(deployment, state=watching, phase_since_us=idle.clock()))

    idle.do(observes)
    idle.clock.pass_s(119)
    reply = idle.ask("POST", f"{path}/promote")
    assert reply.json()["code"] == "policy_broken", reply.text
    idle.clock.pass_s(1)
    assert idle.ask("POST", f"{path}/promote").status_code == 202


def test_a_policy_is_shown_checked_and_kept_in_the_log(idle: Any) -> None:
    assert idle.ask("GET", "/api/policy", "read").json()["text"] == ""
    checked = idle.ask("POST", "/api/policy/check", "read", json={"text": WATCH}).json()
    assert checked["demands"][0]["nodes"] == ["node-a"]
    assert idle.ask("GET", "/api/policy").json()["text"] == "", "a check applies nothing"
    assert idle.ask("POST", "/api/policy", "deploy", json={"text": WATCH}).status_code == 403
    apply(idle, WATCH)
    shown = idle.ask("GET", "/api/policy", "read").json()
    assert (shown["text"], shown["appliedBy"]) == (WATCH, "admin")
    entry = idle.look(lambda reading: reading.log_entries(1))[0]
    assert (entry.action, entry.actor, entry.detail) == ("apply_policy", "admin", "1 demands")
    apply(idle, "")
    assert deploy(idle).status_code == 202, "an empty policy demands nothing"
    wrong = idle.ask("POST", "/api/policy", json={"text": "[[demand]]\nname = 'a'\n"})
    assert wrong.json()["code"] == "invalid_policy"
    assert wrong.json()["errors"][0]["message"].startswith("line 1: ")


def test_a_plan_tells_what_the_policy_says(idle: Any) -> None:
    apply(idle, WATCH + APPROVAL)
    body = {"all": True, "changes": [{"rule": "overheat"}]}
    told = idle.ask("POST", "/api/deployments/plan", "read", json=body).json()
    assert told["broken"][0].startswith("line 4 of the policy (`a`)")
    assert told["approval"] == "another person must approve it: line 9 of the policy (`all`)"
