"""What the coordinator asks of its store, in words of the cluster: no SQL, no dialect, no file.

A *step* is a function of `Writing`. The store runs it as one transaction, and its result comes back only after the
commit. A step may run in another thread, together with others in one commit, and again after a conflict: it reads and
writes by the verbs it is given and touches nothing else. Steps take effect in the order in which `write` was called.

SQLite (`sqlite_store`) serves one process, PostgreSQL (`postgres_store`) several. Both run the same statements; what a
database for several must keep beyond them stands at `Writing.save_progress` and `Reading.changes`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

from eyeflow.base.errors import EyeflowError
from eyeflow.coordinator.store.alarms import AlarmReading, AlarmWriting
from eyeflow.coordinator.store.asked import AskedReading, AskedWriting
from eyeflow.coordinator.store.cases import CaseReading, CaseWriting
from eyeflow.coordinator.store.coordination import CoordinationReading, CoordinationWriting, Standing
from eyeflow.coordinator.store.facts import (
    AppliedPolicy,
    Change,
    ChangeKind,
    EvidenceRow,
    EvidenceSums,
    Kept,
    LogEntry,
    NodeRecord,
    NodeReport,
    ProgramRecord,
    Reporter,
    Seen,
    SignedManifest,
    SignerKey,
    TestRun,
)
from eyeflow.coordinator.store.kept_credentials import CredentialReading, CredentialWriting
from eyeflow.coordinator.store.kept_histories import HistoryReading, HistoryWriting
from eyeflow.coordinator.store.kept_requests import RequestReading, RequestWriting
from eyeflow.coordinator.store.lists import ListReading
from eyeflow.coordinator.store.trends import TrendWriting
from eyeflow.evidence.outcomes import Tally
from eyeflow.protocol.coordinator_log import Entry, Head, SignedHead
from eyeflow.protocol.identity import Identity
from eyeflow.protocol.messages import RuleResult
from eyeflow.protocol.node_facts import NodeFacts
from eyeflow.rollout.actions import Which
from eyeflow.rollout.deployment import Deployment, NodeProgress, NodeState, Target, Wanted

T = TypeVar("T")


class ConflictError(EyeflowError):
    """Somebody else wrote a row after it was read: nothing of the step is kept. Read again, and decide again."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} was changed by somebody else at the same time",
            cause="it was read before that change, so what was decided from it does not hold",
            next_step="look at it again and repeat the request",
            code="conflict",
        )


class CursorTooOldError(EyeflowError):
    """The feed does not hold what follows a cursor any more: read the whole state, then follow from `newest`."""

    def __init__(self, cursor: int, oldest: int, newest: int) -> None:
        super().__init__(
            f"the change feed does not hold what follows cursor {cursor}",
            cause=f"it holds the changes {oldest} to {newest}",
            next_step=f"read the whole state again, then follow from cursor {newest}",
            code="cursor_too_old",
        )
        self.newest = newest


