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
    """Takes values out of a TOML table; `finish` refuses what nobody took.

    `name` is the section, for messages; relative paths start at `base`.
    """

    def __init__(self, name: str, values: Mapping[str, Any], base: Path = Path()) -> None:
        self.name, self.values, self.base = name, values, base
        self._taken: set[str] = set()

    def require(self, key: str) -> None:
        """Refuse a table without this key, or with an empty text there."""
        if self.values.get(key, "") == "":
            self.refuse(f"[{self.name}] needs `{key}`", "It is missing or empty.", f"Add a line `{key} = ...`.")

    def text(self, key: str, default: str = "") -> str:
        """Return a text."""
        return str(self._take(key, default, str, "a text"))

    def integer(self, key: str, default: Any, low: float | None, high: float | None) -> int:
        """Return an integer in low..high."""
        value = self._take(key, default, int, "an integer")
        self._check_range(key, value, low, high)
        return int(value)

    def number(self, key: str, default: Any, low: float | None, high: float | None) -> float | None:
        """Return a number in low..high, or the default None."""
        value = self._take(key, default, (int, float), "a number")
        if value is None:
            return None
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

    def texts(self, key: str, default: Any = ()) -> tuple[str, ...]:
        """Return a list of texts."""
        values = self._take(key, list(default), list, "a list of texts")
        if not all(isinstance(value, str) for value in values):
            self._refuse_type(key, "a list of texts")
        return tuple(values)

    def path(self, key: str, default: Any = None) -> Path | None:
        """Return a path, or the default when it is absent or empty."""
        value = self.text(key) or default
        return None if value is None else self.placed(value)

    def paths(self, key: str, default: Any = ()) -> tuple[Path, ...]:
        """Return a list of paths."""
        return tuple(self.placed(text) for text in self.texts(key, default))

    def placed(self, path: str | Path) -> Path:
        """Return a path as it is meant in the file: `~` is the home directory, a relative path starts at `base`."""
        return self.base / Path(path).expanduser()

    def table(self, key: str) -> Table | None:
        """Return the table inside, or None when it is absent."""
        value = self._take(key, None, dict, "a table")
        return None if value is None else Table(f"{self.name}.{key}", value, self.base)

    def rest(self) -> dict[str, Any]:
        """Take everything that is left, for sections whose keys are names that the user gives."""
        left = {key: value for key, value in self.values.items() if key not in self._taken}
        self._taken.update(left)
        return left

    def finish(self) -> None:
        """Refuse the first key that nobody asked for."""
        for key in self.values:
            if key not in self._taken:
                guess = near(key, self._taken)
                hint = f"Did you mean `{guess}`?" if guess else f"Known keys: {', '.join(sorted(self._taken))}."
                self.refuse(f"[{self.name}] has an unknown key `{key}`", "No setting has this name.", hint)

    def refuse(self, message: str, cause: str, next_step: str) -> NoReturn:
        """Raise the error of a wrong configuration."""
        raise EyeflowError(message, cause=cause, next_step=next_step, code="config", exit_code=ExitCode.PROBLEMS)

    def _take(self, key: str, default: Any, kind: type | tuple[type, ...], wanted: str) -> Any:
        self._taken.add(key)
        if key not in self.values:
            return default
        value = self.values[key]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            self._refuse_type(key, wanted)
        return value

    def _refuse_type(self, key: str, wanted: str) -> NoReturn:
        cause = f"It is {self.values[key]!r}."
        self.refuse(f"[{self.name}] {key} must be {wanted}", cause, "Correct the value in the configuration file.")

    def _check_range(self, key: str, value: float, low: float | None, high: float | None) -> None:
        if low is not None and high is not None and not low <= value <= high:
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
