"""The settings of what rules of this node may set on its boards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from eyeflow.node.config.settings import Section, named, number, required


@dataclass(frozen=True, slots=True)
class BoardParam(Section):
    """A parameter of a rule on a board of this node, that rules of this node may set."""

    SECTION: ClassVar[str] = "board.NAME"

    board: str = required("Name of the board.")
    rule: str = required("The rule on the board.")
    param: str = required("The parameter of that rule.")
    every_s: float = number(
        60.0, 1.0, 86_400.0, "Shortest time between two changes, in seconds: the board writes each one to its flash."
    )


@dataclass(frozen=True, slots=True)
class BoardConfig(Section):
    """Parameters on boards by the names that rules use: `board.set_param("hot", 70.0)` and `[board.hot]`."""

    SECTION: ClassVar[str] = "board"

    params: Mapping[str, BoardParam] = named(BoardParam)
