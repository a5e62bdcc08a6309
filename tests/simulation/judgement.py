"""What became of deployments of good and of bad programs: who passed, who was condemned, and who stayed on what."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import comb, floor
from typing import Any

from eyeflow.protocol.audit_bodies import Disposition, ExecutionBody, InstallBody, SlotBody, SlotChange
from simulation.programs import ACTS, PERIOD_S, bad_programs
from simulation.records import PIN_ARGUMENTS, Chain, promise
from simulation.world import THINKS_S

TOLERANCE = 0.05
"""`failuresMaxPercent`, until told otherwise."""
CONDEMNS = 0.05
"""Failures that are more probable than this by chance condemn nobody, however often one looks."""
FAILED = re.compile(r"(\d+) of (\d+) executions failed")
BESIDE = re.compile(r"the active program: (\d+) of (\d+)")
SPOILS_AFTER = 2
"""Executions on a node before the first that a program that spoils its state fails in."""
View = Mapping[str, Any]
"""A deployment as the API shows it."""


def kinds_of(deployment: View) -> frozenset[str]:
    """Return what is wrong with the programs of a deployment."""
    bad = bad_programs()
    return frozenset(bad[one["programId"]] for one in deployment["changes"] if one["programId"] in bad)


def is_watched(deployment: View) -> bool:
    return bool(deployment["options"]["observeS"])


def counts_of(deployments: Sequence[View]) -> Counter[str]:
    """Return how often good and bad programs ended how, where somebody watched them."""
    counted: Counter[str] = Counter()
    for one in filter(is_watched, deployments):
        kinds = kinds_of(one)
        told = "good" if not kinds else "bad"
        counted[f"{told} {one['state']}"] += 1
        why = condemned(one)
        counted[f"{told} condemned"] += FAILED.search(why) is not None
        counted[f"{told} blamed for crashes"] += "started again" in why
        counted[f"{told} without evidence"] += "paused: " in one["reason"] and "executions" in one["reason"]
        counted.update(f"{kind} {one['state']}" for kind in kinds)
        counted.update(f"{kind} condemned" for kind in kinds if condemned(one))
    return counted


def condemned(deployment: View) -> str:
    """Return why a deployment failed by evidence, of its coordinator or of a node; empty if it did not."""
    reasons = [deployment["reason"], *(node["reason"] or "" for node in deployment["nodes"])]
    found = [one for one in reasons if (FAILED.search(one) and "paused: " not in one) or "started again" in one]
    return found[0] if found and deployment["state"] in {"failed", "rollingBack"} else ""


def check_passed(deployment: View, chains: Mapping[str, Chain]) -> None:
    """A bad program does not pass, and nobody passes without executions; unless somebody promoted it."""
    if deployment["state"] != "succeeded" or not is_watched(deployment):
        return
    told = f"{deployment['id']} by {deployment['strategy']} {dict(deployment['options'])}"
    nodes = deployment["nodes"]
    bad = bad_programs()
    was_bad = any(one["programId"] in bad for node in nodes for one in node["previous"])
    kinds = kinds_of(deployment) - (ACTS if deployment["strategy"] == "shadow" else frozenset())
    if deployment["options"]["samplesMin"] <= SPOILS_AFTER * len(nodes):
        kinds -= {"spoils"}  # it may pass before it shows: then an alarm tells of it
    seen = [counted(deployment, chains[node["node"]]) for node in nodes if node["node"] in chains]
    if len(seen) == len(nodes) and not any(acted(one) for ran in seen for one in ran):
        kinds -= {"fails"}  # all keys were the active program's: the verdict says that it has not acted
    for kind, failures in (("late", late_timers(deployment, seen)), ("spoils", spoilt_executions(deployment))):
        if kind in kinds and chance(failures, deployment["verdict"]) >= CONDEMNS:
            kinds -= {kind}  # what failed among so many executions is within what chance explains
    promise(not kinds or was_bad, f"24: a program that {', '.join(kinds)} passed: {told}")
    programs = {one["programId"] for one in deployment["changes"]} - {""}
    least = deployment["options"]["samplesMin"]
    ran = {node["node"]: executions(chains[node["node"]], programs) for node in nodes if node["node"] in chains}
    if programs and len(ran) == len(nodes):
        promise(sum(ran.values()) >= least, f"24: it passed with {ran} executions: {told}")


def counted(deployment: View, chain: Chain) -> list[ExecutionBody]:
    """Return the executions of a deployment's programs on a node that its verdict can have counted, at most.

    A node tells every few seconds, and a crash costs it the last ones: later executions were not seen.
    """
    programs = {bytes.fromhex(one["programId"]) for one in deployment["changes"]}
    ran: list[ExecutionBody] | None = None
    for body in (record.body for record in chain.records):
        if isinstance(body, InstallBody) and body.deployment == deployment["id"]:
            ran = ran or []
        elif (
            isinstance(body, SlotBody) and body.change == SlotChange.SWAPPED and deployment["strategy"] == "blue_green"
        ):
            ran = None if ran is None else []
        elif ran is not None and isinstance(body, ExecutionBody) and body.program in programs:
            ran.append(body)
    return (ran or [])[: deployment["verdict"]["executions"]]


def acted(one: ExecutionBody) -> bool:
    return any(disposition == Disposition.SENT for _, _, disposition in one.actions)


def late_timers(deployment: View, seen: Sequence[Sequence[ExecutionBody]]) -> int:
    """Return how many timers of a program that is late came late at least, while it was watched.

    While it thinks, others are due: of these one waits, and the others come late. `seen` are the executions on nodes.
    Of a node that changed its store nobody knows them.
    """
    late_each = THINKS_S / PERIOD_S - 1
    thought = sum(bool(one.answers) for ran in seen for one in ran)
    return floor(min(deployment["options"]["observeS"] / THINKS_S, max(0, thought - 1)) * late_each)


def spoilt_executions(deployment: View) -> int:
    """Return how many executions of a program that spoils its state failed at least."""
    count: int = deployment["verdict"]["executions"]
    return max(0, count - SPOILS_AFTER * len(deployment["nodes"]))


def executions(chain: Chain, programs: set[str]) -> int:
    """Return how many events and timers programs have had, those included that they could not run."""
    return sum(getattr(one.body, "program", b"").hex() in programs for one in chain.records)


def check_condemned(deployment: View) -> None:
    """What condemns a good program is more than chance explains."""
    reason = condemned(deployment)
    found = FAILED.search(reason)
    if kinds_of(deployment) or found is None:
        return
    failed, count = int(found[1]), int(found[2])
    beside = BESIDE.search(reason)
    explains = fisher(failed, count, int(beside[1]), int(beside[2])) if beside else binomial(failed, count)
    promise(explains < CONDEMNS, f"24: {deployment['id']} of a good program was condemned by chance: {reason}")


def chance(failed: int, verdict: Mapping[str, Any]) -> float:
    """Return how probable as many failures are by chance, beside the active program where the verdict compares them."""
    count: int = verdict["executions"]
    if BESIDE.search(verdict["reason"]):
        return fisher(failed, count, verdict["failuresBefore"], verdict["executionsBefore"])
    return binomial(failed, count)


def binomial(failed: int, count: int) -> float:
    """Return how probable as many failures are where TOLERANCE is the rate."""
    return sum(comb(count, k) * TOLERANCE**k * (1 - TOLERANCE) ** (count - k) for k in range(failed, count + 1))


def fisher(failed: int, count: int, others: int, total: int) -> float:
    """Return how probable as many of all failures are on one side where both sides fail alike."""
    all_failed = failed + others
    ways = sum(comb(count, k) * comb(total, all_failed - k) for k in range(failed, min(count, all_failed) + 1))
    return ways / comb(count + total, all_failed)


def check_slots(name: str, health: Sequence[View], deployments: Sequence[View]) -> None:
    """At rest no candidate is left, and a bad program runs only where it passed."""
    passed = [one for one in deployments if one["state"] == "succeeded" and one["strategy"] != "shadow"]
    allowed = {change["programId"] for one in passed for change in one["changes"]}
    bad = bad_programs().keys() - allowed
    for one in (row for row in health if row["slot"]):  # the others are sources and drivers
        last = last_of(name, one["name"], deployments)
        if last is not None and last["state"] == "failed" and not last["rollbackOnError"]:
            continue  # it stopped on the way, as it was told
        promise(one["slot"] == "active", f"22: {name} still has a {one['slot']} of {one['name']}")
        promise(one["programId"] not in bad, f"24: {name} is left on a bad {one['name']}")


def last_of(node: str, rule: str, deployments: Sequence[View]) -> View | None:
    """Return the newest deployment of a rule on a node."""
    mine = [one for one in deployments if rule in {change["rule"] for change in one["changes"]}]
    return next((one for one in reversed(mine) if node in {at["node"] for at in one["nodes"]}), None)


def check_state(chain: Chain) -> None:
    """A good program sets its pin to and fro, as what it remembers says: also after it was away for a bad one.

    What ran in two slots at once, or was installed again in its own place with other parameters, has two memories, and
    nobody looks at it.
    """
    last: dict[bytes, str] = {}
    here: dict[str, dict[str, bytes]] = {}
    params: dict[bytes, tuple[tuple[str, object], ...]] = {}
    twice: set[bytes] = set()
    bad = bad_programs()
    for record in chain.records:
        body = record.body
        if isinstance(body, InstallBody):
            last.pop(body.program, None)  # it takes over what another one remembers
            slots = here.setdefault(body.rule, {})
            slots[body.slot] = body.program
            is_other = body.previous == body.program and params.get(body.program) != body.params
            params[body.program] = body.params
            if is_other or list(slots.values()).count(body.program) > 1:
                twice.add(body.program)
        elif isinstance(body, SlotBody):
            change_slots(here.setdefault(body.rule, {}), body)
            # The same program with other parameters has another memory. What watched, and goes, comes back with the
            # memory that it had when it acted last.
            if body.replaced == body.program or body.change == SlotChange.DROPPED:
                last.pop(body.program, None)
        elif isinstance(body, ExecutionBody) and body.trap is None and body.program not in twice:
            levels = [str(args[1]) for _, args, _ in body.actions if len(args) == PIN_ARGUMENTS]
            if levels and body.program.hex() not in bad:
                promise(last.get(body.program) != levels[0], f"22: {body.rule} forgot at record {record.seq}")
                last[body.program] = levels[0]


def change_slots(slots: dict[str, bytes], body: SlotBody) -> None:
    """Take over what a record says of the slots of a rule."""
    match SlotChange(body.change):
        case SlotChange.PROMOTED:
            slots.pop("candidate", None)
            slots["active"] = body.program
        case SlotChange.SWAPPED:
            slots["candidate"], slots["active"] = slots.get("active", b""), body.program
        case SlotChange.ROLLED_BACK:
            slots["active"] = body.program
        case SlotChange.DROPPED:
            slots.pop("candidate" if slots.get("candidate") == body.program else "active", None)


@dataclass
class Known:
    """What the run knows of one node beside what the coordinator says."""

    chain: Chain = field(default_factory=lambda: Chain((), ()))
    rewound: str = ""
    """How its history was changed: it may be in doubt, and what it had acknowledged is gone."""
    must_be_doubted: bool = False
    wiped: bool = False


def target_of(deployment: dict[str, Any], rule: str) -> str | None:
    """Return the program that a deployment brings a rule to, empty for none; None if it is not about that rule."""
    return next((one["programId"] for one in deployment["changes"] if one["rule"] == rule), None)


def changes_what_is_known_good(deployment: dict[str, Any]) -> bool:
    return bool(deployment["state"] == "succeeded" and deployment["strategy"] != "shadow")


def check_wanted(name: str, rule: str, wanted: Any, deployments: Sequence[View]) -> None:
    """Invariant 19: after a success a node keeps the new program, after a failure the last known good one."""
    mine = [(one, target_of(one, rule)) for one in deployments if any(p["node"] == name for p in one["nodes"])]
    mine = [(one, target) for one, target in mine if target is not None]
    if not mine:
        return
    *earlier, (last, target) = mine
    passed = (there for one, there in reversed(earlier) if changes_what_is_known_good(one))
    expected = next(passed, "")
    if changes_what_is_known_good(last) or (last["state"] == "failed" and not last["rollbackOnError"]):
        expected = target
    if last["strategy"] != "immediate" and last["state"] == "failed" and not last["rollbackOnError"]:
        return  # without rollback it stopped on the way: some nodes have it, others never had
    here = wanted["wanted"]["programId"] if wanted else ""
    told = f"{last['id']} by {last['strategy']} is {last['state']}: {expected[:8] or 'nothing'}"
    promise(here == expected, f"19: {name} is to run {here[:8]} as {rule}, {told}")
