"""What the archive asks of a database: whole bundles in, pages out; one thread at a time for each connection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from eyeflow.base.errors import EyeflowError
from eyeflow.coordinator.archive.chain import EMPTY, NO_OUTCOME, Owner, Row, Tail
from eyeflow.protocol.collecting import KeptHead, States


class BegunAnewError(EyeflowError):
    """The copy was begun anew: what was asked for before does not follow what is kept now."""

    def __init__(self) -> None:
        super().__init__(
            "the copy is begun anew",
            cause="what was kept could not be read, or was not what had been kept",
            next_step="nothing: nodes send again what they still have",
            code="archive_anew",
        )


class NotHeldError(EyeflowError):
    """Another coordinator holds the link of the node by now: it collects."""

    def __init__(self, node: str) -> None:
        super().__init__(
            f"this coordinator does not hold the link of {node} any more",
            cause="the node dialled another coordinator of the cluster",
            next_step="nothing: that one goes on with the copy",
            code="not_held",
        )


FOREIGN = "archive_version"
"""Code of the error that the archive is not one of this eyeflow."""
DAMAGED = "archive_damaged"
"""Code of the error that says that pages of a file cannot be read: no other disk, and no free space, takes it away."""

NO_HEAD = KeptHead(0)
"""The head of a copy of which nothing is kept."""
Cosign = Callable[[str, KeptHead], KeptHead]
"""Returns the head of a node's chain with the coordinator's signature."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """Records that a node sent, as they came; `head_seq` is the last that it had then. `now_us`: when they came.

    `states` say how its rules stand. `generation` is that of the archive for which they were asked, and `after` the
    head that it had told then: they may begin earlier, and never later.
    """

    owner: Owner
    records: bytes
    head_seq: int
    now_us: int
    generation: int = 0
    states: States | None = None
    after: KeptHead = NO_HEAD


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much an archive keeps: bytes on disk, and microseconds since a record came (0: for ever)."""

    size_bytes_max: int
    age_us_max: int = 0


@dataclass(frozen=True, slots=True)
class Loss:
    """What a node says in its signed gaps that it lost for one reason: `records` that nobody holds, in `gaps`.

    `last_us`: when it said so last, by its clock.
    """

    reason: str
    gaps: int
    records: int
    last_us: int


@dataclass(frozen=True, slots=True)
class Chain:
    """What is kept of one chain: from record `first_seq` on (0: nothing yet), up to `kept`.

    Earlier ones went by the bounds of the archive, or the node had dropped them. `branch` 0 is the copy that grows;
    others were set aside, in the order of their numbers. `losses` are told by `copies` only.
    """

    node: str
    kept: KeptHead
    first_seq: int = 0
    tail: Tail = EMPTY
    branch: int = 0
    size_bytes: int = 0
    losses: tuple[Loss, ...] = ()


