"""Problems of a board file: gathered while it is read, so that one run shows all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.names import near


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where (`pins.RELAY`), what and why, and what to do."""

    where: str
    what: str
    next_step: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class BoardError(EyeflowError):
    """A board file that cannot be used; `problems` has every problem found, the message shows the first."""

    def __init__(self, name: str, problems: tuple[Problem, ...]) -> None:
        first = problems[0]
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__(
            f"{name}: {first}{more}",
            cause="\n".join(str(problem) for problem in problems[1:]),
            next_step=first.next_step,
            code="board",
            exit_code=ExitCode.PROBLEMS,
        )
        self.problems = problems


@dataclass(slots=True)
class Problems:
    """Collects the problems of one file."""

    found: list[Problem] = field(default_factory=list)

    def add(self, where: str, what: str, next_step: str) -> None:
        """Note a problem."""
        self.found.append(Problem(where, what, next_step))


@dataclass(slots=True)
class Section:
    """One table of the file, read key by key; `finish` reports the keys that nobody asked for."""

    name: str
    values: Mapping[str, Any]
    problems: Problems
    asked: set[str] = field(default_factory=set)

    def where(self, key: str) -> str:
        """Return the dotted place of a key."""
        return f"{self.name}.{key}" if self.name else key

    def text(self, key: str, default: str | None = None) -> str:
        """Read a text; without a default it has to be there."""
        return str(self._read(key, str, "a text in quotes", default, ""))

    def integer(self, key: str, default: int, low: int, high: int) -> int:
        """Read a whole number from `low` to `high`."""
        value = int(self._read(key, int, "a whole number", default, default))
        if not low <= value <= high:
            self.problems.add(self.where(key), f"{value} is not within {low} to {high}", f"write {low} to {high}")
        return value

    def boolean(self, key: str, default: bool) -> bool:
        """Read `true` or `false`."""
        return bool(self._read(key, bool, "true or false", default, default))

    def choice(self, key: str, default: str, options: Iterable[str]) -> str:
        """Read one of some words."""
        value, known = self.text(key, default), list(options)
        if value not in known:
            guess = near(value, known)
            step = f"did you mean {guess!r}?" if guess else f"write one of {', '.join(known)}"
            self.problems.add(self.where(key), f"{value!r} is none of {', '.join(known)}", step)
            return default
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Read a list of texts; missing is empty."""
        value = self._read(key, list, "a list of texts", [], [])
        if any(not isinstance(item, str) for item in value):
            self.problems.add(self.where(key), "holds something that is no text", 'write it as ["...", "..."]')
            return ()
        return tuple(value)

    def table(self, key: str) -> Section:
        """Read a table; missing is empty."""
        return Section(self.where(key), self._read(key, dict, "a table", {}, {}), self.problems)

    def tables(self) -> list[tuple[str, Section]]:
        """Read all values as tables by name."""
        return [(key, self.table(key)) for key in self.values]

    def finish(self) -> None:
        """Report the keys that are not known."""
        for key in self.values:
            if key not in self.asked:
                guess = near(key, self.asked)
                step = f"did you mean {guess}?" if guess else f"known are {', '.join(sorted(self.asked))}"
                self.problems.add(self.where(key), "is not known", step)

    def _read(self, key: str, kind: type, expected: str, default: Any, fallback: Any) -> Any:
        self.asked.add(key)
        value = self.values.get(key, default)
        if value is None:
            self.problems.add(self.where(key), "is missing", f"write {key} = {expected}")
            return fallback
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            self.problems.add(self.where(key), f"{value!r} is not {expected}", f"write {expected}")
            return fallback
        return value
