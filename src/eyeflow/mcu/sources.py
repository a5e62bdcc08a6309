"""The sources of the firmware, which ship inside this package: files, and templates with `$names`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from string import Template

from eyeflow.base.errors import EyeflowError
from eyeflow.base.reasons import why


def crates() -> Traversable:
    """Return the folder of the crates, `embassy/` of the repository."""
    return resources.files("eyeflow.mcu").joinpath("embassy")


def read_source(path: str) -> str:
    """Return the text of a file below `crates()`; raises EyeflowError when this installation lacks it."""
    file = crates()
    for part in path.split("/"):
        file = file.joinpath(part)
    try:
        return file.read_text("utf-8")
    except OSError as error:
        raise EyeflowError(
            "the firmware sources of this installation are not complete",
            cause=f"{file}: {why(error)}",
            next_step="install eyeflow again",
            code="firmware_sources",
        ) from error


def fill_template(path: str, values: Mapping[str, object]) -> str:
    """Return a template with its names replaced; a name without a value is a bug."""
    return Template(read_source(path)).substitute(values)


def source_tree(path: str, prefix: str) -> dict[str, str]:
    """Return the Rust sources and data below a folder, by their paths below `prefix`."""
    folder = crates()
    for part in path.split("/"):
        folder = folder.joinpath(part)
    files: dict[str, str] = {}
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            files |= source_tree(f"{path}/{entry.name}", f"{prefix}/{entry.name}")
        elif entry.name.endswith((".rs", ".bin")):
            files[f"{prefix}/{entry.name}"] = read_source(f"{path}/{entry.name}")
    return files
