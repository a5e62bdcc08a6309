"""A token for the nodes of one label: what it sees and changes of the others is nothing, at every path that there is."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from eyeflow.coordinator import scopes
from eyeflow.coordinator.archive.chain import Owner
from eyeflow.coordinator.endpoints import ENDPOINTS, Endpoint
from eyeflow.coordinator.store.alarms import AlarmKind
from eyeflow.coordinator.tokens import Role, Whose
from eyeflow.protocol.identity import Identity
from eyeflow.protocol.lines import BoardLine, Listened
from eyeflow.rollout.deployment import Target, Wanted
from unit.coordinator.archive.chains import NODE_KEY, Chain

from .test_sources import SOURCE, uploaded

LYON, PARIS = {"site": "lyon"}, {"site": "paris"}
SECRETS = ("node-b", "paris", "for-all", "for-b")
"""What no answer to the token of Lyon may hold: the other node, its label, and whose deployments go there."""
ALL, HERE, THERE = ({"nodeIds": ["node-a", "node-b"]}, {"nodeIds": ["node-a"]}, {"nodeIds": ["node-b"]})


@dataclass
class Plant:
    """node-a is in Lyon and node-b in Paris. Deployments, by where they go; each is of a rule of its own."""

    api: Any
    make: Any
    deployments: dict[str, str] = field(default_factory=dict)

    def ask(self, method: str, path: str, who: str = "lyon", **request: Any) -> Any:
        return self.api.ask(method, path, who, **request)

    def deploy(self, rule: str, where: dict[str, Any], who: str = "lyon", **more: Any) -> Any:
        return self.ask("POST", f"/api/rules/{rule}/deploy", who, json=where | more)

    def begun(self, name: str, rule: str, where: dict[str, Any]) -> None:
        self.token(name, Role.DEPLOY)
        reply = self.deploy(rule, where, name)
        assert reply.status_code == 202, reply.text
        self.deployments[name] = reply.json()["id"]

    def token(self, name: str, role: Role, whose: Whose = Whose()) -> None:
        tokens = self.api.hub.tokens
        made = self.api.run(lambda: tokens.create(name, role, self.api.clock(), "test", 0, whose))
        self.api.tokens[name] = made.secret

    def nodes_of(self, deployment_id: str) -> list[str]:
        return [one.node for one in self.api.look(lambda reading: reading.progress(deployment_id))]


@pytest.fixture
def plant(api: Any, make: Any) -> Plant:
    made = Plant(api, make)
    for number, (name, labels) in enumerate((("node-a", LYON), ("node-b", PARIS)), start=1):
        api.join(name, Identity(bytes([number]) * 32))
        assert api.ask("PUT", f"/api/nodes/{name}/labels", json={"labels": labels}).status_code == 200
    for rule in ("overheat", "shared", "there", "free"):
        assert api.upload(make.program(rule)).status_code == 201
    for role in (Role.READ, Role.DEPLOY):
        made.token("lyon" if role is Role.DEPLOY else "lyon-read", role, Whose(LYON))
    for name, rule, where in (("for-all", "shared", ALL), ("for-b", "there", THERE), ("for-a", "overheat", HERE)):
        made.begun(name, rule, where)
    api.do(lambda writing: writing.want("node-b", Wanted("overheat", "active", Target("1" * 64, "d-0"))))
    for node in ("node-a", "node-b"):
        api.runner.run(api.archive.append(Chain(Owner(node, 1, NODE_KEY.public_key)).run(2).bundle(1, 3)))
        api.do(lambda writing, node=node: writing.raise_alarm(AlarmKind.RECORDS_LOST, node, f"of {node}", 1))
    for one in made.deployments.values():
        api.do(lambda writing, one=one: writing.raise_alarm(AlarmKind.LATE_FAILURE, one, f"of {one}", 1))
    api.do(lambda writing: writing.raise_alarm(AlarmKind.CERTIFICATE_EXPIRES, "node-b:/tls/server.pem", "12 days", 1))
    return made


def alarm_of(plant: Plant, subject: str) -> str:
    found = plant.api.look(lambda reading: reading.open_alarms())
    return str(next(one.number for one in found if one.subject == subject))


def problem(reply: Any, status: int, code: str) -> None:
    assert (reply.status_code, reply.json().get("code")) == (status, code), reply.text
    told = reply.json()["detail"]
    for part in reply.request.url.path.split("/")[3:]:
        told = told.replace(f"`{part}`", "")  # what was asked for is no news
    assert not [word for word in SECRETS if word in told], told


GUARDED = [one for one in ENDPOINTS if one.role is not None]


def name_of(endpoint: Endpoint) -> str:
    return f"{endpoint.method} {endpoint.path}"


@pytest.mark.parametrize("endpoint", [one for one in GUARDED if (one.method, one.path) not in scopes.OPEN], ids=name_of)
def test_what_is_about_the_whole_cluster_is_closed(plant: Plant, endpoint: Endpoint) -> None:
    """So is a path that somebody adds and forgets here."""
    path = endpoint.path.replace("{id}", "node-a").replace("{key}", "ab" * 32).replace("{after}", "0")
    reply = plant.ask(endpoint.method, path, content=b"{}", headers={"Content-Type": "application/json"})
    assert reply.status_code in {403, 422}, reply.text
    if endpoint.role is not Role.ADMIN and not endpoint.body:
        problem(reply, 403, "forbidden")
        assert "is for nodes with site=lyon" in reply.json()["detail"]


ABOUT_ALL = {("GET", "/api/trend"), ("GET", "/api/log"), ("GET", "/api/log/entries"), ("GET", "/metrics")}


def test_such_a_token_opens_what_its_role_allows_but_for_what_is_about_all_nodes() -> None:
    """Whoever adds a path decides here whether it is closed: one that is forgotten fails."""
    allowed = {(one.method, one.path) for one in GUARDED if one.role is not Role.ADMIN}
    assert allowed - ABOUT_ALL == scopes.OPEN and allowed > ABOUT_ALL


def test_the_file_of_its_own_board_is_there_to_compile_for(plant: Plant) -> None:
    for board in ("node-a", "node-b"):
        plant.api.do(lambda writing, board=board: writing.record_board(board, "gateway", "d"))
        plant.api.do(lambda writing, board=board: writing.record_board_file(board, f'name = "{board}"', 1))
    reply = plant.ask("GET", "/api/nodes/node-a/board-file", "lyon-read")
    assert (reply.status_code, reply.json()) == (200, {"text": 'name = "node-a"'})
    problem(plant.ask("GET", "/api/nodes/node-b/board-file"), 404, "node_not_found")
    assert plant.ask("GET", "/api/nodes/node-b/board-file", "admin").json() == {"text": 'name = "node-b"'}, "control"


def test_only_its_own_boards_are_heard(plant: Plant) -> None:
    problem(plant.ask("GET", "/api/nodes/node-a/lines", "lyon-read"), 409, "board_unheard")
    hear(plant)
    assert plant.ask("GET", "/api/nodes/node-a/lines", "lyon-read").json()["lines"][0]["text"] == "of node-a"
    problem(plant.ask("GET", "/api/nodes/node-b/lines"), 404, "node_not_found")
    assert plant.ask("GET", "/api/nodes/node-b/lines", "admin").json()["lines"][0]["text"] == "of node-b", "control"


def hear(plant: Plant) -> None:
    """Both nodes have a link that tells what they log."""

    def link(name: str) -> SimpleNamespace:
        async def listen(since: int | None) -> Listened:
            return Listened(1, (BoardLine(1, 1, 1, f"of {name}"),), 2)

        return SimpleNamespace(offer=lambda _: None, close=lambda *_: None, is_away=False, listen=listen)

    plant.api.hub.links.update({name: link(name) for name in ("node-a", "node-b")})


READ = [name for name in sorted(scopes.OPEN) if name[0] == "GET"]


@pytest.mark.parametrize("path", [path for _, path in READ if "{id}" not in path])
@pytest.mark.parametrize("who", ["lyon", "lyon-read"])
def test_no_answer_names_what_is_elsewhere(plant: Plant, path: str, who: str) -> None:
    plant.ask("POST", "/api/policy", "admin", json={"text": '[[demand]]\nname = "x"\nnodes = ["*"]\nobserve = "1s"\n'})
    path = "/api/changes?cursor=0" if path == "/api/changes" else path
    reply = plant.ask("GET", path, who)
    assert reply.status_code == 200, reply.text
    assert not [word for word in SECRETS if word in reply.text]
    assert "changes" not in path or "node-a" in reply.text, "the control: its own are there"
    if path not in {"/api/keys", "/api/status", "/api/programs", "/api/rules", "/api/session"}:  # these name no nodes
        assert [word for word in SECRETS if word in plant.ask("GET", path, "admin").text], "the control"


FILTERS = {
    "/api/nodes?label=site%3Dparis": "nodes",
    "/api/nodes?name=b": "nodes",
    "/api/nodes?sort=worst&state=pending": "nodes",
    "/api/rules?node=node-b": "rules",
    "/api/alarms?node=node-b": "alarms",
    "/api/deployments?node=node-b": "deployments",
    "/api/deployments?rule=shared": "deployments",
}


@pytest.mark.parametrize("path", FILTERS)
def test_no_filter_tells_what_is_elsewhere(plant: Plant, path: str) -> None:
    found = [plant.ask("GET", path, who).json() for who in ("lyon", "admin")]
    rows = [[json.dumps(row) for row in one[FILTERS[path]]] for one in found]
    assert not [row for row in rows[0] if "node-a" not in row and "for-a" not in row], rows[0]
    assert len(rows[1]) > len(rows[0]) and found[0].get("total", 0) in {0, 1}, "the control"


def test_counts_of_a_rule_are_those_of_its_nodes(plant: Plant) -> None:
    free_id = plant.api.look(lambda reading: reading.programs_of("free")[0].id)

    def counts(who: str) -> int:
        rules = plant.ask("GET", "/api/rules", who).json()["rules"]
        return next(int(one["nodes"]) for one in rules if one["rule"] == "free")

    for node, expected in (("node-b", (0, 1)), ("node-a", (1, 2))):
        wanted = Wanted("free", "active", Target(free_id, "d-0"))
        plant.api.do(lambda writing, node=node, wanted=wanted: writing.want(node, wanted))
        assert (counts("lyon"), counts("admin")) == expected


def test_the_status_counts_what_is_there(plant: Plant) -> None:
    plant.api.hub.links.update({name: SimpleNamespace(offer=lambda _: None) for name in ("node-a", "node-b")})
    counts = [plant.ask("GET", "/api/status", who).json() for who in ("lyon", "admin")]
    assert [(one["nodes"], one["connected"], one["openDeployments"]) for one in counts] == [(1, 1, 1), (2, 2, 3)]
    assert [one["alarms"]["open"] for one in counts] == [2, 6]
    plant.api.hub.links.clear()


@pytest.mark.parametrize("path", [path for _, path in READ if path.startswith("/api/nodes/{id}")])
def test_what_is_told_of_a_node_is_told_of_its_own(plant: Plant, path: str) -> None:
    """A question to the store that nobody has named in `scopes` is a path that opens for nobody."""
    hear(plant)
    reply = plant.ask("GET", path.replace("{id}", "node-a"), "lyon-read")
    assert reply.status_code == 200, reply.text


WITH_ID = [(method, path) for method, path in sorted(scopes.OPEN) if "{id}" in path and "/api/rules/" not in path]


@pytest.mark.parametrize(("method", "path"), WITH_ID, ids=[f"{method} {path}" for method, path in WITH_ID])
def test_what_is_elsewhere_is_not_there(plant: Plant, method: str, path: str) -> None:
    if path.startswith("/api/programs/"):
        program_id = plant.api.look(lambda reading: reading.programs_of("there")[0].id)
        body = {"json": {"source": ""} if path.endswith("source") else {"tests": []}} if method == "PUT" else {}
        reply = plant.ask(method, path.replace("{id}", program_id), **body)
        refused = (method, path) == ("PUT", "/api/programs/{id}/source")
        assert (reply.status_code, refused) in ((422, True), (200, False), (204, False)), "a program is of no node"
        return
    if path.startswith("/api/alarms/"):
        for subject in ("node-b", plant.deployments["for-all"], plant.deployments["for-b"], "node-b:/tls/server.pem"):
            problem(plant.ask(method, path.replace("{id}", alarm_of(plant, subject)), json={}), 404, "not_found")
        for subject in ("node-a", plant.deployments["for-a"]):
            assert plant.ask(method, path.replace("{id}", alarm_of(plant, subject)), json={}).status_code == 200
        assert not [one for one in plant.api.look(lambda reading: reading.open_alarms()) if one.seen_by == "admin"]
        return
    if path.startswith("/api/executions/"):
        there, here = (plant.ask(method, path.replace("{id}", f"{node}:1:1")) for node in ("node-b", "node-a"))
        assert (there.status_code, there.json()["code"]) == (404, "node_not_found"), there.text
        assert here.json().get("code") != "node_not_found", "the control: its own is there"
        return
    is_node = path.startswith("/api/nodes/")
    before = plant.api.look(lambda reading: (reading.nodes(), reading.open_deployments(), reading.wanted("node-b")))
    for elsewhere in ["node-b"] if is_node else [plant.deployments["for-all"], plant.deployments["for-b"]]:
        filled = path.replace("{id}", elsewhere).replace("{rule}", "overheat")
        problem(plant.ask(method, filled), 404, "node_not_found" if is_node else "deployment_not_found")
    after = plant.api.look(lambda reading: (reading.nodes(), reading.open_deployments(), reading.wanted("node-b")))
    assert after == before
    here = path.replace("{id}", "node-a" if is_node else plant.deployments["for-a"]).replace("{rule}", "overheat")
    assert plant.ask(method, here).status_code != 404, "the control: its own is there"


ELSEWHERE = {
    "by name": THERE,
    "among others": ALL,
    "by label": {"labels": PARIS},
    "by two labels": {"labels": LYON | {"line": "2"}},
    "left out": {"all": True, "exclude": ["node-b"]},
}
PLAN = {"changes": [{"rule": "free"}]}


@pytest.mark.parametrize("where", ELSEWHERE)
def test_nothing_is_deployed_elsewhere(plant: Plant, where: str) -> None:
    asked = [("/api/rules/free/deploy", {}), ("/api/deployments", PLAN), ("/api/deployments/plan", PLAN)]
    for path, body in asked:
        reply = plant.ask("POST", path, json=ELSEWHERE[where] | body)
        assert (reply.status_code, reply.json()["code"]) == (422, "unknown_nodes"), reply.text
    if where != "by two labels":
        assert plant.ask("POST", "/api/rules/free/deploy", "admin", json=ELSEWHERE[where]).status_code == 202, "control"


@pytest.mark.parametrize("where", [{"all": True}, {"labels": LYON}, HERE], ids=str)
def test_all_nodes_are_its_nodes(plant: Plant, where: dict[str, Any]) -> None:
    plan = plant.ask("POST", "/api/deployments/plan", json=where | PLAN).json()
    assert [one["node"] for one in plan["nodes"]] == ["node-a"]
    begun = plant.deploy("free", where)
    assert begun.status_code == 202, begun.text
    assert plant.nodes_of(begun.json()["id"]) == ["node-a"]
    assert plant.ask("POST", f"/api/deployments/{begun.json()['id']}/cancel").status_code == 202


def test_a_request_that_is_sent_again_is_answered_again(plant: Plant) -> None:
    key = {"Idempotency-Key": "once"}
    first, again = (plant.ask("POST", "/api/rules/free/deploy", json=HERE, headers=key) for _ in range(2))
    assert (first.status_code, again.status_code) == (202, 202) and first.json()["id"] == again.json()["id"]


def test_no_deployment_that_goes_further_is_ended_by_one_that_may_not(plant: Plant) -> None:
    """A newer deployment of a rule ends the older one: on all nodes of it."""
    reply = plant.deploy("shared", HERE)
    problem(reply, 409, "deployment_open")
    assert not plant.api.look(lambda reading: reading.deployment(plant.deployments["for-all"])).over
    assert plant.deploy("overheat", HERE).status_code == 202, "its own it may end"
    assert plant.deploy("shared", HERE, "for-b").status_code == 202, "the control: a token for all"
    assert plant.api.look(lambda reading: reading.deployment(plant.deployments["for-all"])).over


def test_a_retry_goes_no_further_either(plant: Plant) -> None:
    begun = plant.deploy("free", HERE).json()["id"]
    assert plant.ask("POST", f"/api/deployments/{begun}/cancel").status_code == 202
    for _ in range(200):
        plant.api.clock.pass_s(1)
        plant.api.tick()
    plant.begun("for-all-too", "free", ALL)
    problem(plant.ask("POST", f"/api/deployments/{begun}/retry"), 409, "deployment_open")
    plant.ask("PUT", "/api/nodes/node-a/labels", "admin", json={"labels": PARIS})
    problem(plant.ask("POST", f"/api/deployments/{begun}/retry"), 404, "deployment_not_found")


def test_nobody_labels_a_node_with_such_a_token_and_an_admins_label_counts_at_once(plant: Plant) -> None:
    assert plant.ask("PUT", "/api/nodes/node-b/labels", json={"labels": LYON}).status_code == 403
    assert plant.ask("PUT", "/api/nodes/node-a/labels", json={"labels": LYON}).status_code == 403
    plant.ask("PUT", "/api/nodes/node-b/labels", "admin", json={"labels": LYON})
    assert plant.ask("GET", "/api/nodes/node-b").status_code == 200
    plant.ask("PUT", "/api/nodes/node-b/labels", "admin", json={"labels": PARIS})
    assert plant.ask("GET", "/api/nodes/node-b").status_code == 404


def test_a_token_of_two_labels_needs_both(plant: Plant) -> None:
    plant.token("both", Role.DEPLOY, Whose(LYON | {"line": "2"}))
    assert plant.ask("GET", "/api/nodes", "both").json()["nodes"] == []
    problem(plant.deploy("free", {"all": True}, "both"), 422, "unknown_nodes")
    plant.ask("PUT", "/api/nodes/node-a/labels", "admin", json={"labels": LYON | {"line": "2"}})
    assert plant.deploy("free", {"all": True}, "both").status_code == 202


def test_such_a_token_is_made_shown_and_no_admins(plant: Plant) -> None:
    made = plant.ask(
        "POST", "/api/tokens", "admin", json={"name": "l", "role": "deploy", "labels": LYON, "person": "anna"}
    )
    assert made.status_code == 201 and (made.json()["labels"], made.json()["person"]) == (LYON, "anna")
    (shown,) = [one for one in plant.ask("GET", "/api/tokens", "admin").json()["tokens"] if one["name"] == "l"]
    assert (shown["labels"], shown["person"]) == (LYON, "anna")
    (entry,) = plant.api.look(lambda reading: reading.log_entries(1))
    assert entry.detail.endswith("deploy site=lyon anna")
    for wrong in ({"role": "admin", "labels": LYON}, {"labels": {}}, {"labels": {"Site": "lyon"}}, {"labels": "lyon"}):
        reply = plant.ask("POST", "/api/tokens", "admin", json={"name": "w", "role": "deploy"} | wrong)
        problem(reply, 422, "invalid_body")


def heard(plant: Plant, who: str, cursor: int) -> set[tuple[str, str]]:
    found = plant.ask("GET", f"/api/changes?cursor={cursor}", who).json()["changes"]
    return {(one["kind"], one["subject"]) for one in found}


def test_a_node_that_leaves_is_told_of_where_it_was(plant: Plant) -> None:
    """Who shows nodes by what the feed tells would show it for ever; who never saw it hears nothing."""
    for leave in (
        lambda: plant.ask("PUT", "/api/nodes/node-a/labels", "admin", json={"labels": PARIS}),
        lambda: plant.ask("PUT", "/api/nodes/node-a/labels", "admin", json={"labels": LYON | {"line": "2"}}),
        lambda: plant.ask("DELETE", "/api/nodes/node-a", "admin"),
    ):
        cursor = plant.ask("GET", "/api/changes").json()["cursor"]
        assert leave().is_success
        assert ("node", "node-a") in heard(plant, "lyon", cursor)
        assert plant.ask("PUT", "/api/nodes/node-b/labels", "admin", json={"labels": PARIS | {"line": "3"}}).is_success
        assert ("node", "node-b") not in heard(plant, "lyon", cursor)
        assert ("node", "node-b") in heard(plant, "admin", cursor), "the control"


def test_a_new_question_to_the_store_is_not_answered_before_somebody_thought_of_it(plant: Plant) -> None:
    """What the store can be asked is either thought of in `scopes`, or closed."""
    from eyeflow.coordinator.problem import Problem
    from eyeflow.coordinator.store.cluster_store import Reading
    from eyeflow.coordinator.tokens import Actor

    actor = Actor("lyon", Role.DEPLOY, "", LYON)
    plain = plant.api.look(lambda reading: reading)
    scoped = scopes._ScopedReading(plain, actor, frozenset({"node-a"}))
    asked = {name for name in dir(Reading) if not name.startswith("_")}
    named = (name for name in vars(scopes._ScopedReading) if not name.startswith("_"))
    known = {name for name in named if name.isascii()} | scopes._PLAIN  # mutmut adds methods: `xǁ...`
    assert known <= asked
    for name in sorted(asked - known):
        with pytest.raises(Problem, match="whole cluster"):
            getattr(scoped, name)
    assert "changes" not in known and "log_after" not in known and "api_tokens" not in known


def test_to_upload_is_allowed_and_changes_no_node(plant: Plant) -> None:
    data = plant.make.program("free", version="2.0.0", sequence=2)
    headers = {"Content-Type": "application/octet-stream"}
    assert plant.ask("POST", "/api/programs", content=data, headers=headers).status_code == 201
    assert plant.ask("POST", "/api/programs", "lyon-read", content=data, headers=headers).status_code == 403


def test_the_text_and_the_tests_of_what_it_deploys_are_kept(plant: Plant) -> None:
    program_id = uploaded(plant.api)
    for path, body in (("source", {"source": SOURCE}), ("tests", {"tests": []})):
        reply = plant.ask("PUT", f"/api/programs/{program_id}/{path}", json=body)
        assert reply.status_code == 204, reply.text
    assert plant.ask("GET", f"/api/programs/{program_id}/source").json() == {"source": SOURCE}
    assert plant.ask("GET", f"/api/programs/{program_id}/tests").json()["toldUs"] > 0
