"""What needs a person: since when, by what evidence, until when, and who has taken note of it.

An alarm begins and ends in the step that writes what it is about, so it is never of another mind than the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from eyeflow.coordinator.store.lists import Key, Page

ALARMS_MAX = 10_000
"""Alarms that are kept; beyond them those go that have ended, the oldest first."""
NOTE_CHARS_MAX = 500


class AlarmKind(Enum):
    """What an alarm is about, and so what its subject names."""

    DEPLOYMENT_FAILED = "deploymentFailed"
    """A deployment ended as failed. Subject: its id."""
    LATE_FAILURE = "lateFailure"
    """A program began to fail after it had passed. Subject: the deployment that brought it."""
    NODE_IN_DOUBT = "nodeInDoubt"
    """The node's history does not fit what was known of it: nothing counts that it says. Subject: the node."""
    STORE_LOST = "storeLost"
    """The node began with a new store: state and records from before are gone. Subject: the node."""
    RECORDS_LOST = "recordsLost"
    """The node dropped audit records that its disk had no room for. Subject: the node."""
    NODE_AHEAD = "nodeAhead"
    """The node has a manifest that this store never knew: the store may be an old copy. Subject: the node."""
    LAST_GOOD_REFUSED = "lastGoodRefused"
    """A node went back, and refuses the last known good program of a rule: nothing of it runs. Subject: the node."""
    ARCHIVE_DAMAGED = "archiveDamaged"
    """Records that the coordinator kept cannot be read. Subject: machine and file, or the node of which they are."""
    CERTIFICATE_EXPIRES = "certificateExpires"
    """A certificate runs out soon and nothing renews it. Subject: machine and file of the certificate."""


OF_DEPLOYMENTS = frozenset({AlarmKind.DEPLOYMENT_FAILED, AlarmKind.LATE_FAILURE})
OF_NODES = frozenset({AlarmKind.NODE_IN_DOUBT, AlarmKind.STORE_LOST, AlarmKind.RECORDS_LOST, AlarmKind.NODE_AHEAD}) | {
    AlarmKind.LAST_GOOD_REFUSED,
    AlarmKind.ARCHIVE_DAMAGED,
}
NEXT_STEPS = {
    AlarmKind.DEPLOYMENT_FAILED: "see why: eyeflow deployments show {subject}; correct it and deploy again",
    AlarmKind.LATE_FAILURE: "look at the plant and the program; take it back: eyeflow deployments rollback {subject}",
    AlarmKind.NODE_IN_DOUBT: "see eyeflow nodes show {subject}; stop the copy, then: eyeflow nodes accept {subject}",
    AlarmKind.STORE_LOST: "look at the node's disk and log, then confirm: eyeflow nodes accept {subject}",
    AlarmKind.RECORDS_LOST: "make room on the node's disk, or raise [offline] max_buffer_size_mb and "
    "max_buffer_age_hours there; the alarm ends with the next start of the node",
    AlarmKind.NODE_AHEAD: "put a newer backup of the coordinator back, or send the node what this store knows: "
    "eyeflow nodes accept {subject}",
    AlarmKind.LAST_GOOD_REFUSED: "eyeflow nodes show {subject} says which rule and why; sign that program with a "
    "trusted key, or deploy another one",
    AlarmKind.ARCHIVE_DAMAGED: "look at the coordinator's disk (smartctl, the kernel's log). Nodes send again what "
    "they still have. Remove a file that ends in .damaged when you need it no more: its alarm ends then",
    AlarmKind.CERTIFICATE_EXPIRES: "put a new certificate there and start the coordinator again",
}


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm. `ended_us` 0: it lasts. `ended` says by what it ended. `seen_us` 0: nobody has acknowledged it."""

    number: int
    kind: AlarmKind
    subject: str
    since_us: int
    evidence: str
    ended_us: int = 0
    ended: str = ""
    seen_us: int = 0
    seen_by: str = ""
    note: str = ""

    @property
    def next_step(self) -> str:
        """What to do about it."""
        return NEXT_STEPS[self.kind].format(subject=self.subject)


@dataclass(frozen=True, slots=True)
class AlarmsAsked:
    """Which alarms, the newest first. `is_open`, `is_seen` None: whichever. `node`: of this node, by its name."""

    limit: int
    after: Key | None = None
    kinds: frozenset[AlarmKind] = frozenset()
    is_open: bool | None = None
    is_seen: bool | None = None
    node: str = ""
    since_us: int = 0


class AlarmReading(Protocol):
    """Questions about alarms."""

    def alarm(self, number: int) -> Alarm | None:
        """Return one alarm."""
        ...

    def alarm_page(self, asked: AlarmsAsked) -> Page[Alarm]:
        """Return alarms, the newest first."""
        ...

    def open_alarms(self) -> Sequence[Alarm]:
        """Return the alarms that last, the oldest first. They are as many as there are things to look after."""
        ...


class AlarmWriting(AlarmReading, Protocol):
    """Changes of alarms, inside one step. The verbs of the store raise and end those of nodes and deployments."""

    def raise_alarm(self, kind: AlarmKind, subject: str, evidence: str, now_us: int) -> None:
        """Begin an alarm, or keep newer evidence of one that lasts: it stays acknowledged then."""
        ...

    def end_alarm(self, kind: AlarmKind, subject: str, why: str, now_us: int) -> None:
        """End an alarm, if it lasts."""
        ...

    def acknowledge_alarm(self, number: int, actor: str, note: str, now_us: int) -> None:
        """Keep who has taken note of an alarm, in place of who did before."""
        ...
