"""What a source or driver is to the rest of the node: one record (docs/how-to/add-a-source.md)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from eyeflow.base.clock import NowUs, wall_clock_us
from eyeflow.base.reading import parse_toml
from eyeflow.node.config.settings import Section, Setting
from eyeflow.node.config.tables import Table
from eyeflow.node.io.ports import Driver, Source
from eyeflow.node.streams import Streams
from eyeflow.svm.addresses import address_problem

S = TypeVar("S", bound=Section)

Problem = tuple[str, str]
"""Why a node cannot serve an address, and what to do."""


@dataclass(frozen=True, slots=True)
class SystemNeeds:
    """What a connector needs of the system beyond the network, for the sandbox of the service.

    `devices` are device nodes or `char-` groups of them, as systemd.resource-control(5) names them. `groups` are those
    whose members may open them on Debian and Raspberry Pi OS.
    """

    devices: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    writable: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Connector:
    """One kind of source, driver, or both, whole: what the node, its configuration and its pages know of it.

    `name` is the name of the source in rules and the namespace of the driver's capabilities. `sections` are its
    sections of the configuration file. One with a required key is needed: without it there is neither source nor
    driver. `short` maps a section that is another way to write one of its tables to that table.

    `share` makes what source and driver use together; `source` and `driver` get it. Each imports its library inside, so
    that a node loads the libraries of what it uses only. What one of them raises is shown in the status of this
    connector and stops no other.

    `catalog` is the TOML of what rules can say of it, in the form of a user's catalog (docs/reference/capabilities.md);
    `template` the lines of a new configuration file, `grants` what that file allows. `check` says why this node
    cannot serve an address that the catalog allows. `system_needs` says what the sandbox of the service must let
    through.
    """

    name: str
    sections: tuple[type[Section], ...] = ()
    share: Callable[[Site], Any] = lambda site: None
    source: Callable[[Site, Any], Source] | None = None
    driver: Callable[[Site, Any], Driver] | None = None
    check: Callable[[str, PortsConfig], Problem | None] = lambda address, config: None
    catalog: str = ""
    template: str = ""
    grants: tuple[str, ...] = ()
    short: Mapping[str, str] = field(default_factory=dict)
    system_needs: Callable[[PortsConfig], SystemNeeds] = lambda config: SystemNeeds()

    def needed(self, config: PortsConfig) -> str:
        """Return what the configuration lacks to serve this, as a hint; an empty text when it has all."""
        for section in self.sections:
            if config.find(section) is None:
                keys = " and ".join(f"`{key} = ...`" for key in section.required_keys())
                return f"Add a section [{section.SECTION}] with {keys} to the node's configuration."
        return ""

    def address_problem(self, address: str) -> str:
        """Return why no node can listen to an address, by the rules of the catalog, or an empty text."""
        entries = parse_toml(self.catalog).get("source", [])
        own: dict[str, str] = next((one for one in entries if one["name"] == self.name), {})
        return address_problem(own.get("form", ""), own.get("example", ""), address)

    def settings(self) -> tuple[Setting, ...]:
        """Return its rows of the table of settings."""
        return tuple(setting for section in self.sections for setting in section.settings())


@dataclass(frozen=True, slots=True)
class PortsConfig:
    """The connectors of a node and their sections, by name; a section that is needed and not written is not there."""

    connectors: tuple[Connector, ...]
    sections: Mapping[str, Section]

    @classmethod
    def from_tables(
        cls, tables: Mapping[str, Mapping[str, Any]], connectors: tuple[Connector, ...], base: Path = Path()
    ) -> PortsConfig:
        """Read the sections of the connectors out of the whole configuration file; others are not looked at."""
        kinds = [section for connector in connectors for section in connector.sections]
        present = [kind for kind in kinds if kind.SECTION in tables or not kind.required_keys()]
        read = {kind.SECTION: kind.from_table(tables.get(kind.SECTION, {}), base) for kind in present}
        return cls(connectors, read)

    def find(self, section: type[S]) -> S | None:
        """Return a section, None when it is not there."""
        return cast("S | None", self.sections.get(section.SECTION))

    def of(self, section: type[S]) -> S:
        """Return a section of a connector that the node serves."""
        return cast("S", self.sections[section.SECTION])

    def connector(self, name: str) -> Connector | None:
        """Return the connector of a name."""
        return next((one for one in self.connectors if one.name == name), None)

    def hint(self, namespace: str) -> str:
        """Return what to do to get the driver of a namespace, empty when nothing helps."""
        found = self.connector(namespace)
        return "" if found is None or found.driver is None else found.needed(self)


@dataclass(frozen=True, slots=True)
class Site:
    """Where a connector is set up: the node's configuration of ports, its name, its clock, and how far streams are."""

    config: PortsConfig
    node: str
    clock: NowUs = wall_clock_us
    streams: Streams = field(default_factory=Streams)

    def of(self, section: type[S]) -> S:
        """Return a section of the configuration."""
        return self.config.of(section)


def section_names(connectors: Iterable[Connector]) -> tuple[str, ...]:
    """Return the names that sections of the file may have, the short ones included."""
    return tuple(name for one in connectors for name in (*(section.SECTION for section in one.sections), *one.short))


def merge_short(tables: dict[str, Any], connectors: Iterable[Connector]) -> None:
    """Put what stands in a short section where it belongs: `[pins]` is `[gpio.pins]`."""
    for connector in connectors:
        for short, long in connector.short.items():
            if tables.get(short):
                _merge(tables, short, long)


def _merge(tables: dict[str, Any], short: str, long: str) -> None:
    *outer, last = re.split(r"\.", long)
    holder = tables
    for part in outer:
        holder = holder.setdefault(part, {})
    inside = holder.get(last, {})
    if both := tables[short].keys() & inside.keys():
        cause, hint = "It has one line.", "Remove one of them."
        Table(short, {}).refuse(f"[{short}] {min(both)} stands in [{long}], too", cause, hint)
    holder[last] = {**inside, **tables[short]}
