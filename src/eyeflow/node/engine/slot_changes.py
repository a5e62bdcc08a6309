"""What every change of a slot is made of: a program is checked, made durable, and swapped in between two events."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

from eyeflow.base.errors import EyeflowError
from eyeflow.node.clock import Clock
from eyeflow.node.control import InstallOutcome, InstallResult
from eyeflow.node.engine.admission import Loaded, Policy, Refused
from eyeflow.node.engine.answers import refusal_of, unchanged
from eyeflow.node.engine.core import Core
from eyeflow.node.engine.engine import Engine
from eyeflow.node.engine.intake import HOPS_MAX
from eyeflow.node.engine.queues import emitted
from eyeflow.node.engine.run_evidence import RunEvidence
from eyeflow.node.engine.running import RunningRule, moved, start_rule
from eyeflow.node.engine.slot_table import Kept, SlotTable, is_same, wanted_again
from eyeflow.node.engine.trust import Trust
from eyeflow.node.io.ports import Driver
from eyeflow.node.run_key import RunKey, active, candidate, previous
from eyeflow.node.store.types import (
    PASSED,
    Batch,
    Draft,
    RejectedRow,
    SlotRow,
    Standing,
    StateRow,
)
from eyeflow.protocol.cbor import CborError
from eyeflow.protocol.slot import Slot
from eyeflow.protocol.wire import RULES_MAX
from eyeflow.svm.container import decode

_log = logging.getLogger("eyeflow.node")


class SlotChanges:
    """One change at a time, each of them one commit: a crash leaves the slots as they were before it or after it.

    `trust` says which signatures count and how many a program needs; it may change.
    """

    def __init__(self, engine: Engine, policy: Policy, trust: Trust) -> None:
        self._engine, self._policy, self.trust = engine, policy, trust
        self.table = SlotTable()
        self.refused: dict[RunKey, str] = {}
        """Stored programs that do not run, with the reason."""
        self._one_at_a_time = asyncio.Lock()

    @property
    def _core(self) -> Core:
        return self._engine.core

    @property
    def _now_us(self) -> int:
        return self._engine.clock.now_us()

    async def _keep_wanted(self, here: SlotRow, row: SlotRow) -> None:
        """Keep `row` of the program that `here` is already, and that it passed if that is news of an active one."""
        passes = row.standing is Standing.PASSED and here.standing is not Standing.PASSED
        drafts = [self.table.passed(row, self._now_us)] if passes and row.key.slot is Slot.ACTIVE else []
        async with self._engine.between_events(active(row.key.rule), row.key):
            if (row.share, row.keyless) != (here.share, here.keyless):
                await self._part(row.key.rule)
            await self._change([row.key.rule], *self._kept_as(here, row, drafts))

    async def _part(self, *rules: str) -> None:
        """From now on other events go to each program of these rules: each decides first on what came to it until now.

        All are held between two events. Else an event could be acted on before an earlier one with its key. What one
        of the rules emits to another one belongs to what came before.
        """
        waiting = {key: len(one.queue) for key, one in self._core.rules.items() if key.rule in rules}
        for _ in range(HOPS_MAX + 1):
            for key, count in waiting.items():
                await self._engine.run_out(key, count)
            waiting = {key: emitted(self._core.rules[key].queue) for key in waiting}
            if len(rules) == 1 or not any(waiting.values()):
                break
        for rule in rules:
            self._engine.actions.part(rule, self._engine.last_seq)

    def _kept_as(
        self, here: SlotRow, row: SlotRow, drafts: Sequence[Draft] = (), loaded: Loaded | None = None
    ) -> tuple[Batch, Callable[[], None]]:
        """Return what it writes that the program of `here` goes on as `row`, and what happens then."""
        begins = RunEvidence(self._now_us) if row.deployment != here.deployment else None
        evidence = [] if begins is None else [begins.row(row)]
        return Batch(drafts, put_slots=[row], put_evidence=evidence), lambda: self._keep_row(row, loaded, begins)

    async def _answered(self, change: Callable[[], Awaitable[InstallResult]]) -> InstallResult:
        async with self._one_at_a_time:
            try:
                return await change()
            except EyeflowError as error:
                _log.warning("install refused: %s", error.brief)
                return refusal_of(error)
            except CborError as error:
                return InstallResult(InstallOutcome.REFUSED, code="bad_params", message=str(error))

    async def _load(self, data: bytes) -> Loaded:
        loaded = await asyncio.to_thread(self._policy.load, data, self.trust)
        if not self._may_run(loaded):  # again: the proof took long, a key may be revoked by now
            self.trust.check(decode(data))
        return loaded

    def _may_run(self, loaded: Loaded) -> bool:
        return self.trust.holds(loaded.program.rule, loaded.signers)

    def _admit(self, row: SlotRow, loaded: Loaded) -> None:
        rule = row.key.rule
        if rule not in self.table.rules and len(self.table.rules) >= RULES_MAX:
            raise Refused(
                f"this node has {RULES_MAX} rules already", "That is the bound.", "Remove a rule.", "too_many"
            )
        self._refuse_older(row, loaded)
        failed = self.table.rejected(rule)
        if failed is not None and self.table.is_rejected(row):
            raise Refused(
                f"`{rule}` {loaded.program.version} failed here in this deployment",
                failed.reason,
                "Deploy it again if it may run now: a new deployment is tried.",
                "rejected",
            )

    def _refuse_older(self, row: SlotRow, loaded: Loaded) -> None:
        """A wanted set that is older than the one applied, or an older program without a newer set, is a rollback."""
        here = self.table.row(active(row.key.rule))
        if here is None:
            return
        running = self._core.rules.get(here.key)
        sequence = running.program.sequence if running else 0
        older_set = row.manifest_version < here.manifest_version
        # A set may name an older program beside the active one: what was there before stays warm after a switch.
        same_set = row.manifest_version == here.manifest_version and row.key.slot is Slot.ACTIVE
        if older_set or (same_set and loaded.program.sequence < sequence):
            raise Refused(
                f"`{row.key.rule}` {loaded.program.version} is older than what runs here",
                f"Manifest {row.manifest_version}, sequence {loaded.program.sequence}; "
                f"here: manifest {here.manifest_version}, sequence {sequence}.",
                "Deploy it through the coordinator, which gives it a newer manifest.",
                "rollback",
            )

    async def _begin(self, loaded: Loaded, row: SlotRow) -> InstallResult:
        """Run a program in the slot of `row`, from the state of the active one as far as it fits."""
        here = self.table.row(row.key)
        if here and is_same(here, row):
            row = wanted_again(here, row)
        async with self._engine.between_events(active(row.key.rule), row.key):
            if here and row.key in self._core.rules and is_same(here, row):
                if (row.share, row.keyless) != (here.share, here.keyless):
                    await self._part(row.key.rule)
                again = replace(row, installed_us=here.installed_us)  # it has run since then
                await self._change([row.key.rule], *self._kept_as(here, again, loaded=loaded))
                return unchanged(again)
            if row.key.slot is Slot.CANDIDATE:
                await self._part(row.key.rule)
            new = start_rule(row, loaded, *self._world, self.table.idle.get(row.key))
            heir_of = self._core.rules.get(active(row.key.rule))
            if heir_of is not None:
                new.instance.adopt(heir_of.instance)
                new.saved_state = new.instance.state_bytes()
            batch = self.table.installed(row, new.program.version, begins(new), self._kept_of(row.key))
            return await self._commit(new, batch, lambda: self._core.put(new, self._now_us, heir_of))

    async def _go_back(self, loaded: Loaded, row: SlotRow, reason: str, taken_back: bool = False) -> InstallResult:
        """Run the last known good program as `row`. Its memory is what it was, not what the failed one made of it."""
        async with self._engine.between_events(row.key):
            old = self.table.row(row.key)
            assert old is not None, "there is something to go back from"
            row = row.on(PASSED)
            new = self._with_kept_state(row, loaded)
            batch = self.table.rolled_back(row, begins(new), self._failed(old, reason, taken_back))
            return await self._commit(new, batch, lambda: self._core.put(new, self._now_us))

    async def _restore_previous(
        self, here: SlotRow, kept: SlotRow, reason: str, *, taken_back: bool = False
    ) -> InstallResult:
        """Run the last known good program in place of the active one, which failed."""
        # Not lower than what it replaces: else an older manifest could come again.
        version = max(kept.manifest_version, here.manifest_version)
        row = replace(kept, key=here.key, manifest_version=version, installed_us=self._now_us)
        warm = self._core.rules.get(candidate(row.key.rule))
        if warm is not None and is_same(warm.row, kept) and self._may_run(warm.loaded):
            return await self._go_back_warm(warm, row, reason, taken_back)
        try:
            loaded = await self._load(kept.program)
        except EyeflowError as error:  # its signer's key was revoked, or a capability is not granted any more
            why = no_way_back(kept.key.rule, error)
            return await self._go_back_idle(row, f"{reason}. {why.message}: {why.cause}", why, taken_back)
        return await self._go_back(loaded, row, reason, taken_back)

    async def _go_back_idle(self, row: SlotRow, reason: str, why: Refused, taken_back: bool = False) -> InstallResult:
        """Take back what failed, and keep the last known good as `row` with its memory: it may not run.

        It runs again by itself once it may, as any stored program does that was refused (docs/decisions/0027).
        """
        state = self.table.idle.get(previous(row.key.rule))
        beside = candidate(row.key.rule)
        gone = [beside] if self.table.row(beside) is not None else []
        async with self._engine.between_events(row.key, *gone):
            old = self.table.row(row.key)
            assert old is not None, "there is something to go back from"
            # Evidence of its own: else what comes next were judged by that of the program that failed.
            kept = Kept(None if state is None else state.state, RunEvidence(self._now_us).row(row))
            batch = self.table.rolled_back(row, kept, self._failed(old, reason, taken_back))
            batch = replace(batch, drop_slots=[*batch.drop_slots, *gone])

            def happen() -> None:
                self._forget([row.key, *gone], batch, "it was taken back")
                if state is not None:
                    self.table.idle[row.key] = replace(state, key=row.key)
                self.refused[row.key] = why.whole

            await self._change([row.key.rule], batch, happen)
        _log.error("%s", why.whole)
        return InstallResult(InstallOutcome.INSTALLED, row.key.rule, "", old.program_id.hex())

    async def _go_back_warm(self, warm: RunningRule, row: SlotRow, reason: str, taken_back: bool) -> InstallResult:
        """Run the last known good program, which runs as candidate, as `row`: it has seen all events since."""
        async with self._engine.between_events(row.key, warm.key):
            self._engine.actions.part(row.key.rule, self._engine.last_seq)
            old = self.table.row(row.key)
            assert old is not None, "there is something to go back from"
            new = moved(warm, row.on(PASSED), *self._world)
            batch = self.table.rolled_back(new.row, begins(new), self._failed(old, reason, taken_back))
            batch = replace(batch, drop_slots=[*batch.drop_slots, warm.key])
            return await self._commit(new, batch, lambda: self._core.switch([(new, None)], self._now_us))

    async def _stop_program(self, row: SlotRow, why: str, reason: str, *, taken_back: bool = False) -> None:
        """Stop a program that is held between two events; with a `reason` it failed, and is kept aside."""
        failed = self._failed(row, reason, taken_back) if reason else None
        batch = self.table.dropped(row, self._now_us, failed)
        # What a candidate decided for its share of the events is done; only a rule that goes takes its actions along.
        stays = row.key.slot is Slot.CANDIDATE
        await self._change([row.key.rule], batch, lambda: self._forget([row.key], batch, why, finishes=stays))

    def _with_kept_state(self, row: SlotRow, loaded: Loaded) -> RunningRule:
        try:
            return start_rule(row, loaded, *self._world, self.table.idle.get(previous(row.key.rule)))
        except EyeflowError as error:  # the failed program must not go on because of that
            _log.error("%s goes back without its memory: %s", row.key, error.brief)
            return start_rule(row, loaded, *self._world)

    async def _commit(self, new: RunningRule, batch: Batch, run: Callable[[], None]) -> InstallResult:
        """Make the change durable, then let it happen."""
        return (await self._commit_all([new], batch, run))[new.name]

    async def _commit_all(
        self, new: Sequence[RunningRule], batch: Batch, run: Callable[[], None]
    ) -> dict[str, InstallResult]:
        """Make a change of several rules durable, then let it happen: a crash leaves all as before it, or as after."""
        was = {one.name: self.table.row(one.key) for one in new}

        def happen() -> None:
            self.table.apply(batch)
            run()
            for key in (*(one.key for one in new), *batch.drop_slots):
                self.refused.pop(key, None)
            for one in new:
                self.table.idle.pop(one.key, None)
                self.table.evidence.pop(one.key, None)
            self._engine.subscriptions_changed()

        await self._change([one.name for one in new], batch, happen)
        results = {}
        for one in new:
            _log.info("%s runs program %s", one.key, one.row.program_id.hex()[:12])
            old = was[one.name]
            before = old.program_id.hex() if old else ""
            results[one.name] = InstallResult(InstallOutcome.INSTALLED, one.name, one.row.program_id.hex(), before)
        return results

    async def _change(self, rules: Sequence[str], batch: Batch, then: Callable[[], None]) -> None:
        """Make a change of the slots of rules durable, then let it happen. Raises StorageError."""
        await self._engine.commit_change(batch, then, lambda: joined([self._held(rule, batch) for rule in rules]))

    def _held(self, rule: str, change: Batch) -> Batch:
        running = [one for key, one in self._core.rules.items() if key.rule == rule]
        states = [StateRow(one.key, one.loaded.program_id, one.saved_state) for one in running]
        counted = [one.evidence.row(one.row) for one in running]
        return self.table.held(rule, states, counted, change, self._now_us)

    @property
    def _world(self) -> tuple[Mapping[str, Driver], Clock]:
        return self._engine.drivers, self._engine.clock

    def _kept_of(self, key: RunKey) -> Kept:
        """Return what is known of the program in a slot, running or not."""
        running, idle = self._core.rules.get(key), self.table.idle.get(key)
        if running is not None:
            return Kept(running.instance.state_bytes(), running.evidence.row(running.row))
        return Kept(None if idle is None else idle.state, self.table.evidence.get(key))

    def _failed(self, row: SlotRow, reason: str, taken_back: bool) -> RejectedRow:
        kept = self._kept_of(row.key)
        return RejectedRow(row, kept.state or b"", reason, self._now_us, kept.evidence, taken_back)

    def _keep_row(self, row: SlotRow, loaded: Loaded | None, begins: RunEvidence | None) -> None:
        """The program is the same; its standing, its signatures and who wants it may be others."""
        self.table.apply(Batch(put_slots=[row]))
        if row.key in self._core.rules:
            rule = self._core.rules[row.key]
            rule.row, rule.loaded, rule.evidence = row, loaded or rule.loaded, begins or rule.evidence
            self._core.reroute(rule.name)

    def _forget(self, keys: Sequence[RunKey], batch: Batch, why: str, *, finishes: bool = False) -> None:
        self.table.apply(batch)
        for key in keys:
            if key in self._core.rules:
                self._core.remove(key, self._now_us, why)
            if not finishes:
                self._engine.actions.cancel(key, why)
            self.refused.pop(key, None)
        self._engine.subscriptions_changed()


def no_way_back(rule: str, error: EyeflowError) -> Refused:
    """Return why a rule stops: what ran was taken back, and what it shall go back to may not run for `error`."""
    return Refused(
        f"`{rule}` is stopped",
        f"what ran was taken back, and the last known good program may not run here: {error.brief}",
        "Sign that program with a trusted key, or deploy another one.",
        refusal_of(error).code,
    )


def joined(parts: Sequence[Batch]) -> Batch:
    """Return what writes the changes of several rules as one."""
    return Batch(
        [draft for part in parts for draft in part.drafts],
        [state for part in parts for state in part.states],
        put_slots=[row for part in parts for row in part.put_slots],
        put_rejected=[row for part in parts for row in part.put_rejected],
        drop_slots=[key for part in parts for key in part.drop_slots],
        drop_rules=[rule for part in parts for rule in part.drop_rules],
        put_evidence=[row for part in parts for row in part.put_evidence],
    )


def begins(new: RunningRule) -> Kept:
    """Return what a program begins with in its slot; its counts are kept by the change that lets it begin."""
    new.evidence.kept = new.evidence.row(new.row)
    return Kept(new.saved_state, new.evidence.kept)
