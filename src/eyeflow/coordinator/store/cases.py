"""What a deployment keeps of single executions for people: those that failed, and those that decided otherwise.

It is bounded: of each kind the newest CASES_MAX of a deployment, of as many nodes as there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

CASES_MAX = 20
"""Cases of one kind that a deployment keeps."""


class CaseKind(Enum):
    """What a case is."""

    FAILED = "failed"
    """An execution that failed."""
    DIFFERING = "differing"
    """An event on which a candidate decided otherwise than the active program."""
    VERDICT = "verdict"
    """The verdict that decided last: by which it failed, or its last step passed or was promoted; there is one."""


@dataclass(frozen=True, slots=True)
class Case:
    """One case. `body` is JSON text, as the REST API shows it; the same case told twice is equal to itself."""

    deployment_id: str
    kind: CaseKind
    node: str
    time_us: int
    body: str


class CaseReading(Protocol):
    """Questions about cases."""

    def cases(self, deployment_id: str, kind: CaseKind) -> list[Case]:
        """Return the cases of one kind of a deployment, newest first."""
        ...


class CaseWriting(CaseReading, Protocol):
    """Changes of cases, inside one step."""

    def record_cases(self, found: Sequence[Case]) -> None:
        """Keep these beside those that are there, as `kept` chooses; those of no node of the deployment are not kept.

        A verdict takes the place of the one before.
        """
        ...


def kept(cases: Iterable[Case]) -> list[Case]:
    """Return which cases of one kind of a deployment stay, newest first.

    Each time the oldest goes of the node that has most, so that no node hides what befell the others.
    """
    found = sorted(dict.fromkeys(cases), key=lambda one: (one.time_us, one.node, one.body), reverse=True)
    of_node = Counter(one.node for one in found)
    while len(found) > CASES_MAX:
        most = max(of_node.values())
        oldest = next(one for one in reversed(found) if of_node[one.node] == most)
        found.remove(oldest)
        of_node[oldest.node] -= 1
    return found
