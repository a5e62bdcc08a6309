"""What becomes, at a start, of actions that the last run recorded and did not see end.

Whether such an action reached the world is unknown. An action on a physical resource is not fired again: it is recorded
as interrupted. Others (messages, log lines) are performed again, so each happens at least once; emitted events go to
their listeners again.
"""

from __future__ import annotations

from collections.abc import Sequence

from eyeflow.node.arguments import named_arguments
from eyeflow.node.engine.core import event_payload
from eyeflow.node.engine.engine import Engine
from eyeflow.node.engine.installer import Installer
from eyeflow.node.engine.rounds import Dispatch, PlannedAction
from eyeflow.node.engine.running import RunningRule
from eyeflow.node.store.types import PendingRow
from eyeflow.protocol.audit_bodies import ActionOutcome, ActionResultBody
from eyeflow.svm.program import Program, SiteKind

INTERRUPTED = "the node stopped before the action was known to have ended"


def resume_pending(engine: Engine, installer: Installer, rows: Sequence[PendingRow]) -> None:
    """Go on with the unfinished actions in the order they were recorded; call it after the programs are restored."""
    for row in rows:
        rule = engine.core.rules.get(row.rule)
        program = installer.program_of(row.rule, row.program_id)
        if rule is None or program is None or row.site >= len(program.sites):
            _interrupt(engine, row)
        else:
            _resume(engine, rule, program, row)


def _resume(engine: Engine, rule: RunningRule, program: Program, row: PendingRow) -> None:
    site = program.sites[row.site]
    if site.kind is SiteKind.EMIT:
        now_us = engine.clock.now_us()
        payload = event_payload(site, row.args, program.pins)
        # Its own time and hops: a listener decides as it would have, and rules that emit to each other still end.
        engine.core.intake.emit(site.capability, payload, row.time_us or now_us, now_us, row.hops, (row.seq, row.index))
    elif site.resource:
        _interrupt(engine, row)
    else:
        action = PlannedAction(row.index, site, named_arguments(site, row.args, program.pins), "")
        engine.actions.submit(Dispatch(rule, row.program_id, row.seq, [action]))


def _interrupt(engine: Engine, row: PendingRow) -> None:
    core, now_us = engine.core, engine.clock.now_us()
    core.finish(row.seq, row.index, now_us)
    outcome = int(ActionOutcome.INTERRUPTED)
    body = ActionResultBody(row.rule, row.program_id, row.seq, row.index, outcome, 0, INTERRUPTED)
    core.note(now_us, body)
