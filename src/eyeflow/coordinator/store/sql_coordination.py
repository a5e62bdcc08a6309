"""The verbs of `coordination` as SQL."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from eyeflow.coordinator.store.coordination import Link, NotLeadingError
from eyeflow.coordinator.store.facts import ChangeKind
from eyeflow.coordinator.store.sql import Sql

_LINK = "node, coordinator, number, since_us"


class SqlCoordinationReading:
    """Satisfies `CoordinationReading`."""

    _db: Sql

    def coordinators(self) -> list[str]:
        """Return the ids of the coordinators that registered and were not forgotten, ascending."""
        return [one for (one,) in self._db.rows("SELECT id FROM coordinators ORDER BY id", ())]

    def link(self, node: str) -> Link | None:
        """Return who holds the node's link, None when it has none."""
        found = self._db.rows(f"SELECT {_LINK} FROM links WHERE node = ?", (node,))
        return Link(*found[0]) if found else None

    def links(self) -> list[Link]:
        """Return all links, ascending by node."""
        return [Link(*row) for row in self._db.rows(f"SELECT {_LINK} FROM links ORDER BY node", ())]

    def health(self, node: str) -> list[dict[str, Any]]:
        """Return what the coordinator that holds the node's link wrote of its health, empty when it wrote nothing."""
        found = self._db.rows("SELECT health FROM healths WHERE node = ?", (node,))
        return list(json.loads(found[0][0])) if found else []

    def lead_epoch(self) -> int:
        """Return the epoch of the present leader, 0 before the first."""
        found = self._db.rows("SELECT epoch FROM lead WHERE role = 'leader'", ())
        return int(found[0][0]) if found else 0


class SqlCoordinationWriting(SqlCoordinationReading):
    """Satisfies `CoordinationWriting`."""

    def _change(self, sql: str, *values: Any) -> None:
        self._db.run(sql, values)

    def add_change(self, now_us: int, kind: ChangeKind, subject: str, node: str = "") -> None:
        """Append to the feed; the class below does."""
        raise NotImplementedError

    def register_coordinator(self, coordinator: str, now_us: int) -> None:
        """Keep that a coordinator runs, also when it is known."""
        self._change("INSERT INTO coordinators VALUES(?, ?) ON CONFLICT(id) DO NOTHING", coordinator, now_us)

    def forget_coordinator(self, coordinator: str, now_us: int) -> list[str]:
        """Forget a coordinator that ended with the links that it held."""
        found = self._db.rows("SELECT node FROM links WHERE coordinator = ? ORDER BY node", (coordinator,))
        nodes = [node for (node,) in found]
        self._change("DELETE FROM links WHERE coordinator = ?", coordinator)
        self._change("DELETE FROM coordinators WHERE id = ?", coordinator)
        self._tell(nodes, now_us)
        return nodes

    def take_link(self, link: Link) -> None:
        """Let a coordinator hold the node's link, whoever did before; nothing for a node that is not there."""
        taken = self._db.changed(
            "INSERT INTO links SELECT name, ?, ?, ? FROM nodes WHERE name = ? ON CONFLICT(node) DO UPDATE SET "
            "coordinator = excluded.coordinator, number = excluded.number, since_us = excluded.since_us",
            (link.coordinator, link.number, link.since_us, link.node),
        )
        self._tell([link.node] * taken, link.since_us)

    def drop_link(self, node: str, coordinator: str, now_us: int) -> bool:
        """Keep that the node has no link, unless another coordinator holds it; says whether this one did."""
        dropped = self._db.changed("DELETE FROM links WHERE node = ? AND coordinator = ?", (node, coordinator))
        self._tell([node] * dropped, now_us)
        return bool(dropped)

    def take_lead(self, coordinator: str) -> int:
        """Begin a new epoch, led by this coordinator, and return it."""
        self._change(
            "INSERT INTO lead VALUES('leader', 1, ?) ON CONFLICT(role) DO UPDATE SET "
            "epoch = lead.epoch + 1, coordinator = excluded.coordinator",
            coordinator,
        )
        return self.lead_epoch()

    def check_lead(self, epoch: int) -> None:
        """Raise NotLeadingError unless `epoch` is the present one."""
        newest = self.lead_epoch()
        if epoch != newest:
            raise NotLeadingError(epoch, newest)

    def _tell(self, nodes: Sequence[str], now_us: int) -> None:
        for node in nodes:
            self.add_change(now_us, ChangeKind.LINK, node)
