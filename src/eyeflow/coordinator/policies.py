"""The policy of the cluster: kept with its history, and held against each deployment when it is asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import replace

from eyeflow.coordinator.acting import overlapping
from eyeflow.coordinator.problem import FieldError, Problem
from eyeflow.coordinator.store.cluster_store import ClusterStore, Reading, Writing, trusted_signers
from eyeflow.coordinator.store.facts import AppliedPolicy, LogEntry
from eyeflow.rollout.deployment import Deployment, DeploymentState, Pause
from eyeflow.rollout.policy import Demand, PolicyError, Request, Subject, approval_for, breaches, parse_policy
from eyeflow.rollout.stepwise import APPROVAL

SHOW = "see it with `eyeflow policy show`"


def read_policy(text: str) -> tuple[Demand, ...]:
    """Return the demands of a policy; raises Problem 422 with the line of each fault."""
    try:
        return parse_policy(text)
    except PolicyError as error:
        errors = [FieldError("/text", str(fault)) for fault in error.faults]
        raise Problem("invalid_policy", f"It is no policy: {error.faults[0]}.", "correct it", errors) from error


def demands_of(reading: Reading) -> tuple[Demand, ...]:
    """Return the demands that hold now."""
    applied = reading.policy()
    return () if applied is None else parse_policy(applied.text)


def subjects(reading: Reading, names: Iterable[str]) -> list[Subject]:
    """Return nodes with their labels."""
    return [Subject(name, reading.labels(name)) for name in names]


def apply_policy(store: ClusterStore, text: str, now_us: int, actor: str) -> Awaitable[AppliedPolicy]:
    """Make this the policy. Deployments under way keep what was decided of them. Raises Problem 422."""
    demands = read_policy(text)
    applied = AppliedPolicy(text, now_us, actor)

    def step(writing: Writing) -> AppliedPolicy:
        writing.keep_policy(applied)
        digest = hashlib.sha256(text.encode()).hexdigest()
        writing.add_log_entry(LogEntry(now_us, actor, "apply_policy", digest, f"{len(demands)} demands"))
        return applied

    return store.write(step)


def broken_by(reading: Reading, names: Sequence[str], deployment: Deployment) -> list[str]:
    """Return how a deployment to these nodes breaks the policy."""
    trusted, signers = trusted_signers(reading), {}
    for rule, target in deployment.targets:
        programs = (reading.program(one) for one in (target.program_ids if target is not None else ()))
        counts = [len(trusted.intersection(one.signers)) for one in programs if one is not None]
        if counts:
            signers[rule] = min(counts)
    asked = Request(deployment.strategy, deployment.options.observe_s, signers)
    return breaches(demands_of(reading), subjects(reading, names), asked)


def approval_needed(reading: Reading, names: Sequence[str]) -> str:
    """Return why another person must agree to a deployment to these nodes, empty when nobody must."""
    return approval_for(demands_of(reading), subjects(reading, names))


def under_policy(reading: Reading, names: Sequence[str], deployment: Deployment) -> Deployment:
    """Return a deployment that is about to begin, paused when it needs an approval. Raises Problem when it may not.

    Nothing that has begun is ended by what nobody approved yet.
    """
    if broken := broken_by(reading, names, deployment):
        errors = [FieldError("", one) for one in broken]
        raise Problem("policy_broken", f"The policy does not allow this: {broken[0]}.", SHOW, errors)
    why = approval_needed(reading, names)
    if not why:
        return deployment
    for name in names:
        for older, _ in overlapping(reading, name, frozenset(deployment.rules)):
            if older.state is not DeploymentState.PENDING:
                detail = f"Deployment {older.id} is {older.state.value} on {name}, and this one needs an approval."
                raise Problem("deployment_open", detail, "wait for its end, or cancel it first")
    return replace(deployment, paused=(*deployment.paused, Pause(APPROVAL, why, deployment.created_us)))


def check_promotion(reading: Reading, deployment: Deployment, now_us: int) -> None:
    """Raise Problem when a deployment shall go on before it was watched for as long as the policy demands."""
    names = [one.node for one in reading.progress(deployment.id)]
    watched_s = (now_us - deployment.phase_since_us) // 1_000_000
    asked = Request(deployment.strategy, watched_s, {})
    if broken := [one for one in breaches(demands_of(reading), subjects(reading, names), asked) if " to watch " in one]:
        raise Problem("policy_broken", f"The policy does not allow this yet: {broken[0]}.", SHOW)


def check_retiring(reading: Reading, node: str) -> None:
    """Raise Problem where rules change by deployments only: by this way nobody would have to approve."""
    (subject,) = subjects(reading, [node])
    for demand in demands_of(reading):
        if demand.is_for(subject) and (demand.approval or demand.strategies):
            key = "approval" if demand.approval else "strategies"
            detail = f"The policy does not allow this: {demand.at(key)} is about {node}."
            raise Problem("policy_broken", detail, "remove the rule by a deployment: eyeflow deploy FOLDER --prune")


def is_one_person(reading: Reading, one: str, other: str) -> bool:
    """Say whether two names of tokens may stand for one person.

    They do when they are the same, when they have the same person, and when one made the other, also over others. All
    tokens of a person count as one: whoever has one of them made what any of them made.
    """
    people: dict[str, set[str]] = {}
    made_by: dict[str, set[str]] = {}
    for token in reading.api_tokens():
        people.setdefault(token.name, set()).add(f"person {token.person}" if token.person else token.name)
        people.setdefault(token.created_by, {token.created_by})
    for token in reading.api_tokens():
        for person in people[token.name]:
            made_by.setdefault(person, set()).update(people[token.created_by])
    ones, others = (people.get(name, {name}) | {name} for name in (one, other))
    return bool(ones & others or others & _makers(made_by, ones) or ones & _makers(made_by, others))


def _makers(made_by: Mapping[str, set[str]], names: Iterable[str]) -> set[str]:
    found: set[str] = set()
    left = list(names)
    while left:
        new = made_by.get(left.pop(), set()) - found
        found |= new
        left += new
    return found
