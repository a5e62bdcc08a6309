"""From a decision to what a node shall run: which program in which slot of each rule. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from eyeflow.protocol.slot import Slot
from eyeflow.rollout.actions import Begin
from eyeflow.rollout.deployment import Deployment, NodeProgress, Place, Target, Wanted

Rules = Mapping[tuple[str, str], Wanted]
"""What a node shall run, by rule and slot."""


def begun(deployment: Deployment, action: Begin, before: NodeProgress, now: Rules, keyless: bool) -> Rules:
    """Return what a node shall run of the rules: their targets in `place`, and what was there beside them.

    What it is to run `now` may be of a deployment that this one supersedes: then it goes back to what was before that.
    """
    shall: dict[tuple[str, str], Wanted] = {}
    previous, active, candidate = dict(before.previous), Slot.ACTIVE.value, Slot.CANDIDATE.value
    for rule, target in deployment.targets:
        old = previous.get(rule)
        if action.place is Place.CANDIDATE:
            if old is not None:
                shall[rule, active] = _kept(rule, old, now)
            if target is not None and not is_same(target, old):
                shall[rule, candidate] = Wanted(rule, candidate, target, action.share, keyless, action.trial)
            continue
        if target is not None:
            shall[rule, active] = Wanted(rule, active, target, trial=action.trial)
        if action.place is Place.SWITCHED and old is not None and target is not None and not is_same(target, old):
            shall[rule, candidate] = Wanted(rule, candidate, old)
    return shall


def is_same(one: Target, other: Target | None) -> bool:
    """Say whether both are the same program with the same parameters."""
    return other is not None and (one.program_id, one.params) == (other.program_id, other.params)


def as_before(before: NodeProgress, now: Rules) -> Rules:
    """Return what a node shall run that goes back. What it is to run `now` instead shall not go on in any case."""
    return {(rule, Slot.ACTIVE.value): _kept(rule, old, now) for rule, old in before.previous if old is not None}


def _kept(rule: str, old: Target, now: Rules) -> Wanted:
    """Return the active program that was before a deployment: a way back where the node runs another one now."""
    here = now.get((rule, Slot.ACTIVE.value))
    is_return = here is not None and (here.is_return or here.target != old)
    return Wanted(rule, Slot.ACTIVE.value, old, is_return=is_return)


def passed(deployment: Deployment, now: Rules) -> Rules:
    """Return what a node shall run once the active programs have passed: nothing is kept warm beside them."""
    active = Slot.ACTIVE.value
    found = {rule: now.get((rule, active)) for rule in deployment.rules}
    return {(rule, active): replace(one, trial=None) for rule, one in found.items() if one is not None}
