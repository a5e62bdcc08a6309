"""What a deployment would do, without doing it: nodes, programs, state, what is superseded, steps and time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from eyeflow.coordinator.acting import overlapping
from eyeflow.coordinator.choosing import chip_of, chosen_nodes
from eyeflow.coordinator.drafts import Draft, drafted
from eyeflow.coordinator.fitness import unfit_nodes
from eyeflow.coordinator.policies import approval_needed, broken_by
from eyeflow.coordinator.store.cluster_store import Reading, doubt, trusted_signers
from eyeflow.coordinator.store.facts import ProgramRecord
from eyeflow.protocol.slot import Slot
from eyeflow.rollout.deployment import Target
from eyeflow.rollout.forecast import forecast
from eyeflow.rollout.wanting import is_same
from eyeflow.svm.container import decode
from eyeflow.svm.inheritance import Inheritance, inherited
from eyeflow.svm.program import Program


@dataclass(frozen=True, slots=True)
class Planned:
    """A program that a plan brings: as it is kept, or would be."""

    record: ProgramRecord
    program: Program


class _States:
    """What becomes of state when one program replaces another: asked once for each pair of programs."""

    def __init__(self, reading: Reading, planned: Mapping[str, Planned]) -> None:
        self._reading, self._planned = reading, planned
        self.between = cache(self._between)

    def _between(self, new_id: str, old_id: str) -> Inheritance | None:
        """None when the old program's bytes are lost."""
        data = self._reading.program_bytes(old_id)
        return inherited(self._planned[new_id].program, decode(data).program) if data else None


def plan_view(
    reading: Reading, draft: Draft, planned: Mapping[str, Planned], linked: frozenset[str], now_us: int, actor: str
) -> dict[str, Any]:
    """Return the `Plan` of a deployment. `planned` holds its programs by id. Raises Problem as `Deployments.deploy`."""
    names = chosen_nodes(reading, draft.rules, draft.where)
    deployment = drafted(draft, "", now_us, actor)
    foreseen = forecast(deployment, len(names))
    unfit = unfit_nodes(reading, names, deployment, {one: found.record for one, found in planned.items()})
    states = _States(reading, planned)
    trusted = trusted_signers(reading)
    return {
        "strategy": draft.strategy,
        "steps": foreseen.steps,
        "leastS": foreseen.least_s,
        "untrusted": sorted({one.record.rule for one in planned.values() if trusted.isdisjoint(one.record.signers)}),
        "broken": broken_by(reading, names, deployment),
        "approval": approval_needed(reading, names),
        "supersedes": _superseded(reading, names, frozenset(draft.rules)),
        "nodes": [
            {
                "node": name,
                "connected": name in linked,
                "problems": [*unfit.get(name, ()), *filter(None, [doubt(reading, name)])],
                "changes": _changes(reading, name, deployment.on(chip_of(reading.node(name))).targets, states),
            }
            for name in names
        ],
    }


def _superseded(reading: Reading, names: Sequence[str], rules: frozenset[str]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        for deployment, _ in overlapping(reading, name, rules):
            shown: dict[str, Any] = {
                "id": deployment.id,
                "name": deployment.name,
                "state": deployment.state.value,
                "nodes": [],
            }
            found.setdefault(deployment.id, shown)["nodes"].append(name)
    return [found[deployment_id] for deployment_id in sorted(found)]


def _changes(
    reading: Reading, node: str, targets: Sequence[tuple[str, Target | None]], states: _States
) -> list[dict[str, Any]]:
    here = {one.rule: one.target for one in reading.wanted(node) if one.slot == Slot.ACTIVE.value}
    return [_change(rule, target, here.get(rule), states) for rule, target in targets]


def _change(rule: str, target: Target | None, old: Target | None, states: _States) -> dict[str, Any]:
    state = None
    if target is not None and old is not None and not is_same(target, old):
        inheritance = states.between(target.program_id, old.program_id)
        state = None if inheritance is None else _state_view(inheritance)
    return {
        "rule": rule,
        "change": _kind(target, old),
        "programId": target.program_id if target else "",
        "programBefore": old.program_id if old else "",
        "params": dict(target.params) if target else {},
        "paramsBefore": dict(old.params) if old else {},
        "state": state,
    }


def _kind(target: Target | None, old: Target | None) -> str:
    if target is None:
        return "none" if old is None else "remove"
    if old is None:
        return "install"
    if is_same(target, old):
        return "none"
    return "configure" if target.program_id == old.program_id else "replace"


def _state_view(one: Inheritance) -> dict[str, Any]:
    return {
        "kept": list(one.kept),
        "reset": list(one.reset),
        "new": list(one.new),
        "dropped": list(one.dropped),
        "resetsTimeWords": one.resets_memory,
    }
