"""The REST API: what each path does. `endpoints.py` lists them, the shell in `app.py` guards them."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from eyeflow.coordinator import metrics, views
from eyeflow.coordinator.boards import JoiningBoard
from eyeflow.coordinator.challenges import CHALLENGE_S, proves_node
from eyeflow.coordinator.choosing import Where, found_node
from eyeflow.coordinator.deployments import Deployments, found_deployment
from eyeflow.coordinator.drafts import Change, Draft
from eyeflow.coordinator.hub import Hub
from eyeflow.coordinator.intake import check_params
from eyeflow.coordinator.problem import FieldError, Problem
from eyeflow.coordinator.programs import by_chip, check_signers, found_program, program_to_deploy
from eyeflow.coordinator.queries import Query
from eyeflow.coordinator.requests import RequestKey, answered
from eyeflow.coordinator.standings import SILENT_S
from eyeflow.coordinator.store.cluster_store import Reading
from eyeflow.coordinator.store.facts import LogEntry, ProgramRecord
from eyeflow.coordinator.store.lists import NodeSums
from eyeflow.coordinator.tls import OwnTls
from eyeflow.coordinator.tokens import JOIN_TOKEN_S, NODE_ACTOR, TOKEN_S, Actor, Role, Whose
from eyeflow.protocol.boards import board_bytes
from eyeflow.protocol.certificates import CertificateError, facts
from eyeflow.protocol.messages import certificate_bytes
from eyeflow.protocol.signer_list import SignerListError, parse_list
from eyeflow.protocol.wire import ProtocolError
from eyeflow.rollout.deployment import OFFLINE_S, Deployment, Options, Rollback
from eyeflow.rollout.strategies import OBSERVE_S, STRATEGIES
from eyeflow.svm.container import decode

REPEATED = {"Idempotent-Replayed": "true"}
"""The header of an answer that tells what an earlier request with the same key has begun."""


@dataclass(frozen=True, slots=True)
class Call:
    """One authenticated request: values of path and query, the checked body or program, who asks."""

    path: Mapping[str, str]
    body: Any
    actor: Actor
    query: Query = field(default_factory=dict)
    request: RequestKey | None = None
    """What tells this request from the same one sent anew, where the path has that."""
    is_tls: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """A status with a JSON-able body, or text."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Hub, Call], Awaitable[Reply]]


async def get_status(hub: Hub, call: Call) -> Reply:
    """Return the cluster in one look."""
    facts, sums = await _sums(hub)
    return Reply(200, views.status_view(hub, facts, sums))


async def _sums(hub: Hub) -> tuple[views.ClusterFacts, NodeSums]:
    silent_us = hub.clock() - SILENT_S * 1_000_000
    return await hub.store.read(
        lambda reading: (views.cluster_facts(reading), reading.node_sums(silent_us, hub.store.own_id))
    )


async def get_healthz(hub: Hub, call: Call) -> Reply:
    """Say whether the store works. It asks nobody: it answers at once, whatever the store is busy with."""
    return Reply(503, {"status": "degraded"}) if hub.trouble else Reply(200, {"status": "ok"})


async def get_metrics(hub: Hub, call: Call) -> Reply:
    """Return the counters in Prometheus text format."""
    return Reply(200, metrics.render(hub, *await _sums(hub)))


async def get_node(hub: Hub, call: Call) -> Reply:
    """Return one node."""
    return Reply(200, await _node(hub, call.path["id"]))


async def remove_node(hub: Hub, call: Call) -> Reply:
    """Remove a node; its rules run on until it is told otherwise, but it opens no link any more."""
    await hub.remove(call.path["id"], call.actor.name)
    return Reply(204)


async def label_node(hub: Hub, call: Call) -> Reply:
    """Make these the labels of a node, in place of those before."""
    await hub.nodes.label(call.path["id"], call.body["labels"], hub.clock(), call.actor.name)
    return Reply(200, await _node(hub, call.path["id"]))


async def drain_node(hub: Hub, call: Call) -> Reply:
    """Take all rules off a node; deployments that do not name it leave it out until it is undrained."""
    await hub.deployments.drain(call.path["id"], hub.clock(), call.actor.name)
    return Reply(200, await _node(hub, call.path["id"]))


