"""Installs, swaps and removes programs, and brings those of the last run back: what is durable is what runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from eyeflow.base.errors import EyeflowError
from eyeflow.node.control import InstallOutcome, InstallResult, Switch
from eyeflow.node.engine.admission import Loaded, Refused
from eyeflow.node.engine.answers import refusal_of, told, unchanged, unforeseen, utc_text
from eyeflow.node.engine.rounds import Dispatch
from eyeflow.node.engine.run_evidence import evidence_of
from eyeflow.node.engine.running import RunningRule, moved, start_rule
from eyeflow.node.engine.slot_changes import SlotChanges, begins, joined, no_way_back
from eyeflow.node.engine.slot_table import SlotTable, is_on_trial, is_same, wanted_again
from eyeflow.node.run_key import RunKey, active, candidate, previous
from eyeflow.node.store.types import (
    ON_TRIAL,
    Batch,
    Draft,
    EvidenceRow,
    RejectedRow,
    Restored,
    SlotRow,
    Standing,
    StateRow,
    Terms,
    Wish,
)
from eyeflow.protocol.audit_bodies import RemoveBody, WithdrawBody
from eyeflow.protocol.messages import InstalledRule
from eyeflow.protocol.slot import Slot
from eyeflow.svm.container import decode
from eyeflow.svm.program import Value

_log = logging.getLogger("eyeflow.node")


class Installer(SlotChanges):
    """Changes what the engine runs, verb by verb."""

    async def install(
        self,
        data: bytes,
        params: Mapping[str, Value],
        deployment: str,
        manifest_version: int,
        terms: Terms = ON_TRIAL,
    ) -> InstallResult:
        """Check a program, make it durable and swap it in between two events. Never raises for a bad program."""

        async def change() -> InstallResult:
            try:
                loaded = await self._load(data)
                key = active(loaded.program.rule)
                wanted = (params, deployment, manifest_version, self._now_us)
                row = SlotRow(key, loaded.program_id, loaded.data, *wanted).on(terms)
                self._admit(row, loaded)
            except EyeflowError as error:
                if terms.is_return:
                    await self._return_refused(data, params, (deployment, manifest_version), error)
                raise
            here = self.table.row(key)
            kept = self.table.row(previous(loaded.program.rule))
            if kept and not (here and is_same(here, row)) and self.table.goes_back(row):
                return await self._go_back(loaded, wanted_again(kept, row), f"deployment {deployment} is wanted again")
            return await self._begin(loaded, row)

        return await self._answered(change)

    async def return_refused(
        self, data: bytes, params: Mapping[str, Value], deployment: str, manifest_version: int, error: EyeflowError
    ) -> InstallResult:
        """Take back what runs in place of a program that may not run here for `error`; returns that refusal."""

        async def change() -> InstallResult:
            await self._return_refused(data, params, (deployment, manifest_version), error)
            raise error

        return await self._answered(change)

    async def _return_refused(
        self, data: bytes, params: Mapping[str, Value], by: tuple[str, int], error: EyeflowError
    ) -> None:
        """As `return_refused`: the last known good program takes the slot if the node keeps it, else it is empty."""
        signed = decode(data)
        rule, (deployment, manifest_version) = signed.program.rule, by
        row = SlotRow(
            active(rule), bytes.fromhex(signed.program_id), data, params, deployment, manifest_version, self._now_us
        )
        here, kept = self.table.row(row.key), self.table.row(previous(rule))
        if here is None or is_same(here, row) or manifest_version < here.manifest_version:
            return
        why = no_way_back(rule, error)
        reason = f"deployment {deployment} is wanted again. {why.message}: {why.cause}"
        if kept is not None and is_same(kept, row) and not self.table.is_rejected(row):
            await self._go_back_idle(wanted_again(kept, row), reason, why)
        else:
            # What failed before, and may not come back, stays known: one failed program of a rule is kept aside.
            aside = "" if self.table.is_rejected(row) else reason
            async with self._engine.between_events(row.key):
                await self._stop_program(here, "it was taken back", aside)
            _log.error("%s", why.whole)
        raise why

    async def record_wanted(
        self, wanted: InstalledRule, deployment: str, manifest_version: int, terms: Terms = ON_TRIAL
    ) -> InstallResult:
        """Keep that a deployment wants the program that a slot holds already, and on what terms.

        It may be the way back one day. For another deployment its evidence begins anew. Once passed, it stays so.
        Refused when the slot holds another one by now: this node may have taken it back since the manifest came.
        """

        async def change() -> InstallResult:
            here = self.table.row(RunKey(wanted.rule, wanted.slot))
            if here is None or (here.program_id.hex(), dict(here.params)) != (wanted.program_id, dict(wanted.params)):
                raise self._gone(wanted)
            standing = Standing.PASSED if Standing.PASSED in (here.standing, terms.standing) else here.standing
            row = replace(here.on(terms), standing=standing)
            if here.deployment != deployment:
                row = wanted_again(here, replace(row, deployment=deployment, manifest_version=manifest_version))
            if row != here:
                await self._keep_wanted(here, row)
            return unchanged(here)

        return await self._answered(change)

    def _gone(self, wanted: InstalledRule) -> Refused:
        """Return why a program that ran does not any more."""
        failed = self.table.rejected(wanted.rule)
        was_it = failed is not None and failed.row.program_id.hex() == wanted.program_id
        why = failed.reason if failed is not None and was_it else "None is kept, or another one took its place."
        what = f"`{wanted.rule}` has this {wanted.slot.value} program no more"
        return Refused(what, why, "Deploy it again if it may run now.", "no_program")

    async def stage(
        self,
        data: bytes,
        params: Mapping[str, Value],
        deployment: str,
        manifest_version: int,
        terms: Terms = ON_TRIAL,
    ) -> InstallResult:
        """Run a program beside the active one, from a copy of its state. Never raises for a bad program.

        It acts on the share of the events that `terms` give it, and the active program on the others.
        """

        async def change() -> InstallResult:
            loaded = await self._load(data)
            what = (candidate(loaded.program.rule), loaded.program_id, loaded.data, params)
            wanted = (deployment, manifest_version, self._now_us)
            row = SlotRow(*what, *wanted).on(terms)
            self._admit(row, loaded)
            return await self._begin(loaded, row)

        return await self._answered(change)

    async def switch(self, switches: Sequence[Switch], manifest_version: int) -> dict[str, InstallResult]:
        """Let the candidates of several rules act, all between the same two events, each with its own state.

        What came before is decided by the old programs, also what follows from it by `emit`; what comes after by the
        new ones. One that cannot is refused, and with it the others of its deployment: they belong together.
        """
        async with self._one_at_a_time:
            results = self._unable(switches)
            able = [one for one in switches if one.rule not in results]
            if able:
                try:
                    results |= await self._switch(able, manifest_version)
                except EyeflowError as error:
                    _log.warning("switch refused: %s", error.brief)
                    results |= {one.rule: refusal_of(error) for one in able}
            return results

    def _unable(self, switches: Sequence[Switch]) -> dict[str, InstallResult]:
        """Return which rules cannot be switched, and why: the others of their deployments cannot either."""
        found: dict[str, InstallResult] = {}
        for one in switches:
            try:
                self._candidate_of(one.rule)
                if one.beside is not None and active(one.rule) not in self._core.rules:
                    raise Refused(
                        f"`{one.rule}` has no active program that runs", "", "Promote the candidate.", "no_program"
                    )
            except Refused as error:
                found[one.rule] = refusal_of(error)
        failed = {one.acts.deployment_id: one.rule for one in switches if one.rule in found}
        for one in switches:
            if one.rule not in found and one.acts.deployment_id in failed:
                other = failed[one.acts.deployment_id]
                found[one.rule] = replace(found[other], rule=one.rule, message=f"{other}: {found[other].message}")
        return found

    async def _switch(self, switches: Sequence[Switch], manifest_version: int) -> dict[str, InstallResult]:
        rules = [one.rule for one in switches]
        async with self._engine.between_events(*(key(rule) for rule in rules for key in (active, candidate))):
            await self._part(*rules)
            made = [self._switched(one, manifest_version) for one in switches]
            pairs, batch = [pair for pair, _ in made], joined([part for _, part in made])
            new = [acts for acts, _ in pairs]
            return await self._commit_all(new, batch, lambda: self._core.switch(pairs, self._now_us))

    def _switched(self, one: Switch, manifest_version: int) -> tuple[tuple[RunningRule, RunningRule | None], Batch]:
        """Return the programs of a rule as they run after a switch, the old one if it stays, and what that writes."""
        candidate_was, active_was = self._candidate_of(one.rule), self._core.rules.get(active(one.rule))
        row = self._wished(candidate_was.row, active(one.rule), manifest_version, one.acts)
        new = moved(candidate_was, row, *self._world)
        kept = self._kept_of(new.key)
        if one.beside is None or active_was is None:
            return (new, None), self.table.promoted(new.row, begins(new), kept)
        old_row = self._wished(active_was.row, candidate(one.rule), manifest_version, one.beside)
        old = moved(active_was, old_row, *self._world)
        return (new, old), self.table.swapped((new.row, begins(new)), (old.row, begins(old)), kept)

    def _candidate_of(self, rule: str) -> RunningRule:
        """Return the candidate that runs and may act. Raises Refused when there is none."""
        running = self._core.rules.get(candidate(rule))
        if running is None or not self._may_run(running.loaded):
            reason = self.refused.get(candidate(rule), "None was staged.")
            raise Refused(f"`{rule}` has no candidate that runs", reason, "Stage one first.", "no_candidate")
        return running

    def _wished(self, row: SlotRow, key: RunKey, manifest_version: int, wish: Wish) -> SlotRow:
        """Return a running program as it is wanted in the other slot. One that passed here stays so."""
        there = replace(row, key=key, manifest_version=manifest_version, installed_us=self._now_us).on(wish.terms)
        kept = self.table.row(previous(key.rule))
        passed = row.key.slot is Slot.ACTIVE and row.standing is Standing.PASSED
        if passed or (kept is not None and is_same(kept, row)):
            there = replace(there, standing=Standing.PASSED)
        if wish.deployment_id == row.deployment:
            return there
        return wanted_again(row, replace(there, deployment=wish.deployment_id))

    async def drop_candidate(self, rule: str, reason: str = "") -> bool:
        """Stop the candidate of a rule; False when there is none. Raises StorageError.

        `reason` says how it failed: then it is kept for the post-mortem. Empty: it is wanted no more.
        """
        async with self._one_at_a_time:
            key = candidate(rule)
            row = self.table.row(key)
            if row is None:
                return False
            async with self._engine.between_events(active(rule), key):
                await self._part(rule)
                await self._stop_program(row, "the candidate was dropped", reason)
            return True

    async def roll_back(self, rule: str, reason: str) -> InstallResult:
        """Run the last known good program again, with the state that it had; what ran is kept for the post-mortem.

        Where that one may not run, the rule stops: then the answer names no program.
        """

        async def change() -> InstallResult:
            kept, here = self.table.row(previous(rule)), self.table.row(active(rule))
            if kept is None or here is None:
                raise Refused(
                    f"`{rule}` has no last known good program", "None has passed here.", "Deploy one.", "no_previous"
                )
            return await self._restore_previous(here, kept, reason)

        return await self._answered(change)

    async def take_back(self, judged: SlotRow, reason: str) -> InstallResult:
        """Take back a program that failed its trial on this node, unless something else was decided meanwhile.

        The last known good one runs again; where there is none, and for a candidate, the program stops. It is kept for
        the post-mortem, and the deployment that brought it cannot again.
        """

        async def change() -> InstallResult:
            here = self.table.row(judged.key)
            if (
                here is None
                or not is_on_trial(here)
                or (here.program_id, here.deployment)
                != (
                    judged.program_id,
                    judged.deployment,
                )
            ):
                return unchanged(judged)
            kept = self.table.row(previous(here.key.rule))
            if kept is not None and here.key.slot is Slot.ACTIVE:
                return await self._restore_previous(here, kept, reason, taken_back=True)
            async with self._engine.between_events(active(here.key.rule), here.key):
                await self._part(here.key.rule)
                await self._stop_program(here, "the program failed its trial", reason, taken_back=True)
            return InstallResult(InstallOutcome.INSTALLED, here.key.rule, "", here.program_id.hex())

        _log.error("%s is taken back: %s", judged.key, reason)
        return await self._answered(change)

    def on_trial(self) -> list[RunningRule]:
        """Return the running programs that this node judges by itself."""
        return [rule for rule in self._core.rules.values() if is_on_trial(rule.row)]

    def running(self, key: RunKey) -> RunningRule | None:
        """Return the program that runs in a slot."""
        return self._core.rules.get(key)

    async def settle_taken_back(self, is_wanted: Callable[[SlotRow], bool]) -> None:
        """Forget that programs were taken back that nobody wants any more. Raises StorageError."""
        async with self._one_at_a_time:
            for failed in self.table.taken_back:
                if not is_wanted(failed.row):
                    await self._settle(failed)

    async def _settle(self, failed: RejectedRow) -> None:
        rule = failed.row.key.rule
        if self.table.keys_of(rule):
            batch = Batch(put_rejected=[replace(failed, taken_back=False)])
        else:  # it was the only program that the rule ever had here
            batch = Batch([Draft(self._now_us, RemoveBody(rule, failed.row.program_id))], drop_rules=[rule])
        async with self._engine.between_events():
            await self._change([rule], batch, lambda: self.table.apply(batch))

    async def record_pass(self, rule: str, program_id: str) -> bool:
        """Keep that the active program of a rule passed; False when another one is active. Raises StorageError."""
        async with self._one_at_a_time:
            key = active(rule)
            row = self.table.row(key)
            if row is None or row.program_id.hex() != program_id:
                return False
            if row.standing is not Standing.PASSED:
                await self._keep_wanted(row, replace(row, standing=Standing.PASSED, trial=None))
            return True

    async def checked(self, program: bytes) -> Loaded:
        """Return a program that may run here, without running it. Raises EyeflowError that says why it may not."""
        return await self._load(program)

    def rows_of(self, rule: str) -> list[SlotRow]:
        """Return the programs that the node keeps of a rule: those of its slots, then the last that failed."""
        rows = [row for key in self.table.keys_of(rule) if (row := self.table.row(key)) is not None]
        failed = self.table.rejected(rule)
        return rows if failed is None else [*rows, failed.row]

    def distrusted(self) -> frozenset[RunKey]:
        """Return the running programs that too few trusted keys have signed."""
        return frozenset(key for key, rule in self._core.rules.items() if not self._may_run(rule.loaded))

    def withhold_older(self) -> None:
        """Give up what programs that were replaced still have to send when too few trusted keys have signed them.

        They get no grace: that is for what runs.
        """
        self._engine.actions.withhold(self._is_old_and_distrusted, "too few trusted keys have signed its program")

    def _is_old_and_distrusted(self, dispatch: Dispatch) -> bool:
        running = self._core.rules.get(dispatch.key)
        is_old = running is None or running.loaded.program_id != dispatch.program_id
        return is_old and not self.trust.holds(dispatch.key.rule, dispatch.signers)

    async def withdraw(self, key: RunKey) -> None:
        """Stop a program that too few trusted keys have signed; its slot and state stay. Raises StorageError.

        Nothing happens when it is trusted again by now.
        """
        async with self._one_at_a_time, self._engine.between_events(key):
            rule, now_us = self._core.rules.get(key), self._engine.clock.now_us()
            if rule is None or key not in self.distrusted():
                return
            row = rule.row
            state = StateRow(row.key, row.program_id, rule.instance.state_bytes())
            slot = row.key.slot.value
            body = WithdrawBody(row.key.rule, row.program_id, rule.loaded.signers, row.installed_us, slot)
            counted = rule.evidence.row(row)
            batch = Batch([Draft(now_us, body)], [state], put_evidence=[counted])
            await self._engine.commit_change(batch, lambda: self._withdrawn(rule, state, counted, now_us))

    def _withdrawn(self, rule: RunningRule, state: StateRow, counted: EvidenceRow, now_us: int) -> None:
        row = rule.row
        self._core.remove(rule.key, now_us)
        self._engine.actions.withhold(
            # Not all of its lane: a program before it, which is trusted, may have messages on their way.
            lambda dispatch: (dispatch.key, dispatch.program_id) == (row.key, row.program_id),
            "its program was stopped",
        )
        stopped, lack = utc_text(now_us), self.trust.lack(rule.name, rule.loaded.signers)
        self.refused[rule.key] = (
            f"`{rule.name}` {rule.program.version} was stopped {stopped}: {lack}. "
            f"It had run since {utc_text(rule.row.installed_us)}. Sign it with a trusted key and deploy it again."
        )
        _log.warning("%s", self.refused[rule.key])
        self.table.idle[rule.key], self.table.evidence[rule.key] = state, counted
        self._engine.subscriptions_changed()

    async def remove(self, rule: str) -> bool:
        """Stop a rule and forget its programs and state; False when there is none. Raises StorageError."""
        async with self._one_at_a_time:
            keys = self.table.keys_of(rule)
            if not keys:
                return False
            row = self.table.row(active(rule)) or self.table.row(keys[0])
            assert row is not None, "it is one of the rule's"
            async with self._engine.between_events(*keys):
                batch = Batch([Draft(self._now_us, RemoveBody(rule, row.program_id))], drop_rules=[rule])
                await self._change([rule], batch, lambda: self._forget(keys, batch, "the rule was removed"))
            return True

    def restore(self, restored: Restored) -> None:
        """Run the programs of the last run. One that may not run any more is kept, not run, and reported."""
        self.table = SlotTable(restored.slots, restored.states, restored.rejected, restored.evidence)
        for row in restored.slots:
            if row.key.slot is not Slot.PREVIOUS:
                self._restore_one(row, restored.clean)
        self._engine.subscriptions_changed()

    def _restore_one(self, row: SlotRow, clean: bool) -> None:
        evidence = evidence_of(self.table.evidence.get(row.key), row, self._now_us, clean=clean)
        try:
            loaded = self._policy.load(row.program, self.trust)
            rule = start_rule(row, loaded, *self._world, self.table.idle.get(row.key), evidence)
        except Exception as error:  # whatever is wrong with one stored rule must not stop the others
            self.refused[row.key] = why = told(error)
            _log.error("stored rule %s does not run: %s", row.key, why, exc_info=unforeseen(error))
            return
        self.table.idle.pop(row.key, None)
        self.table.evidence.pop(row.key, None)
        self._core.put(rule, self._now_us)
