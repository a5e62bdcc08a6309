"""What is asked of the long lists of the store: which rows, in which order, after which one, and how many at most.

No list is read whole and none is skipped through: a page begins behind the key of the last row of the page before. What
comes or goes meanwhile moves nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, Protocol, TypeVar

from eyeflow.coordinator.histories import History
from eyeflow.coordinator.store.coordination import Link
from eyeflow.coordinator.store.facts import ApiToken, NodeRecord, ProgramRecord, SignerKey
from eyeflow.coordinator.store.kept_boards import KeptBoard
from eyeflow.coordinator.store.trends import TrendReading
from eyeflow.protocol.coordinator_log import Entry
from eyeflow.protocol.messages import RuleResult
from eyeflow.rollout.deployment import Deployment, DeploymentState, NodeProgress, NodeState, Wanted

T_co = TypeVar("T_co", covariant=True)
Key = tuple[str | int | float, ...]
"""Where a row stands in its list: what the list is sorted by."""
Labels = tuple[tuple[str, str], ...]


class Standing(Enum):
    """How a node stands. It may stand in several of these ways at once, but for `fine`."""

    FAILING = "failing"
    """Something on it failed or was refused, or its history is in doubt."""
    OFFLINE = "offline"
    """It has no link, or tells nothing over it."""
    PENDING = "pending"
    """It has yet to answer for a rule."""
    DRAINED = "drained"
    FINE = "fine"
    """It is heard, nothing fails, nothing is pending."""


class NodeOrder(Enum):
    """Which nodes come first."""

    NAME = "name"
    WORST = "worst"
    HEARD = "heard"
    """Those that were not heard for the longest time."""
    EXECUTIONS = "executions"
    ERRORS = "errors"


class TokenState(Enum):
    """Whether a token opens anything."""

    WORKS = "works"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Page(Generic[T_co]):
    """Some rows of a list. `after` is the key of the last one when more follow, else None."""

    rows: Sequence[T_co]
    after: Key | None = None


@dataclass(frozen=True, slots=True)
class NodesAsked:
    """Which nodes: each condition must hold; of `standings` and of `names` one. `name` is a part of it.

    `silent_us`: a node that was last seen before this time is not heard, whatever it has for a link.
    `gateway`: boards that this node speaks for. `is_board` None: boards and others.
    """

    limit: int
    after: Key | None = None
    order: NodeOrder = NodeOrder.NAME
    standings: frozenset[Standing] = frozenset()
    labels: Labels = ()
    rule: str = ""
    name: str = ""
    since_us: int = 0
    silent_us: int = 0
    names: tuple[str, ...] = ()
    gateway: str = ""
    is_board: bool | None = None


@dataclass(frozen=True, slots=True)
class NodeSums:
    """How many nodes stand how. The rates are those of nodes whose link another coordinator than `own_id` holds."""

    nodes: int
    active: int
    failing: int
    pending: int
    drained: int
    waiting: int
    executions_a_minute: float
    errors_a_minute: float


@dataclass(frozen=True, slots=True)
class NodeDetails:
    """What else the store knows of a node. `ahead_version`: of the manifest that it has and the store never knew."""

    link: Link | None
    history: History
    health: list[dict[str, Any]]
    labels: dict[str, str]
    wanted: list[Wanted]
    said: list[RuleResult]
    ahead_version: int = 0
    board: KeptBoard | None = None


@dataclass(frozen=True, slots=True)
class RulesAsked:
    """Which rules. `since_us`: a program of it was uploaded then or later. `node`: it shall run it.

    `name` is a part of its name, `rule` all of it.
    """

    limit: int
    after: Key | None = None
    name: str = ""
    node: str = ""
    since_us: int = 0
    rule: str = ""


@dataclass(frozen=True, slots=True)
class RuleRow:
    """A rule, the newest of its programs and those that nodes shall run, and how many nodes shall run which."""

    rule: str
    programs: list[ProgramRecord]
    nodes: dict[str, int]


@dataclass(frozen=True, slots=True)
class ProgramsAsked:
    """Which programs, the last uploaded first."""

    limit: int
    after: Key | None = None
    rule: str = ""
    since_us: int = 0


@dataclass(frozen=True, slots=True)
class DeploymentsAsked:
    """Which deployments, the newest first. `is_open` None: whether they have ended or not."""

    limit: int
    after: Key | None = None
    states: frozenset[DeploymentState] = frozenset()
    is_open: bool | None = None
    strategy: str = ""
    rule: str = ""
    node: str = ""
    since_us: int = 0


@dataclass(frozen=True, slots=True)
class ProgressAsked:
    """Which nodes of a deployment, ascending by name. `name` is a part of it; of `names` it is one."""

    deployment_id: str
    limit: int
    after: Key | None = None
    states: frozenset[NodeState] = frozenset()
    name: str = ""
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TokensAsked:
    """Which API tokens, in the order they were made."""

    limit: int
    now_us: int
    after: Key | None = None
    states: frozenset[TokenState] = frozenset()
    role: str = ""
    name: str = ""
    since_us: int = 0


@dataclass(frozen=True, slots=True)
class KeysAsked:
    """Which signer keys, in the order they came. `name` is a part of it. `after`: when one came, and its key in hex."""

    limit: int
    after: Key | None = None
    name: str = ""
    since_us: int = 0


@dataclass(frozen=True, slots=True)
class LogAsked:
    """Which entries of the log: oldest first, or newest first. `subject` and `action` are whole, `actor` too."""

    limit: int
    after: Key | None = None
    newest_first: bool = False
    actor: str = ""
    action: str = ""
    subject: str = ""
    since_us: int = 0


class ListReading(TrendReading, Protocol):
    """Pages of the long lists. All of them cost what a page holds, or one pass over narrow rows."""

    def node_page(self, asked: NodesAsked) -> Page[NodeRecord]:
        """Return nodes in the order that is asked for."""
        ...

    def count_nodes(self, asked: NodesAsked) -> int:
        """Return how many nodes fit, on all pages together."""
        ...

    def node_sums(self, silent_us: int, own_id: str, labels: Labels = ()) -> NodeSums:
        """Return how many nodes, of those that have all `labels`, stand how. `silent_us` as in NodesAsked."""
        ...

    def node_details(self, names: Sequence[str]) -> dict[str, NodeDetails]:
        """Return what else is known of some nodes, by name."""
        ...

    def rule_page(self, asked: RulesAsked) -> Page[RuleRow]:
        """Return rules, ascending."""
        ...

    def program_page(self, asked: ProgramsAsked) -> Page[ProgramRecord]:
        """Return programs, the last uploaded first."""
        ...

    def deployment_page(self, asked: DeploymentsAsked) -> Page[Deployment]:
        """Return deployments, the newest first."""
        ...

    def progress_page(self, asked: ProgressAsked) -> Page[NodeProgress]:
        """Return nodes of a deployment, ascending by name."""
        ...

    def token_page(self, asked: TokensAsked) -> Page[ApiToken]:
        """Return API tokens in the order they were made."""
        ...

    def signer_page(self, asked: KeysAsked) -> Page[SignerKey]:
        """Return signer keys, revoked ones too, in the order they came."""
        ...

    def log_page(self, asked: LogAsked) -> Page[Entry]:
        """Return entries of the log."""
        ...
