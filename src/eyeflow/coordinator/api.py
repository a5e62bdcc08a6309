"""The REST API: what each path does. `endpoints.py` lists them, the shell in `app.py` guards them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from eyeflow.base.names import near
from eyeflow.coordinator import intake, metrics, views
from eyeflow.coordinator.auth import CHALLENGE_S, JOIN_TOKEN_S, Actor, Role
from eyeflow.coordinator.fleet import STRATEGIES, Draft
from eyeflow.coordinator.hub import Hub
from eyeflow.coordinator.problem import FieldError, Problem
from eyeflow.coordinator.registry import NodeRecord, ProgramRecord
from eyeflow.protocol.wire import ProtocolError
from eyeflow.rollout.plan import OFFLINE_S, Deployment, Rollback
from eyeflow.svm.container import decode

DEPLOYMENTS_SHOWN_MAX = 200


@dataclass(frozen=True, slots=True)
class Call:
    """One authenticated request: values of the path, the checked JSON body or program, and who asks."""

    path: Mapping[str, str]
    body: Any
    actor: Actor


@dataclass(frozen=True, slots=True)
class Reply:
    """A status with a JSON-able body, or text."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


def get_status(hub: Hub, call: Call) -> Reply:
    """Return the cluster in one look."""
    body = {
        "coordinatorId": hub.store.coordinator_id,
        "software": hub.own.software,
        "startedUs": hub.started_us,
        "nodes": len(hub.registry.nodes()),
        "connected": len(hub.links),
        "inDoubt": hub.fleet.heads.in_doubt(),
        "rules": len(hub.registry.rules()),
        "openDeployments": len(hub.fleet.open()),
        "trouble": hub.trouble,
    }
    return Reply(200, body)


def get_healthz(hub: Hub, call: Call) -> Reply:
    """Say whether the store works."""
    return Reply(503, {"status": "degraded"}) if hub.trouble else Reply(200, {"status": "ok"})


def get_metrics(hub: Hub, call: Call) -> Reply:
    """Return the counters in Prometheus text format."""
    return Reply(200, metrics.render(hub))


def list_nodes(hub: Hub, call: Call) -> Reply:
    """Return all nodes."""
    return Reply(200, {"nodes": [views.node_view(hub, node) for node in hub.registry.nodes()]})


def get_node(hub: Hub, call: Call) -> Reply:
    """Return one node."""
    return Reply(200, views.node_view(hub, _node(hub, call.path["id"])))


def remove_node(hub: Hub, call: Call) -> Reply:
    """Remove a node; its rules run on until it is told otherwise, but it opens no link any more."""
    hub.remove(_node(hub, call.path["id"]).name, call.actor.name)
    return Reply(204)


def accept_node(hub: Hub, call: Call) -> Reply:
    """Take the history that a node has now for the right one; what contradicts it is forgotten."""
    node = _node(hub, call.path["id"]).name
    hub.fleet.accept(node, hub.clock(), call.actor.name)
    return Reply(200, views.node_view(hub, _node(hub, node)))


def retire_rule(hub: Hub, call: Call) -> Reply:
    """Take a rule off a node; an offline node hears of it when it is back."""
    node, rule = _node(hub, call.path["id"]).name, call.path["rule"]
    if rule not in dict(hub.fleet.wanted(node)):
        raise Problem("rule_not_found", f"The node `{node}` is not to run a rule `{rule[:64]}`.")
    for deployment in hub.fleet.open():
        if deployment.rule == rule and deployment.node(node) is not None:
            detail = f"Deployment {deployment.id} is bringing `{rule}` to `{node}` right now."
            raise Problem("deployment_open", detail, f"cancel it first: eyeflow deployments {deployment.id} --cancel")
    hub.fleet.retire(node, rule, hub.clock(), call.actor.name)
    return Reply(204)


def create_join_token(hub: Hub, call: Call) -> Reply:
    """Make a single-use token with which one node joins."""
    now_us = hub.clock()
    with hub.store.transaction():
        token, expires_us = hub.tokens.create_join(now_us, call.body.get("validS", JOIN_TOKEN_S))
        hub.store.log(now_us, call.actor.name, "join_token", token[4:16])
    return Reply(201, {"token": token, "expiresUs": expires_us})


