"""The configuration of a node, as its commands take it: a file, the environment, and each setting as a flag."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eyeflow.base.errors import EyeflowError
from eyeflow.cli.files import usage_error

if TYPE_CHECKING:
    from eyeflow.node.config.config import NodeConfig

CONFIG_NAME = "eyeflow-svm.toml"
ConfigOption = Annotated[
    Path | None, typer.Option("--config", help=f"Configuration file (default: {CONFIG_NAME}, if it is there).")
]
SETTING_FLAGS = {"allow_extra_args": True, "ignore_unknown_options": True}
"""Every setting is a flag too: the rest of the arguments is read by the table of settings."""


def load_node_config(config: Path | None, flags: list[str]) -> NodeConfig:
    """Return the node's configuration: file, then environment, then flags such as `--offline-max-buffer-size-mb 64`."""
    from eyeflow.node.config.config import load_config

    default, settings = Path(CONFIG_NAME), parse_setting_flags(flags)
    path = config or (default if default.exists() else None)
    if path is None and "node.name" not in settings and not os.environ.get("EYEFLOW_NODE_NAME"):
        raise EyeflowError(
            "which node?",
            cause=f"there is no {CONFIG_NAME} in this folder, and no --config",
            next_step=f"name the file with --config, or write one with: eyeflow node init NAME --out {CONFIG_NAME}",
            code="no_config",
        )
    return load_config(path, os.environ, settings)


def data_dir_of(config: Path | None, data_dir: Path | None, flags: list[str]) -> Path:
    """Return where a node keeps its data: `data_dir` itself, or what the configuration says."""
    if data_dir is None:
        return load_node_config(config, flags).data_dir
    parse_setting_flags(flags)  # a misspelt option is refused here as elsewhere: `--kye` would not check with a key
    if flags:
        raise usage_error(f"{flags[0]} sets nothing: with --data-dir no configuration is read", "leave out one of them")
    return data_dir


def parse_setting_flags(arguments: list[str]) -> dict[str, str]:
    """Return `{"offline.max_buffer_size_mb": "64"}` of `--offline-max-buffer-size-mb 64` or `...=64`."""
    from eyeflow.base.names import near
    from eyeflow.node.config.config import settings

    known = {setting.flag: setting.name for setting in settings()}
    found: dict[str, str] = {}
    rest = list(arguments)
    while rest:
        flag, equals, value = rest.pop(0).partition("=")
        if not flag.startswith("-"):
            raise usage_error(f"{flag} is one argument too many", "see the command with --help")
        if flag not in known:
            guess = near(flag, known)
            hint = f"did you mean {guess}?" if guess else "see docs/reference/node-settings.md"
            raise usage_error(f"there is no option {flag}", hint)
        if not equals:
            if not rest:
                raise usage_error(f"{flag} has no value", f"write {flag} VALUE")
            value = rest.pop(0)
        found[known[flag]] = value
    return found