class Reading(
    CoordinationReading,
    ListReading,
    CaseReading,
    RequestReading,
    AskedReading,
    AlarmReading,
    HistoryReading,
    CredentialReading,
    Protocol,
):
    """Questions; all answers of one step or look are of one moment."""

    def count(self, kept: Kept) -> int:
        """Return how many of these there are."""
        ...

    def node(self, name: str) -> NodeRecord | None:
        """Return one node."""
        ...

    def nodes(self) -> list[NodeRecord]:
        """Return all nodes, ascending by name."""
        ...

    def node_names(self) -> list[str]:
        """Return the names of all nodes, ascending."""
        ...

    def labels(self, node: str) -> dict[str, str]:
        """Return the labels of a node."""
        ...

    def label_values(self) -> list[tuple[str, str]]:
        """Return every (name, value) that a node has as a label, ascending."""
        ...

    def labelled(self, labels: Mapping[str, str]) -> list[str]:
        """Return the nodes that have all of these labels, ascending."""
        ...

    def drained(self) -> frozenset[str]:
        """Return the nodes that are drained."""
        ...

    def said(self, node: str) -> list[RuleResult]:
        """Return what a node said of each rule's slot of the newest manifest that it applied, ascending by both."""
        ...

    def manifest(self, node: str) -> SignedManifest | None:
        """Return a node's newest manifest, None for an unknown node."""
        ...

    def ahead(self, node: str) -> int:
        """Return which manifest the node has that this store never knew, as it said last; 0 when it has none."""
        ...

    def wanted(self, node: str) -> list[Wanted]:
        """Return what a node shall run, ascending by rule and slot."""
        ...

    def wanted_of_rule(self, rule: str) -> list[tuple[str, Wanted]]:
        """Return which node shall run which program of a rule, ascending by node."""
        ...

    def known_good(self, node: str, rule: str) -> Target | None:
        """Return the last known good of a rule on a node."""
        ...

    def good_by(self, node: str, rule: str) -> str:
        """Return which deployment brought the last known good, or took the rule off the node; empty if none did."""
        ...

    def program(self, program_id: str) -> ProgramRecord | None:
        """Return one program."""
        ...

    def programs_of(self, rule: str) -> list[ProgramRecord]:
        """Return the programs of a rule, the last uploaded first."""
        ...

    def rules(self) -> list[str]:
        """Return the rules that have a program, ascending."""
        ...

    def program_bytes(self, program_id: str) -> bytes:
        """Return a program's bytes, empty when it is not here."""
        ...

    def program_source(self, program_id: str) -> str:
        """Return the text of the rule of a program, empty when it was not uploaded."""
        ...

    def program_tests(self, program_id: str) -> TestRun | None:
        """Return how the tests of a program's rule went, None when nobody told it."""
        ...

    def signer_list(self) -> bytes | None:
        """Return the root's list of signers, as it was published last."""
        ...

    def signers(self) -> list[SignerKey]:
        """Return all signer keys, revoked ones too, in the order they came."""
        ...

    def policy(self) -> AppliedPolicy | None:
        """Return the policy that was applied last."""
        ...

    def deployment(self, deployment_id: str) -> Deployment | None:
        """Return one deployment."""
        ...

    def open_deployments(self) -> list[Deployment]:
        """Return the deployments that have not ended, oldest first."""
        ...

    def due_deployments(self, now_us: int) -> list[str]:
        """Return the open deployments of which a deadline has passed, or the answer of a node is overdue."""
        ...

    def counts(self, deployment_id: str) -> dict[NodeState, int]:
        """Return how many nodes stand in each state. The counts are kept, not counted."""
        ...

    def overdue(self, deployment_id: str, now_us: int) -> tuple[str, ...]:
        """Return the nodes whose answer was due by now, ascending."""
        ...

    def progress(self, deployment_id: str, which: Which | None = None, limit: int | None = None) -> list[NodeProgress]:
        """Return nodes of a deployment, all or `which`, ascending by name, `limit` at most."""
        ...

    def open_progress(self, node: str) -> list[tuple[Deployment, NodeProgress]]:
        """Return where a node stands in each open deployment that it is part of, the oldest first."""
        ...

    def tallies(self, deployment_id: str, nodes: Sequence[str]) -> dict[str, Tally]:
        """Return what some nodes of a deployment told last of its programs; those that told nothing are left out."""
        ...

    def evidence_sums(self, deployment: Deployment, since_us: int) -> EvidenceSums:
        """Return the sums of the evidence for and beside the present step of a deployment.

        They cost as much as it has nodes and rules.
        """
        ...

    def taken_back(self, deployment_id: str) -> list[tuple[str, str]]:
        """Return (node, reason) of the nodes that took a program of this deployment back by themselves."""
        ...

    def watched_rules(self) -> frozenset[str]:
        """Return the rules of open deployments."""
        ...

    def awaited(self) -> list[tuple[str, str]]:
        """Return (deployment, node) of every node whose answer is due at some time."""
        ...

    def changes(self, cursor: int, limit: int) -> list[Change]:
        """Return the changes after `cursor`, oldest first; raises CursorTooOldError when some are no longer held.

        A reader that goes on from the last number it saw misses nothing: numbers become visible in their order.
        """
        ...

    def newest_change(self) -> int:
        """Return the number of the newest change, 0 before the first: the cursor of who has read the whole state."""
        ...

    def cursor(self, reader: str) -> int:
        """Return how far a durable reader of the feed has come, 0 before it began."""
        ...

    def log_entries(self, limit: int) -> list[LogEntry]:
        """Return the newest entries of who did what, newest first."""
        ...

    def log_after(self, number: int, limit: int) -> list[Entry]:
        """Return the entries of the log after a number, oldest first."""
        ...

    def log_head(self) -> Head:
        """Return the head of the newest entry of the log."""
        ...

    def signed_head(self) -> SignedHead | None:
        """Return the head of the log that was signed last."""
        ...