def join(hub: Hub, call: Call) -> Reply:
    """Register a node's public key in exchange for a join token."""
    body = call.body
    public_key, signature = bytes.fromhex(body["publicKey"]), bytes.fromhex(body["signature"])
    hub.registry.join(body["token"], body["node"], public_key, signature, hub.clock())
    return Reply(
        201,
        {
            "coordinatorId": hub.store.coordinator_id,
            "publicKey": hub.store.identity.public_key.hex(),
            "signers": sorted(key.hex() for key in hub.registry.trusted()),
        },
    )


def challenge(hub: Hub, call: Call) -> Reply:
    """Give a nonce that a node signs to open its link."""
    nonce = hub.challenges.issue(hub.clock()).hex()
    return Reply(200, {"coordinatorId": hub.store.coordinator_id, "nonce": nonce, "expiresS": CHALLENGE_S})


def create_token(hub: Hub, call: Call) -> Reply:
    """Make an API token."""
    name, role = call.body["name"], Role(call.body["role"])
    with hub.store.transaction():
        token = hub.tokens.create(name, role, hub.clock())
        hub.store.log(hub.clock(), call.actor.name, "create_token", name, role.value)
    return Reply(201, {"token": token, "name": name, "role": role.value})


def list_tokens(hub: Hub, call: Call) -> Reply:
    """Return the API tokens, without their secrets."""
    return Reply(200, {"tokens": [views.token_view(*token) for token in hub.tokens.all()]})


def revoke_token(hub: Hub, call: Call) -> Reply:
    """Let an API token open nothing any more."""
    with hub.store.transaction():
        hub.tokens.revoke(call.path["id"], hub.clock())
        hub.store.log(hub.clock(), call.actor.name, "revoke_token", call.path["id"][:64])
    return Reply(204)


def list_keys(hub: Hub, call: Call) -> Reply:
    """Return all signer keys."""
    return Reply(200, {"keys": [views.key_view(key) for key in hub.registry.signers()]})


def trust_key(hub: Hub, call: Call) -> Reply:
    """Trust the programs that a key signs."""
    public_key = bytes.fromhex(call.body["publicKey"])
    key = hub.registry.trust(public_key, call.body["name"], hub.clock(), call.actor.name)
    return Reply(201, views.key_view(key))


def revoke_key(hub: Hub, call: Call) -> Reply:
    """Trust a key no more."""
    known = [key for key in hub.registry.signers() if key.public_key.hex() == call.path["key"]]
    if not known:
        raise Problem("not_found", "No signer key has this public key.")
    hub.registry.revoke(known[0].public_key, hub.clock(), call.actor.name)
    return Reply(204)


def add_program(hub: Hub, call: Call) -> Reply:
    """Keep a signed program: 201 when it is new, 200 when it was here already."""
    program, new = hub.registry.add_program(call.body, hub.clock(), call.actor.name)
    return Reply(201 if new else 200, views.program_view(program), {"Location": f"/api/programs/{program.id}"})


def get_program(hub: Hub, call: Call) -> Reply:
    """Return one program's facts."""
    return Reply(200, views.program_view(_program(hub, call.path["id"])))


def list_rules(hub: Hub, call: Call) -> Reply:
    """Return all rules."""
    return Reply(200, {"rules": [views.rule_view(hub, rule) for rule in hub.registry.rules()]})


def list_deployments(hub: Hub, call: Call) -> Reply:
    """Return the newest deployments."""
    shown = hub.fleet.deployments(DEPLOYMENTS_SHOWN_MAX)
    return Reply(200, {"deployments": [views.deployment_view(hub, one) for one in shown]})


def get_deployment(hub: Hub, call: Call) -> Reply:
    """Return one deployment."""
    return Reply(200, views.deployment_view(hub, _deployment(hub, call.path["id"])))


def cancel_deployment(hub: Hub, call: Call) -> Reply:
    """End a deployment early; its nodes go back to their last known good."""
    deployment = _deployment(hub, call.path["id"])
    if deployment.over:
        raise Problem("deployment_over", f"Deployment {deployment.id} is {deployment.state.value} already.")
    return Reply(202, views.deployment_view(hub, hub.fleet.cancel(deployment, hub.clock(), call.actor.name)))


