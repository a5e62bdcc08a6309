"""The REST API against its own OpenAPI document: every route is in it, every answer fits it, no request breaks it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from starlette.routing import Route

from eyeflow.coordinator import openapi
from eyeflow.coordinator.app import make_app
from eyeflow.coordinator.endpoints import ENDPOINTS, PROGRAM_MEDIA_TYPE
from eyeflow.coordinator.problem import CODES
from eyeflow.coordinator.schema import ERRORS_MAX, TEXTS, check
from eyeflow.coordinator.shapes import SCHEMAS
from eyeflow.coordinator.store.alarms import AlarmKind
from eyeflow.coordinator.tls import init_tls
from eyeflow.protocol.certificates import Request
from eyeflow.protocol.identity import Identity
from eyeflow.protocol.messages import certificate_bytes
from eyeflow.protocol.signer_list import make_list

DOCUMENT = openapi.document()


def fits(reply: Any, method: str, template: str) -> None:
    """The answer is one that the document promises, in status, media type and shape."""
    operation = DOCUMENT["paths"][template][method.lower()]
    assert str(reply.status_code) in operation["responses"], f"{method} {template} -> {reply.status_code} {reply.text}"
    content = operation["responses"][str(reply.status_code)].get("content")
    if content is None:
        assert reply.content == b""
        return
    media_type = reply.headers["content-type"].partition(";")[0]
    assert media_type in content
    if media_type.endswith("json"):
        name = content[media_type]["schema"].get("$ref", "").rpartition("/")[2]
        assert not name or check(name, reply.json()) == [], reply.text
        if media_type.startswith("application/problem"):
            code = reply.json()["code"]
            assert f"`{code}`" in operation["responses"][str(reply.status_code)]["description"], code


def test_every_route_is_documented_and_every_documented_route_is_served(api: Any) -> None:
    served = {
        (method, route.path)
        for route in make_app(api.hub).routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    documented = {(method.upper(), path) for path, item in DOCUMENT["paths"].items() for method in item}
    assert served == documented
    assert api.client.get("/api/openapi.json").json() == json.loads(json.dumps(DOCUMENT))


def test_the_document_is_whole() -> None:
    assert DOCUMENT["openapi"] == "3.1.0"
    text = json.dumps(DOCUMENT)
    for name in re.findall(r'"#/components/schemas/(\w+)"', text):
        assert name in SCHEMAS
    ids = [item["operationId"] for path in DOCUMENT["paths"].values() for item in path.values()]
    assert len(ids) == len(set(ids))
    for path in DOCUMENT["paths"].values():
        for item in path.values():
            assert item["summary"].endswith(".")
    used = {code for endpoint in ENDPOINTS for code in endpoint.codes}
    of_websockets = {"bad_certificate", "too_many_watchers"}
    assert CODES.keys() - used == {"method_not_allowed", "internal"} | of_websockets


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_each_schema_has_an_example_that_fits(name: str) -> None:
    assert check(name, openapi.example(SCHEMAS[name])) == []


def test_each_schema_is_one_and_every_keyword_that_may_fail_has_words() -> None:
    describing = {"description", "title", "examples", "default", "format", "properties", "items", "$ref"}
    describing.add("anyOf")  # of answers alone: a row, or null where it is gone
    worded = {*TEXTS, "additionalProperties", "required"}

    def walk(schema: Any) -> None:
        Draft202012Validator.check_schema(schema)
        assert set(schema) <= describing | worded, set(schema) - describing - worded
        for member in (*schema.get("properties", {}).values(), *schema.get("anyOf", ())):
            walk(member)
        for key in ("items", "additionalProperties"):
            if isinstance(schema.get(key), dict):
                walk(schema[key])

    for schema in SCHEMAS.values():
        walk(schema)


def certificate_body(api: Any, node: str, key: Identity) -> dict[str, str]:
    nonce, request = api.ask("GET", "/api/link/challenge").json()["nonce"], Request.new(node).request
    signature = key.sign(certificate_bytes(api.store.coordinator_id, node, bytes.fromhex(nonce), request))
    return {"node": node, "nonce": nonce, "request": request, "signature": signature.hex()}


@pytest.mark.parametrize("name", ["node-a\n", "node-a\r", "-", ""])
def test_a_pattern_means_the_whole_text(name: str) -> None:
    assert check("DeployRequest", {"nodeIds": [name]})[0].message.startswith("must match")


def test_every_wrong_place_is_told_once_and_the_number_of_places_is_bounded() -> None:
    errors = check("JoinRequest", {"node": 3, "tokn": "x", "publicKey": "y"})
    assert {(one.pointer, one.message.partition(";")[0]) for one in errors} == {
        ("", "lacks `token`"),
        ("", "lacks `signature`"),
        ("/tokn", "is not known here"),
        ("/node", "must be string, not integer"),
        ("/publicKey", "must match ^[0-9a-f]{64}$"),
    }
    assert len(errors) == 5
    assert len(check("DeployRequest", {"nodeIds": ["../"] * 1000})) <= ERRORS_MAX


OF_OTHERS = {"/api/nodes/{id}/board-file", "/api/nodes/{id}/lines", "/api/executions/{id}/why"}
"""They answer for a board, and for an execution: their own tests have those."""


def test_every_answer_fits_its_schema(full: Any, tmp_path: Path) -> None:
    paths = {
        "/api/nodes/{id}": "/api/nodes/node-a",
        "/api/nodes/{id}/records": "/api/nodes/node-a/records",
        "/api/nodes/{id}/copies": "/api/nodes/node-a/copies",
        "/api/nodes/{id}/states": "/api/nodes/node-a/states",
        "/api/nodes/{id}/trend": "/api/nodes/node-a/trend",
        "/api/programs/{id}": f"/api/programs/{full.program_id}",
        "/api/programs/{id}/source": f"/api/programs/{full.program_id}/source",
        "/api/programs/{id}/tests": f"/api/programs/{full.program_id}/tests",
        "/api/deployments/{id}": f"/api/deployments/{full.deployment['id']}",
        "/api/deployments/{id}/nodes": f"/api/deployments/{full.deployment['id']}/nodes",
    }
    full.do(lambda writing: writing.raise_alarm(AlarmKind.DEPLOYMENT_FAILED, full.deployment["id"], "x", full.clock()))
    (alarm,) = full.ask("GET", "/api/alarms").json()["alarms"]
    paths["/api/alarms/{id}"] = f"/api/alarms/{alarm['id']}"
    full.hub.tls = init_tls(tmp_path, ["localhost"], full.clock())
    root = Identity(bytes(range(5, 37)))
    signers = json.loads(make_list(1, 1, 0, [root.public_key], root.public_key, root.sign).text())
    fits(full.ask("POST", "/api/keys/root", json=signers), "POST", "/api/keys/root")
    for endpoint in ENDPOINTS:
        if endpoint.method == "GET" and endpoint.path not in OF_OTHERS:
            reply = full.ask("GET", paths.get(endpoint.path, endpoint.path))
            assert reply.status_code == 200
            fits(reply, "GET", endpoint.path)
    bodies = [
        ("/api/nodes/join-tokens", "/api/nodes/join-tokens", {"validS": 60}),
        ("/api/tokens", "/api/tokens", {"name": "ci", "role": "deploy"}),
        ("/api/keys", "/api/keys", {"publicKey": "ab" * 32, "name": "ci"}),
        ("/api/rules/{id}/deploy", "/api/rules/overheat/deploy", {"nodeIds": ["node-a"], "params": {"limit": 90}}),
        ("/api/deployments/{id}/cancel", f"/api/deployments/{full.deployment['id']}/cancel", None),
        ("/api/nodes/{id}/quarantine", "/api/nodes/node-a/quarantine", {"reason": "smells"}),
        ("/api/nodes/join", "/api/nodes/join", full.join_body("node-c", full.nodes["node-a"])),
        ("/api/link/certificate", "/api/link/certificate", certificate_body(full, "node-a", full.nodes["node-a"])),
    ]
    for template, path, body in bodies:
        fits(full.ask("POST", path, json=body), "POST", template)
    assert full.ask("DELETE", "/api/nodes/node-a/rules/nothing").json()["code"] == "rule_not_found"
    fits(full.ask("DELETE", "/api/nodes/node-b"), "DELETE", "/api/nodes/{id}")
    made = full.ask("GET", "/api/tokens").json()["tokens"]
    token = next(one["id"] for one in made if one["role"] == "read")
    fits(full.ask("DELETE", f"/api/tokens/{token}"), "DELETE", "/api/tokens/{id}")
    fits(full.ask("DELETE", f"/api/keys/{'ab' * 32}"), "DELETE", "/api/keys/{key}")


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        ({}, "invalid_body", "either `nodeIds`, `labels` or `all`"),
        ({"all": True, "nodeIds": ["node-a"]}, "invalid_body", "either `nodeIds`, `labels` or `all`"),
        ({"all": False}, "invalid_body", "/all must be true"),
        ({"nodeIds": []}, "invalid_body", "at least 1 items"),
        ({"nodeIds": ["node-a", "node-a"]}, "invalid_body", "an item twice"),
        ({"nodeIds": ["../x"]}, "invalid_body", "must match"),
        ({"nodeIds": "node-a"}, "invalid_body", "must be array, not string"),
        ({"nodeIds": ["node-aa"]}, "unknown_nodes", "did you mean `node-a`"),
        ({"all": True, "stratgy": "immediate"}, "invalid_body", "did you mean `strategy`?"),
        (
            {"all": True, "strategy": "rollin"},
            "unavailable_strategy",
            "available: blue_green, canary, immediate, rolling, shadow",
        ),
        ({"all": True, "options": {"steps": [50, 10]}}, "invalid_body", "grow from one to the next"),
        ({"all": True, "options": {"batch": 0}}, "invalid_body", "must be at least 1"),
        ({"all": True, "options": {"observe": 1}}, "invalid_body", "did you mean `observeS`?"),
        ({"all": True, "rollbackOnError": "yes"}, "invalid_body", "must be boolean, not string"),
        ({"all": True, "deadlineS": 0}, "invalid_body", "must be at least 1"),
        ({"all": True, "deadlineS": 1.5}, "invalid_body", "must be integer"),
        ({"all": True, "deadlineS": 1.0}, "invalid_body", "must be integer, not number"),
        ({"all": True, "deadlineS": 2**70}, "invalid_body", "must be at most"),
        ({"all": True, "programId": "00" * 32}, "program_not_found", "has no program"),
        ({"all": True, "params": {"limt": 1}}, "invalid_params", "did you mean `limit`?"),
        ({"all": True, "params": {"limit": "hot"}}, "invalid_params", "must be float"),
        ({"all": True, "params": {"limit": 200}}, "invalid_params", "from 20.0 to 120.0"),
        ({"all": True, "params": {"limit": [1]}}, "invalid_body", "must be boolean or number or string"),
    ],
)
def test_a_wrong_deployment_is_refused_precisely(full: Any, body: Any, code: str, says: str) -> None:
    before = len(full.look(lambda reading: reading.open_deployments()))
    reply = full.ask("POST", "/api/rules/overheat/deploy", json=body)
    fits(reply, "POST", "/api/rules/{id}/deploy")
    assert reply.json()["code"] == code, reply.text
    assert says in reply.json()["detail"] + json.dumps(reply.json().get("errors", [])), reply.text
    assert len(full.look(lambda reading: reading.open_deployments())) == before


def test_the_last_uploaded_program_is_meant(full: Any, make: Any) -> None:
    second = full.upload(make.program(version="2.0.0")).json()["id"]
    body = {"nodeIds": ["node-a"]}
    assert full.ask("POST", "/api/rules/overheat/deploy", json=body).json()["changes"][0]["programId"] == second
    body["programId"] = full.program_id
    reply = full.ask("POST", "/api/rules/overheat/deploy", json=body)
    assert reply.json()["changes"][0]["programId"] == full.program_id
    assert reply.headers["location"] == f"/api/deployments/{reply.json()['id']}"


def test_without_the_rule_or_nodes_the_next_step_is_said(api: Any, make: Any) -> None:
    reply = api.ask("POST", "/api/rules/nope/deploy", json={"all": True})
    assert (reply.status_code, reply.json()["code"]) == (404, "rule_not_found")
    api.upload(make.program())
    assert "overheat" in api.ask("POST", "/api/rules/overheatt/deploy", json={"all": True}).json()["detail"]
    reply = api.ask("POST", "/api/rules/overheat/deploy", json={"all": True})
    assert (reply.status_code, reply.json()["code"]) == (422, "unknown_nodes")
    assert "no nodes yet" in reply.json()["detail"]


def test_a_deployment_ends_once(full: Any) -> None:
    path = f"/api/deployments/{full.deployment['id']}"
    assert full.ask("GET", path).json()["state"] == "installing"
    assert full.ask("POST", path + "/cancel").status_code == 202
    assert full.ask("GET", path).json()["state"] == "cancelled"
    reply = full.ask("POST", path + "/cancel")
    assert (reply.status_code, reply.json()["code"]) == (409, "deployment_over")
    assert full.ask("GET", "/api/rules").json()["rules"][0]["nodes"] == 0


def test_a_newer_deployment_supersedes(full: Any) -> None:
    full.ask("POST", "/api/rules/overheat/deploy", json={"nodeIds": ["node-b"]})
    old = full.ask("GET", f"/api/deployments/{full.deployment['id']}").json()
    assert (old["state"], old["over"]) == ("superseded", True)
    assert "superseded by deployment d-" in old["reason"]


def test_a_deployment_whose_nodes_are_gone_is_cancelled(full: Any) -> None:
    for name in full.nodes:
        full.ask("DELETE", f"/api/nodes/{name}")
    old = full.ask("GET", f"/api/deployments/{full.deployment['id']}").json()
    assert (old["state"], old["nodes"]) == ("cancelled", [])


def test_an_offline_node_ends_a_deployment_at_its_deadline(full: Any) -> None:
    body = {"all": True, "deadlineS": 100}
    made = full.ask("POST", "/api/rules/overheat/deploy", json=body).json()
    full.clock.pass_s(99)
    full.tick()
    assert full.ask("GET", f"/api/deployments/{made['id']}").json()["state"] == "installing"
    full.clock.pass_s(1)
    full.tick()
    ended = full.ask("GET", f"/api/deployments/{made['id']}").json()
    assert ended["state"] == "failed"
    assert "node-a, node-b" in ended["reason"]


def test_unknown_paths_and_methods_are_problems(api: Any) -> None:
    for method, path, code in [
        ("GET", "/nothing", "not_found"),
        ("GET", "/api/nodes/", "not_found"),
        ("PUT", "/api/nodes", "method_not_allowed"),
        ("POST", "/api/status", "method_not_allowed"),
    ]:
        reply = api.ask(method, path)
        assert (reply.status_code, reply.json()["code"]) == (CODES[code][0], code)
    assert api.client.request("HEAD", "/healthz").status_code == 200


def test_a_wrong_media_type_is_refused(api: Any) -> None:
    for path, media_type in [("/api/tokens", "text/plain"), ("/api/tokens", ""), ("/api/programs", "application/json")]:
        reply = api.ask("POST", path, content=b"{}", headers={"Content-Type": media_type})
        assert (reply.status_code, reply.json()["code"]) == (415, "unsupported_media_type")


def test_metrics_are_prometheus_text(full: Any) -> None:
    text = full.ask("GET", "/metrics").text
    for line in text.splitlines():
        assert re.fullmatch(r"# (HELP|TYPE) eyeflow_coordinator_\w+ .+|eyeflow_coordinator_\w+ (\d+\.0|NaN)", line), (
            line
        )
    assert "eyeflow_coordinator_nodes 2.0\n" in text
    assert "eyeflow_coordinator_deployments_open 1.0\n" in text


def test_who_did_what_is_kept(full: Any) -> None:
    entries = full.look(lambda reading: reading.log_entries(1000))
    rows = [(one.actor, one.action) for one in entries]
    assert {action for _, action in rows} >= {"join_token", "join", "trust_key", "add_program", "deploy", "installing"}
    assert ("admin", "deploy") in rows


SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20)
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


def values_for(schema: Any) -> st.SearchStrategy[Any]:
    """Values near a schema: mostly of the right kind, sometimes anything."""
    if "$ref" in schema:
        return values_for(SCHEMAS[schema["$ref"].rsplit("/", 1)[1]])
    near: list[st.SearchStrategy[Any]] = [st.just(openapi.example(schema)), JSON]
    kinds = schema.get("type", [])
    if "object" in kinds:
        known = {name: values_for(member) for name, member in schema.get("properties", {}).items()}
        near.insert(0, st.fixed_dictionaries({}, optional=known))
        near.append(st.dictionaries(st.sampled_from(["limit", "x", "__proto__"]), SCALARS, max_size=3))
    if "array" in kinds:
        near.insert(0, st.lists(values_for(schema["items"]), max_size=5))
    if "string" in kinds:
        near.append(st.sampled_from(["node-a", "overheat", "", "admin", "a" * 64, "\x00", "\U0001f4a5"]))
    if "integer" in kinds:
        near.append(st.integers(-(2**70), 2**70))
    return st.one_of(near)


TARGETS = st.sampled_from(ENDPOINTS)
IDS = st.sampled_from(["node-a", "overheat", "d-1", "%00", "..", "a" * 64]) | st.text(min_size=1, max_size=12)
METHODS = ["GET", "POST", "DELETE", "PUT", "PATCH"]


@seed(20261124)
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_request_breaks_the_coordinator(full: Any, data: st.DataObject) -> None:
    """Anything that goes wrong inside reaches this test as an exception: the shell takes no exception silently."""
    from urllib.parse import quote

    endpoint = data.draw(TARGETS)
    path = re.sub(r"{\w+}", lambda _: quote(data.draw(IDS), safe="%"), endpoint.path)
    request: dict[str, Any] = {}
    if endpoint.body == PROGRAM_MEDIA_TYPE:
        request = {"content": data.draw(st.binary(max_size=200)), "headers": {"Content-Type": PROGRAM_MEDIA_TYPE}}
    elif endpoint.body:
        request = {"json": data.draw(values_for(SCHEMAS[endpoint.body]))}
    reply = full.ask(endpoint.method, path, data.draw(st.sampled_from(["admin", "deploy", "read"])), **request)
    assert reply.status_code < 500, reply.text
    elsewhere = {".", ".."} & set(path.split("/"))  # a client resolves these before it asks
    if "%" not in path and not elsewhere:
        operation = DOCUMENT["paths"].get(endpoint.path, {})
        if reply.status_code not in {404, 405}:
            assert operation
            fits(reply, endpoint.method, endpoint.path)
    full.tick()


FORM = {"malformed_json", "invalid_body", "unsupported_media_type", "too_large", "unavailable_strategy"}
REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "rest-api.md"
EXAMPLES = [
    (path, content["example"])
    for path, item in DOCUMENT["paths"].items()
    for media_type, content in item.get("post", {}).get("requestBody", {}).get("content", {}).items()
    if media_type == "application/json"
]
EXAMPLES += [("/api/rules/{id}/deploy", json.loads(body)) for body in re.findall(r"-d '(.*?)'", REFERENCE.read_text())]


SIGNED = {
    "/api/nodes/join",
    "/api/link/certificate",
    "/api/keys/root",
    "/api/nodes/node-prod-01/boards",
    "/api/session",
}


@pytest.fixture
def named(api: Any, make: Any) -> Any:
    """A cluster with the nodes and the rule that the examples name."""
    for number, name in enumerate(("node-prod-01", "node-edge-01"), start=1):
        api.join(name, Identity(bytes([number]) * 32))
    api.upload(make.program("overheat_relay"))
    return api


@pytest.mark.parametrize(("path", "body"), EXAMPLES, ids=lambda one: one if isinstance(one, str) else "")
def test_no_example_is_refused_for_its_form(named: Any, path: str, body: Any) -> None:
    """As a reader copies it. That the token or signature of an example is none is no matter of form."""
    if "/alarms/" in path:
        named.do(lambda writing: writing.raise_alarm(AlarmKind.DEPLOYMENT_FAILED, "d-1", "x", named.clock()))
        path = path.replace("{id}", named.ask("GET", "/api/alarms").json()["alarms"][0]["id"])
    path = path.replace("/nodes/{id}", "/nodes/node-prod-01")
    reply = named.ask("POST", path.replace("{id}", "overheat_relay"), json=body)
    assert reply.json().get("code") not in FORM, reply.text
    assert reply.is_success or path in SIGNED, reply.text


def test_control_an_example_made_of_all_members_is_refused_for_its_form(named: Any) -> None:
    schema = {key: value for key, value in SCHEMAS["DeployRequest"].items() if key != "examples"}
    body = {name: value for name, value in openapi.example(schema).items() if name != "programId"}
    reply = named.ask("POST", "/api/rules/overheat_relay/deploy", json=body)
    assert reply.json()["code"] in FORM
