"""The one table of settings: what a section of `eyeflow-svm.toml` may hold stands in its class, a line for each key.

A section is a frozen dataclass that inherits `Section`. Each of its fields is made by a function of this module and
says type, default, bounds and meaning. Reading the file, `EYEFLOW_*` variables, flags, the template and the page
`docs/reference/node-settings.md` all go by these fields, so that a setting is written once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from eyeflow.node.config.tables import Table

PORT_MAX = 65_535
PAYLOAD_BYTES_MAX = 16 * 1024 * 1024
TIMEOUT_S_MAX = 3600.0
"""Bounds that several sections have."""


class Kind(Enum):
    """The type of a setting's value. A list is written with commas in a variable or flag."""

    TEXT = "text"
    PATH = "path"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "true or false"
    TEXTS = "list of texts"
    PATHS = "list of paths"


UNITS = {"_s": "s", "_hours": "h", "_mb": "MB", "_bytes_max": "bytes"}
"""A name of a setting ends with its unit (house style), so the unit is written there and nowhere else."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. `default` is None when it has none; `low` and `high` are the inclusive bounds of a number."""

    kind: Kind
    doc: str
    default: object = None
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    is_required: bool = False
    section: str = ""
    key: str = ""

    @property
    def name(self) -> str:
        """`section.key`."""
        return f"{self.section}.{self.key}"

    @property
    def variable(self) -> str:
        """The environment variable that overrides it."""
        return "EYEFLOW_" + self.name.replace(".", "_").upper()

    @property
    def flag(self) -> str:
        """The flag of `eyeflow node start` that overrides it."""
        return "--" + self.name.replace(".", "-").replace("_", "-")

    @property
    def unit(self) -> str:
        """The unit of its value, empty when it has none."""
        return next((unit for end, unit in UNITS.items() if self.key.endswith(end)), "")

    @property
    def toml(self) -> str:
        """The default as it is written in TOML, empty when there is none."""
        return "" if self.is_required else _toml(self.default, self.kind)

    def read(self, table: Table) -> object:
        """Return the value in a table of the file. Raises EyeflowError that names section and key."""
        key, default = self.key, self.default
        if self.is_required:
            table.require(key)
        match self.kind:
            case Kind.INTEGER:
                return table.integer(key, default, self.low, self.high)
            case Kind.NUMBER:
                return table.number(key, default, self.low, self.high)
            case Kind.BOOLEAN:
                return table.boolean(key, bool(default))
            case Kind.TEXTS:
                return table.texts(key, default)
            case Kind.PATHS:
                return table.paths(key, default)
            case Kind.PATH:
                return table.path(key, default)
            case Kind.TEXT if self.choices:
                return table.choice(key, str(default), self.choices)
            case Kind.TEXT:
                return table.text(key, str(default or ""))


def _toml(value: object, kind: Kind) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(f'"{one}"' for one in value) + "]"
    if kind in (Kind.TEXT, Kind.PATH):
        return f'"{"" if value is None else value}"'
    return "" if value is None else str(value)


# --- what makes the fields of a section; typed as their value, as `dataclasses.field` is ---

_SETTING, _INNER, _NAMED, _TABLE = "setting", "inner", "named", "table"
S = TypeVar("S", bound="Section")


def _field(setting: Setting) -> Any:
    default = MISSING if setting.is_required else setting.default
    return field(default=default, metadata={_SETTING: setting})


def text(default: str, doc: str, choices: Iterable[str] = ()) -> Any:
    """Make a text; with `choices` it is one of them."""
    return _field(Setting(Kind.TEXT, doc, default, choices=tuple(choices)))


def required(doc: str) -> Any:
    """Make a text that must be there. A section that has one is absent until the user writes it."""
    return _field(Setting(Kind.TEXT, doc, is_required=True))


def required_integer(low: int, high: int, doc: str) -> Any:
    """Make an integer in low..high that must be there."""
    return _field(Setting(Kind.INTEGER, doc, None, low, high, is_required=True))


def path(doc: str, default: Path | None = None) -> Any:
    """Make a path, None when there is none; a relative one starts at the directory of the configuration file."""
    return _field(Setting(Kind.PATH, doc, default))


def integer(default: int, low: int, high: int, doc: str) -> Any:
    """Make an integer in low..high."""
    return _field(Setting(Kind.INTEGER, doc, default, low, high))


def number(default: float | None, low: float, high: float, doc: str) -> Any:
    """Make a number in low..high."""
    return _field(Setting(Kind.NUMBER, doc, default, low, high))


def boolean(default: bool, doc: str) -> Any:
    """Make a value that is true or false."""
    return _field(Setting(Kind.BOOLEAN, doc, default))


def texts(default: tuple[str, ...], doc: str) -> Any:
    """Make a list of texts."""
    return _field(Setting(Kind.TEXTS, doc, default))


