"""What people are told of a node: functions of the `Node` of the REST API."""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from typing import Any

from eyeflow.cli.console import colored, counted, paint, say
from eyeflow.cli.times import ago, clock_time, span

Json = dict[str, Any]

UNHEARD_S = 30
"""A connected node tells its status every few seconds: one that did not for this long is not well."""
ERRORS = ("trapped", "action_failures", "missed", "rejected")
"""Counters of a rule that count something gone wrong."""
RULES_NAMED_MAX = 3


def is_unheard(node: Json) -> bool:
    """Say whether a node has a link and tells nothing."""
    return bool(node["connected"]) and time.time() - node["lastSeenUs"] / 1e6 > UNHEARD_S


def is_failing(node: Json) -> bool:
    """Say whether something on a node failed, was refused, or is in doubt."""
    parts = any(part["state"] == "failed" for part in node["health"])
    return bool(node["inDoubt"]) or parts or any(rule["state"] == "refused" for rule in node["rules"])


def pending(node: Json) -> int:
    """Return how many rules a node has yet to answer for."""
    return sum(rule["state"] == "pending" for rule in node["rules"])


def waiting(node: Json) -> int:
    """Return how many events wait in the queues of a node's rules."""
    return sum(part["counters"].get("waiting", 0) for part in node["health"] if part["kind"] == "rule")


def state(node: Json) -> str:
    """Return how a node stands, in a few words."""
    words = ["connected" if node["connected"] else "offline"] if node["board"] is None else [board_state(node["board"])]
    words += ["not heard"] * is_unheard(node) + ["in doubt"] * bool(node["inDoubt"])
    words += ["drained"] * bool(node["drainedUs"])
    return ", ".join(words)


BOARD_STATES = {"linkLost": "link lost"}
BOARD_UNKNOWN = {"gateway_lost": "gateway lost", "gateway_silent": "gateway not heard", "not_served": "not served"}


def board_state(board: Json) -> str:
    """Return how a board stands, in a few words; `unknown` with why."""
    why = BOARD_UNKNOWN.get(board["reason"], "")
    return f"unknown ({why})" if why else BOARD_STATES.get(board["state"], str(board["state"]))


def since(node: Json) -> str:
    """Return since when a node has its link, or when it was last heard; of a board, since when it stands so."""
    if node["board"] is not None and node["board"]["sinceUs"]:
        since_us = node["board"]["sinceUs"]
        return f"since {clock_time(since_us)}, {ago(since_us)}"
    if node["connected"] and not is_unheard(node):
        return f"since {clock_time(node['connectedSinceUs'])}, {ago(node['connectedSinceUs'])}"
    if not node["lastSeenUs"]:
        return "never heard"
    return f"last heard {clock_time(node['lastSeenUs'])}, {ago(node['lastSeenUs'])}"


def labels(node: Json) -> str:
    """Return the labels of a node."""
    return " ".join(f"{name}={value}" for name, value in sorted(node["labels"].items())) or "-"


def rules(node: Json) -> str:
    """Return the rules of a node, by name while they are few."""
    names = [rule["rule"] for rule in node["rules"]]
    return ", ".join(names) or "-" if len(names) <= RULES_NAMED_MAX else f"{len(names)} rules"


def processor(node: Json) -> str:
    """Return the share of its machine's processors that is busy."""
    use = _machine(node)
    return f"{use['processor_hundredths'] / 100:.0f} %" if use else "-"


def memory(node: Json) -> str:
    """Return the share of its machine's memory that is in use."""
    use = _machine(node)
    return f"{100 * use['memory_used_bytes'] / use['memory_bytes']:.0f} %" if use else "-"


def _machine(node: Json) -> dict[str, int]:
    """Return how busy a node's machine is; nothing of one that is not heard, or does not tell."""
    parts = (part["counters"] for part in node["health"] if (part["kind"], part["name"]) == ("port", "machine"))
    use: dict[str, int] = next(parts, {})
    return use if use.get("memory_bytes") and node["connected"] and not is_unheard(node) else {}


