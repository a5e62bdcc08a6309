"""What people are told of a deployment: pure functions of the `Deployment` of the REST API."""

from __future__ import annotations

from typing import Any

from eyeflow.cli.console import counted
from eyeflow.cli.times import ago, span

Json = dict[str, Any]

WORST = ("refused", "silent", "sent", "waiting", "returning", "held", "away", "staged", "installed", "returned")
"""States of nodes, those first that somebody should look at."""
NAMED_MAX = 5
"""Nodes that a sentence names; how many more there are is said as a number."""


def is_offline(node: Json) -> bool:
    """Say whether something is awaited of a node that has no link."""
    return node["state"] in ("away", "waiting", "sent", "returning") and not node["connected"]


def node_state(node: Json) -> str:
    """Return where a node stands, in one or two words."""
    return f"{node['state']}, offline" if is_offline(node) else str(node["state"])


def node_rows(deployment: Json) -> list[list[str]]:
    """Return (node, place, state, reason) of each node, those first that somebody should look at."""
    found = sorted(deployment["nodes"], key=lambda node: (WORST.index(node["state"]), node["node"]))
    return [[node["node"], node["place"], node_state(node), node["reason"]] for node in found]


def counts(deployment: Json) -> str:
    """Return how many nodes stand in each state."""
    found = sorted(deployment["counts"].items(), key=lambda one: WORST.index(one[0]))
    return ", ".join(f"{nodes} {state}" for state, nodes in found if nodes) or "no nodes"


def named(nodes: list[str]) -> str:
    """Return nodes for a sentence: the first by name, the others as a number."""
    more = len(nodes) - NAMED_MAX
    return ", ".join([*nodes[:NAMED_MAX], f"and {more} more"] if more > 0 else nodes)


def programs(deployment: Json) -> str:
    """Return the program of a deployment of one rule, short; nothing for one of several."""
    changes = deployment["changes"]
    return str(changes[0]["programId"][:16] or "removed") if len(changes) == 1 else ""


def step(deployment: Json) -> str:
    """Return which step of its strategy a deployment is at."""
    strategy, options, number = deployment["strategy"], deployment["options"], deployment["phase"]
    if strategy == "canary":
        steps = options["steps"]
        share = f"{steps[number]:g} % of the traffic" if number < len(steps) else "everything"
        return f"step {min(number, len(steps)) + 1} of {len(steps) + 1}: {share}"
    if strategy == "rolling":
        batch = f"{options['batchPercent']:g} %" if "batchPercent" in options else str(options["batch"])
        return f"batch {number + 1}, of {batch} {'node' if batch == '1' else 'nodes'}"
    if strategy == "blue_green":
        return "step 1 of 2: stage" if number == 0 else "step 2 of 2: switch"
    return "beside the active program, without acting" if strategy == "shadow" else "all nodes at once"


def settings(deployment: Json) -> str:
    """Return what a deployment was asked to do with its steps."""
    options, parts = deployment["options"], []
    if options["observeS"]:
        parts.append(f"watches {span(options['observeS'])} after each step")
        parts.append(f"needs {counted(options['samplesMin'], 'execution')} for a verdict")
        parts.append(
            f"bears {options['failuresMaxPercent']:g} % failures and {counted(options['startsMax'], 'start')} an hour"
        )
    else:
        parts.append("watches nothing")
    parts.append("goes back on a failure" if deployment["rollbackOnError"] else "does not go back on a failure")
    return ", ".join(parts)


def verdict(deployment: Json) -> str:
    """Return the verdict with its numbers, empty while nothing is watched."""
    found = deployment["verdict"]
    if found is None:
        return ""
    kind = {"noData": "no data"}.get(found["kind"], found["kind"])
    parts = [f"{kind}: {found['reason']}", f"evidence against it {found['e']:.3g} of {found['alarmE']:g}"]
    if found["differing"]:
        parts.append(f"{counted(found['differing'], 'decision')} would differ")
    return "; ".join(parts)


