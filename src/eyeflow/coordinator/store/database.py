"""What `threaded_store` asks of a database: whole transactions of steps and looks, one thread at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from eyeflow.coordinator.store.cluster_store import Look, Step, T
from eyeflow.protocol.identity import Identity


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one step: its result, or the exception that undid it."""

    result: Any = None
    error: Exception | None = None


class Reader(Protocol):
    """A connection that only reads."""

    def read(self, look: Look[T]) -> T:
        """Answer a question; all of its answers are of one moment. Raises EyeflowError when it cannot be read."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class Database(Reader, Protocol):
    """The open database. `newest_change`: the number of the newest change that is committed, as far as it knows."""

    identity: Identity
    coordinator_id: str
    trouble: str
    newest_change: int

    def commit(self, steps: Sequence[Step[Any]]) -> list[Outcome]:
        """Run steps as one durable transaction. A step that fails leaves nothing; the others are kept all the same.

        When the database refuses, nothing of any step is kept and each outcome is the error that says so.
        """
        ...

    def check_room(self) -> None:
        """Raise EyeflowError when the database takes nothing more, as far as that shows without writing."""
        ...
