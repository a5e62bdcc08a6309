"""What becomes, at a start, of actions that the last run recorded and did not see end.

Whether such an action reached the world is unknown. An action on a physical resource is not fired again: it is recorded
as interrupted. Others (messages, log lines) are performed again as soon as their driver is ready, however long that
takes, so each happens at least once; emitted events go to their listeners again. But what a program decided that too
few trusted keys have signed is withheld, and recorded as cancelled: one may have been revoked since. So is what was
decided by a program under which the node crashed again and again: the action may be what ends it. And an action is
given up, as interrupted, under which the node ended ENDS_MAX times in a row (`tries`): that counts as a failed action.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from eyeflow.base.errors import EyeflowError
from eyeflow.node.engine.engine import Engine
from eyeflow.node.engine.rounds import Dispatch, Emitted, PlannedAction
from eyeflow.node.engine.rule_host import named_failure
from eyeflow.node.engine.running import RunningRule
from eyeflow.node.engine.tries import ENDS_MAX, why_given_up
from eyeflow.node.engine.trust import Trust
from eyeflow.node.run_key import active
from eyeflow.node.store.types import PendingRow, Restored
from eyeflow.protocol.audit_bodies import ActionOutcome, ActionResultBody
from eyeflow.protocol.executions import FailureKind
from eyeflow.protocol.node_facts import namespace_of
from eyeflow.svm.arguments import event_payload, named_arguments
from eyeflow.svm.container import decode
from eyeflow.svm.program import OnFailure, Program, Site, SiteKind

_log = logging.getLogger("eyeflow.node")

INTERRUPTED = "the node stopped before the action was known to have ended"


def resume_pending(engine: Engine, restored: Restored, trust: Trust, fatal: Mapping[bytes, str] | None = None) -> None:
    """Go on with the unfinished actions in the order they were recorded; call it after the programs are restored.

    `trust` says which programs may act. `fatal` are the ids of programs that crashed the node, with the reason.
    """
    found = restored.pending_programs.items()
    programs = {program_id: _decider(data, trust, (fatal or {}).get(program_id, "")) for program_id, data in found}
    for _, group in groupby(_with_suspects(engine, restored.pending), key=lambda row: row.seq):
        execution = list(group)
        rows = _without_fatal(engine, programs, execution)
        tried = ((row, _resumed(engine, programs.get(row.program_id), row)) for row in rows)
        left = [(row, action) for row, action in tried if action is not None]
        if left:
            first = left[0][0]
            decider, actions = programs[first.program_id], [action for _, action in left]
            rule = _runs(engine, first)
            assert decider is not None and rule is not None, "what nobody decided or goes on with was given up"
            evidence = rule.evidence if rule.loaded.program_id == first.program_id else None
            dispatch = Dispatch(rule, rule.key, first.program_id, first.seq, actions, decider.signers, evidence)
            dispatch.has_acted = dispatch.has_failed = len(rows) < len(
                execution
            )  # it was counted with what was given up
            if evidence is not None and not dispatch.has_acted:
                evidence.pending += dispatch.last_acting >= 0
            engine.actions.resume(dispatch)


def _runs(engine: Engine, row: PendingRow) -> RunningRule | None:
    """Return who goes on with an action: the program of its slot or, once a candidate was promoted, the active one."""
    rules = engine.core.rules
    return rules.get(row.key) or rules.get(active(row.key.rule))


@dataclass(frozen=True, slots=True)
class _Decider:
    """The program that decided an action, and its signers; `refusal` says why it may not act any more."""

    program: Program
    signers: tuple[bytes, ...]
    refusal: str


def _decider(data: bytes, trust: Trust, fatal: str) -> _Decider | None:
    """Return a stored program, None for one that is damaged: its actions must not stop the node's start."""
    try:
        signed = decode(data)
    except EyeflowError:
        return None
    signers = tuple(key for key, _ in signed.signatures)
    try:
        trust.check(signed)
    except EyeflowError as error:
        return _Decider(signed.program, signers, error.brief)
    return _Decider(signed.program, signers, fatal)