def waits_for(deployment: Json) -> str:
    """Return what has to happen for a deployment to go on, empty when it has ended."""
    if deployment["over"]:
        return ""
    nodes = deployment["nodes"]
    offline = [node["node"] for node in nodes if is_offline(node)]
    asked = [
        node["node"] for node in nodes if node["state"] in ("sent", "waiting", "returning") and not is_offline(node)
    ]
    parts = [_pause(one) for one in deployment["paused"]]
    if asked:
        parts.append(f"the answer of {named(asked)}")
    parts += _lacks(deployment)
    if deployment["state"] == "observing" and (found := deployment["verdict"]) and found["leftS"]:
        parts.append(f"{span(found['leftS'])} more of watching")
    if offline:
        parts.append(f"{named(offline)} to connect")
    return ", ".join(parts) or "the coordinator's next look"


def _lacks(deployment: Json) -> list[str]:
    """Return which executions a verdict still needs, and where they would come from."""
    found = deployment["verdict"]
    if found is None:
        return []
    missing, judged = found["missing"], [one for one in deployment["nodes"] if one["phase"] == deployment["phase"]]
    where = f" on {named([one['node'] for one in judged])}" if judged else ""
    parts = [f"the actions of {counted(missing['pending'], 'execution')} to end{where}"] if missing["pending"] else []
    parts += [f"news of {named(found['silent'])}"] if found["silent"] else []
    if missing["executions"]:
        return [f"{counted(missing['executions'], 'more execution')}{where}", *parts]
    if missing["executionsBefore"]:
        return [f"{counted(missing['executionsBefore'], 'more execution')} of the active program{where}", *parts]
    return parts


def _pause(one: Json) -> str:
    awaited = {"user": "somebody to resume it", "approval": "somebody to approve it"}
    return awaited.get(one["code"], "more evidence, or somebody to promote it")


def possible(deployment: Json) -> tuple[str, ...]:
    """Return what one can do with a deployment now: subcommands of `eyeflow deployments`."""
    if deployment["over"]:
        return ("rollback", "retry") if deployment["state"] == "succeeded" else ("retry",)
    if deployment["state"] == "rollingBack":
        return ("watch",)
    codes = {one["code"] for one in deployment["paused"]}
    found = ["watch", "resume" if "user" in codes else "pause"]
    if "approval" in codes:
        found.append("approve")
    if deployment["state"] == "observing":
        found.append("promote")
    return (*found, "cancel")


def state(deployment: Json) -> str:
    """Return the state of a deployment, and whether it is paused."""
    return f"{deployment['state']}, paused" if deployment["paused"] else str(deployment["state"])


def about(deployment: Json) -> list[tuple[str, str]]:
    """Return everything about a deployment but its nodes, as (word, text)."""
    found = [
        ("started", f"{ago(deployment['createdUs'])} by {deployment['createdBy'] or 'nobody known'}"),
        ("strategy", f"{deployment['strategy']}: {settings(deployment)}"),
    ]
    found += [(f"rule {one['rule']}", _programs(one)) for one in deployment["changes"][:NAMED_MAX]]
    if (more := len(deployment["changes"]) - NAMED_MAX) > 0:
        found.append(("", f"and {counted(more, 'more rule')}"))
    if not deployment["over"]:
        since = deployment["phaseSinceUs"] or deployment["createdUs"]
        found.append(("step", f"{step(deployment)}; {deployment['state']} since {ago(since)}"))
    found += [("paused", f"{one['text']} ({ago(one['sinceUs'])})") for one in deployment["paused"]]
    found += [("verdict", text)] if (text := verdict(deployment)) else []
    found.append(("nodes", counts(deployment)))
    found += [("waits for", text)] if (text := waits_for(deployment)) else []
    found += [("you can", " ".join(("eyeflow deployments", verb, deployment["id"]))) for verb in possible(deployment)]
    return found


def _programs(change: Json) -> str:
    """Return the programs of a rule, short: of nodes, and of boards by their chip."""
    boards = [f"{one['chip']}: {one['programId'][:16]}" for one in change["boardPrograms"]]
    return "; ".join((change["programId"][:16] or "removed", *boards))


def headline(deployment: Json) -> str:
    """Return the deployment in one line, without its state."""
    return " ".join(
        one for one in ("deployment", deployment["id"], "of", deployment["name"], programs(deployment)) if one
    )
