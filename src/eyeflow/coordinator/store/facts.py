"""What the store keeps of nodes, programs, keys, tokens and changes: plain values, the same for every database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from eyeflow.evidence.outcomes import Tally
from eyeflow.protocol.messages import RuleResult
from eyeflow.protocol.node_facts import NodeFacts
from eyeflow.rollout.deployment import Deployment, NodeProgress

SOURCE_CHARS_MAX = 64 * 1024
"""Characters of the text of a rule that is kept. Rules are a few kilobytes; what is larger is not compiled here."""


@dataclass(frozen=True, slots=True)
class TestRun:
    """How the tests of a program's rule went: each with `name`, `line`, `passed` and `message`; who told it when."""

    __test__ = False
    told_us: int
    told_by: str
    tests: tuple[Mapping[str, object], ...]


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """One node. `applied_version`: the newest manifest that it said it applied. `problem`: why its link was closed.

    `protocol`: the version of the link protocol that it spoke last, 0 before its first link. `facts`: what it told of
    itself then, None when it told nothing. `drained_us`: since when deployments to all nodes, or to those of a label,
    leave it out; 0 while they do not. The rates are true to half a minute. `failing_since_us`: since when something on
    it fails or was refused; 0 while nothing does.
    """

    name: str
    public_key: bytes
    joined_us: int
    last_seen_us: int
    software: str
    epoch: int
    next_seq: int
    manifest_version: int
    applied_version: int
    problem: str
    protocol: int
    facts: NodeFacts | None = None
    drained_us: int = 0
    executions_a_minute: float = 0.0
    errors_a_minute: float = 0.0
    failing_since_us: int = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """What a node told last of itself, in passing. `health`: JSON for the other coordinators, empty for none.

    `failed`: how many of its parts fail. `waiting`: events in the queues of its rules. `is_silent`: it has a link and
    tells nothing. `is_news`: more than counters changed since the last time. `gaps` is how often it dropped audit
    records since its last start, `lost_records` how many. `board`: JSON of what was told of a board, empty for none.
    """

    node: str
    epoch: int
    next_seq: int
    seen_us: int
    health: str = ""
    failed: int = 0
    waiting: int = 0
    executions_a_minute: float = 0.0
    errors_a_minute: float = 0.0
    is_silent: bool = False
    is_news: bool = False
    gaps: int = 0
    lost_records: int = 0
    board: str = ""


@dataclass(frozen=True, slots=True)
class SignedManifest:
    """A node's newest manifest: `body` as signed, the ids of its programs, and its version."""

    version: int
    body: bytes
    signature: bytes
    program_ids: frozenset[str]


@dataclass(frozen=True, slots=True)
class ProgramRecord:
    """One program; `about` is what `intake.describe` said."""

    id: str
    rule: str
    version: str
    sequence: int
    profile: str
    about: dict[str, Any]
    uploaded_us: int
    uploaded_by: str
    size_bytes: int

    @property
    def signers(self) -> tuple[bytes, ...]:
        """The public keys that signed it and were trusted when it came."""
        return tuple(bytes.fromhex(key) for key in self.about["signers"])


@dataclass(frozen=True, slots=True)
class SignerKey:
    """One key whose programs the cluster trusts, or trusted once (`revoked_us` > 0)."""

    public_key: bytes
    name: str
    added_us: int
    revoked_us: int


@dataclass(frozen=True, slots=True)
class ApiToken:
    """One API token; of its secret only the SHA-256 is kept. `expires_us` 0: never. `used_us` 0: not used yet.

    `created_by`: the name of the token with which it was made. `labels`: of the nodes that it is for; empty: all.
    `person`: who has it, empty when that is not told.
    """

    id: str
    name: str
    role: str
    hash: bytes
    created_us: int
    revoked_us: int = 0
    expires_us: int = 0
    used_us: int = 0
    created_by: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    person: str = ""

    def works(self, now_us: int) -> bool:
        """Say whether it opens anything at `now_us`."""
        return not self.revoked_us and (not self.expires_us or now_us < self.expires_us)


