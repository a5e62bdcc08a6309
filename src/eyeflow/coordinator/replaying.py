"""Asks nodes where programs would have decided otherwise than what they ran: `replay` in the request of a plan."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from eyeflow.coordinator.cases import trace_view
from eyeflow.coordinator.hub import Hub
from eyeflow.coordinator.link_questions import UnaskedError
from eyeflow.protocol.replays import Memory, ReplayDifference, ReplayProgram, ReplayResult

TIMEOUT_S = 60
"""How long nodes may take, until the request says."""
ASKED_MAX = 64
"""Nodes that are asked at the same time."""
BATCH_BYTES_MAX = 1024 * 1024
"""Bytes of programs that go out in one question, unless one program alone has more."""
TRIED = ("replace", "configure")
"""Changes of a plan of which a node has records: another program, or other parameters."""
NEW = "it does not run this rule: nothing is recorded"


async def replays(
    hub: Hub, plan: Mapping[str, Any], programs: Mapping[str, bytes], since_us: int, seconds_max: int
) -> list[dict[str, Any]]:
    """Return a `Replay` for each rule that a plan changes on a node, by node and rule.

    `programs` are the bytes of the plan's programs by id. Nodes answer within `seconds_max`, or are said not to.
    """
    turns = asyncio.Semaphore(ASKED_MAX)

    async def ask(node: Mapping[str, Any]) -> list[dict[str, Any]]:
        async with turns:
            return await _of_node(hub, node, programs, since_us, seconds_max)

    found = await asyncio.gather(*(ask(node) for node in plan["nodes"]))
    return [one for of_node in found for one in of_node]


async def _of_node(
    hub: Hub, node: Mapping[str, Any], programs: Mapping[str, bytes], since_us: int, seconds_max: int
) -> list[dict[str, Any]]:
    changes = [one for one in node["changes"] if one["change"] in (*TRIED, "install")]
    asked = [
        ReplayProgram(one["rule"], one["programId"], programs[one["programId"]], tuple(sorted(one["params"].items())))
        for one in changes
        if one["change"] in TRIED
    ]
    results: dict[str, ReplayResult] = {}
    problem = ""
    ends_s = asyncio.get_running_loop().time() + seconds_max
    try:
        for batch in _batches(sorted(asked, key=lambda one: one.rule)):
            left_s = max(1, round(ends_s - asyncio.get_running_loop().time()))
            found = await _ask(hub, node["node"], batch, since_us, left_s)
            results |= {one.rule: one for one in found}
    except UnaskedError as error:
        problem = error.message
    why = {one["rule"]: problem if one["change"] in TRIED else NEW for one in changes}
    return [_view(node["node"], one, results.get(one["rule"]), why[one["rule"]]) for one in changes]


async def _ask(
    hub: Hub, node: str, programs: Sequence[ReplayProgram], since_us: int, seconds_max: int
) -> tuple[ReplayResult, ...]:
    if (link := hub.links.get(node)) is not None:
        return await link.replay(programs, since_us, seconds_max)
    held = await hub.store.read(lambda reading: reading.link(node))
    if held is None or held.coordinator == hub.store.own_id:
        raise UnaskedError("it is offline")
    return await hub.relay.ask(node, held.coordinator, programs, since_us, seconds_max)


def _batches(programs: Sequence[ReplayProgram]) -> Iterator[tuple[ReplayProgram, ...]]:
    batch: list[ReplayProgram] = []
    for one in programs:
        if batch and sum(len(other.program) for other in (*batch, one)) > BATCH_BYTES_MAX:
            yield tuple(batch)
            batch = []
        batch.append(one)
    if batch:
        yield tuple(batch)


def _view(node: str, change: Mapping[str, Any], result: ReplayResult | None, problem: str) -> dict[str, Any]:
    who = {"node": node, "rule": change["rule"], "programId": change["programId"]}
    if result is None:
        result = ReplayResult(change["rule"], change["programId"], problem)
    return who | {
        "problem": result.refusal,
        "sinceUs": result.since_us,
        "untilUs": result.until_us,
        "memory": result.memory.value if result.events else Memory.EMPTY.value,
        "events": result.events,
        "differing": result.differing,
        "unlike": result.unlike,
        "unanswered": result.unanswered,
        "missing": list(result.missing),
        "differences": [_difference(one) for one in result.differences],
    }


def _difference(one: ReplayDifference) -> dict[str, Any]:
    return {
        "timeUs": one.time_us,
        "event": one.event,
        "key": one.key,
        "active": trace_view(one.active),
        "candidate": trace_view(one.candidate),
    }
