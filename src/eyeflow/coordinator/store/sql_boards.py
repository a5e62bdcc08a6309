"""The verbs of `kept_boards` as SQL."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from eyeflow.coordinator.store.facts import ChangeKind
from eyeflow.coordinator.store.kept_boards import KeptBoard
from eyeflow.coordinator.store.sql import Sql

BOARDS = (
    "SELECT boards.node, boards.gateway, boards.device, boards.told, coalesce(links.coordinator, ''), "
    "CASE WHEN boards.file = '' THEN 0 ELSE 1 END "
    "FROM boards LEFT JOIN links ON links.node = boards.gateway"
)
"""Rows for `board_of`, by node."""


def board_of(row: Sequence[object]) -> KeptBoard:
    """Return the board in a row of `BOARDS`."""
    _, gateway, device, told, held_by, has_file = row
    return KeptBoard(str(gateway), str(device), json.loads(str(told)), str(held_by), bool(has_file))


class SqlBoardReading:
    """Satisfies `BoardReading`."""

    _db: Sql

    def board(self, node: str) -> KeptBoard | None:
        """Return what is kept of a board, None for a node that is none."""
        found = self._db.rows(f"{BOARDS} WHERE boards.node = ?", (node,))
        return board_of(found[0]) if found else None

    def board_file(self, node: str) -> str:
        """Return the board file of a board, empty when it is not known."""
        found = self._db.rows("SELECT file FROM boards WHERE node = ?", (node,))
        return str(found[0][0]) if found else ""

    def boards_told(self) -> dict[str, dict[str, Any] | None]:
        """Return what was told of each board last, None for nothing."""
        return {str(node): json.loads(str(told)) for node, told in self._db.rows("SELECT node, told FROM boards", ())}

    def boards_of(self, gateway: str) -> list[str]:
        """Return the boards that a node speaks for, ascending."""
        return [one for (one,) in self._db.rows("SELECT node FROM boards WHERE gateway = ? ORDER BY node", (gateway,))]


class SqlBoardWriting(SqlBoardReading):
    """Satisfies `BoardWriting`."""

    def add_change(self, now_us: int, kind: ChangeKind, subject: str, node: str = "") -> None:
        """Append to the feed; the class below does."""
        raise NotImplementedError

    def record_board_file(self, node: str, text: str, now_us: int) -> None:
        """Keep the board file of a board, in place of the one before."""
        self._db.run("UPDATE boards SET file = ? WHERE node = ?", (text, node))
        self.add_change(now_us, ChangeKind.NODE, node)

    def record_board(self, node: str, gateway: str, device: str) -> None:
        """Keep which gateway speaks for a node that is a board."""
        self._db.run("INSERT INTO boards(node, gateway, device) VALUES(?, ?, ?)", (node, gateway, device))