@dataclass(frozen=True, slots=True)
class KeptState:
    """The durable state of a program in a slot of a rule, after record `seq` of `epoch`, as the node stores it."""

    rule: str
    slot: str
    key: str
    program_id: str
    epoch: int
    seq: int
    kept_us: int
    state: bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a bundle: the head that is kept now, or why it was not taken."""

    kept: KeptHead | None = None
    error: Exception | None = None


Place = tuple[int, int, int]
"""Where an execution stands among all: its time (us), the number of its chain in this archive, its seq."""
Arrival = tuple[int, int, int]
"""How far somebody has read: which archive, the number of a bundle in it, and the seq of the last record of that."""


@dataclass(frozen=True, slots=True)
class ExecutionsAsked:
    """Filters; those that are left out fit everything. `nodes` None: all. `acts`: numbers of `Acting`, None: any.

    Times are those of the nodes' clocks, in microseconds: from `since_us` on, and before `until_us`.
    """

    limit: int
    before: Place | None = None
    nodes: frozenset[str] | None = None
    rule: str = ""
    key: str = ""
    outcome: int = NO_OUTCOME
    acts: frozenset[int] | None = None
    since_us: int | None = None
    until_us: int | None = None


@dataclass(frozen=True, slots=True)
class FoundExecution:
    """An execution with the chain that it is of."""

    node: str
    epoch: int
    chain: int
    row: Row

    @property
    def place(self) -> Place:
        """Where it stands among all."""
        return (self.row.time_us, self.chain, self.row.seq)


@dataclass(frozen=True, slots=True)
class Acting:
    """A program (32 bytes) and the sites at which it acted in one execution: for an action, records are found by it."""

    number: int
    program: bytes
    sites: tuple[int, ...]


class ArchiveReader(Protocol):
    """Looks at what is committed. Its methods raise EyeflowError when the database cannot be read."""

    def chains(self) -> list[Chain]:
        """Return the newest chain of each node."""
        ...

    def chain(self, node: str, epoch: int) -> Chain | None:
        """Return one chain, None when nothing of it is kept."""
        ...

    def states(self, node: str) -> list[KeptState]:
        """Return how the rules of a node stood when it told last, ascending by rule, slot and key."""
        ...

    def copies(self, node: str) -> list[Chain]:
        """Return all that is kept of a node, the newest epoch first, and of each the copy that grows first."""
        ...

    def page(self, node: str, epoch: int, after_seq: int, limit: int, branch: int = 0) -> list[Row]:
        """Return records of a chain that follow `after_seq`, ascending, at most `limit`."""
        ...

    def executions(self, asked: ExecutionsAsked) -> tuple[list[FoundExecution], Place | None]:
        """Return executions that fit, by the time of the nodes' clocks, newest first; and before which place to go on.

        None: there are no more. One look has a bound, so there may be more although fewer than the limit were found.
        """
        ...

    def arrived(self, asked: ExecutionsAsked, after: Arrival | None) -> tuple[list[FoundExecution], Arrival, bool]:
        """Return executions that came after `after`, in that order; how far that is; whether more have come.

        `after` None: nothing, and where the end is now. `after` of another archive, which was damaged: all of this one.
        `before` of what is asked counts for nothing here.
        """
        ...

    def acting(self, after: int, limit: int) -> list[Acting]:
        """Return which sites of which programs acted together in one execution, by number, those after a number."""
        ...

    def of_rule(self, node: str, epoch: int, rule: str, after_seq: int, until_seq: int, limit: int) -> list[bytes]:
        """Return the records of a rule, and those of no rule, that follow `after_seq`, ascending."""
        ...

    def begin_of_rule(self, node: str, epoch: int, rule: str, until_seq: int, count: int) -> int:
        """Return the seq before the last `count` records of a rule up to `until_seq`; 0 when there are fewer."""
        ...

    def changes_of_rule(self, node: str, epoch: int, rule: str, until_seq: int) -> list[bytes]:
        """Return the last records up to `until_seq` that changed which program of a rule runs, the newest first."""
        ...

    def holes(self, node: str, epoch: int, after_seq: int, until_seq: int) -> list[int]:
        """Return the seqs of records of a chain before which others are missing, which the node had dropped."""
        ...

    def reopen(self) -> None:
        """Look at what is there now: the database was begun anew."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class ArchiveDatabase(ArchiveReader, Protocol):
    """The open database."""

    def append(self, bundles: Sequence[Bundle]) -> list[Outcome]:
        """Check bundles and make durable, in one commit, all that hold; the others say why in their outcome.

        Records that are kept already are compared: the same change nothing, others are a fork (`BrokenChain`). Where
        the copy does not reach what a bundle continues, it was begun anew (BegunAnewError). Where
        several coordinators share the database, only the one that holds a node's link appends (NotHeldError).
        """
        ...

    def set_aside(self, node: str, epoch: int | None = None) -> None:
        """Begin the copy of a node's chain anew; what is kept of it stays as a branch. Raises EyeflowError.

        The newest chain, unless `epoch` says which.
        """
        ...

    def begin_anew(self) -> None:
        """Set a damaged database aside as evidence, and begin an empty one. Raises EyeflowError."""
        ...

    def tidy(self, now_us: int) -> int:
        """Drop some of the records that are older than the bound; return how many. Raises EyeflowError."""
        ...
