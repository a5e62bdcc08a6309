"""Installs, swaps and removes programs, and brings those of the last run back: what is durable is what runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from eyeflow.base.errors import EyeflowError
from eyeflow.base.reasons import internal
from eyeflow.node.control import InstallOutcome, InstallResult
from eyeflow.node.engine.admission import Loaded, Policy, Refused
from eyeflow.node.engine.core import Core
from eyeflow.node.engine.engine import Engine
from eyeflow.node.engine.rounds import Dispatch
from eyeflow.node.engine.running import RunningRule, start_rule
from eyeflow.node.run_key import RunKey, active, previous
from eyeflow.node.store.types import Batch, Draft, SlotRow, StateRow
from eyeflow.protocol.audit_bodies import InstallBody, RemoveBody, WithdrawBody
from eyeflow.protocol.cbor import CborError
from eyeflow.protocol.slot import Slot
from eyeflow.protocol.wire import RULES_MAX
from eyeflow.svm.container import decode
from eyeflow.svm.program import Value
from eyeflow.svm.signing import check_signatures, fingerprint

_log = logging.getLogger("eyeflow.node")


class Installer:
    """Changes what the engine runs. `trusted` are the keys whose programs may run; it may change."""

    def __init__(self, engine: Engine, policy: Policy, trusted: set[bytes]) -> None:
        self._engine, self._policy, self.trusted = engine, policy, trusted
        self._slots: dict[RunKey, SlotRow] = {}
        self.refused: dict[RunKey, str] = {}
        """Stored rules that do not run, with the reason."""
        self._idle_states: dict[RunKey, StateRow] = {}
        """What those rules remember, for when they may run again."""
        self._one_at_a_time = asyncio.Lock()

    @property
    def _core(self) -> Core:
        return self._engine.core

    async def install(
        self, data: bytes, params: Mapping[str, Value], deployment: str, manifest_version: int
    ) -> InstallResult:
        """Check a program, make it durable and swap it in between two events. Never raises for a bad program."""
        async with self._one_at_a_time:
            try:
                loaded = await asyncio.to_thread(self._policy.load, data, frozenset(self.trusted))
                if self.trusted.isdisjoint(loaded.signers):  # again: the proof took long, a key may be revoked by now
                    check_signatures(decode(data), self.trusted)
                row = self._row(loaded, params, deployment, manifest_version)
                return await self._swap(loaded, row)
            except EyeflowError as error:
                _log.warning("install refused: %s", error.brief)
                return _refusal(error)
            except CborError as error:
                return InstallResult(InstallOutcome.REFUSED, code="bad_params", message=str(error))

    def _row(self, loaded: Loaded, params: Mapping[str, Value], deployment: str, manifest_version: int) -> SlotRow:
        rule, now_us = loaded.program.rule, self._engine.clock.now_us()
        key = active(rule)
        row = SlotRow(key, loaded.program_id, loaded.data, params, deployment, manifest_version, now_us)
        if key not in self._core.rules and len(self._core.rules) >= RULES_MAX:
            raise Refused(
                f"this node runs {RULES_MAX} rules already", "That is the bound.", "Remove a rule.", "too_many"
            )
        self._refuse_older(row, loaded)
        return row

    def _refuse_older(self, row: SlotRow, loaded: Loaded) -> None:
        """A wanted set that is older than the one applied, or an older program without a newer set, is a rollback."""
        here = self._slots.get(row.key)
        if here is None:
            return
        running = self._core.rules.get(row.key)
        sequence = running.program.sequence if running else 0
        older_set = row.manifest_version < here.manifest_version
        if older_set or (row.manifest_version == here.manifest_version and loaded.program.sequence < sequence):
            raise Refused(
                f"`{row.key.rule}` {loaded.program.version} is older than what runs here",
                f"Manifest {row.manifest_version}, sequence {loaded.program.sequence}; "
                f"here: manifest {here.manifest_version}, sequence {sequence}.",
                "Deploy it through the coordinator, which gives it a newer manifest.",
                "rollback",
            )

    async def _swap(self, loaded: Loaded, row: SlotRow) -> InstallResult:
        old_row = self._slots.get(row.key)
        same = old_row is not None and (old_row.program_id, dict(old_row.params)) == (row.program_id, dict(row.params))
        async with self._engine.between_events(row.key):
            if same and row.key in self._core.rules:
                await self._engine.commit_change(Batch(put_slots=[row]), lambda: self._keep_row(row, loaded))
                return InstallResult(InstallOutcome.UNCHANGED, row.key.rule, row.program_id.hex(), row.program_id.hex())
            idle = self._idle_states.get(row.key)
            rule = start_rule(row, loaded, self._engine.drivers, self._engine.clock, idle)
            await self._make_durable(rule, old_row)
        previous = old_row.program_id.hex() if old_row else ""
        _log.info("%s runs program %s", row.key, row.program_id.hex()[:12])
        return InstallResult(InstallOutcome.INSTALLED, row.key.rule, row.program_id.hex(), previous)

    def _keep_row(self, row: SlotRow, loaded: Loaded) -> None:
        """The program is the same; its signatures and its parameters' row may be others."""
        rule = self._core.rules[row.key]
        self._slots[row.key] = rule.row = row
        rule.loaded = loaded

    async def _make_durable(self, rule: RunningRule, old_row: SlotRow | None) -> None:
        old = self._core.rules.get(rule.key)
        if old is not None:
            rule.instance.adopt(old.instance)
            rule.saved_state = rule.instance.state_bytes()
        row, now_us = rule.row, self._engine.clock.now_us()
        slots = [row]
        if old_row is not None and old_row.program_id != row.program_id:
            slots.append(replace(old_row, key=previous(row.key.rule)))
        body = InstallBody(
            row.key.rule,
            row.program_id,
            rule.program.version,
            row.deployment,
            row.manifest_version,
            tuple(sorted(row.params.items())),
            old_row.program_id if old_row else None,
        )
        state = StateRow(row.key, row.program_id, rule.saved_state)
        batch = Batch([Draft(now_us, body)], [state], put_slots=slots)
        await self._engine.commit_change(batch, lambda: self._run(rule, slots))

    def _run(self, rule: RunningRule, slots: Sequence[SlotRow]) -> None:
        self._slots |= {slot.key: slot for slot in slots}
        self._core.put(rule, self._engine.clock.now_us())
        self.refused.pop(rule.key, None)
        self._idle_states.pop(rule.key, None)
        self._engine.subscriptions_changed()

    def distrusted(self) -> frozenset[RunKey]:
        """Return the running programs that carry no signature of a trusted key."""
        return frozenset(key for key, rule in self._core.rules.items() if self.trusted.isdisjoint(rule.loaded.signers))

    def withhold_older(self) -> None:
        """Give up what programs that were replaced still have to send when nobody trusted has signed them.

        They get no grace: that is for what runs.
        """
        self._engine.actions.withhold(self._is_old_and_distrusted, "the key of its program's signer was revoked")

    def _is_old_and_distrusted(self, dispatch: Dispatch) -> bool:
        running = self._core.rules.get(dispatch.rule.key)
        is_old = running is None or running.loaded.program_id != dispatch.program_id
        return is_old and self.trusted.isdisjoint(dispatch.signers)

    async def withdraw(self, key: RunKey) -> None:
        """Stop a program that nobody trusted has signed; its slot and state stay. Raises StorageError.

        Nothing happens when it is trusted again by now.
        """
        async with self._one_at_a_time, self._engine.between_events(key):
            rule, now_us = self._core.rules.get(key), self._engine.clock.now_us()
            if rule is None or key not in self.distrusted():
                return
            row = rule.row
            state = StateRow(row.key, row.program_id, rule.instance.state_bytes())
            body = WithdrawBody(row.key.rule, row.program_id, rule.loaded.signers, row.installed_us)
            batch = Batch([Draft(now_us, body)], [state])
            await self._engine.commit_change(batch, lambda: self._withdrawn(rule, state, now_us))

    def _withdrawn(self, rule: RunningRule, state: StateRow, now_us: int) -> None:
        self._core.remove(rule.key, now_us)
        self._engine.actions.cancel(rule.key, "its program was stopped")
        names = ", ".join(fingerprint(key) for key in rule.loaded.signers)
        self.refused[rule.key] = (
            f"`{rule.name}` {rule.program.version} was stopped {_utc(now_us)}: its signer's key {names} was revoked. "
            f"It had run since {_utc(rule.row.installed_us)}. Sign it with a trusted key and deploy it again."
        )
        _log.warning("%s", self.refused[rule.key])
        self._idle_states[rule.key] = state
        self._engine.subscriptions_changed()

    async def remove(self, rule: str) -> bool:
        """Stop a rule and forget its programs and state; False when there is none. Raises StorageError."""
        async with self._one_at_a_time:
            keys = [key for key in self._slots if key.rule == rule]
            row = self._slots.get(active(rule))
            if row is None:
                return False
            async with self._engine.between_events(*keys):
                draft = Draft(self._engine.clock.now_us(), RemoveBody(rule, row.program_id))
                await self._engine.commit_change(Batch([draft], drop_rules=[rule]), lambda: self._forget(keys))
            return True

    def _forget(self, keys: Sequence[RunKey]) -> None:
        for key in keys:
            if key in self._core.rules:
                self._core.remove(key, self._engine.clock.now_us())
            self._engine.actions.cancel(key, "the rule was removed")
            for known in (self._slots, self.refused, self._idle_states):
                known.pop(key, None)
        self._engine.subscriptions_changed()

    def restore(self, slots: tuple[SlotRow, ...], states: Mapping[RunKey, StateRow]) -> None:
        """Run the active programs of the last run. One that may not run any more is kept, not run, and reported."""
        self._slots = {row.key: row for row in slots}
        for row in slots:
            if row.key.slot is Slot.ACTIVE:
                self._restore_one(row, states.get(row.key))
        self._engine.subscriptions_changed()

    def _restore_one(self, row: SlotRow, state: StateRow | None) -> None:
        try:
            loaded = self._policy.load(row.program, frozenset(self.trusted))
            rule = start_rule(row, loaded, self._engine.drivers, self._engine.clock, state)
        except Exception as error:  # whatever is wrong with one stored rule must not stop the others
            self.refused[row.key] = why = _told(error)
            if state is not None:
                self._idle_states[row.key] = state
            _log.error("stored rule %s does not run: %s", row.key, why, exc_info=_unforeseen(error))
            return
        self._core.put(rule, self._engine.clock.now_us())

    def slot_of(self, key: RunKey) -> SlotRow | None:
        """Return what a slot holds."""
        return self._slots.get(key)


def _told(error: Exception) -> str:
    if isinstance(error, EyeflowError):
        return error.whole
    return internal(error)


def _unforeseen(error: Exception) -> Exception | None:
    return None if isinstance(error, EyeflowError) else error


def _utc(time_us: int) -> str:
    return datetime.fromtimestamp(time_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


_CODES = {
    "unsigned": "untrusted",
    "foreign_signature": "untrusted",
    "bad_signature": "untrusted",
    "bad_program": "malformed",
    "bad_value": "bad_params",
    "disk_full": "storage",
    "disk_failed": "storage",
}


def _refusal(error: EyeflowError) -> InstallResult:
    missing = error.missing if isinstance(error, Refused) else ()
    code = _CODES.get(error.code, error.code)
    return InstallResult(
        InstallOutcome.REFUSED, code=code, message=error.brief, next_step=error.next_step, missing=missing
    )
