"""Whether a node can run what a deployment brings: asked before anything is stored. The node checks again by itself.

A node that does not tell something of itself is not refused for it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from eyeflow.coordinator.choosing import chip_of
from eyeflow.coordinator.problem import FieldError, Problem
from eyeflow.coordinator.store.cluster_store import Reading, trusted_signers
from eyeflow.coordinator.store.facts import NodeRecord, ProgramRecord
from eyeflow.protocol.node_facts import NodeFacts, is_granted, namespace_of
from eyeflow.protocol.signer_list import needed_signers, parse_list
from eyeflow.rollout.deployment import Deployment
from eyeflow.rollout.strategies import WITH_CANDIDATES
from eyeflow.svm.opcodes import ABI

CANDIDATES_SINCE = 3
"""The first protocol version whose nodes let a candidate act, and tell evidence of it."""
BOARD_PROFILE = "mcu"
NOT_FOR_BOARDS = {
    "shadow": "is a board, which runs one program of a rule at a time, so none can watch beside it: use rolling, "
    "canary or blue_green for it",
}
"""Strategies that boards cannot follow, with the reason. In a canary a board is one key: it has no events with keys."""
BUS_SOURCE = "event"
"""The source of events that rules emit: every node has it."""
NO_CHIP = "is a board that has not told its chip yet, so nobody knows which program is for it: wait until it is online"
NAMED_MAX = 10
"""Nodes that a next step names."""
UNFIT_SHOWN_MAX = 50
"""Nodes that a refusal names; how many more there are is said as a number."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a program needs of a node, and the keys that signed it."""

    rule: str
    profile: str
    chip: str
    capabilities: tuple[str, ...]
    sources: tuple[str, ...]
    signers: tuple[bytes, ...] = ()


def needs_of(program: ProgramRecord) -> Needs:
    """Return what a program needs."""
    about = program.about
    sources = tuple(about.get("sources", ()))
    return Needs(program.rule, program.profile, about["chip"], tuple(about["capabilities"]), sources, program.signers)


def unfitness(node: NodeRecord, needs: Collection[Needs], strategy: str) -> tuple[str, ...]:
    """Return why a node cannot run these programs by this strategy; nothing when it can, as far as is known."""
    found = []
    if strategy in WITH_CANDIDATES and 0 < node.protocol < CANDIDATES_SINCE:
        found.append(
            f"speaks protocol {node.protocol}, which knows no {strategy}: update eyeflow there, or choose another "
            "strategy"
        )
    if node.facts is not None and node.facts.profile == BOARD_PROFILE and strategy in NOT_FOR_BOARDS:
        found.append(NOT_FOR_BOARDS[strategy])
    if node.facts is not None:
        found += [why for one in needs for why in _lacks(node.facts, one)]
    return tuple(found)


def _lacks(facts: NodeFacts, needs: Needs) -> list[str]:
    if facts.profile == BOARD_PROFILE != needs.profile:
        told = f"is a board with the chip {facts.chip}, and no program of `{needs.rule}` comes for that"
        return [f"{told}: give the one that is compiled for it, too (eyeflow deploy does so for a rule file)"]
    if (facts.profile, facts.chip) != (needs.profile, needs.chip):
        made_for = needs.chip or f"the profile {needs.profile}"
        runs = facts.chip or f"the profile {facts.profile}"
        return [f"runs programs of {runs}, and `{needs.rule}` is compiled for {made_for}"]
    if facts.abi < ABI:
        return [f"its SVM has ABI {facts.abi}, and `{needs.rule}` is compiled for ABI {ABI}: update eyeflow there"]
    found = []
    ungranted = _without(needs.capabilities, facts.grants, is_granted)
    if ungranted:
        found.append(f"does not grant {', '.join(ungranted)}, which `{needs.rule}` needs: see [grants] allow there")
    unserved = _without(needs.capabilities, facts.drivers, lambda name, drivers: namespace_of(name) in drivers)
    if unserved := [name for name in unserved if name not in ungranted]:
        found.append(f"has no driver for {', '.join(unserved)}, which `{needs.rule}` needs: see its configuration")
    unknown = _without(needs.sources, facts.sources, lambda name, sources: name == BUS_SOURCE or name in sources)
    if unknown:
        found.append(f"has no source {', '.join(unknown)}, which `{needs.rule}` needs: see its configuration")
    return found