async def undrain_node(hub: Hub, call: Call) -> Reply:
    """Let deployments go to a node again that was drained."""
    await hub.deployments.undrain(call.path["id"], hub.clock(), call.actor.name)
    return Reply(200, await _node(hub, call.path["id"]))


async def accept_node(hub: Hub, call: Call) -> Reply:
    """Take the history that a node has now for the right one; what contradicts it is forgotten."""
    await hub.accept(call.path["id"], call.actor.name)
    return Reply(200, await _node(hub, call.path["id"]))


async def quarantine_node(hub: Hub, call: Call) -> Reply:
    """Let nothing be deployed to a node, and nothing of its audit be copied, until somebody accepts it."""
    await hub.quarantine(call.path["id"], call.body.get("reason", ""), call.actor.name)
    return Reply(200, await _node(hub, call.path["id"]))


async def retire_rule(hub: Hub, call: Call) -> Reply:
    """Take a rule off a node; an offline node hears of it when it is back."""
    await hub.deployments.retire(call.path["id"], call.path["rule"], hub.clock(), call.actor.name)
    return Reply(204)


async def create_join_token(hub: Hub, call: Call) -> Reply:
    """Make a single-use token with which one node joins."""
    valid_s = call.body.get("validS", JOIN_TOKEN_S)
    token, expires_us = await hub.tokens.create_join(
        hub.clock(), call.actor.name, valid_s, hub.tls.pin if hub.tls is not None else ""
    )
    return Reply(201, {"token": token, "expiresUs": expires_us})


async def join(hub: Hub, call: Call) -> Reply:
    """Register a node's public key in exchange for a join token."""
    body = call.body
    public_key, signature = bytes.fromhex(body["publicKey"]), bytes.fromhex(body["signature"])
    await hub.nodes.join(body["token"], body["node"], public_key, signature, hub.clock())
    return Reply(
        201,
        {
            "coordinatorId": hub.store.coordinator_id,
            "publicKey": hub.store.identity.public_key.hex(),
            "signers": sorted(key.hex() for key in await hub.programs.trusted()),
            "ca": hub.tls.ca if hub.tls is not None else "",
        },
    )


async def join_board(hub: Hub, call: Call) -> Reply:
    """Register a board behind a node; the node's signature over a nonce says who speaks for it."""
    body, gateway = call.body, call.path["id"]
    nonce, public_key = bytes.fromhex(body["nonce"]), bytes.fromhex(body["publicKey"])
    what = (hub.store.coordinator_id, gateway, nonce, body["board"], public_key, body["device"], body["boardFile"])
    signature, now_us = bytes.fromhex(body["signature"]), hub.clock()
    if not await proves_node(hub.store, hub.challenges, gateway, nonce, board_bytes(*what), signature, now_us):
        detail = "The signature or the nonce is not valid, or no such node has joined."
        raise Problem("unauthenticated", detail, "ask for a new nonce; a node that was removed joins again")
    await hub.nodes.join_board(
        gateway, JoiningBoard(body["board"], public_key, body["device"], body["boardFile"]), now_us
    )
    return Reply(201, {"coordinatorId": hub.store.coordinator_id})


async def get_board_file(hub: Hub, call: Call) -> Reply:
    """Return the board file of a board, with which rules for it are compiled; empty when it is not known."""
    node = call.path["id"]
    await hub.store.read(lambda reading: found_node(reading, node))
    return Reply(200, {"text": await hub.store.read(lambda reading: reading.board_file(node))})


async def get_ca(hub: Hub, call: Call) -> Reply:
    """Return the CA of the cluster; whoever asks compares its fingerprint with the one that it was given."""
    return Reply(200, {"ca": _tls(hub).ca})


async def certify(hub: Hub, call: Call) -> Reply:
    """Give a node a certificate for its link; its signature over a nonce says who asks."""
    body, tls, now_us = call.body, _tls(hub), hub.clock()
    name, nonce, request = body["node"], bytes.fromhex(body["nonce"]), body["request"]
    signed = certificate_bytes(hub.store.coordinator_id, name, nonce, request)
    signature = bytes.fromhex(body["signature"])
    if not await proves_node(hub.store, hub.challenges, name, nonce, signed, signature, now_us):
        detail = "The signature or the nonce is not valid, or no such node has joined."
        raise Problem("unauthenticated", detail, "ask for a new nonce; a node that was removed joins again")
    try:
        certificate = tls.authority.node(name, request, now_us)
    except CertificateError as error:
        raise Problem("invalid_request", f"The request cannot be used: {error}.", "make a new one") from error
    entry = LogEntry(now_us, f"{NODE_ACTOR}{name}", "certificate", name, facts(certificate).fingerprint)
    await hub.store.write(lambda writing: writing.add_log_entry(entry))
    return Reply(200, {"certificate": certificate, "ca": tls.ca})