def paths(doc: str) -> Any:
    """Make a list of paths, empty when it is not there."""
    return _field(Setting(Kind.PATHS, doc, ()))


def inner(section: type[Section]) -> Any:
    """Make a section inside this one, None when the user does not write it: `[mqtt.tls]`."""
    return field(default=None, metadata={_INNER: section})


@dataclass(frozen=True, slots=True)
class NamedTables:
    """Keys that the user chooses, in the table `key` or, when that is empty, in the section itself.

    `short` is the setting that a plain value stands for: `RELAY = 17` is `RELAY = { line = 17 }`.
    """

    section: type[Section]
    key: str
    short: str = ""

    def read(self, table: Table) -> Mapping[str, Section]:
        """Return the section of each name."""
        holder = table.table(self.key) if self.key else table
        return {} if holder is None else {name: self._one(holder, name, v) for name, v in holder.rest().items()}

    def _one(self, holder: Table, name: str, value: Any) -> Section:
        if not isinstance(value, dict):
            if not self.short:
                cause, hint = "Each name has its own section.", f"Write [{holder.name}.{name}]."
                holder.refuse(f"[{holder.name}] {name} is no table", cause, hint)
            value = {self.short: value}
        return self.section.from_table(value, holder.base, f"{holder.name}.{name}")


def named(section: type[Section], key: str = "", short: str = "") -> Any:
    """Make keys that the user chooses, each with a section of this class; see `NamedTables`."""
    return field(default_factory=dict, metadata={_NAMED: NamedTables(section, key, short)})


@dataclass(frozen=True, slots=True)
class OwnTable:
    """A table of a form of its own: `read` gets it, `doc` tells what it holds."""

    key: str
    read: Callable[[Table], Mapping[Any, Any]]
    doc: str


def own_table(key: str, read: Callable[[Table], Mapping[Any, Any]], doc: str) -> Any:
    """Make a table whose keys and values are neither settings nor sections; see `OwnTable`."""
    return field(default_factory=dict, metadata={_TABLE: OwnTable(key, read, doc)})


class Section:
    """A section of the configuration file. A subclass is a frozen slotted dataclass and sets `SECTION`, its name."""

    __slots__ = ()
    SECTION: ClassVar[str]

    @classmethod
    def from_table(cls, values: Mapping[str, Any], base: Path = Path(), name: str = "") -> Self:
        """Read a table strictly; relative paths start at `base`. Raises EyeflowError (exit code PROBLEMS)."""
        table = Table(name or cls.SECTION, values, base)
        section = cls(**{one.name: _read(one.name, one.metadata, table) for one in _fields(cls)})
        table.finish()
        return section.checked(table)

    def checked(self, table: Table) -> Self:
        """Return the section, or a better one, after what no single key can tell; `table.refuse` when it is wrong."""
        return self

    @classmethod
    def settings(cls, name: str = "") -> tuple[Setting, ...]:
        """Return the rows of the table: its own settings, then those of the sections inside."""
        section = name or cls.SECTION
        own, inside = [], []
        for one in fields(cls):  # type: ignore[arg-type]
            if (setting := one.metadata.get(_SETTING)) is not None:
                own.append(_placed(setting, section, one.name))
            elif (below := one.metadata.get(_INNER)) is not None:
                inside += below.settings(f"{section}.{one.name}")
        return (*own, *inside)

    @classmethod
    def named_tables(cls) -> tuple[NamedTables | OwnTable, ...]:
        """Return what holds keys that the user chooses."""
        marks = [one.metadata for one in fields(cls)]  # type: ignore[arg-type]
        return tuple(mark.get(_NAMED) or mark[_TABLE] for mark in marks if _NAMED in mark or _TABLE in mark)

    @classmethod
    def required_keys(cls) -> tuple[str, ...]:
        """Return the keys that have no default."""
        return tuple(
            setting.key for setting in cls.settings() if setting.is_required and setting.section == cls.SECTION
        )


def _placed(setting: Setting, section: str, key: str) -> Setting:
    return replace(setting, section=section, key=key)


def _fields(section: type[Section]) -> tuple[Field[Any], ...]:
    return fields(section)  # type: ignore[arg-type]  # each subclass is a dataclass


def _read(key: str, marks: Mapping[str, Any], table: Table) -> object:
    if _SETTING in marks:
        return _placed(marks[_SETTING], table.name, key).read(table)
    if _INNER in marks:
        below = table.table(key)
        return None if below is None else marks[_INNER].from_table(below.values, table.base, below.name)
    if _NAMED in marks:
        return marks[_NAMED].read(table)
    holder = table.table(marks[_TABLE].key)
    return {} if holder is None else marks[_TABLE].read(holder)