class Writing(
    Reading,
    CoordinationWriting,
    CaseWriting,
    RequestWriting,
    AskedWriting,
    AlarmWriting,
    TrendWriting,
    HistoryWriting,
    CredentialWriting,
    Protocol,
):
    """Changes, inside one step. What a step changed it reads back at once; others see it after the commit."""

    def add_log_entry(self, entry: LogEntry) -> None:
        """Record who did what, as the next entry of the chain."""
        ...

    def keep_signed_head(self, signed: SignedHead) -> None:
        """Keep the head of the log that was signed last."""
        ...

    def add_change(self, now_us: int, kind: ChangeKind, subject: str, node: str = "") -> None:
        """Append to the feed. The verbs below do so themselves where what they write is shown to people."""
        ...

    def move_cursor(self, reader: str, number: int) -> None:
        """Keep how far a durable reader of the feed has come."""
        ...

    def keep_policy(self, policy: AppliedPolicy) -> None:
        """Make this the policy that holds."""
        ...

    def trust_signer(self, public_key: bytes, name: str, now_us: int) -> None:
        """Trust a key, also one that was revoked."""
        ...

    def keep_signer_list(self, text: bytes, now_us: int) -> None:
        """Keep the root's list of signers."""
        ...

    def revoke_signer(self, public_key: bytes, now_us: int) -> None:
        """Trust a key no more."""
        ...

    def add_program(self, program: ProgramRecord, data: bytes) -> None:
        """Keep a new program with its bytes."""
        ...

    def keep_program_source(self, program_id: str, source: str, now_us: int) -> None:
        """Keep the text of the rule of a program, in place of one before."""
        ...

    def keep_program_tests(self, program_id: str, run: TestRun) -> None:
        """Keep how the tests of a program's rule went, in place of what was told before."""
        ...

    def resign_program(self, program_id: str, about: Mapping[str, object], data: bytes, now_us: int) -> None:
        """Keep the same program with other signatures."""
        ...

    def register_node(self, name: str, public_key: bytes, now_us: int) -> None:
        """Add a node. Manifest versions of an earlier node of the name go on: they only grow."""
        ...

    def remove_node(self, name: str, now_us: int) -> None:
        """Remove a node with all that was wanted and known of it; keep the highest version of its manifests."""
        ...

    def set_labels(self, node: str, labels: Mapping[str, str], now_us: int) -> None:
        """Make these the labels of a node, in place of those before."""
        ...

    def set_drained(self, node: str, since_us: int, now_us: int) -> None:
        """Keep since when a node is drained, 0 for not any more."""
        ...

    def record_hello(self, node: str, software: str, protocol: int, now_us: int, facts: NodeFacts | None) -> None:
        """Keep that a node's link is up, which protocol version it speaks, and what it tells of itself."""
        ...

    def record_seen(self, seen: Iterable[Seen]) -> None:
        """Keep when nodes were seen."""
        ...

    def record_problem(self, node: str, problem: str, now_us: int) -> None:
        """Keep why a node's link was refused or closed."""
        ...

    def record_report(self, report: NodeReport, now_us: int) -> Reporter:
        """Keep what a node said of a manifest, unless it has said something of a newer one, and return how it stands.

        One verb, because reports come from all nodes at once: each question costs a round trip.
        """
        ...

    def forget_applied(self, node: str) -> None:
        """Forget which manifest the node said it had applied."""
        ...

    def want(self, node: str, wanted: Wanted) -> None:
        """Make the node's wanted set hold this program in this slot of this rule."""
        ...

    def unwant(self, node: str, rule: str, slot: str) -> None:
        """Make the node's wanted set hold nothing in this slot of this rule."""
        ...

    def record_evidence(self, found: Sequence[EvidenceRow]) -> None:
        """Keep what nodes said last of programs of these rules, in place of what they said before.

        Of a node that is not in the cluster nothing is kept.
        """
        ...

    def record_taken_back(self, node: str, found: Sequence[EvidenceRow], now_us: int) -> None:
        """Keep that a node runs programs no more that it said it had installed, where they are wanted still."""
        ...

    def keep_baselines(self, deployment: Deployment, phase: int) -> None:
        """Keep, for each node whose turn comes in this step, how the programs did that are to be replaced there.

        After the change nobody runs them any more. Only those count that passed: what failed its trial excuses no
        other.
        """
        ...

    def keep_known_good(self, node: str, rule: str, target: Target) -> None:
        """Move the last known good of a rule on a node. A target without a program: a deployment took the rule off."""
        ...

    def forget_known_good(self, node: str, rule: str) -> None:
        """Forget the last known good of a rule on a node."""
        ...

    def next_manifest_version(self, node: str) -> int:
        """Raise the version of a node's manifest and return it, 0 for an unknown node."""
        ...

    def record_ahead(self, node: str, version: int, now_us: int) -> None:
        """Keep that a node has a manifest that this store never knew; 0: no more."""
        ...

    def raise_manifest_version(self, node: str, version: int) -> None:
        """Raise the version of a node's manifest to `version`, if it is lower."""
        ...

    def keep_manifest(self, node: str, body: bytes, signature: bytes, now_us: int) -> None:
        """Keep the signed manifest of the node's present version."""
        ...

    def add_deployment(self, deployment: Deployment, nodes: Sequence[NodeProgress]) -> None:
        """Keep a new deployment with its nodes."""
        ...

    def forget_old_deployments(self, kept: int, now_us: int) -> None:
        """Forget ended deployments other than the newest `kept`."""
        ...

    def save_deployment(self, deployment: Deployment) -> Deployment:
        """Write a deployment's own row and return it with its new revision; raises ConflictError as `save_progress`."""
        ...

    def save_progress(self, deployment_id: str, before: NodeProgress, after: NodeProgress, now_us: int) -> NodeProgress:
        """Write a node's row, move the counts with it, and return it with its new revision.

        Raises ConflictError when the row is not of the revision of `before` any more. A database that runs steps at the
        same time must compare the revision in the statement that writes.
        """
        ...

    def drop_progress(self, deployment_id: str, node: str) -> None:
        """Take a node out of a deployment."""
        ...


