"""What users ask for, and what of it is left to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from eyeflow.coordinator.choosing import Where, chip_of
from eyeflow.coordinator.programs import check_signers, found_program
from eyeflow.coordinator.store.cluster_store import Reading
from eyeflow.protocol.slot import Slot
from eyeflow.rollout.deployment import BACK, OFFLINE_S, Deployment, Options, Params, Pause, Rollback, Target
from eyeflow.rollout.stepwise import APPROVAL
from eyeflow.rollout.wanting import is_same


@dataclass(frozen=True, slots=True)
class Change:
    """What a user asks for of one rule: a program that is in the store, None to remove the rule.

    `board_programs`: (chip, program id) of boards, which get these in its place (docs/decisions/0025).
    """

    rule: str
    program_id: str | None
    params: Params = ()
    board_programs: tuple[tuple[str, str], ...] = ()

    def target(self, deployment_id: str) -> Target | None:
        """Return what a deployment makes of it."""
        if self.program_id is None:
            return None
        return Target(self.program_id, deployment_id, self.params, self.board_programs)


@dataclass(frozen=True, slots=True)
class Draft:
    """What a user asks for. `approval` says who must agree first, empty for nobody.

    `skips_unchanged`: rules that already are what is asked for, on all the nodes, are no part of the deployment.
    """

    changes: tuple[Change, ...]
    where: Where
    strategy: str
    rollback: Rollback
    deadline_s: int = OFFLINE_S
    options: Options = field(default_factory=Options)
    approval: str = ""
    skips_unchanged: bool = False

    @property
    def rules(self) -> tuple[str, ...]:
        """The rules that it changes, ascending."""
        return tuple(sorted(one.rule for one in self.changes))


def drafted(draft: Draft, deployment_id: str, now_us: int, actor: str) -> Deployment:
    """Return the deployment that a draft asks for, before it begins."""
    targets = {one.rule: one.target(deployment_id) for one in draft.changes}
    return Deployment(
        id=deployment_id,
        targets=tuple(sorted(targets.items())),
        options=draft.options,
        paused=(Pause(APPROVAL, draft.approval, now_us),) if draft.approval else (),
        strategy=draft.strategy,
        rollback=draft.rollback,
        created_us=now_us,
        updated_us=now_us,
        deadline_us=now_us + draft.deadline_s * 1_000_000,
        created_by=actor,
    )


def changed(reading: Reading, asked: Iterable[Change], nodes: tuple[str, ...]) -> tuple[Change, ...]:
    """Return the changes that change something on one of these nodes, or may, because something else is under way."""
    settled, open_rules = [], set()
    for node in nodes:
        wanted = {(one.rule, one.slot): one.target for one in reading.wanted(node)}
        settled.append((node, chip_of(reading.node(node)), wanted))
        open_rules |= {rule for one, at in reading.open_progress(node) if at.state not in BACK for rule in one.rules}
    return tuple(
        one
        for one in asked
        if one.rule in open_rules or any(not _is_so(reading, node, chip, wanted, one) for node, chip, wanted in settled)
    )


def _is_so(reading: Reading, node: str, chip: str, wanted: Mapping[tuple[str, str], Target], asked: Change) -> bool:
    """Say whether a node shall run what is asked for, and that has passed there."""
    active, rule = wanted.get((asked.rule, Slot.ACTIVE.value)), asked.rule
    if (rule, Slot.CANDIDATE.value) in wanted:
        return False
    target = asked.target("")
    if target is None:
        return active is None
    meant = target.on(chip)
    return is_same(meant, active) and is_same(meant, reading.known_good(node, rule))


def again(old: Deployment, where: Where) -> Draft:
    """Return what was asked for when `old` began, for other nodes."""
    return Draft(
        changes=tuple(
            Change(rule, None)
            if target is None
            else Change(rule, target.program_id, target.params, target.board_programs)
            for rule, target in old.targets
        ),
        where=where,
        strategy=old.strategy,
        rollback=old.rollback,
        deadline_s=max(1, (old.deadline_us - old.created_us) // 1_000_000),
        options=old.options,
    )


def check_programs(reading: Reading, deployment: Deployment) -> None:
    """Raise Problem unless each program of a deployment is here and signed by a key that is trusted now."""
    for rule, target in deployment.targets:
        for program_id in target.program_ids if target is not None else ():
            check_signers(reading, rule, found_program(reading, program_id).signers)
