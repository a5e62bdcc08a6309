"""A deployment as data: what it changes, where, by which strategy, and how far it is. No clock, no disk, no network."""

from __future__ import annotations

from dataclasses import field, replace
from enum import Enum
from typing import Any

from eyeflow.base.record import dataclass

Scalar = bool | int | float | str
Params = tuple[tuple[str, Scalar], ...]

INSTALL_S = 60
"""A connected node must answer a manifest within this time."""
RETURN_S = 120
"""Nodes that changed must be back at their last known good within this time; an offline one returns when it is back."""
OFFLINE_S = 72 * 3600
"""How long a deployment may take, until told otherwise: as long as the buffer of an offline node lasts."""
DEADLINE_S_MAX = 30 * 86_400
NODES_MAX = 10_000
"""Nodes in one deployment, and in one cluster: as many as were measured (docs/performance.md)."""
RULES_MAX = 512
"""Rules in one deployment: as many as a node runs."""
BOARD_PROGRAMS_MAX = 32
"""Programs of a rule for boards in one deployment: one for each chip."""
LOOK_S = 2
"""How often the evidence of a deployment that watches is looked at. Nodes tell theirs every few seconds."""
OBSERVE_S_MAX = 7 * 86_400
STEPS_MAX = 20
"""Steps of a canary."""
WHOLE = 10_000
"""A share of everything. Shares and rates are whole numbers of hundredths of a percent."""


class DeploymentState(Enum):
    """Where a deployment stands. The last five are terminal."""

    PENDING = "pending"
    INSTALLING = "installing"
    OBSERVING = "observing"
    ROLLING_BACK = "rollingBack"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"
    ROLLED_BACK = "rolledBack"


TERMINAL = frozenset(
    {
        DeploymentState.SUCCEEDED,
        DeploymentState.FAILED,
        DeploymentState.CANCELLED,
        DeploymentState.SUPERSEDED,
        DeploymentState.ROLLED_BACK,
    }
)


class NodeState(Enum):
    """Where one node of a deployment stands. Its turn has not come while it is `held`, or `away` without a link."""

    HELD = "held"
    AWAY = "away"
    WAITING = "waiting"
    SENT = "sent"
    STAGED = "staged"
    INSTALLED = "installed"
    REFUSED = "refused"
    SILENT = "silent"
    RETURNING = "returning"
    RETURNED = "returned"


BACK = frozenset({NodeState.RETURNING, NodeState.RETURNED})
NOT_BACK = frozenset(NodeState) - BACK
NOT_BEGUN = frozenset({NodeState.HELD, NodeState.AWAY})
CHANGED = frozenset({NodeState.STAGED, NodeState.INSTALLED})


class Place(Enum):
    """What a deployment wants of a node now: nothing yet, its programs beside the active ones, or in their place.

    SWITCHED is ACTIVE, with the programs before kept running beside it: they can take over again at once.
    """

    NOTHING = "nothing"
    CANDIDATE = "candidate"
    ACTIVE = "active"
    SWITCHED = "switched"


class Rollback(Enum):
    """What a failure means for the nodes that changed: `rollbackOnError` of the API."""

    ON_ERROR = "onError"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Target:
    """What a node shall run for a rule. `board_programs`: (chip, program id) of boards, where nodes get another one."""

    program_id: str
    deployment_id: str
    params: Params = ()
    board_programs: tuple[tuple[str, str], ...] = ()

    def on(self, chip: str) -> Target:
        """Return what a node with this chip runs of it; a node that is no board has none, which is empty."""
        return Target(dict(self.board_programs).get(chip, self.program_id), self.deployment_id, self.params)

    @property
    def program_ids(self) -> tuple[str, ...]:
        """All its programs, that for nodes first."""
        return (self.program_id, *(one for _, one in self.board_programs))


Targets = tuple[tuple[str, Target | None], ...]
"""What a node shall run for each of some rules, ascending by rule; None: nothing."""


