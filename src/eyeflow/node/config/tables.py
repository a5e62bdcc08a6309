"""Strict reading of one TOML table: every key is known, every value has its type and lies in its range."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.names import near
from eyeflow.base.private import STRANGERS, require_private
from eyeflow.base.reading import Unreadable, read_text
from eyeflow.base.reasons import why

SECRET_BYTES_MAX = 65_536


class Table:
    """Takes values out of a TOML table; `finish` refuses what nobody took. `name` is the section, for messages."""

    def __init__(self, name: str, values: Mapping[str, Any]) -> None:
        self.name = name
        self._values = values
        self._taken: set[str] = set()

    def text(self, key: str, default: str = "") -> str:
        """Return a text."""
        return str(self._take(key, default, str, "a text"))

    def required(self, key: str) -> str:
        """Return a text that must be there and must not be empty."""
        value = self.text(key)
        if not value:
            self.refuse(f"[{self.name}] needs `{key}`", "It is missing or empty.", f"Add a line `{key} = ...`.")
        return value

    def integer(self, key: str, default: int, low: int, high: int) -> int:
        """Return an integer in low..high."""
        value = self._take(key, default, int, "an integer")
        self._check_range(key, value, low, high)
        return int(value)

    def number(self, key: str, default: float, low: float, high: float) -> float:
        """Return a number in low..high."""
        value = self._take(key, default, (int, float), "a number")
        self._check_range(key, value, low, high)
        return float(value)

    def boolean(self, key: str, default: bool) -> bool:
        """Return true or false."""
        return bool(self._take(key, default, bool, "true or false"))

    def choice(self, key: str, default: str, allowed: Iterable[str]) -> str:
        """Return one of the allowed texts."""
        value, names = self.text(key, default), tuple(allowed)
        if value not in names:
            guess = near(value, names)
            hint = f"Did you mean `{guess}`?" if guess else f"Choose one of: {', '.join(names)}."
            self.refuse(f"[{self.name}] {key} = {value!r} is not known", f"It is one of {', '.join(names)}.", hint)
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of texts, empty when it is absent."""
        values = self._take(key, [], list, "a list of texts")
        if not all(isinstance(value, str) for value in values):
            self._refuse_type(key, "a list of texts")
        return tuple(values)

    def path(self, key: str) -> Path | None:
        """Return a path, or None when it is absent."""
        value = self.text(key)
        return Path(value).expanduser() if value else None

    def table(self, key: str) -> Table | None:
        """Return the table inside, or None when it is absent."""
        value = self._take(key, None, dict, "a table")
        return None if value is None else Table(f"{self.name}.{key}", value)

    def tables(self) -> dict[str, Any]:
        """Take everything that is left, for sections whose keys are names that the user gives."""
        left = {key: value for key, value in self._values.items() if key not in self._taken}
        self._taken.update(left)
        return left

    def finish(self) -> None:
        """Refuse the first key that nobody asked for."""
        for key in self._values:
            if key not in self._taken:
                guess = near(key, self._taken)
                hint = f"Did you mean `{guess}`?" if guess else f"Known keys: {', '.join(sorted(self._taken))}."
                self.refuse(f"[{self.name}] has an unknown key `{key}`", "No setting has this name.", hint)

    def refuse(self, message: str, cause: str, next_step: str) -> NoReturn:
        """Raise the error of a wrong configuration."""
        raise EyeflowError(message, cause=cause, next_step=next_step, code="config", exit_code=ExitCode.PROBLEMS)

    def _take(self, key: str, default: Any, kind: type | tuple[type, ...], wanted: str) -> Any:
        self._taken.add(key)
        if key not in self._values:
            return default
        value = self._values[key]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            self._refuse_type(key, wanted)
        return value

    def _refuse_type(self, key: str, wanted: str) -> NoReturn:
        cause = f"It is {self._values[key]!r}."
        self.refuse(f"[{self.name}] {key} must be {wanted}", cause, "Correct the value in the configuration file.")

    def _check_range(self, key: str, value: float, low: float, high: float) -> None:
        if not low <= value <= high:
            cause = f"It is {value}."
            self.refuse(f"[{self.name}] {key} must be in {low}..{high}", cause, "Choose a value within the range.")


def secret(section: str, environment: str, file: Path | None) -> str:
    """Return a secret from an environment variable or a file (last line end removed); empty when neither is named.

    Raises EyeflowError when what is named is not there: a service must not start without its password by mistake.
    """
    if environment:
        if environment not in os.environ:
            raise EyeflowError(
                f"the environment variable {environment} is not set",
                cause=f"[{section}] takes a secret from it.",
                next_step=f"Set it before the node starts: export {environment}=...",
                code="secret_missing",
            )
        return os.environ[environment]
    if file is None:
        return ""
    require_private(file, f"the secret of [{section}]", STRANGERS)
    try:
        return read_text(file, SECRET_BYTES_MAX).rstrip("\r\n")
    except (OSError, Unreadable) as error:
        raise EyeflowError(
            f"cannot read the secret in {file}",
            cause=why(error),
            next_step=f"Create the file named in [{section}], readable by the node's user.",
            code="secret_missing",
        ) from error
