"""The node's configuration: `eyeflow-svm.toml`, `EYEFLOW_*` variables and flags, checked strictly."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.names import near
from eyeflow.base.reading import Unreadable, exit_code, parse_toml, read_text
from eyeflow.base.reasons import why
from eyeflow.node.boards.settings import BoardSection, read_boards
from eyeflow.node.broker.settings import EmbeddedSection
from eyeflow.node.config.overrides import apply_overrides, named_settings
from eyeflow.node.config.sections import (
    SECTIONS,
    Backend,
    CoordinatorConfig,
    Durability,
    GrantsSection,
    NodeSection,
    OfflineSection,
    TrustSection,
)
from eyeflow.node.config.settings import Section, Setting
from eyeflow.node.config.tables import Table
from eyeflow.node.io.connector import Connector, PortsConfig, merge_short, section_names
from eyeflow.node.io.connectors import CONNECTORS, ports_config
from eyeflow.node.store.types import BufferLimits, OnFull
from eyeflow.protocol.signer_list import LABEL

CONFIG_NAME = "eyeflow-svm.toml"
KEY_HEX = re.compile(r"[0-9a-fA-F]{64}")
CONFIG_BYTES_MAX = 1024 * 1024
HOUR_US = 3_600_000_000

S = TypeVar("S", bound=Section)


def settings(connectors: Sequence[Connector] = CONNECTORS) -> tuple[Setting, ...]:
    """Return every setting that has a fixed name, by section: the whole table."""
    own = [setting for section in SECTIONS for setting in section.settings()]
    return (*own, *(setting for connector in connectors for setting in connector.settings()))


@dataclass(frozen=True, slots=True)
class OfflineConfig:
    """The bounds of the store and what happens at them."""

    limits: BufferLimits = field(default_factory=lambda: BufferLimits(512 * 1024 * 1024, 72 * HOUR_US))
    durability: Durability = Durability.FULL
    reconcile_on_reconnect: bool = True
    backend: Backend = Backend.SQLITE
    catch_up_bytes_per_s: int = 8192 * 1024
    broker_bytes_max: int = 0
    """What a broker of the node's own may take; `limits` are then those of the store alone."""

    @classmethod
    def of(cls, section: OfflineSection) -> OfflineConfig:
        """Return what the section says, in the units of the store."""
        age_us = round(section.max_buffer_age_hours * HOUR_US)
        backend, size_bytes = Backend(section.buffer_backend), section.max_buffer_size_mb * 1024 * 1024
        broker_bytes = size_bytes // 2 if backend is Backend.KAFKA_EMBEDDED else 0
        limits = BufferLimits(size_bytes - broker_bytes, age_us, OnFull(section.on_full))
        hands_on = (section.reconcile_on_reconnect, backend, section.catch_up_kb_per_s * 1024)
        return cls(limits, Durability(section.durability), *hands_on, broker_bytes)


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
    embedded: EmbeddedSection = field(default_factory=EmbeddedSection)
    grants: tuple[str, ...] = ("log.*",)
    trusted_keys: tuple[bytes, ...] = ()
    root_keys: tuple[bytes, ...] = ()
    signers_min: int = 1
    trust_labels: tuple[tuple[str, str], ...] = ()
    revoked_grace_s: float = 0.0
    ports: PortsConfig = field(default_factory=ports_config)
    boards: tuple[BoardSection, ...] = ()


def load_config(
    path: Path | None,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, str] | None = None,
    connectors: tuple[Connector, ...] = CONNECTORS,
) -> NodeConfig:
    """Read the file (None: there is none), then the environment, then `overrides` (`{"node.name": "a"}`, from flags).

    Raises EyeflowError (code `config`) naming file, key and, where it can, line. Exit code PROBLEMS for what the file
    says, USAGE for what a variable or flag says, ENVIRONMENT when the file cannot be read.
    """
    text, rows = _read(path) if path else "", settings(connectors)
    given = named_settings(rows, environment or {}, overrides or {})
    try:
        tables = _parse(text)
        apply_overrides(tables, rows, environment or {}, overrides or {})
        return _from_tables(tables, connectors, path.resolve().parent if path else Path.cwd())
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


