"""POST /api/deployments/plan: a deployment as it would be, of programs that are here or come with the request."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

from eyeflow.coordinator.api import Call, Reply, check_changes, draft_of
from eyeflow.coordinator.drafts import Change
from eyeflow.coordinator.hub import Hub
from eyeflow.coordinator.intake import Intake, check_any_program, check_params
from eyeflow.coordinator.planning import Planned, plan_view
from eyeflow.coordinator.problem import FieldError, Problem
from eyeflow.coordinator.programs import by_chip, program_of_rule, record_of
from eyeflow.coordinator.replaying import TIMEOUT_S, replays
from eyeflow.coordinator.store.cluster_store import Reading
from eyeflow.coordinator.tokens import Actor, Role
from eyeflow.svm.container import decode


async def plan_deployment(hub: Hub, call: Call) -> Reply:
    """Tell what a deployment would do. Nothing is written, and nothing is kept of a program that comes with it."""
    changes, now_us, actor = call.body["changes"], hub.clock(), call.actor.name
    check_changes(changes)
    asked = call.body.get("replay")
    if asked is not None:
        check_may_replay(call.actor)
    brought = [await _all_brought(hub, number, one) for number, one in enumerate(changes)]
    programs: dict[str, bytes] = {}

    def look(reading: Reading) -> dict[str, Any]:
        found = [_planned(reading, one, new, now_us, actor) for one, new in zip(changes, brought, strict=True)]
        planned = {one.record.id: one for _, programs in found for one in programs}
        draft = draft_of(call, tuple(change for change, _ in found))
        if asked is not None:
            came = {one.program_id: one.data for of_rule in brought for one in of_rule if one is not None}
            programs.update({one: came.get(one) or reading.program_bytes(one) for one in planned})
        return plan_view(reading, draft, planned, hub.linked(reading), now_us, actor)

    plan = await hub.store.read(look)
    plan["replay"] = None
    if asked is not None:
        since_us = max(0, now_us - asked["spanS"] * 1_000_000)
        plan["replay"] = await replays(hub, plan, programs, since_us, asked.get("timeoutS", TIMEOUT_S))
    return Reply(200, plan)


def check_may_replay(actor: Actor) -> None:
    """Raise Problem for who may not: nodes work for it."""
    if not actor.may(Role.DEPLOY):
        detail = f"A replay needs the role {Role.DEPLOY.value}; the token's role is {actor.role.value}."
        raise Problem("forbidden", detail, "ask an admin for a token with that role")


async def _all_brought(hub: Hub, number: int, change: Mapping[str, Any]) -> list[Intake | None]:
    """Return the programs that come with a change: that for nodes, and those for boards; None where none came."""
    place, rule = f"/changes/{number}", change["rule"]
    boards = enumerate(change.get("boardPrograms", ()))
    return [
        await _brought(hub, place, rule, change),
        *[await _brought(hub, f"{place}/boardPrograms/{at}", rule, one) for at, one in boards],
    ]


async def _brought(hub: Hub, place: str, rule: str, change: Mapping[str, Any]) -> Intake | None:
    if "program" not in change:
        return None
    pointer = f"{place}/program"
    if "programId" in change:
        errors = [FieldError(pointer, "stands beside `programId`")]
        raise Problem("invalid_body", "A change names a program, or brings it.", errors=errors)
    try:
        data = base64.b64decode(change["program"], validate=True)
    except (binascii.Error, ValueError) as error:
        errors = [FieldError(pointer, "is not base64")]
        raise Problem("invalid_body", "A program is not written in base64.", errors=errors) from error
    async with hub.checking_program:
        intake = await asyncio.to_thread(check_any_program, data)
    if intake.program.rule != rule:
        errors = [FieldError(pointer, f"is of the rule `{intake.program.rule}`")]
        raise Problem("invalid_body", "A program is of another rule than its change.", errors=errors)
    return intake


def _planned(
    reading: Reading, change: Mapping[str, Any], brought: Sequence[Intake | None], now_us: int, actor: str
) -> tuple[Change, Sequence[Planned]]:
    rule = change["rule"]
    if "remove" in change:
        return Change(rule, None), ()
    asked = (change, *change.get("boardPrograms", ()))
    found = []
    for one, came in zip(asked, brought, strict=True):
        if came is not None:
            found.append(Planned(record_of(came, now_us, actor), came.program))
        else:
            record = program_of_rule(reading, rule, one.get("programId"))
            found.append(Planned(record, decode(reading.program_bytes(record.id)).program))
    params, *_ = [check_params(one.program, change.get("params", {})) for one in found]
    return Change(rule, found[0].record.id, params, by_chip(rule, [one.record for one in found[1:]])), found
