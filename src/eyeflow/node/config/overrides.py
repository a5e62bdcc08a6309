"""Settings from environment variables and flags, put over those of the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.names import near
from eyeflow.base.reading import parse_float, parse_int
from eyeflow.node.config.settings import Kind, Setting

STRICT_PREFIXES = ("EYEFLOW_NODE_", "EYEFLOW_OFFLINE_", "EYEFLOW_GRANTS_", "EYEFLOW_TRUST_")
"""A variable that starts so must be a setting; other `EYEFLOW_*` may hold a secret or belong to another command."""

TRUE, FALSE = frozenset({"true", "1", "yes", "on"}), frozenset({"false", "0", "no", "off"})


def apply_overrides(
    tables: dict[str, Any], settings: Sequence[Setting], environment: Mapping[str, str], flags: Mapping[str, str]
) -> None:
    """Put the values of `EYEFLOW_*` variables and then of flags (by setting name) over those of the file."""
    by_variable = {setting.variable: setting for setting in settings}
    by_name = {setting.name: setting for setting in settings}
    for variable in sorted(environment):
        if variable in by_variable:
            _set(tables, by_variable[variable], environment[variable], variable)
        elif variable.startswith(STRICT_PREFIXES):
            raise _unknown(variable, near(variable, by_variable), "environment variable")
    for name, text in flags.items():
        if name not in by_name:
            raise _unknown(name, near(name, by_name), "setting")
        _set(tables, by_name[name], text, by_name[name].flag)


def named_settings(
    settings: Sequence[Setting], environment: Mapping[str, str], flags: Mapping[str, str]
) -> frozenset[str]:
    """Return the names of the settings that variables and flags give: `node.name`."""
    return frozenset(flags) | {setting.name for setting in settings if setting.variable in environment}


def _set(tables: dict[str, Any], setting: Setting, text: str, origin: str) -> None:
    table = tables
    for part in setting.section.split("."):
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise _bad(origin, f"`{part}` in the file is no section", "Correct the file.")
    table[setting.key] = _parsed(setting.kind, text, origin)


def _parsed(kind: Kind, text: str, origin: str) -> object:
    try:
        match kind:
            case Kind.INTEGER:
                return parse_int(text)
            case Kind.NUMBER:
                return parse_float(text)
            case Kind.BOOLEAN:
                return _boolean(text)
            case Kind.TEXTS | Kind.PATHS:
                return [part.strip() for part in text.split(",") if part.strip()]
            case Kind.TEXT | Kind.PATH:
                return text
    except ValueError as error:
        wrong = "neither true nor false" if kind is Kind.BOOLEAN else f"no {kind.value}"
        raise _bad(origin, f"{text!r} is {wrong}", "Correct the value.") from error


def _boolean(text: str) -> bool:
    if text.lower() in TRUE:
        return True
    if text.lower() in FALSE:
        return False
    raise ValueError(text)


def _unknown(name: str, guess: str | None, what: str) -> EyeflowError:
    hint = f"Did you mean `{guess}`?" if guess else "docs/reference/node-settings.md lists all settings."
    return _bad(name, f"no {what} of a node has this name", hint)


def _bad(origin: str, cause: str, next_step: str) -> EyeflowError:
    message = f"{origin}: {cause}"
    return EyeflowError(message, cause="", next_step=next_step, code="config", exit_code=ExitCode.USAGE)