def _tls(hub: Hub) -> OwnTls:
    if hub.tls is None:
        raise Problem("no_authority", "This coordinator has no CA of its own.", "make one: eyeflow coordinator init")
    return hub.tls


async def challenge(hub: Hub, call: Call) -> Reply:
    """Give a nonce that a node signs to open its link."""
    nonce = hub.challenges.issue(hub.clock()).hex()
    return Reply(200, {"coordinatorId": hub.store.coordinator_id, "nonce": nonce, "expiresS": CHALLENGE_S})


async def create_token(hub: Hub, call: Call) -> Reply:
    """Make an API token."""
    name, role = call.body["name"], Role(call.body["role"])
    whose = Whose(call.body.get("labels", {}), call.body.get("person", ""))
    valid_s = call.body.get("validS", TOKEN_S)
    made = await hub.tokens.create(name, role, hub.clock(), call.actor.name, valid_s, whose)
    return Reply(201, {"token": made.secret, **views.token_view(made.kept, hub.clock())})


async def revoke_token(hub: Hub, call: Call) -> Reply:
    """Let an API token open nothing any more."""
    await hub.tokens.revoke(call.path["id"], hub.clock(), call.actor.name)
    return Reply(204)


async def get_log(hub: Hub, call: Call) -> Reply:
    """Return where the coordinator's log begins and ends, with the head that it signed last."""
    return Reply(200, await hub.store.read(lambda reading: views.log_view(hub, reading)))


async def trust_key(hub: Hub, call: Call) -> Reply:
    """Trust the programs that a key signs."""
    public_key = bytes.fromhex(call.body["publicKey"])
    key = await hub.programs.trust(public_key, call.body["name"], hub.clock(), call.actor.name)
    return Reply(201, views.key_view(key))


async def get_signer_list(hub: Hub, call: Call) -> Reply:
    """Return the root's list of signers; whoever knows the root checks its signature."""
    text = await hub.store.read(lambda reading: reading.signer_list())
    if text is None:
        raise Problem("not_found", "No list of signers was published.", "publish one: eyeflow keys root publish FILE")
    return Reply(200, json.loads(text))


async def publish_signer_list(hub: Hub, call: Call) -> Reply:
    """Hand a list of signers that a root has signed on to the nodes."""
    try:
        new = parse_list(json.dumps(call.body))
    except SignerListError as error:
        raise Problem("bad_signer_list", f"The list is not taken: {error}.", "sign it again") from error
    await hub.programs.publish(new, hub.clock(), call.actor.name)
    return Reply(200, json.loads(new.text()))


async def revoke_key(hub: Hub, call: Call) -> Reply:
    """Trust a key no more."""
    await hub.programs.revoke(call.path["key"], hub.clock(), call.actor.name)
    return Reply(204)


async def add_program(hub: Hub, call: Call) -> Reply:
    """Keep a signed program: 201 when it is new, 200 when it was here already."""
    program, new = await hub.programs.add(call.body, hub.clock(), call.actor.name)
    return Reply(201 if new else 200, views.program_view(program), {"Location": f"/api/programs/{program.id}"})


async def get_program(hub: Hub, call: Call) -> Reply:
    """Return one program's facts."""
    program = await hub.store.read(lambda reading: found_program(reading, call.path["id"]))
    return Reply(200, views.program_view(program))


async def get_deployment(hub: Hub, call: Call) -> Reply:
    """Return one deployment, with each of its nodes."""
    return Reply(200, await _deployment(hub, call, call.path["id"]))


def _steering(verb: Callable[[Deployments, str, int, str], Awaitable[Deployment]], says: str) -> Handler:
    async def steer(hub: Hub, call: Call) -> Reply:
        deployment = await verb(hub.deployments, call.path["id"], hub.clock(), call.actor.name)
        return Reply(202, await _deployment(hub, call, deployment.id))

    steer.__name__, steer.__doc__ = f"{verb.__name__}_deployment", says
    return steer


