"""What one coordinator asks a node for whose link another one holds: a row that that one finds and answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Asked:
    """A question for a node, for the coordinator that holds its link.

    `question` are the bytes of a `Replay` or a `Listen`.
    """

    id: str
    node: str
    coordinator: str
    question: bytes
    asked_us: int


@dataclass(frozen=True, slots=True)
class Answer:
    """The bytes of a `Replayed` or `Listened`, or why there is none."""

    answer: bytes
    problem: str


class AskedReading(Protocol):
    """Questions about what is asked."""

    def asked(self, coordinator: str) -> list[Asked]:
        """Return what a coordinator has to answer, the oldest first."""
        ...

    def answer(self, asked_id: str) -> Answer | None:
        """Return the answer to a question, None while there is none."""
        ...


class AskedWriting(AskedReading, Protocol):
    """Changes of what is asked, inside one step."""

    def ask(self, asked: Asked, forget_before_us: int) -> None:
        """Keep a question, and forget those that were asked before a time."""
        ...

    def keep_answer(self, asked_id: str, answer: Answer) -> None:
        """Keep the answer to a question that is still there."""
        ...

    def forget_asked(self, asked_id: str) -> None:
        """Forget a question with its answer."""
        ...
