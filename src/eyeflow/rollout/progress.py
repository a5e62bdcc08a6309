"""What becomes of one node of a deployment: what was decided for it, and what it does and says. Pure functions."""

from __future__ import annotations

from dataclasses import replace

from eyeflow.base.record import dataclass
from eyeflow.rollout.actions import Begin, GoBack, Mark, NodeAction
from eyeflow.rollout.deployment import BACK, CHANGED, INSTALL_S, NOT_BEGUN, NodeProgress, NodeState, Place

AWAITED = frozenset({NodeState.WAITING, NodeState.SENT, NodeState.SILENT})
"""An answer of the node is awaited, or still counts although it came late."""


@dataclass(frozen=True, slots=True)
class Ordered:
    """What a `NodeAction` makes of one node: its progress, and whether the node's wanted set changes."""

    progress: NodeProgress
    wants: bool = False


def ordered(action: NodeAction, progress: NodeProgress) -> Ordered:
    """Return what `action` makes of one node; wanted sets and the last known good are the caller's to store."""
    if isinstance(action, Begin):
        begun = replace(progress, state=NodeState.WAITING, reason="", due_us=0, place=action.place, phase=action.phase)
        return Ordered(begun, wants=True)
    if isinstance(action, GoBack):
        return _going_back(progress)
    if isinstance(action, Mark):
        return Ordered(replace(progress, state=action.state, reason=action.reason, due_us=0))
    return Ordered(progress)


def _going_back(progress: NodeProgress) -> Ordered:
    """A node that may have changed without telling goes back, too: SENT, or touched before its link broke.

    The wanted set changes in any case: it may hold what a superseded deployment wanted, which never passed.
    """
    if progress.state in BACK:
        return Ordered(progress)
    untouched = progress.state in NOT_BEGUN | {NodeState.WAITING} and not progress.touched_us
    state = NodeState.RETURNED if untouched else NodeState.RETURNING
    if progress.state is NodeState.REFUSED:
        state = NodeState.REFUSED
    return Ordered(replace(progress, state=state, due_us=0, place=Place.NOTHING), wants=True)


def taken_over(progress: NodeProgress, rules: frozenset[str], by: str) -> NodeProgress:
    """A newer deployment brings these rules to the node: this one is not to take them back any more."""
    left = tuple((rule, target) for rule, target in progress.previous if rule not in rules)
    if left or progress.state in {NodeState.REFUSED, NodeState.RETURNED}:
        return replace(progress, previous=left)
    reason = f"taken over by deployment {by}"
    return replace(progress, previous=(), state=NodeState.RETURNED, reason=reason, due_us=0)


def sent(progress: NodeProgress, now_us: int, *, is_away: bool = False) -> NodeProgress:
    """The node's manifest goes out on a live link: from now on its answer is due.

    The gateway of a board that is away keeps it: the answer is due once the board is back, and it may change before.
    """
    if progress.state is not NodeState.WAITING:
        return progress
    due_us, touched_us = now_us + INSTALL_S * 1_000_000, progress.touched_us or now_us
    if is_away:
        return replace(progress, touched_us=touched_us)
    return replace(progress, state=NodeState.SENT, due_us=due_us, touched_us=touched_us)


def linked(progress: NodeProgress) -> NodeProgress:
    """The node's link is open: its turn may come."""
    return replace(progress, state=NodeState.HELD) if progress.state is NodeState.AWAY else progress


def lost(progress: NodeProgress) -> NodeProgress:
    """The node's link is gone: its answer is awaited again once it is back."""
    if progress.state is NodeState.HELD:
        return replace(progress, state=NodeState.AWAY)
    if progress.state is not NodeState.SENT:
        return progress
    return replace(progress, state=NodeState.WAITING, due_us=0)


@dataclass(frozen=True, slots=True)
class Report:
    """What a node says of a deployment's rules after it applied manifest `manifest_version`.

    `refused` is the reason or empty.
    """

    manifest_version: int
    refused: str = ""


def reported(progress: NodeProgress, report: Report) -> NodeProgress:
    """The node applied a manifest: take over what it says of the deployment's rules."""
    # It answers an older wanted set, which may not name these programs: the answer is still to come.
    if report.manifest_version < progress.manifest_version:
        return progress
    if progress.state in AWAITED:
        done = NodeState.STAGED if progress.place is Place.CANDIDATE else NodeState.INSTALLED
        state = NodeState.REFUSED if report.refused else done
        return replace(progress, state=state, reason=report.refused, due_us=0)
    if progress.state is NodeState.RETURNING:
        reason = f"could not go back: {report.refused}" if report.refused else progress.reason
        return replace(progress, state=NodeState.RETURNED, reason=reason)
    return progress


def took_back(progress: NodeProgress, reason: str) -> NodeProgress:
    """The node went back by itself, for `reason`."""
    if progress.state not in CHANGED | AWAITED:
        return progress
    return replace(progress, state=NodeState.REFUSED, reason=reason, due_us=0)


def disowned(progress: NodeProgress, reason: str) -> NodeProgress:
    """What this node says cannot count, for `reason`: it is refused, also when it has reported already."""
    if progress.state not in CHANGED | AWAITED | NOT_BEGUN:
        return progress
    return replace(progress, state=NodeState.REFUSED, reason=reason, due_us=0)