cancel_deployment = _steering(Deployments.cancel, "End a deployment early; its nodes go back to their last known good.")
pause_deployment = _steering(Deployments.pause, "Let a deployment begin nothing new until it is resumed.")
resume_deployment = _steering(Deployments.resume, "Let a deployment go on that somebody paused.")
promote_deployment = _steering(Deployments.promote, "Let a deployment take its next step without more evidence.")
approve_deployment = _steering(Deployments.approve, "Agree to a deployment that waits for it.")
take_back_deployment = _steering(Deployments.take_back, "Take back a deployment that succeeded.")


async def retry_deployment(hub: Hub, call: Call) -> Reply:
    """Start a deployment that has ended again, as a new one: the same programs on the same nodes."""
    identity = call.path["id"]
    if (before := await _answered(hub, call)) is not None:
        return before
    old = await hub.store.read(lambda reading: found_deployment(reading, identity))
    evidence = hub.nodes.evidence_of(frozenset(old.rules))
    with _manifests_fit(), hub.requests.working(call.request):
        deployment = await hub.deployments.retry(identity, hub.clock(), call.actor, hub.linked, evidence, call.request)
    return _begun(await _deployment(hub, call, deployment.id))


@contextmanager
def _manifests_fit() -> Iterator[None]:
    """Turn a wanted set that is too large into a Problem."""
    try:
        yield
    except ProtocolError as error:
        raise Problem("limit_reached", f"A node's wanted set would be too large: {error.message}.") from error


async def _answered(hub: Hub, call: Call) -> Reply | None:
    """Return the answer to a request that came before, as things stand now; None for a new one."""
    now_us = hub.clock()
    before = await hub.store.read(lambda reading: answered(reading, call.request, now_us))
    if before is None:
        return None
    if not before.deployment_id:
        return Reply(200, {"unchanged": sorted(change["rule"] for change in call.body["changes"])}, REPEATED)
    reply = _begun(await _deployment(hub, call, before.deployment_id))
    return Reply(reply.status, reply.body, {**reply.headers, **REPEATED})


def _begun(made: Mapping[str, Any]) -> Reply:
    return Reply(202, made, {"Location": f"/api/deployments/{made['id']}"})


async def deploy(hub: Hub, call: Call) -> Reply:
    """Start a deployment of a rule."""
    change = {name: call.body[name] for name in ("programId", "boardPrograms", "params") if name in call.body}
    return await _deploy(hub, call, [{"rule": call.path["id"], **change}])


async def deploy_set(hub: Hub, call: Call) -> Reply:
    """Start a deployment of several rules, which succeed or go back as one."""
    check_changes(call.body["changes"])
    return await _deploy(hub, call, call.body["changes"])


def check_changes(changes: Sequence[Mapping[str, Any]]) -> None:
    """Raise Problem 422 for a rule that changes twice, or is removed and has a program."""
    rules = [one["rule"] for one in changes]
    errors = [
        FieldError(f"/changes/{number}", f"names `{rule}` again")
        for number, rule in enumerate(rules)
        if rule in rules[:number]
    ]
    errors += [
        FieldError(f"/changes/{number}", "removes the rule, and names a program or parameters for it")
        for number, one in enumerate(changes)
        if "remove" in one and len(one) > 2
    ]
    if errors:
        raise Problem("invalid_body", "Each rule changes once, and has a program or is removed.", errors=errors)


async def _deploy(hub: Hub, call: Call, changes: Sequence[Mapping[str, Any]]) -> Reply:
    check_how(call.body)
    if (before := await _answered(hub, call)) is not None:
        return before
    chosen = await hub.store.read(lambda reading: [_chosen_change(reading, one) for one in changes])
    draft = draft_of(call, tuple(change for change, _ in chosen))

    def check(reading: Reading) -> None:
        for change, programs in chosen:
            for program in programs:
                check_signers(reading, change.rule, program.signers)

    evidence = hub.nodes.evidence_of(frozenset(draft.rules))
    with _manifests_fit(), hub.requests.working(call.request):
        deployment = await hub.deployments.deploy(
            draft, hub.clock(), call.actor.name, check, hub.linked, evidence, call.request
        )
    if deployment is None:
        return Reply(200, {"unchanged": sorted(change["rule"] for change in changes)})
    return _begun(await _deployment(hub, call, deployment.id))