def _resumed(engine: Engine, decider: _Decider | None, row: PendingRow) -> PlannedAction | None:
    """Emit an event again, give up what may not be performed again; return what may."""
    if decider is None or row.site >= len(decider.program.sites):
        _give_up(engine, row, ActionOutcome.INTERRUPTED, INTERRUPTED)
        return None
    program, rule = decider.program, _runs(engine, row)
    site = program.sites[row.site]
    if decider.refusal and not site.resource:
        _give_up(engine, row, ActionOutcome.CANCELLED, decider.refusal)
        return None
    if rule is None:
        _give_up(engine, row, ActionOutcome.INTERRUPTED, INTERRUPTED)
        return None
    if site.kind is SiteKind.EMIT:
        now_us = engine.clock.now_us()
        payload = event_payload(site, row.args, program.pins)
        # Its own time and hops: a listener decides as it would have, and rules that emit to each other still end.
        where = (row.time_us or now_us, 0, row.index, row.hops, row.event_key)
        engine.core.intake.emit(Emitted(rule, site.capability, payload, *where), now_us, (row.seq, row.index))
        return None
    # A newer program of the rule may need no such driver, so that the configuration has none any more.
    if site.resource or namespace_of(site.capability) not in engine.drivers:
        _give_up(engine, row, ActionOutcome.INTERRUPTED, INTERRUPTED)
        return None
    return PlannedAction(row.index, site, named_arguments(site, row.args, program.pins), "", row.ends)


def _with_suspects(engine: Engine, rows: Sequence[PendingRow]) -> list[PendingRow]:
    """Let one more end be enough for what the same action of a program asked for as one that is given up now.

    A program that ends its node with each message would else end it five times with each of those that wait.
    """
    fatal = {(row.program_id, row.site) for row in rows if row.ends >= ENDS_MAX}
    found = []
    for row in rows:
        if (row.program_id, row.site) in fatal and row.ends < ENDS_MAX - 1:
            row = row._replace(ends=ENDS_MAX - 1)
            engine.core.tries.put(row.seq, row.index, row.ends)
        found.append(row)
    return found


def _without_fatal(
    engine: Engine, programs: Mapping[bytes, _Decider | None], execution: list[PendingRow]
) -> list[PendingRow]:
    """Give up the action of an execution that ended the node too often, and what was to follow it; return the rest."""
    found = next((place for place, row in enumerate(execution) if row.ends >= ENDS_MAX), None)
    decider = programs.get(execution[0].program_id)
    if found is None or decider is None or execution[found].site >= len(decider.program.sites):
        return execution
    row, site = execution[found], decider.program.sites[execution[found].site]
    why = why_given_up(row.ends)
    _log.error("%s: action %d of record %d is given up: %s", row.key, row.index, row.seq, why)
    _give_up(engine, row, ActionOutcome.INTERRUPTED, why, row.ends)
    rule = _runs(engine, row)
    if rule is not None:
        _count_failed(engine, rule, row, site, why)
    if site.on_failure is OnFailure.SKIP:
        return [one for one in execution if one is not row]
    for after in execution[found + 1 :]:
        _give_up(engine, after, ActionOutcome.CANCELLED, f"{site.capability} failed")
    return execution[:found]


def _count_failed(engine: Engine, rule: RunningRule, row: PendingRow, site: Site, why: str) -> None:
    """Count an action that was given up as one that failed; against a program only if that one decided it."""
    now_us, what = engine.clock.now_us(), named_failure(site.capability, why) + rule.loaded.at_line(site)
    rule.health.action_failures += 1
    rule.health.fail(what, now_us)
    if rule.loaded.program_id == row.program_id:
        rule.evidence.acted += 1
        rule.evidence.failed_actions += 1
        rule.evidence.note(FailureKind.ACTION, now_us, what, row.seq)
        engine.core.evidence.hurry()  # with the record: the next action may end the node at once


def _give_up(engine: Engine, row: PendingRow, outcome: ActionOutcome, why: str, attempts: int = 0) -> None:
    core, now_us = engine.core, engine.clock.now_us()
    core.finish(row.seq, row.index, now_us)
    slot = row.key.slot.value
    body = ActionResultBody(row.key.rule, row.program_id, row.seq, row.index, int(outcome), attempts, why, slot)
    core.note(now_us, body)
