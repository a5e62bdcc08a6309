"""What becomes, at a start, of actions that the last run recorded and did not see end.

Whether such an action reached the world is unknown. An action on a physical resource is not fired again: it is recorded
as interrupted. Others (messages, log lines) are performed again as soon as their driver is ready, however long that
takes, so each happens at least once; emitted events go to their listeners again.
"""

from __future__ import annotations

from itertools import groupby

from eyeflow.base.errors import EyeflowError
from eyeflow.node.engine.admission import namespace_of
from eyeflow.node.engine.core import event_payload
from eyeflow.node.engine.engine import Engine
from eyeflow.node.engine.rounds import Dispatch, PlannedAction
from eyeflow.node.io.arguments import named_arguments
from eyeflow.node.store.types import PendingRow, Restored
from eyeflow.protocol.audit_bodies import ActionOutcome, ActionResultBody
from eyeflow.svm.container import decode
from eyeflow.svm.program import Program, SiteKind

INTERRUPTED = "the node stopped before the action was known to have ended"


def resume_pending(engine: Engine, restored: Restored) -> None:
    """Go on with the unfinished actions in the order they were recorded; call it after the programs are restored."""
    programs = {program_id: _decoded(data) for program_id, data in restored.pending_programs.items()}
    for _, execution in groupby(restored.pending, key=lambda row: row.seq):
        tried = ((row, _resumed(engine, programs.get(row.program_id), row)) for row in execution)
        left = [(row, action) for row, action in tried if action is not None]
        if left:
            first = left[0][0]
            actions = [action for _, action in left]
            engine.actions.resume(Dispatch(engine.core.rules[first.key], first.program_id, first.seq, actions))


def _decoded(data: bytes) -> Program | None:
    """Return a stored program, None for one that is damaged: its actions must not stop the node's start."""
    try:
        return decode(data).program
    except EyeflowError:
        return None


def _resumed(engine: Engine, program: Program | None, row: PendingRow) -> PlannedAction | None:
    """Emit an event again, give up what may not be performed again; return what may."""
    rule = engine.core.rules.get(row.key)
    if rule is None or program is None or row.site >= len(program.sites):
        _interrupt(engine, row)
        return None
    site = program.sites[row.site]
    if site.kind is SiteKind.EMIT:
        now_us = engine.clock.now_us()
        payload = event_payload(site, row.args, program.pins)
        # Its own time and hops: a listener decides as it would have, and rules that emit to each other still end.
        time_us, pending = row.time_us or now_us, (row.seq, row.index)
        engine.core.intake.emit(rule, site.capability, payload, time_us, now_us, row.hops, pending)
        return None
    # A newer program of the rule may need no such driver, so that the configuration has none any more.
    if site.resource or namespace_of(site.capability) not in engine.drivers:
        _interrupt(engine, row)
        return None
    return PlannedAction(row.index, site, named_arguments(site, row.args, program.pins), "")


def _interrupt(engine: Engine, row: PendingRow) -> None:
    core, now_us = engine.core, engine.clock.now_us()
    core.finish(row.seq, row.index, now_us)
    outcome = int(ActionOutcome.INTERRUPTED)
    body = ActionResultBody(row.key.rule, row.program_id, row.seq, row.index, outcome, 0, INTERRUPTED)
    core.note(now_us, body)
