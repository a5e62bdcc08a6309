"""What the store keeps of boards behind nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class KeptBoard:
    """A board: the node that speaks for it, the number of its chip, and what was told of it last, None for nothing.

    `has_file`: its board file is known. `gateway_held_by`: the coordinator that wrote down that it holds the gateway's
    link, empty for none.
    """

    gateway: str
    device: str
    told: dict[str, Any] | None
    gateway_held_by: str
    has_file: bool


class BoardReading(Protocol):
    """Questions about boards."""

    def board(self, node: str) -> KeptBoard | None:
        """Return what is kept of a board, None for a node that is none."""
        ...

    def board_file(self, node: str) -> str:
        """Return the board file of a board, empty when it is not known."""
        ...

    def boards_told(self) -> dict[str, dict[str, Any] | None]:
        """Return what was told of each board last, None for nothing."""
        ...

    def boards_of(self, gateway: str) -> list[str]:
        """Return the boards that a node speaks for, ascending."""
        ...


class BoardWriting(BoardReading, Protocol):
    """Changes of boards, inside one step."""

    def record_board(self, node: str, gateway: str, device: str) -> None:
        """Keep which gateway speaks for a node that is a board."""
        ...

    def record_board_file(self, node: str, text: str, now_us: int) -> None:
        """Keep the board file of a board, in place of the one before."""
        ...
