"""The list of connectors: a new one is a package beside this file, and its name here."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from eyeflow.node.config.settings import Section
from eyeflow.node.io.connector import Connector, PortsConfig

NAMES = (
    "adc",
    "board",
    "file",
    "gpio",
    "host",
    "http",
    "kafka",
    "llm",
    "log",
    "mqtt",
    "serial",
)
"""Each names a package with a module `connector`, whose `CONNECTOR` is the record."""

CONNECTORS: tuple[Connector, ...] = tuple(
    import_module(f"eyeflow.node.io.{name}.connector").CONNECTOR for name in NAMES
)


def ports_config(*sections: Section, connectors: tuple[Connector, ...] = CONNECTORS) -> PortsConfig:
    """Return the configuration with these sections, and the defaults of those that have one."""
    kinds = [kind for one in connectors for kind in one.sections]
    defaults = {kind.SECTION: kind() for kind in kinds if not kind.required_keys()}
    return PortsConfig(connectors, defaults | {one.SECTION: one for one in sections})


def read_ports(tables: Mapping[str, Mapping[str, Any]], base: Path = Path()) -> PortsConfig:
    """Return what the tables of a configuration file say of the built-in connectors."""
    return PortsConfig.from_tables(tables, CONNECTORS, base)