@dataclass(frozen=True, slots=True)
class Trial:
    """How a program is judged before it passes. Rates are hundredths of a percent.

    `samples_min` executions are needed for a verdict; `failures_max` is the rate of failures that is borne where
    nothing is known of the program before; more than `starts_max` starts of the process while it is watched is a crash
    loop. `rollback`: the node goes back by itself when it sees the program fail. `judges`: how many nodes judge it.
    """

    observe_s: int
    samples_min: int = 20
    failures_max: int = 500
    starts_max: int = 3
    rollback: bool = True
    judges: int = 1


@dataclass(frozen=True, slots=True)
class Wanted:
    """One program that a node shall run. `share` and `keyless` say for which events a candidate acts.

    `trial` None: it has passed. `is_return`: the node goes back to it, and what it ran instead shall not go on.
    """

    rule: str
    slot: str
    target: Target
    share: int = 0
    keyless: bool = False
    trial: Trial | None = None
    is_return: bool = False


@dataclass(frozen=True, slots=True)
class Options:
    """What users choose of a strategy. `batch` is a number of nodes; `batch_share` one of all, in its place if set.

    `steps` are the shares of a canary, ascending.
    """

    batch: int = 1
    batch_share: int = 0
    observe_s: int = 0
    steps: tuple[int, ...] = (1_000,)
    samples_min: int = 20
    failures_max: int = 500
    starts_max: int = 3


@dataclass(frozen=True, slots=True)
class Pause:
    """Why a deployment does not go on: `code` for programs, `text` for people."""

    code: str
    text: str
    since_us: int


@dataclass(frozen=True, slots=True)
class NodeProgress:
    """One node of a deployment. `previous` is its last known good of each rule when the deployment started.

    `place` is what the deployment wants of it now, `phase` the step in which its turn came last; -1: not yet.
    `manifest_version` is the node's manifest that says so, 0 while it wants nothing. `due_us` is when the answer to it
    is due, 0 while the node is offline. `touched_us` is when something other than `previous` first went out to the
    node, by this deployment or by one that it superseded; 0 for never. `revision` is that of the stored row.
    """

    node: str
    state: NodeState = NodeState.HELD
    reason: str = ""
    previous: Targets = ()
    place: Place = Place.NOTHING
    phase: int = -1
    manifest_version: int = 0
    due_us: int = 0
    touched_us: int = 0
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Deployment:
    """One attempt to move rules to programs on a set of nodes. Times are microseconds since 1970 UTC.

    `deadline_us` ends it in any state but ROLLING_BACK, which `state_deadline_us` ends. `outcome` is the terminal state
    that follows ROLLING_BACK. `phase` counts the steps of the strategy; `phase_since_us` is when the present state of
    it began. `waived` is the phase whose verdict somebody waived. `judgement` is what is kept of the evidence between
    two looks, `judged_us` is when the last one was.
    `revision` is that of the stored row.
    """

    id: str
    targets: Targets
    strategy: str
    rollback: Rollback
    created_us: int
    deadline_us: int
    created_by: str = ""
    options: Options = field(default_factory=Options)
    state: DeploymentState = DeploymentState.PENDING
    reason: str = ""
    updated_us: int = 0
    state_deadline_us: int = 0
    outcome: DeploymentState = DeploymentState.FAILED
    phase: int = 0
    phase_since_us: int = 0
    paused: tuple[Pause, ...] = ()
    waived: int = -1
    judgement: Any = None
    judged_us: int = 0
    revision: int = 0

    @property
    def over(self) -> bool:
        """Whether the deployment has ended."""
        return self.state in TERMINAL

    @property
    def rules(self) -> tuple[str, ...]:
        """The rules that it changes."""
        return tuple(rule for rule, _ in self.targets)

    @property
    def has_board_programs(self) -> bool:
        """Whether some of its programs are for boards alone."""
        return any(target is not None and target.board_programs for _, target in self.targets)

    def on(self, chip: str) -> Deployment:
        """Return the deployment as a node with this chip sees it."""
        return replace(self, targets=tuple((rule, target and target.on(chip)) for rule, target in self.targets))

    @property
    def name(self) -> str:
        """What people call it: its rule, or how many there are."""
        return self.rules[0] if len(self.targets) == 1 else f"{len(self.targets)} rules"
