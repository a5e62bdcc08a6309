"""Tokens for some nodes only: which paths they open, and what of the cluster is there for them.

The scope of such a token is labels. The nodes that have all of them are its nodes; it neither sees nor changes others.
A deployment is there for it when all nodes of it are its nodes. What is not named here is closed to it: a new path, or
a new question to the store, tells nothing of other nodes before somebody has thought of it.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

from eyeflow.coordinator.alarms import found_alarm
from eyeflow.coordinator.hub import Hub
from eyeflow.coordinator.problem import Problem
from eyeflow.coordinator.reach import is_within
from eyeflow.coordinator.store.alarms import OF_DEPLOYMENTS, OF_NODES, Alarm, AlarmsAsked
from eyeflow.coordinator.store.cluster_store import ClusterStore, Reading
from eyeflow.coordinator.store.coordination import Link
from eyeflow.coordinator.store.facts import Kept, NodeRecord
from eyeflow.coordinator.store.lists import (
    DeploymentsAsked,
    Labels,
    NodeDetails,
    NodesAsked,
    NodeSums,
    Page,
    RuleRow,
    RulesAsked,
)
from eyeflow.coordinator.tokens import Actor
from eyeflow.protocol.slot import Slot
from eyeflow.rollout.deployment import Deployment, Wanted

T = TypeVar("T")

OPEN = frozenset(
    {
        ("GET", "/api/status"),
        ("GET", "/api/nodes"),
        ("GET", "/api/node-rows"),
        ("GET", "/api/nodes/{id}"),
        ("GET", "/api/nodes/{id}/trend"),
        ("GET", "/api/nodes/{id}/board-file"),
        ("GET", "/api/nodes/{id}/lines"),
        ("GET", "/api/nodes/{id}/records"),
        ("GET", "/api/nodes/{id}/copies"),
        ("GET", "/api/nodes/{id}/states"),
        ("GET", "/api/executions"),
        ("GET", "/api/executions/{id}/why"),
        ("POST", "/api/nodes/{id}/drain"),
        ("POST", "/api/nodes/{id}/undrain"),
        ("DELETE", "/api/nodes/{id}/rules/{rule}"),
        ("POST", "/api/programs"),
        ("GET", "/api/programs"),
        ("GET", "/api/programs/{id}"),
        ("GET", "/api/programs/{id}/source"),
        ("PUT", "/api/programs/{id}/source"),
        ("GET", "/api/programs/{id}/tests"),
        ("PUT", "/api/programs/{id}/tests"),
        ("GET", "/api/rules"),
        ("POST", "/api/rules/{id}/deploy"),
        ("GET", "/api/policy"),
        ("POST", "/api/policy/check"),
        ("GET", "/api/deployments"),
        ("POST", "/api/deployments"),
        ("POST", "/api/deployments/plan"),
        ("GET", "/api/deployments/{id}"),
        ("GET", "/api/deployments/{id}/nodes"),
        ("GET", "/api/changes"),
        *(
            ("POST", f"/api/deployments/{{id}}/{verb}")
            for verb in ("cancel", "pause", "resume", "promote", "approve", "rollback", "retry")
        ),
        ("GET", "/api/keys"),
        ("GET", "/api/alarms"),
        ("GET", "/api/alarms/{id}"),
        ("POST", "/api/alarms/{id}/acknowledge"),
        ("GET", "/api/session"),
        ("DELETE", "/api/session"),
        ("DELETE", "/api/sessions"),
        ("POST", "/api/session/links"),
    }
)
"""The paths that a token for some nodes opens, when its role allows them."""

_PLAIN = frozenset(
    {
        # Of one node, which was asked for by a name that is there.
        *(
            "labels",
            "said",
            "history",
            "wanted",
            "known_good",
            "good_by",
            "open_progress",
            "link",
            "health",
            "trend",
            "board_file",
        ),
        # Of one deployment that is there.
        *("counts", "progress", "progress_page", "evidence_sums", "tallies", "taken_back", "overdue", "cases"),
        # Of the token itself.
        "request",
        # Of no node.
        *(
            "program",
            "programs_of",
            "program_page",
            "rules",
            "program_bytes",
            "program_source",
            "program_tests",
            "signer_list",
            "signers",
            "signer_page",
            "policy",
        ),
    }
)
"""The questions to the store that are answered as to everybody."""


def told_of(labels: Mapping[str, str]) -> str:
    """Return labels for people."""
    return " ".join(f"{name}={value}" for name, value in sorted(labels.items()))


def closed(actor: Actor) -> Problem:
    """Return the refusal of what is about the whole cluster."""
    detail = f"The token `{actor.name}` is for nodes with {told_of(actor.labels)}; this is about the whole cluster."
    return Problem("forbidden", detail, "ask an admin for a token without labels")


async def guarded(hub: Hub, actor: Actor, method: str, path: str, filled: Mapping[str, str]) -> Hub:
    """Return the hub as `actor` sees it. Raises Problem when the path is closed, or nothing there has its `{id}`."""
    if not actor.labels:
        return hub
    if (method, path) not in OPEN:
        raise closed(actor)
    names = await hub.store.read(lambda reading: frozenset(reading.labelled(actor.labels)))
    seen = copy.copy(hub)
    seen.store = cast(ClusterStore, _ScopedStore(hub.store, actor, names))
    seen.links = {name: link for name, link in hub.links.items() if name in names}
    if "{id}" in path:
        await seen.store.read(lambda reading: _check_there(reading, path, filled["id"]))
    return seen


def _check_there(reading: Reading, path: str, identity: str) -> None:
    """Before a verb changes anything: the verbs ask the whole store."""
    if path.startswith("/api/nodes/") and reading.node(identity) is None:
        raise Problem("node_not_found", f"No node that this token is for is named `{identity[:64]}`.")
    if path.startswith("/api/alarms/"):
        found_alarm(reading, identity)
    if path.startswith("/api/deployments/") and reading.deployment(identity) is None:
        detail = f"No deployment `{identity[:64]}` goes only to nodes that this token is for."
        raise Problem("deployment_not_found", detail)


@dataclass(frozen=True, slots=True)
class _ScopedStore:
    """A store of which handlers see a part. What they change, they change by verbs that ask for their scope."""

    _store: ClusterStore
    _actor: Actor
    _names: frozenset[str]

    async def read(self, look: Callable[[Reading], T]) -> T:
        scoped = lambda reading: look(cast(Reading, _ScopedReading(reading, self._actor, self._names)))  # noqa: E731
        return await self._store.read(scoped)

    def write(self, step: object) -> object:
        raise closed(self._actor)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


@dataclass(frozen=True, slots=True)
class _ScopedReading:
    """What the store tells of `_names`, the nodes of a token."""

    _reading: Reading
    _actor: Actor
    _names: frozenset[str]

    def __getattr__(self, name: str) -> Any:
        if name not in _PLAIN:
            raise closed(self._actor)
        return getattr(self._reading, name)

    def node(self, name: str) -> NodeRecord | None:
        return self._reading.node(name) if name in self._names else None

    def nodes(self) -> list[NodeRecord]:
        return [node for node in self._reading.nodes() if node.name in self._names]

    def node_page(self, asked: NodesAsked) -> Page[NodeRecord]:
        page = self._reading.node_page(self._narrowed(asked))
        return Page([row for row in page.rows if row.name in self._names], page.after)

    def count_nodes(self, asked: NodesAsked) -> int:
        return self._reading.count_nodes(self._narrowed(asked))

    def _narrowed(self, asked: NodesAsked) -> NodesAsked:
        return replace(asked, labels=(*asked.labels, *self._labels))

    @property
    def _labels(self) -> Labels:
        return tuple(sorted(self._actor.labels.items()))

    def node_sums(self, silent_us: int, own_id: str) -> NodeSums:
        return self._reading.node_sums(silent_us, own_id, self._labels)

    def node_details(self, names: Sequence[str]) -> dict[str, NodeDetails]:
        return self._reading.node_details([name for name in names if name in self._names])

    def node_names(self) -> list[str]:
        return sorted(self._names)

    def labelled(self, labels: Mapping[str, str]) -> list[str]:
        return [name for name in self._reading.labelled(labels) if name in self._names]

    def label_values(self) -> list[tuple[str, str]]:
        return sorted({pair for name in self._names for pair in self._reading.labels(name).items()})

    def drained(self) -> frozenset[str]:
        return self._reading.drained() & self._names

    def links(self) -> list[Link]:
        return [link for link in self._reading.links() if link.node in self._names]

    def boards_told(self) -> dict[str, dict[str, Any] | None]:
        return {node: told for node, told in self._reading.boards_told().items() if node in self._names}

    def in_doubt(self) -> int:
        return sum(self._reading.history(name).doubtful for name in self._names)

    def wanted_of_rule(self, rule: str) -> list[tuple[str, Wanted]]:
        return [(node, wanted) for node, wanted in self._reading.wanted_of_rule(rule) if node in self._names]

    def rule_page(self, asked: RulesAsked) -> Page[RuleRow]:
        if asked.node and asked.node not in self._names:
            return Page([])
        page = self._reading.rule_page(asked)
        return Page([replace(row, nodes=self._counted(row.rule)) for row in page.rows], page.after)

    def _counted(self, rule: str) -> dict[str, int]:
        active = [one.target for _, one in self.wanted_of_rule(rule) if one.slot == Slot.ACTIVE.value]
        return dict(Counter(target.program_id for target in active))

    def count(self, kept: Kept) -> int:
        counts: dict[Kept, Callable[[], int]] = {
            Kept.NODES: lambda: len(self._names),
            Kept.LINKS: lambda: len(self.links()),
            Kept.RULES: lambda: self._reading.count(Kept.RULES),
            Kept.OPEN_DEPLOYMENTS: lambda: len(self.open_deployments()),
        }
        if kept not in counts:
            raise closed(self._actor)
        return counts[kept]()

    def deployment(self, deployment_id: str) -> Deployment | None:
        found = self._reading.deployment(deployment_id)
        return found if found is not None and self._is_there(found) else None

    def deployment_page(self, asked: DeploymentsAsked) -> Page[Deployment]:
        """It may have fewer rows than were asked for, and more may follow all the same."""
        if asked.node and asked.node not in self._names:
            return Page([])
        page = self._reading.deployment_page(asked)
        return Page([one for one in page.rows if self._is_there(one)], page.after)

    def open_deployments(self) -> list[Deployment]:
        return [one for one in self._reading.open_deployments() if self._is_there(one)]

    def alarm(self, number: int) -> Alarm | None:
        found = self._reading.alarm(number)
        return found if found is not None and self._is_told(found) else None

    def alarm_page(self, asked: AlarmsAsked) -> Page[Alarm]:
        """As of `deployment_page`: more may follow a page with fewer rows."""
        page = self._reading.alarm_page(asked)
        return Page([one for one in page.rows if self._is_told(one)], page.after)

    def open_alarms(self) -> Sequence[Alarm]:
        return [one for one in self._reading.open_alarms() if self._is_told(one)]

    def _is_told(self, alarm: Alarm) -> bool:
        if alarm.kind in OF_DEPLOYMENTS:
            return self.deployment(alarm.subject) is not None
        return alarm.kind in OF_NODES and alarm.subject in self._names

    def _is_there(self, deployment: Deployment) -> bool:
        return is_within(self._reading, deployment, self._names)
