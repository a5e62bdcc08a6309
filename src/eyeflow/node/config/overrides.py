"""Where settings come from besides the file: environment variables and flags, and how paths in them are meant."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.names import near
from eyeflow.base.reading import parse_float, parse_int
from eyeflow.node.config.settings import SETTINGS, Setting, SettingKind

_BY_NAME = {setting.name: setting for setting in SETTINGS}
_BY_VARIABLE = {setting.variable: setting for setting in SETTINGS}

STRICT_PREFIXES = ("EYEFLOW_NODE_", "EYEFLOW_OFFLINE_", "EYEFLOW_GRANTS_", "EYEFLOW_TRUST_")
"""A variable that starts so must be a setting; other `EYEFLOW_*` may hold a secret or belong to another command."""

PATHS = frozenset(
    {"data_dir", "token_file", "ca_file", "cert_file", "key_file", "password_file", "levels_file", "values_file"}
)
"""Settings that are paths; a relative one starts at the directory of the configuration file."""

TRUE, FALSE = frozenset({"true", "1", "yes", "on"}), frozenset({"false", "0", "no", "off"})


def apply_overrides(tables: dict[str, Any], environment: Mapping[str, str], flags: Mapping[str, str]) -> None:
    """Put the values of `EYEFLOW_*` variables and then of flags (by setting name) over those of the file."""
    for variable in sorted(environment):
        if variable in _BY_VARIABLE:
            _set(tables, _BY_VARIABLE[variable], environment[variable], variable)
        elif variable.startswith(STRICT_PREFIXES):
            raise _unknown(variable, near(variable, _BY_VARIABLE), "environment variable")
    for name, text in flags.items():
        if name not in _BY_NAME:
            raise _unknown(name, near(name, _BY_NAME), "setting")
        _set(tables, _BY_NAME[name], text, f"--set {name}")


def named_settings(environment: Mapping[str, str], flags: Mapping[str, str]) -> frozenset[str]:
    """Return the names of the settings that variables and flags give: `node.name`."""
    return frozenset(flags) | {_BY_VARIABLE[variable].name for variable in environment if variable in _BY_VARIABLE}


def _set(tables: dict[str, Any], setting: Setting, text: str, origin: str) -> None:
    table = tables
    for part in setting.section.split("."):
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise _bad(origin, f"`{part}` in the file is no section", "Correct the file.")
    table[setting.key] = _parsed(setting.kind, text, origin)


def _parsed(kind: SettingKind, text: str, origin: str) -> object:
    try:
        match kind:
            case SettingKind.INTEGER:
                return parse_int(text)
            case SettingKind.NUMBER:
                return parse_float(text)
            case SettingKind.BOOLEAN:
                return _boolean(text)
            case SettingKind.TEXTS:
                return [part.strip() for part in text.split(",") if part.strip()]
            case SettingKind.TEXT:
                return text
    except ValueError as error:
        raise _bad(origin, f"{text!r} is not {kind.value}", "Correct the value.") from error


def _boolean(text: str) -> bool:
    if text.lower() in TRUE:
        return True
    if text.lower() in FALSE:
        return False
    raise ValueError(text)


def resolve_paths(tables: dict[str, Any], base: Path) -> None:
    """Let relative paths start at `base`."""
    for key, value in tables.items():
        if isinstance(value, dict):
            resolve_paths(value, base)
        elif key in PATHS and isinstance(value, str) and value:
            tables[key] = str(base / Path(value).expanduser())
        elif key in ("key_files", "directories") and isinstance(value, list):
            tables[key] = [str(base / Path(v).expanduser()) if isinstance(v, str) else v for v in value]


def _unknown(name: str, guess: str | None, what: str) -> EyeflowError:
    hint = f"Did you mean `{guess}`?" if guess else "docs/reference/node-settings.md lists all settings."
    return _bad(name, f"no {what} of a node has this name", hint)


def _bad(origin: str, cause: str, next_step: str) -> EyeflowError:
    message = f"{origin}: {cause}"
    return EyeflowError(message, cause="", next_step=next_step, code="config", exit_code=ExitCode.USAGE)