def rate(value: float | None) -> str:
    """Return a number for each minute."""
    return "-" if value is None else f"{value:,.0f}"


def say_findings(node: Json, start: str) -> None:
    """Say what contradicts a node's history, since when, and what to do."""
    for one in node["findings"]:
        mark = paint("in doubt" if one["blocks"] else "lost store", "31" if one["blocks"] else "33", sys.stdout)
        began = datetime.fromtimestamp(one["sinceUs"] / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        say(f"{start}{mark} since {began}, last seen {ago(one['lastUs'])}: {one['evidence']}")
        say(f"{start}  {one['nextStep']}")


def say_proof(proof: Json, start: str) -> None:
    """Say which record shows it, with both hashes, and which processes opened links, from where and when."""
    if proof["knownHash"] and proof["toldHash"]:
        say(f"{start}  record   {proof['seq']} of epoch {proof['epoch']}")
        say(f"{start}    was    {proof['knownHash']}")
        say(f"{start}    is     {proof['toldHash']}")
    for one in proof["links"]:
        where = one["address"] or "an unknown address"
        say(f"{start}  link     {clock_time(one['timeUs'])} from {where}, process {one['process'][:8] or 'not told'}")


def say_what_follows(node: str, before: list[Json], copies: list[Json]) -> None:
    """Say what becomes of the copy of an accepted node's audit: which chains were kept before and now."""
    had = {(one["epoch"], one["branch"]) for one in before}
    aside = [one for one in copies if one["branch"] and (one["epoch"], one["branch"]) not in had]
    if aside:
        newest = aside[0]
        say(
            f"  its audit is copied anew. Records up to {newest['seq']} that were kept before stay as branch "
            f"{newest['branch']} of epoch {newest['epoch']}"
        )
    else:
        say("  the copy of its audit goes on where it ended")
    say(f"  deployments count again; deploy anew what failed: eyeflow deployments list --node {node}")


def say_node(node: Json) -> None:
    """Say everything about a node that is worth it."""
    say()
    say(paint(node["name"], "1", sys.stdout))
    if node["problem"]:
        say(f"  {paint('problem', '31', sys.stdout)}: {node['problem']}")
    if node["drainedUs"]:
        say(f"  drained {ago(node['drainedUs'])}; eyeflow nodes undrain {node['name']} lets deployments come again")
    say_findings(node, "  ")
    for one in node["findings"]:
        say_proof(one["proof"], "  ")
    if node["board"] is None:
        _say_copy(node)
    else:
        _say_board(node["board"], node["facts"], node["rules"])
    active = {part["name"]: part for part in node["health"] if part["slot"] == "active"}
    for rule in node["rules"]:
        _say_rule(rule, active.pop(rule["rule"], None))
    for part in node["health"]:
        if part["slot"] != "active" or part["name"] in active:
            _say_part(part)
    if use := _machine(node):
        own = use["own_memory_bytes"] / 2**20
        memory_ = f"{memory(node)} of {use['memory_bytes'] / 2**30:.1f} GiB"
        say(f"  machine  processor {processor(node)}, memory {memory_}, of which the node has {own:.0f} MiB")


def _say_board(board: Json, facts: Json | None, rules: list[Json]) -> None:
    """Say who speaks for a board, how it stands and by what evidence, and how much of it is used."""
    chip = facts["chip"] if facts else "-"
    say(f"  board    {chip}, device {board['device']}, firmware {board['firmware'] or '-'}, gateway {board['gateway']}")
    say(f"  {colored(board_state(board))}  {board['reason']}: {board['evidence']}")
    cause = f", started by {board['resetCause']}" if board["resetCause"] else ""
    say(f"  answered {ago(board['answeredUs'])}; up {span(board['uptimeMs'] / 1000)} then{cause}")
    flash = f"flash {board['flashUsedBytes']} of {board['flashBytes']} bytes"
    ram = f"RAM {board['ramUsedBytes']} of {board['ramBytes']} bytes"
    stack = f", stack {board['stackUsedBytes']} of {board['stackBytes']} bytes at most" if board["stackBytes"] else ""
    say(f"  {flash}, {ram}{stack}, longest scan {board['scanUsMax']} us")
    damaged = f"{board['framesBad']} damaged there, {board['receivedBad']} here"
    say(f"  line     {board['framesGood']} good frames, {damaged}, {board['askedAgain']} questions asked again")
    for program in board["programs"]:
        doing = "running" if program["isRunning"] else "stopped"
        fault = f", last fault {program['lastFault']}" if program["lastFault"] else ""
        staged = ", another one waits in the second slot" if program["hasStaged"] else ""
        say(f"  program {program['rule']} {program['version']}  {program['programId'][:16]}  {doing}{staged}{fault}")
        if drift := _drift(program, rules):
            say(f"          {paint(drift, '33', sys.stdout)}")


def _drift(program: Json, rules: list[Json]) -> str:
    """Return how a program that a board runs differs from what is deployed there; nothing when it does not."""
    wanted = next((one["wanted"] for one in rules if one["rule"] == program["rule"]), None)
    if wanted is None:
        return "no deployment brought it: somebody pushed it"
    if program["programId"] == wanted["programId"]:
        return ""
    return f"it is not the deployed program {wanted['programId'][:16]}"


def say_losses(copies: list[Json]) -> None:
    """Say what a node lost of its audit in its newest epoch, and why."""
    losses = copies[0]["losses"] if copies else []
    if losses:
        told = ", ".join(f"{one['records']} by {one['reason']} ({counted(one['gaps'], 'gap')})" for one in losses)
        say(f"  lost     {counted(sum(one['records'] for one in losses), 'record')} that nobody holds: {told}")


def say_states(states: list[Json]) -> None:
    """Say how each rule stood, and after which record of the node."""
    if not states:
        say("  state    the coordinator knows of none")
    for one in states:
        key = f" key {one['key']}" if one["key"] else ""
        values = one["values"]
        told = ", ".join(f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in (values or {}).items())
        unnamed = "no state variables" if values is not None else "the coordinator has not the program that names it"
        say(
            f"  state    {one['rule']} ({one['slot']}){key} after record {one['seq']}, {ago(one['keptUs'])}: "
            + (told or unnamed)
        )


def _say_copy(node: Json) -> None:
    """Say how far the coordinator's copy of the node's audit is."""
    copy = node.get("copy")
    if copy is None or not copy["seq"]:
        say("  audit    nothing of it is copied yet")
        return
    behind = f", {counted(copy['behind'], 'record')} behind" if copy["behind"] else ""
    trouble = f"; {paint('not now', '31', sys.stdout)}: {copy['trouble']}" if copy["trouble"] else ""
    say(
        f"  audit    copied up to record {copy['seq']} of epoch {copy['epoch']}, {ago(copy['keptUs'])}{behind}{trouble}"
    )


def _say_rule(rule: Json, part: Json | None) -> None:
    """Say which program of a rule is wanted, what became of it, and how the one that runs does."""
    program = rule["wanted"]["programId"][:16] if rule["wanted"] else "to be removed"
    refused = part is not None and part["state"] == "failed"  # then the part tells why, and what to do
    reason = "" if refused or not rule["reason"] else f"  {rule['reason']}"
    say(f"  rule {rule['rule']}  {program}  {colored(rule['state'])}{reason}{_doing(part)}")


def _say_part(part: Json) -> None:
    """Say how a port, a candidate or a rule of nobody's does, if there is something to tell."""
    if part["name"] == "machine":
        return
    doing = _doing(part)
    if doing or part["state"] == "failed":
        slot = f" ({part['slot']})" if part["slot"] else ""
        say(f"  {part['kind']} {part['name']}{slot}  {colored(part['state'])}{doing}")


def _doing(part: Json | None) -> str:
    """Return what a rule or port counts and complains about; nothing when there is nothing to tell."""
    if part is None:
        return ""
    shown = [f"{n.replace('_', ' ')} {v}" for n, v in sorted(part["counters"].items()) if v and not n.endswith("_us")]
    detail = part["detail"] if shown or part["state"] == "failed" else ""
    return "".join(f"  {text}" for text in (", ".join(shown), detail) if text)