def _without(
    names: Collection[str], there: tuple[str, ...] | None, has: Callable[[str, Collection[str]], bool]
) -> list[str]:
    return [] if there is None else [name for name in names if not has(name, there)]


def program_ids(deployment: Deployment) -> frozenset[str]:
    """Return the programs that a deployment brings."""
    return frozenset(one for _, target in deployment.targets if target is not None for one in target.program_ids)


def unfit_nodes(
    reading: Reading, names: Sequence[str], deployment: Deployment, programs: Mapping[str, ProgramRecord]
) -> dict[str, tuple[str, ...]]:
    """Return which of these nodes cannot run what a deployment brings them, each with its reasons.

    `programs` are those of the deployment by id. Each node is to run those for its chip.
    """
    needs = {program_id: needs_of(one) for program_id, one in programs.items()}
    nodes = [one for one in map(reading.node, names) if one is not None]
    seen_as = {chip: deployment.on(chip) for chip in map(chip_of, nodes)}
    asked = {chip: [needs[one] for one in sorted(program_ids(seen)) if one in needs] for chip, seen in seen_as.items()}
    by_node = {one.name: asked[chip_of(one)] for one in nodes}
    found = {one.name: unfitness(one, by_node[one.name], deployment.strategy) for one in nodes}
    if deployment.has_board_programs:
        found |= {one.name: (NO_CHIP,) for one in nodes if one.facts is None and reading.board(one.name) is not None}
    short = _short_of_signers(reading, by_node)
    return {name: (*why, *short[name]) for name, why in found.items() if why or short[name]}


def _short_of_signers(reading: Reading, needs: Mapping[str, Collection[Needs]]) -> dict[str, list[str]]:
    """Return, for each node, which programs too few trusted keys have signed, by the list that a root signed.

    The labels are those that the coordinator keeps. A node goes by those in its own configuration.
    """
    kept, trusted = reading.signer_list(), trusted_signers(reading)
    thresholds = parse_list(kept).thresholds if kept is not None else ()
    found = {}
    for name, mine in needs.items():
        here = [one for one in thresholds if one.is_for_node(name, reading.labels(name))]
        asked = ((one, needed_signers(here, one.rule), len(trusted.intersection(one.signers))) for one in mine)
        found[name] = [_short(one.rule, wanted, there) for one, wanted, there in asked if here and there < wanted]
    return found


def _short(rule: str, wanted: int, there: int) -> str:
    return (
        f"runs `{rule}` only with {wanted} trusted signers, and it has {there}: let another one sign it "
        "(eyeflow sign PROGRAM --key NAME)"
    )


def check_fitness(reading: Reading, names: Sequence[str], deployment: Deployment, asked: Sequence[str] = ()) -> None:
    """Raise Problem 422 when one of these nodes cannot run what comes to it. `asked`: those the request names.

    Also when they were chosen with all others: a deployment that leaves some out by itself would be a surprise.
    """
    programs = {one: found for one in program_ids(deployment) if (found := reading.program(one)) is not None}
    unfit = unfit_nodes(reading, names, deployment, programs)
    if not unfit:
        return
    places = {name: f"/nodeIds/{number}" for number, name in enumerate(asked)}
    shown = list(unfit)[:UNFIT_SHOWN_MAX]
    errors = [FieldError(places.get(name, ""), f"{name} {why}") for name in shown for why in unfit[name]]
    more = f" and {len(unfit) - len(shown)} more" if len(unfit) > len(shown) else ""
    detail = f"{len(unfit)} of {len(names)} nodes cannot run this: {', '.join(shown)}{more}. Nothing was deployed."
    leave = f"leave them out (--exclude {','.join(shown)})" if len(unfit) <= NAMED_MAX else "leave them out"
    raise Problem("unfit_nodes", detail, f"{leave}, or change what the reasons name", errors)
