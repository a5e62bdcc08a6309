"""Which programs a node keeps of each rule, and what each change of them writes. No I/O: a change is one batch.

`previous` is the last known good: only a program that passed becomes it, when another takes its place. One that failed
goes to `rejected`, with its memory, for the post-mortem: it is not what `previous` means, and nobody inherits from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from eyeflow.node.run_key import RunKey, active, candidate, previous
from eyeflow.node.store.types import Actuation, Batch, Draft, EvidenceRow, RejectedRow, SlotRow, Standing, StateRow
from eyeflow.protocol.audit_bodies import Body, InstallBody, RemoveBody, SlotBody, SlotChange
from eyeflow.protocol.slot import Slot

IN_DOUBT = "the disk failed during a change, and nobody knew whether it was recorded: it is not"
"""Why the audit has a way back that nobody asked for."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What is durable of a program beside its slot: its memory and what it did; None where that is not known."""

    state: bytes | None = None
    evidence: EvidenceRow | None = None


WANTED_BEFORE_MAX = 8
"""Deployments beside the newest that a program is remembered to be wanted by."""


class SlotTable:
    """The slots of all rules, as they are durable. `apply` a batch once it is committed."""

    def __init__(
        self,
        rows: Sequence[SlotRow] = (),
        states: Mapping[RunKey, StateRow] | None = None,
        rejected: Mapping[str, RejectedRow] | None = None,
        evidence: Mapping[RunKey, EvidenceRow] | None = None,
    ) -> None:
        self._rows = {row.key: row for row in rows}
        self._rejected = dict(rejected or {})
        self._has_trials = any(map(is_on_trial, rows))
        self.idle = dict(states or {})
        """What programs remember that do not run: the last known good, and those that may not run now."""
        self.evidence = dict(evidence or {})
        """What those did."""

    def row(self, key: RunKey) -> SlotRow | None:
        """Return what a slot holds."""
        return self._rows.get(key)

    def to_run(self) -> list[SlotRow]:
        """Return what is kept to run: all but the last known good ones, by rule and slot."""
        rows = (row for row in self._rows.values() if row.key.slot is not Slot.PREVIOUS)
        return sorted(rows, key=lambda row: str(row.key))

    @property
    def has_trials(self) -> bool:
        """Whether the node judges a program by itself."""
        return self._has_trials

    def rejected(self, rule: str) -> RejectedRow | None:
        """Return the last program of a rule that failed."""
        return self._rejected.get(rule)

    def keys_of(self, rule: str) -> list[RunKey]:
        """Return the slots of a rule that hold something."""
        return [key for key in self._rows if key.rule == rule]

    @property
    def rules(self) -> frozenset[str]:
        """All rules that a slot is held of."""
        return frozenset(key.rule for key in self._rows)

    def goes_back(self, row: SlotRow) -> bool:
        """Say whether to install `row` is to go back: it is the last known good, and ran for this deployment before.

        The same program of a new deployment is an installation like any other, which takes the state over.
        """
        kept, here = self.row(previous(row.key.rule)), self.row(row.key)
        return kept is not None and here is not None and is_same(kept, row) and row.deployment in kept.deployments

    def is_rejected(self, row: SlotRow) -> bool:
        """Say whether this program failed here, also for the deployment that wants it."""
        failed = self.rejected(row.key.rule)
        return failed is not None and is_same(failed.row, row) and row.deployment in failed.row.deployments

    @property
    def taken_back(self) -> list[RejectedRow]:
        """The programs that this node took back by itself, and nobody has told it otherwise since, by rule."""
        return [failed for _, failed in sorted(self._rejected.items()) if failed.taken_back]

    @property
    def set_aside(self) -> list[RejectedRow]:
        """The programs that failed here, whoever judged them, by rule."""
        return [failed for _, failed in sorted(self._rejected.items())]

    @property
    def fatal(self) -> dict[bytes, str]:
        """The ids of programs that were taken back because the node started again too often under them, and why."""
        running = {row.program_id for row in self.to_run()}
        return {
            failed.row.program_id: failed.reason
            for failed in self._rejected.values()
            if failed.row.trial is not None
            and failed.evidence is not None
            and failed.evidence.boots > failed.row.trial.starts_max
            and failed.row.program_id not in running
        }

    def installed(self, row: SlotRow, version: str, begins: Kept, old_kept: Kept) -> Batch:
        """Return what it writes that a program begins in the slot of `row`; `old_kept` is of what ran there before."""
        old = self.row(row.key)
        body = InstallBody(
            row.key.rule,
            row.program_id,
            version,
            row.deployment,
            row.manifest_version,
            tuple(sorted(row.params.items())),
            old.program_id if old else None,
            row.key.slot.value,
            row.actuation is Actuation.WITHHOLD,
        )
        draft = Draft(row.installed_us, body)
        if row.key.slot is Slot.CANDIDATE:
            return _begun(draft, row, begins)
        return self._activated(row, draft, begins, old_kept)

    def promoted(self, row: SlotRow, begins: Kept, old_kept: Kept) -> Batch:
        """Return what it writes that a candidate becomes the active program `row`, with its own state."""
        batch = self._activated(row, self._changed(SlotChange.PROMOTED, row), begins, old_kept)
        return replace(batch, drop_slots=[*batch.drop_slots, candidate(row.key.rule)])

    def swapped(self, acts: tuple[SlotRow, Kept], beside: tuple[SlotRow, Kept], old_kept: Kept) -> Batch:
        """Return what it writes that candidate and active program change places: their new rows, with their state."""
        row, begins = acts
        batch = self._activated(row, self._changed(SlotChange.SWAPPED, row), begins, old_kept)
        kept = self.row(previous(row.key.rule))
        if kept is not None and is_same(kept, row):  # it acts again itself: its older memory is of no use
            batch = replace(batch, drop_slots=[kept.key])
        other = _begun(batch.drafts[0], *beside)
        return replace(
            batch,
            states=[*batch.states, *other.states],
            put_slots=[*batch.put_slots, *other.put_slots],
            put_evidence=[*batch.put_evidence, *other.put_evidence],
        )

    def _activated(self, row: SlotRow, draft: Draft, begins: Kept, old_kept: Kept) -> Batch:
        """A program takes the active one's place, which is kept as last known good if it passed."""
        old, kept = self.row(row.key), previous(row.key.rule)
        batch = _begun(draft, row, begins)
        if old is None or old.standing is not Standing.PASSED or is_same(old, row):
            return batch
        states = [] if old_kept.state is None else [StateRow(kept, old.program_id, old_kept.state)]
        evidence = [] if old_kept.evidence is None else [replace(old_kept.evidence, key=kept)]
        return replace(
            batch,
            states=[*batch.states, *states],
            put_evidence=[*batch.put_evidence, *evidence],
            put_slots=[row, replace(old, key=kept)],
            drop_slots=[kept],
        )

    def rolled_back(self, row: SlotRow, begins: Kept, failed: RejectedRow) -> Batch:
        """Return what it writes that the last known good is active again, as `row`, and what failed is set aside."""
        draft = self._changed(SlotChange.ROLLED_BACK, row, failed.reason)
        return replace(_begun(draft, row, begins), put_rejected=[failed], drop_slots=[previous(row.key.rule)])

    def dropped(self, row: SlotRow, now_us: int, failed: RejectedRow | None = None) -> Batch:
        """Return what it writes that a program goes: aside if it `failed`, else without a trace.

        A candidate, or an active program that failed and had none before it.
        """
        reason = "" if failed is None else failed.reason
        body = SlotBody(row.key.rule, int(SlotChange.DROPPED), row.program_id, None, reason)
        aside = [] if failed is None else [failed]
        return Batch([Draft(now_us, body)], put_rejected=aside, drop_slots=[row.key])

    def passed(self, row: SlotRow, now_us: int) -> Draft:
        """Return the record of an active program that passed."""
        return Draft(now_us, SlotBody(row.key.rule, int(SlotChange.PASSED), row.program_id))

    def held(
        self, rule: str, running: Sequence[StateRow], counted: Sequence[EvidenceRow], change: Batch, now_us: int
    ) -> Batch:
        """Return what makes the store hold of a rule what this table does, whether `change` is in it or not.

        `running` and `counted` are of the programs that run.
        """
        keys = sorted(self.keys_of(rule), key=str)
        rows = [self._rows[key] for key in keys]
        failed = self.rejected(rule)
        idle = [state for key, state in self.idle.items() if key.rule == rule]
        evidence = [row for key, row in self.evidence.items() if key.rule == rule]
        if rows:
            body: Body = SlotBody(rule, int(SlotChange.ROLLED_BACK), rows[0].program_id, None, IN_DOUBT)
        else:
            # A change puts no program into a slot where it forgets the only one that the rule had, which failed.
            gone = change.put_slots[0] if change.put_slots or failed is None else failed.row
            body = RemoveBody(rule, gone.program_id)
        draft, rejected = Draft(now_us, body), [] if failed is None else [failed]
        return Batch(
            [draft],
            [*idle, *running],
            put_slots=rows,
            put_rejected=rejected,
            drop_rules=[rule],
            put_evidence=[*evidence, *counted],
        )

    def _changed(self, change: SlotChange, row: SlotRow, reason: str = "") -> Draft:
        old = self.row(active(row.key.rule))
        replaced = old.program_id if old else None
        return Draft(row.installed_us, SlotBody(row.key.rule, int(change), row.program_id, replaced, reason))

    def apply(self, batch: Batch) -> None:
        """Take over what was committed, in the order of the store: first what is dropped."""
        for key in [key for key in {*self._rows, *self.idle, *self.evidence} if key.rule in batch.drop_rules]:
            self._drop(key)
        for rule in batch.drop_rules:
            self._rejected.pop(rule, None)
        for key in batch.drop_slots:
            self._drop(key)
        self._rows |= {row.key: row for row in batch.put_slots}
        self._rejected |= {failed.row.key.rule: failed for failed in batch.put_rejected}
        for state in batch.states:
            if state.key.slot is Slot.PREVIOUS:
                self.idle[state.key] = state
        self._has_trials = any(map(is_on_trial, self._rows.values()))
        for row in batch.put_evidence:
            if row.key.slot is Slot.PREVIOUS:
                self.evidence[row.key] = row

    def _drop(self, key: RunKey) -> None:
        self._rows.pop(key, None)
        self.idle.pop(key, None)
        self.evidence.pop(key, None)


def _begun(draft: Draft, row: SlotRow, begins: Kept) -> Batch:
    """Return what it writes that a program begins in the slot of `row`."""
    states = [] if begins.state is None else [StateRow(row.key, row.program_id, begins.state)]
    evidence = [] if begins.evidence is None else [begins.evidence]
    return Batch([draft], states, put_slots=[row], put_evidence=evidence)


def wanted_again(here: SlotRow, row: SlotRow) -> SlotRow:
    """Return `row`, the program that `here` is already, with what is known of it: that it passed, who wanted it."""
    before = tuple(one for one in here.deployments if one != row.deployment)[:WANTED_BEFORE_MAX]
    standing = Standing.PASSED if Standing.PASSED in (here.standing, row.standing) else Standing.ON_TRIAL
    return replace(row, wanted_before=before, standing=standing)


def is_on_trial(row: SlotRow) -> bool:
    """Say whether the node judges a program by itself."""
    return row.trial is not None and row.standing is Standing.ON_TRIAL


def is_same(one: SlotRow, other: SlotRow) -> bool:
    """Say whether two rows are the same program with the same parameters."""
    return (one.program_id, dict(one.params)) == (other.program_id, dict(other.params))
