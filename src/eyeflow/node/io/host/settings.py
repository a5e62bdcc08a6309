"""The settings of the readings of this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from eyeflow.node.config.settings import Section, number, path


@dataclass(frozen=True, slots=True)
class HostConfig(Section):
    """The `host` readings: the file system to measure, and what stands for a temperature sensor that is absent."""

    SECTION: ClassVar[str] = "host"

    disk_path: Path = path("File system that `disk_percent` measures.", Path("/"))
    temperature_default: float | None = number(
        None,
        -273.15,
        1000.0,
        "Stands for the temperature where there is no sensor; without it the read fails.",
    )
