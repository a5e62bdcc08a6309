"""The settings of files that rules append to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from eyeflow.node.config.settings import Section, paths


@dataclass(frozen=True, slots=True)
class FileConfig(Section):
    """`file.append` writes only below these directories; none: the capability always fails."""

    SECTION: ClassVar[str] = "file"

    directories: tuple[Path, ...] = paths("Directories below which `file.append` may write.")