@dataclass(frozen=True, slots=True)
class JoinToken:
    """One join token; `used_us` 0: not used yet."""

    id: str
    hash: bytes
    created_us: int
    expires_us: int
    used_us: int = 0
    used_by: str = ""


@dataclass(frozen=True, slots=True)
class AppliedPolicy:
    """The text of a policy, and who applied it when."""

    text: str
    time_us: int
    actor: str


@dataclass(frozen=True, slots=True)
class LogEntry:
    """Who did what."""

    time_us: int
    actor: str
    action: str
    subject: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class EvidenceRow:
    """What a node said last of one program in one slot of a rule: how it did since it began there for its deployment.

    `pending` are executions whose actions have not ended, `boots` starts of the process. `standing` and `reason` say
    what the node made of it by itself.
    """

    node: str
    rule: str
    slot: str
    program_id: str
    deployment_id: str
    tally: Tally
    pending: int
    differing: int
    boots: int
    standing: str
    reason: str
    seen_us: int


@dataclass(frozen=True, slots=True)
class EvidenceSums:
    """Evidence of a deployment's programs on the nodes of its present step, beside that of other programs there.

    `candidate` and `before` are those of nodes, `board_candidate` and `board_before` those of boards; None: the step
    has none. `control` are other programs of its rules that run beside them, on the same events; None: there are none.
    `before` is how the programs did that they replaced, where the new ones have run, or acted. `pending` are executions
    of the candidates of nodes whose actions have not ended: those of boards act within their executions. `starts_max`
    is the most process starts of any node. `unheard` are nodes that changed and told nothing of it since `since_us` of
    the question.
    """

    candidate: Tally | None
    control: Tally | None
    before: Tally
    starts_max: int
    differing: int
    unheard: tuple[str, ...]
    board_candidate: Tally | None
    board_before: Tally
    pending: int = 0


class Kept(Enum):
    """What the store counts."""

    NODES = "nodes"
    PROGRAMS = "programs"
    API_TOKENS = "API tokens"
    JOIN_TOKENS = "join tokens"
    LINKS = "links"
    RULES = "rules"
    OPEN_DEPLOYMENTS = "open deployments"


class ChangeKind(Enum):
    """What a change is about, and so what its subject names."""

    NODE = "node"
    """A node joined, was removed, told something new of itself, or is in doubt. Subject: the node."""
    LINK = "link"
    """A node's link opened or closed, or another coordinator holds it. Subject: the node."""
    MANIFEST = "manifest"
    """What a node shall run changed. Subject: the node."""
    DEPLOYMENT = "deployment"
    """A deployment entered a state. Subject: its id."""
    PROGRESS = "progress"
    """A node of a deployment entered a state. Subject: the deployment's id; `node`: the node."""
    PROGRAM = "program"
    """A program was uploaded, or signed anew. Subject: its id."""
    RULE = "rule"
    """A rule has another program; how many nodes shall run it, MANIFEST tells. Subject: the rule."""
    KEY = "key"
    """A signer's key is trusted or revoked, or the root's list was published. Subject: the key, or `root`."""
    POLICY = "policy"
    """Another policy holds. Subject: empty."""
    TOKEN = "token"
    """An API token was made or revoked. Subject: its id."""
    ALARM = "alarm"
    """An alarm began or ended, has newer evidence, or somebody has taken note of it. Subject: its number."""
    LOG = "log"
    """The log has a new entry. Subject: its number."""
    RECORD = "record"
    """More audit records of a node were copied. Subject: the node. Nothing keeps it: only who watches hears of it."""


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of the change feed. Numbers only grow, without a gap. `labels`: what a node had that left or changed.

    They are there for those who saw it by them and see it no more.
    """

    number: int
    time_us: int
    kind: ChangeKind
    subject: str
    node: str = ""
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Reporter:
    """A node that reports: whether its history is in doubt, and where it stands in open deployments, oldest first."""

    doubtful: bool = False
    open: tuple[tuple[Deployment, NodeProgress], ...] = ()


@dataclass(frozen=True, slots=True)
class NodeReport:
    """What a node said of each rule of manifest `manifest_version`."""

    node: str
    manifest_version: int
    results: tuple[RuleResult, ...]
