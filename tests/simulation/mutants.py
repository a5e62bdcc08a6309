"""Faults that are put into the real code, each of which the simulation must find. A name says what the code forgets.

A mutant replaces one function of the product while its block runs. Where the product moves one, `monkeypatch` fails, and
not in silence.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pytest import MonkeyPatch

from eyeflow.coordinator import histories
from eyeflow.coordinator import judging as coordinator_judging
from eyeflow.coordinator.store.sql_writing import SqlWriting
from eyeflow.evidence import verdict
from eyeflow.evidence.verdict import Kind
from eyeflow.node import daemon, runtime
from eyeflow.node.cluster.membership import Membership
from eyeflow.node.engine import judging as node_judging
from eyeflow.node.engine import pending
from eyeflow.node.engine.core import Core
from eyeflow.node.engine.engine import Engine
from eyeflow.node.engine.installer import Installer
from eyeflow.node.engine.slot_changes import SlotChanges
from eyeflow.node.store import store
from eyeflow.rollout import stepwise, strategies
from eyeflow.rollout.actions import GoBack, InStates
from eyeflow.rollout.deployment import NodeState

Mutant = Callable[[MonkeyPatch], None]


def rolls_back_without_sent_nodes(patch: MonkeyPatch) -> None:
    def roll_back(now_us: int, reason: str, outcome: Any) -> Any:
        back, *rest = real(now_us, reason, outcome)
        return (GoBack(InStates(back.which.states - {NodeState.SENT})), *rest)

    real = stepwise.roll_back
    patch.setattr(stepwise, "roll_back", roll_back)
    patch.setattr(strategies, "roll_back", roll_back)


def forgets_the_accepted_manifest(patch: MonkeyPatch) -> None:
    patch.setattr(Membership, "accept", lambda self, accepted: None)


def acts_before_the_commit(patch: MonkeyPatch) -> None:
    async def record(self: Engine, round_: Any) -> None:
        first_seq = self.disk._writer.store.head[0] + 1
        for dispatch in self.core.settle(round_, first_seq, self.clock.now_us()):
            self.actions.submit(dispatch)
        await self.disk.commit(round_.batch, len(round_.executed))
        self.core.acknowledge(round_)
        self._space.set()

    patch.setattr(Engine, "_record", record)


def acknowledges_before_the_commit(patch: MonkeyPatch) -> None:
    real = Engine._record

    async def record(self: Engine, round_: Any) -> None:
        self.core.acknowledge(round_)
        await real(self, round_)

    patch.setattr(Engine, "_record", record)


def does_not_sync(patch: MonkeyPatch) -> None:
    real = store.Store._prepare

    def prepare(self: Any) -> None:
        self._file.db.pragma("synchronous", "off")
        real(self)

    patch.setattr(store.Store, "_prepare", prepare)


def fires_physical_actions_again(patch: MonkeyPatch) -> None:
    real = pending._resumed

    def resumed(engine: Any, decider: Any, row: Any) -> Any:
        if decider is not None:
            sites = tuple(replace(site, resource="") for site in decider.program.sites)
            decider = replace(decider, program=replace(decider.program, sites=sites))
        return real(engine, decider, row)

    patch.setattr(pending, "_resumed", resumed)


def writes_a_batch_in_doubt_again(patch: MonkeyPatch) -> None:
    real = store.Store.recover

    def recover(self: Any) -> bool:
        real(self)
        return False

    patch.setattr(store.Store, "recover", recover)


def ignores_epochs(patch: MonkeyPatch) -> None:
    real = histories._compared

    def compared(known: Any, head: Any) -> Any:
        return real(known, head if known is None else msgspec.structs.replace(head, epoch=known.epoch))

    patch.setattr(histories, "_compared", compared)


def ignores_revocations(patch: MonkeyPatch) -> None:
    patch.setattr(Installer, "distrusted", lambda self: frozenset())


def forgets_the_last_known_good(patch: MonkeyPatch) -> None:
    patch.setattr(SqlWriting, "keep_known_good", lambda self, node, rule, target: None)


def loses_what_is_pending(patch: MonkeyPatch) -> None:
    patch.setattr(runtime, "resume_pending", lambda engine, restored, trust, fatal: None)


def removes_nothing(patch: MonkeyPatch) -> None:
    async def remove(self: Any, rule: str) -> bool:
        return True

    patch.setattr(runtime.NodeRuntime, "remove", remove)


def passes_whatever_was_seen(patch: MonkeyPatch) -> None:
    """Coordinator and nodes find nothing against anybody."""

    def judge(watch: Any, settings: Any) -> Any:
        found = real(watch, settings)
        return found if found.kind is Kind.NO_DATA or found.left_s else replace(found, kind=Kind.PASS)

    real = verdict.judge
    patch.setattr(coordinator_judging, "judge", judge)
    patch.setattr(node_judging, "judge", judge)


def takes_what_is_pending_for_good(patch: MonkeyPatch) -> None:
    real = verdict.judge
    patch.setattr(coordinator_judging, "judge", lambda watch, settings: real(replace(watch, pending=0), settings))


def passes_without_executions(patch: MonkeyPatch) -> None:
    def judge(watch: Any, settings: Any) -> Any:
        found = real(watch, settings)
        return found if found.kind is not Kind.NO_DATA or found.left_s else replace(found, kind=Kind.PASS)

    real = verdict.judge
    patch.setattr(coordinator_judging, "judge", judge)


def condemns_at_the_first_failure(patch: MonkeyPatch) -> None:
    def judge(watch: Any, settings: Any) -> Any:
        found = real(watch, settings)
        is_bad = any(one.test.seen_candidate.failed for one in watch.checks)
        return replace(found, kind=Kind.FAIL) if is_bad and found.kind is not Kind.FAIL else found

    real = verdict.judge
    patch.setattr(coordinator_judging, "judge", judge)
    patch.setattr(node_judging, "judge", judge)


def counts_no_missed_deadlines(patch: MonkeyPatch) -> None:
    def tick(self: Core, now_us: int) -> None:
        before = {key: rule.evidence.missed_deadlines for key, rule in self.rules.items()}
        real(self, now_us)
        for key, rule in self.rules.items():
            rule.evidence.missed_deadlines = before[key]

    real = Core.tick
    patch.setattr(Core, "tick", tick)


def stays_on_what_failed_without_a_way_back(patch: MonkeyPatch) -> None:
    async def refused(self: Any, data: bytes, params: Any, by: Any, error: Exception) -> None:
        return None

    patch.setattr(Installer, "_return_refused", refused)


def goes_back_with_the_state_of_the_bad_one(patch: MonkeyPatch) -> None:
    def kept(self: Any, row: Any, loaded: Any) -> Any:
        rule, here = real(self, row, loaded), self._core.rules.get(row.key)
        if here is not None:
            rule.instance.adopt(here.instance)
            rule.saved_state = rule.instance.state_bytes()
        return rule

    real = SlotChanges._with_kept_state
    patch.setattr(SlotChanges, "_with_kept_state", kept)


def leaves_candidates_behind(patch: MonkeyPatch) -> None:
    async def drop(self: Any, rule: str) -> bool:
        return True

    patch.setattr(runtime.NodeRuntime, "drop_candidate", drop)


def starts_with_a_whole_store_only(patch: MonkeyPatch) -> None:
    """A store whose first page is lost stays where it is."""

    def set_aside(data_dir: Path, now_us: int) -> Path:
        raise OSError(errno.EROFS, "read-only")

    patch.setattr(daemon, "set_aside", set_aside)


QUICK: tuple[Mutant, ...] = (
    rolls_back_without_sent_nodes,
    forgets_the_accepted_manifest,
    acts_before_the_commit,
    acknowledges_before_the_commit,
    does_not_sync,
    fires_physical_actions_again,
    forgets_the_last_known_good,
    removes_nothing,
    passes_whatever_was_seen,
    takes_what_is_pending_for_good,
    passes_without_executions,
    condemns_at_the_first_failure,
    leaves_candidates_behind,
    stays_on_what_failed_without_a_way_back,
)
"""Those that a few seeds find: `make test` puts them in."""
SLOW: tuple[Mutant, ...] = (
    writes_a_batch_in_doubt_again,
    ignores_epochs,
    ignores_revocations,
    loses_what_is_pending,
    counts_no_missed_deadlines,
    goes_back_with_the_state_of_the_bad_one,
    starts_with_a_whole_store_only,
)
"""Those that need more: `make fuzz` puts all of them in."""


@contextmanager
def mutated(mutant: Mutant) -> Iterator[None]:
    """Let the product be wrong while the block runs."""
    with MonkeyPatch.context() as patch:
        mutant(patch)
        yield


def check_found(
    mutant: Mutant, seeds_max: int, first: int, broken_by: Callable[[int, Path], str], directory: Path
) -> None:
    """Fail unless a seed up to `seeds_max` breaks a promise with the mutant, and none without it.

    `first` is the seed that found it last. `broken_by` runs a seed in a directory; it returns the broken promise or "".
    """
    for seed in (first, *(other for other in range(1, seeds_max + 1) if other != first)):
        with mutated(mutant):
            found = broken_by(seed, directory / f"mutated-{seed}")
        if found and not broken_by(seed, directory / f"real-{seed}"):
            print(f"{mutant.__name__}: found by seed {seed}: {found}")
            return
    pytest.fail(f"{mutant.__name__} was not found within {seeds_max} seeds")