Step = Callable[[Writing], T]
Look = Callable[[Reading], T]


class ClusterStore(Protocol):
    """The open store. `identity` is the cluster's key. `is_shared`: other coordinators may have it open, too.

    `own_id` tells this coordinator from the others of its cluster; `coordinator_id` is the same for all of them.
    """

    identity: Identity
    coordinator_id: str
    own_id: str
    is_shared: bool

    @property
    def trouble(self) -> str:
        """Why the last write failed or the next one will; empty while all is well."""
        ...

    def write(self, step: Step[T]) -> Awaitable[T]:
        """Hand a step over at once; the answer comes after its commit. Raises EyeflowError when nothing was kept."""
        ...

    def read(self, look: Look[T]) -> Awaitable[T]:
        """Answer a question from what is committed now. Raises EyeflowError when the store cannot be read."""
        ...

    def on_change(self, tell: Callable[[], None]) -> None:
        """Call `tell` on the event loop after each commit that appended to the feed: a hint, the feed is the truth."""
        ...

    async def stand(self) -> Standing:
        """Say who lives, and try to lead. Raises EyeflowError when that cannot be found out: then one does not lead."""
        ...

    async def check(self) -> None:
        """Raise EyeflowError when the disk takes nothing more, and notice when it takes again."""
        ...

    def close(self) -> None:
        """Commit what was handed over, then close."""
        ...


def trusted_signers(store: Reading) -> frozenset[bytes]:
    """Return the keys whose programs are accepted now."""
    return frozenset(key.public_key for key in store.signers() if not key.revoked_us)


def doubt(store: Reading, node: str) -> str:
    """Return why results of a node cannot count, empty when they do."""
    return store.history(node).reason