def _where(body: Mapping[str, Any]) -> Where:
    """Return which nodes a body means; raises Problem 422 unless it says so in one way."""
    if len(body.keys() & {"nodeIds", "all", "labels"}) != 1:
        errors = [FieldError("", "needs `nodeIds`, `labels` or `all`")]
        raise Problem("invalid_body", "Give either `nodeIds`, `labels` or `all`.", errors=errors)
    if body.get("labels") == {}:
        raise Problem("invalid_body", "Name a label, or ask for `all`.", errors=[FieldError("/labels", "is empty")])
    nodes = tuple(body["nodeIds"]) if "nodeIds" in body else None
    return Where(nodes, body.get("labels", {}), tuple(body.get("exclude", ())))


def draft_of(call: Call, changes: tuple[Change, ...]) -> Draft:
    """Return what a request for a deployment asks for; raises Problem 422 for what does not go together."""
    body = call.body
    strategy = check_how(body)
    return Draft(
        changes=changes,
        where=replace(_where(body), scope=call.actor.labels),
        strategy=strategy,
        rollback=Rollback.ON_ERROR if body.get("rollbackOnError", True) else Rollback.NEVER,
        deadline_s=body.get("deadlineS", OFFLINE_S),
        options=_options(strategy, body.get("options", {})),
        skips_unchanged=body.get("skipUnchanged", False),
    )


def check_how(body: Mapping[str, Any]) -> str:
    """Return the strategy of a body; raises Problem 422 for an unknown one, and unless it says which nodes."""
    _where(body)
    return _strategy(body.get("strategy", "immediate"))


def _chosen_change(reading: Reading, change: Mapping[str, Any]) -> tuple[Change, Sequence[ProgramRecord]]:
    """Return what to deploy with the parameters as it takes them, and its programs."""
    rule = change["rule"]
    if "remove" in change:
        return Change(rule, None), ()
    asked = (change.get("programId"), *(one["programId"] for one in change.get("boardPrograms", ())))
    programs = [program_to_deploy(reading, rule, one) for one in asked]
    decoded = [decode(reading.program_bytes(one.id)).program for one in programs]
    params, *_ = [check_params(one, change.get("params", {})) for one in decoded]
    return Change(rule, programs[0].id, params, by_chip(rule, programs[1:])), programs


def _options(strategy: str, body: Mapping[str, Any]) -> Options:
    """Return the options; raises Problem 422 for steps that do not ascend."""
    usual = Options()
    steps = tuple(round(step * 100) for step in body["steps"]) if "steps" in body else usual.steps
    if list(steps) != sorted(set(steps)) or not all(steps):
        errors = [FieldError("/options/steps", "must ascend")]
        raise Problem("invalid_body", "The steps of a canary grow from one to the next.", errors=errors)
    return Options(
        batch=body.get("batch", usual.batch),
        batch_share=round(body.get("batchPercent", 0) * 100),
        observe_s=body.get("observeS", OBSERVE_S[strategy]),
        steps=steps,
        samples_min=body.get("samplesMin", usual.samples_min),
        failures_max=round(body["failuresMaxPercent"] * 100) if "failuresMaxPercent" in body else usual.failures_max,
        starts_max=body.get("startsMax", usual.starts_max),
    )


def _strategy(name: str) -> str:
    if name not in STRATEGIES:
        available = ", ".join(sorted(STRATEGIES))
        detail = f"The strategy `{name[:64]}` is not available in this version; available: {available}."
        raise Problem("unavailable_strategy", detail, "choose an available strategy")
    return name


async def _node(hub: Hub, name: str) -> dict[str, Any]:
    facts = await hub.store.read(lambda reading: views.node_facts(reading, found_node(reading, name)))
    return views.node_view(hub, facts)


async def _deployment(hub: Hub, call: Call, deployment_id: str) -> dict[str, Any]:
    now_us = hub.clock()
    shown = await hub.store.read(
        lambda reading: views.deployment_view(hub, reading, found_deployment(reading, deployment_id), now_us)
    )
    return shown | {"own": await hub.deployments.is_by(shown["createdBy"], call.actor.name)}