def deploy(hub: Hub, call: Call) -> Reply:
    """Start a deployment of a rule."""
    rule, body = call.path["id"], call.body
    program = _program_to_deploy(hub, rule, body.get("programId"))
    hub.registry.check_signers(rule, program.signers)
    decoded = decode(hub.registry.program_bytes(program.id)).program
    draft = Draft(
        rule=rule,
        program_id=program.id,
        params=intake.check_params(decoded, body.get("params", {})),
        nodes=_target_nodes(hub, rule, body),
        strategy=_strategy(body.get("strategy", "immediate")),
        rollback=Rollback.ON_ERROR if body.get("rollbackOnError", True) else Rollback.NEVER,
        deadline_s=body.get("deadlineS", OFFLINE_S),
    )
    try:
        deployment = hub.fleet.deploy(draft, hub.clock(), call.actor.name)
    except ProtocolError as error:
        raise Problem("limit_reached", f"A node's wanted set would be too large: {error.message}.") from error
    return Reply(202, views.deployment_view(hub, deployment), {"Location": f"/api/deployments/{deployment.id}"})


def _strategy(name: str) -> str:
    if name not in STRATEGIES:
        available = ", ".join(sorted(STRATEGIES))
        detail = f"The strategy `{name[:64]}` is not available in this version; available: {available}."
        raise Problem("unavailable_strategy", detail, "choose an available strategy")
    return name


def _target_nodes(hub: Hub, rule: str, body: Mapping[str, Any]) -> tuple[str, ...]:
    known = [node.name for node in hub.registry.nodes()]
    if ("nodeIds" in body) == ("all" in body):
        raise Problem(
            "invalid_body", "Give either `nodeIds` or `all`.", errors=[FieldError("", "needs `nodeIds` or `all`")]
        )
    nodes = tuple(body.get("nodeIds", known))
    unknown = [node for node in nodes if node not in known]
    if unknown or not nodes:
        errors = [FieldError(f"/nodeIds/{nodes.index(node)}", _unknown_node(node, known)) for node in unknown]
        detail = f"Not in the cluster: {', '.join(unknown)}." if unknown else "The cluster has no nodes yet."
        raise Problem("unknown_nodes", detail, "list the nodes with `eyeflow status`", errors)
    full = [node for node in nodes if not hub.registry.has_room(node, rule)]
    if full:
        raise Problem("limit_reached", f"These nodes run as many rules as they can: {', '.join(full)}.")
    return nodes


def _unknown_node(node: str, known: list[str]) -> str:
    guess = near(node, known)
    return "is not in the cluster" + (f"; did you mean `{guess}`?" if guess else "")


def _program_to_deploy(hub: Hub, rule: str, program_id: str | None) -> ProgramRecord:
    programs = hub.registry.programs_of(rule)
    if not programs:
        guess = near(rule, hub.registry.rules())
        hint = f" Did you mean `{guess}`?" if guess else ""
        raise Problem(
            "rule_not_found", f"No program of the rule `{rule[:64]}` was uploaded.{hint}", "POST /api/programs"
        )
    if program_id is None:
        return programs[0]
    found = next((program for program in programs if program.id == program_id), None)
    if found is None:
        detail = f"The rule `{rule}` has no program {program_id}."
        raise Problem("program_not_found", detail, "upload it first: POST /api/programs")
    return found


def _node(hub: Hub, name: str) -> NodeRecord:
    node = hub.registry.node(name)
    if node is None:
        raise Problem("node_not_found", f"No node is named `{name[:64]}`.", "list the nodes with GET /api/nodes")
    return node


def _program(hub: Hub, program_id: str) -> ProgramRecord:
    program = hub.registry.program(program_id)
    if program is None:
        raise Problem("program_not_found", f"No program has the id `{program_id[:64]}`.")
    return program


def _deployment(hub: Hub, deployment_id: str) -> Deployment:
    deployment = hub.fleet.deployment(deployment_id)
    if deployment is None:
        raise Problem("deployment_not_found", f"No deployment has the id `{deployment_id[:64]}`.")
    return deployment
