"""The node's configuration: `eyeflow-svm.toml`, `EYEFLOW_*` variables and flags, checked strictly."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.names import near
from eyeflow.base.reading import Unreadable, exit_code, parse_toml, read_text
from eyeflow.base.reasons import why
from eyeflow.node.config.overrides import apply_overrides, named_settings, resolve_paths
from eyeflow.node.config.ports import SECTIONS, PortsConfig
from eyeflow.node.config.tables import Table
from eyeflow.node.store.types import BufferLimits, OnFull

CONFIG_NAME = "eyeflow-svm.toml"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
KEY_HEX = re.compile(r"[0-9a-fA-F]{64}")
OWN_SECTIONS = ("node", "coordinator", "offline", "grants", "trust", "pins")
CONFIG_BYTES_MAX = 1024 * 1024
SIZE_MB_MIN, SIZE_MB_MAX = 4, 1_048_576
AGE_HOURS_MAX = 24 * 3650.0
REVOKED_GRACE_S_MAX = 30 * 86_400.0
HOUR_US = 3_600_000_000


class Durability(Enum):
    """What a node does while its disk refuses to record: nothing, or act without a record (named for what it loses)."""

    FULL = "full"
    NONE_ON_FULL_DISK = "none-on-full-disk"


@dataclass(frozen=True, slots=True)
class CoordinatorConfig:
    """Where the coordinator is and how to join it; `url` empty: none."""

    url: str = ""
    token_env: str = ""
    token_file: Path | None = None
    ca_file: Path | None = None

    @classmethod
    def from_table(cls, values: Mapping[str, Any]) -> CoordinatorConfig:
        """Read the section `[coordinator]`."""
        table = Table("coordinator", values)
        url = table.text("url")
        config = cls(url, table.text("token_env"), table.path("token_file"), table.path("ca_file"))
        table.finish()
        if url and not re.match(r"https?://[^/]", url):
            table.refuse(
                "[coordinator] url is no address", f"It is {url!r}.", "Write http://HOST:PORT or https://HOST:PORT."
            )
        return config


@dataclass(frozen=True, slots=True)
class OfflineConfig:
    """The bounds of the store and what happens at them."""

    limits: BufferLimits = field(default_factory=lambda: BufferLimits(512 * 1024 * 1024, 72 * HOUR_US))
    durability: Durability = Durability.FULL
    reconcile_on_reconnect: bool = True

    @classmethod
    def from_table(cls, values: Mapping[str, Any]) -> OfflineConfig:
        """Read the section `[offline]`."""
        table = Table("offline", values)
        _check_backend(table)
        size_mb = table.integer("max_buffer_size_mb", 512, SIZE_MB_MIN, SIZE_MB_MAX)
        age_hours = table.number("max_buffer_age_hours", 72.0, 0.01, AGE_HOURS_MAX)
        on_full = OnFull(table.choice("on_full", OnFull.DROP_OLDEST.value, [policy.value for policy in OnFull]))
        durability = table.choice("durability", Durability.FULL.value, [mode.value for mode in Durability])
        reconcile = table.boolean("reconcile_on_reconnect", True)
        table.finish()
        limits = BufferLimits(size_mb * 1024 * 1024, round(age_hours * HOUR_US), on_full)
        return cls(limits, Durability(durability), reconcile)


def _check_backend(table: Table) -> None:
    backend = table.choice("buffer_backend", "sqlite", ("sqlite", "kafka", "kafka_embedded"))
    if backend != "sqlite":
        table.refuse(
            f'[offline] buffer_backend = "{backend}" is not in this version',
            "Kafka buffers come as an extra in a later version.",
            'Write buffer_backend = "sqlite".',
        )


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """Everything a node is told. Durations of the resource arbiter are in seconds."""

    name: str
    data_dir: Path
    timezone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    resource_lease_s: float = 1.0
    resource_wait_s: float = 5.0
    coordinator: CoordinatorConfig = field(default_factory=CoordinatorConfig)
    offline: OfflineConfig = field(default_factory=OfflineConfig)
    grants: tuple[str, ...] = ("log.*",)
    trusted_keys: tuple[bytes, ...] = ()
    revoked_grace_s: float = 0.0
    ports: PortsConfig = field(default_factory=PortsConfig)


def load_config(
    path: Path | None, environment: Mapping[str, str] | None = None, overrides: Mapping[str, str] | None = None
) -> NodeConfig:
    """Read the file (None: there is none), then the environment, then `overrides` (`{"node.name": "a"}`, from flags).

    Raises EyeflowError (code `config`) naming file, key and, where it can, line. Exit code PROBLEMS for what the file
    says, USAGE for what a variable or flag says, ENVIRONMENT when the file cannot be read.
    """
    text, given = _read(path) if path else "", named_settings(environment or {}, overrides or {})
    try:
        tables = _parse(text)
        apply_overrides(tables, environment or {}, overrides or {})
        if isinstance(tables.get("node"), dict):
            tables["node"].setdefault("data_dir", "data")
        resolve_paths(tables, path.resolve().parent if path else Path.cwd())
        return _from_tables(tables)
    except EyeflowError as error:
        raise _placed(error, path, text, given) from error


def _read(path: Path) -> str:
    try:
        return read_text(path, CONFIG_BYTES_MAX)
    except (OSError, Unreadable) as error:
        raise EyeflowError(
            f"cannot read the configuration {path}",
            cause=why(error),
            next_step="Make one with `eyeflow node init`, or name another with --config.",
            code="config",
            exit_code=exit_code(error),
        ) from error


def _parse(text: str) -> dict[str, Any]:
    try:
        return parse_toml(text)
    except Unreadable as error:
        raise EyeflowError(
            "the configuration is not TOML",
            cause=str(error),
            next_step="Correct the line; `eyeflow node init` writes an example.",
            code="config",
            exit_code=ExitCode.PROBLEMS,
        ) from error


def _from_tables(tables: dict[str, Any]) -> NodeConfig:
    root = Table("", tables)
    for name in (*OWN_SECTIONS, *SECTIONS):
        _section(root, tables, name)
    _refuse_unknown(tables)
    _merge_pins(tables)
    node, trust = Table("node", tables.get("node", {})), Table("trust", tables.get("trust", {}))
    config = NodeConfig(
        name=_name(node),
        data_dir=node.path("data_dir") or Path("data"),
        timezone=_timezone(node),
        resource_lease_s=node.number("resource_lease_s", 1.0, 0.0, 3600.0),
        resource_wait_s=node.number("resource_wait_s", 5.0, 0.0, 3600.0),
        coordinator=CoordinatorConfig.from_table(tables.get("coordinator", {})),
        offline=OfflineConfig.from_table(tables.get("offline", {})),
        grants=_grants(tables),
        revoked_grace_s=trust.number("revoked_grace_s", 0.0, 0.0, REVOKED_GRACE_S_MAX),
        trusted_keys=_trusted_keys(trust),
        ports=PortsConfig.from_tables(tables),
    )
    node.finish()
    return config


def _section(root: Table, tables: Mapping[str, Any], name: str) -> None:
    if name in tables and not isinstance(tables[name], dict):
        root.refuse(f"`{name}` must be a section", f"It is {tables[name]!r}.", f"Write [{name}] on a line of its own.")


def _refuse_unknown(tables: Mapping[str, Any]) -> None:
    known = (*OWN_SECTIONS, *SECTIONS)
    for name in tables:
        if name not in known:
            guess = near(name, known)
            hint = f"Did you mean [{guess}]?" if guess else f"Sections are: {', '.join(known)}."
            Table(name, {}).refuse(f"the configuration has an unknown section [{name}]", "Nothing reads it.", hint)


def _merge_pins(tables: dict[str, Any]) -> None:
    """`[pins]` is a short way to write `[gpio.pins]`."""
    if pins := tables.get("pins"):
        gpio = tables.setdefault("gpio", {})
        inner = gpio.get("pins", {})
        both = pins.keys() & inner.keys()
        if both:
            name = min(both)
            Table("pins", pins).refuse(
                f"pin `{name}` stands in [pins] and [gpio.pins]", "A pin has one line.", "Remove one of them."
            )
        gpio["pins"] = {**inner, **pins}


def _name(node: Table) -> str:
    name = node.required("name")
    if not NAME.fullmatch(name):
        node.refuse(
            f"[node] name = {name!r} is no name",
            "At most 63 letters, digits, `-`, `_` and `.`.",
            "Choose another name.",
        )
    return name


def _timezone(node: Table) -> ZoneInfo:
    name = node.text("timezone", "UTC")
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        node.refuse(
            f"[node] timezone = {name!r} is not known", "No such zone is installed.", "Write a name like Europe/Berlin."
        )


def _grants(tables: Mapping[str, Any]) -> tuple[str, ...]:
    values = tables.get("grants", {})
    table = Table("grants", values)
    allow = table.texts("allow")
    table.finish()
    return allow if "allow" in values else ("log.*",)


def _trusted_keys(table: Table) -> tuple[bytes, ...]:
    keys = list(table.texts("keys"))
    for name in table.texts("key_files"):
        keys += [line.split("#")[0].strip() for line in _read(Path(name).expanduser()).splitlines()]
    table.finish()
    keys = [key for key in keys if key]
    for key in keys:
        if not KEY_HEX.fullmatch(key):
            table.refuse(
                f"[trust] {key[:70]!r} is no public key", "A key has 64 hex digits.", "See `eyeflow keys list`."
            )
    return tuple(dict.fromkeys(bytes.fromhex(key) for key in keys))


def _placed(error: EyeflowError, path: Path | None, text: str, given: frozenset[str]) -> EyeflowError:
    """Add the file and, when the message names a key, its line. `given` are the settings of variables and flags."""
    named = _NAMED.search(error.message)
    if named is not None and f"{named['section']}.{named['key']}" in given:
        error.exit_code = ExitCode.USAGE
        return error
    if path is None or str(path) in error.message:
        return error
    line = _line_of(error.message, text)
    where = f"{path}:{line}" if line else str(path)
    return EyeflowError(
        f"{where}: {error.message}",
        cause=error.cause,
        next_step=error.next_step,
        code=error.code,
        exit_code=error.exit_code,
    )


_NAMED = re.compile(r"\[(?P<section>[\w.]+)\](?: has an unknown key `(?P<unknown>[^`]+)`| (?P<key>\w+))?")


def _line_of(message: str, text: str) -> int:
    """Return the line of the section or key that a message starts with, 0 when it is not in the file."""
    found = _NAMED.search(message)
    if found is None:
        return 0
    section, key = found["section"], found["unknown"] or found["key"]
    current, section_line = "", 0
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if header := re.fullmatch(r"\[([\w.]+)\].*", stripped):
            current = header[1]
            section_line = number if current == section else section_line
        elif current == section and key and re.match(rf"{re.escape(key)}\s*=", stripped):
            return number
    return section_line