def _from_tables(tables: dict[str, Any], connectors: tuple[Connector, ...], base: Path) -> NodeConfig:
    root = Table("", tables)
    known = (*(section.SECTION for section in SECTIONS), *section_names(connectors))
    for name in known:
        _section(root, tables, name)
    _refuse_unknown(tables, (*known, BoardSection.SECTION))
    merge_short(tables, connectors)
    node, trust = _own(NodeSection, tables, base), _own(TrustSection, tables, base)
    offline, embedded = OfflineConfig.of(_own(OfflineSection, tables, base)), _own(EmbeddedSection, tables, base)
    _place_kafka(tables, offline.backend, embedded)
    return NodeConfig(
        name=node.name,
        data_dir=node.data_dir,
        timezone=_timezone(node.timezone),
        resource_lease_s=node.resource_lease_s,
        resource_wait_s=node.resource_wait_s,
        coordinator=_own(CoordinatorConfig, tables, base),
        offline=offline,
        embedded=embedded,
        grants=_own(GrantsSection, tables, base).allow,
        revoked_grace_s=trust.revoked_grace_s,
        trusted_keys=_trusted_keys(trust),
        root_keys=_public_keys(trust.root_keys),
        signers_min=trust.signers_min,
        trust_labels=_labels(trust.labels),
        ports=PortsConfig.from_tables(tables, connectors, base),
        boards=read_boards(tables, node.name, base),
    )


def _place_kafka(tables: dict[str, Any], backend: Backend, embedded: EmbeddedSection) -> None:
    """Let `on kafka` read from the node's own broker, if it has one."""
    given = tables.get("kafka", {})
    if backend is Backend.KAFKA and not given:
        cause, hint = "Nothing says where it is.", 'Add a section [kafka] with bootstrap_servers = "HOST:9092".'
        Table("offline", {}).refuse('[offline] buffer_backend = "kafka" needs a cluster', cause, hint)
    if backend is Backend.KAFKA_EMBEDDED:
        if more := sorted({"bootstrap_servers", "tls", "sasl"} & given.keys()):
            cause = 'With buffer_backend = "kafka_embedded" the node has a broker of its own, on loopback.'
            hint = f'Remove {more[0]}, or write buffer_backend = "kafka".'
            Table("kafka", {}).refuse(f"[kafka] {more[0]} names another broker", cause, hint)
        tables["kafka"] = given | {"bootstrap_servers": f"127.0.0.1:{embedded.port}"}


def _own(section: type[S], tables: Mapping[str, Any], base: Path) -> S:
    return section.from_table(tables.get(section.SECTION, {}), base)


def _section(root: Table, tables: Mapping[str, Any], name: str) -> None:
    if name in tables and not isinstance(tables[name], dict):
        root.refuse(f"`{name}` must be a section", f"It is {tables[name]!r}.", f"Write [{name}] on a line of its own.")


def _refuse_unknown(tables: Mapping[str, Any], known: Collection[str]) -> None:
    for name in tables:
        if name not in known:
            guess = near(name, known)
            hint = f"Did you mean [{guess}]?" if guess else f"Sections are: {', '.join(known)}."
            Table(name, {}).refuse(f"the configuration has an unknown section [{name}]", "Nothing reads it.", hint)


def _timezone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        cause, hint = "No such zone is installed.", "Write a name like Europe/Berlin."
        Table("node", {}).refuse(f"[node] timezone = {name!r} is not known", cause, hint)


def _trusted_keys(section: TrustSection) -> tuple[bytes, ...]:
    keys = list(section.keys)
    for file in section.key_files:
        keys += [line.split("#")[0].strip() for line in _read(file).splitlines()]
    return _public_keys(keys)


def _public_keys(texts: Iterable[str]) -> tuple[bytes, ...]:
    keys = [key for key in texts if key]
    for key in keys:
        if not KEY_HEX.fullmatch(key):
            cause, hint = "A key has 64 hex digits.", "`eyeflow keys show NAME` prints them."
            Table("trust", {}).refuse(f"[trust] {key[:70]!r} is no public key", cause, hint)
    return tuple(dict.fromkeys(bytes.fromhex(key) for key in keys))


def _labels(texts: Iterable[str]) -> tuple[tuple[str, str], ...]:
    found = {}
    for text in texts:
        name, _, value = text.partition("=")
        if LABEL.fullmatch(text) is None or name in found:
            cause, hint = "A label is NAME=VALUE, and each name stands once.", 'Write labels = ["site=lyon"].'
            Table("trust", {}).refuse(f"[trust] labels: {text[:70]!r} is no label", cause, hint)
        found[name] = value
    return tuple(sorted(found.items()))


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
        if header := re.fullmatch(r"\[\[?([\w.]+)\].*", stripped):
            current = header[1]
            section_line = number if current == section else section_line
        elif current == section and key and re.match(rf"{re.escape(key)}\s*=", stripped):
            return number
    return section_line
