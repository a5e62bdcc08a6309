"""Write docs/reference/cli.md from the command tree; `--check` fails when it is stale."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import get_args, get_type_hints

import typer
from typer.models import ArgumentInfo, ParameterInfo

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "cli.md"

HEAD = """\
# The eyeflow command

Generated from the command itself by `tools/gen_cli.py`: do not edit.

Every command that prints a result has `--json`; errors then are JSON too: `{"error": {"code", "message", "cause",
"next"}, "exitCode"}`. JSON is ASCII: other characters are JSON escapes. In text, a character that would steer a
terminal is shown as an escape, such as `\\x1b`. Colour is off when the output is piped or `NO_COLOR` is set.

Fields of JSON are spelled as in the REST API: `programId`. The end of a name is its unit: `timeUs` is in microseconds
(since 1970 UTC for a point in time), `sizeBytes` in bytes, `validS` in seconds. Names of parameters and of counters
(`action_failures`) stay as their rule, source or driver writes them.

`eyeflow --install-completion` sets up completion for your shell.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | problems in the input (a rule, a configuration, a recording), a failed test or deployment |
| 2 | wrong usage: arguments, or a value of an `EYEFLOW_*` variable or flag of the node |
| 3 | the environment: a file that is missing, forbidden or endless, the disk, the network |
| 70 | a bug of eyeflow: the message names a report file |
| 130 | interrupted by Ctrl-C |

| variable | meaning |
|---|---|
| `EYEFLOW_COORDINATOR` | URL of the coordinator, in place of the one in `~/.config/eyeflow/client.toml` |
| `EYEFLOW_COORDINATOR_STORE` | `--store` of `coordinator start`: the URL of a PostgreSQL database |
| `EYEFLOW_TOKEN` | API token for it, in place of the one there |
| `EYEFLOW_KEYS` | folder of the keyring (default: `~/.config/eyeflow/keys`) |
| `EYEFLOW_PASSPHRASE` | passphrase of a signing key, where nobody can be asked |
| `EYEFLOW_MCU_PORT` | `--port` of the commands for boards |
| `EYEFLOW_MCU_TIMEOUT` | `--timeout` of the commands for boards: seconds to wait for an answer of the board |
| `EYEFLOW_NODE_NAME`, ... | settings of a node: [all of them](node-settings.md) |
| `XDG_CONFIG_HOME`, `XDG_DATA_HOME` | in place of `~/.config` and `~/.local/share` |
| `NO_COLOR`, `FORCE_COLOR` | colour never, or always |

A reader that leaves early (`eyeflow test x.eye | head -1`) does not change the exit code: a failed test still gives 1.
"""


def commands(app: typer.Typer, path: str) -> Iterator[tuple[str, Callable[..., object]]]:
    """Yield every command below `app` with its full name and its function."""
    for command in app.registered_commands:
        assert command.callback is not None
        yield f"{path} {command.name or command.callback.__name__}", command.callback
    for group in app.registered_groups:
        assert group.typer_instance is not None
        yield from commands(group.typer_instance, f"{path} {group.name}")


def parameters(function: Callable[..., object]) -> Iterator[tuple[str, str]]:
    """Yield how each parameter of a command is written, and its help."""
    for name, annotation in get_type_hints(function, include_extras=True).items():
        infos = [info for info in getattr(annotation, "__metadata__", ()) if isinstance(info, ParameterInfo)]
        if infos:
            yield written(name, get_args(annotation)[0], infos[0]), infos[0].help or ""


def written(name: str, kind: object, info: ParameterInfo) -> str:
    """Return how a parameter is written: `FILE`, `--out PATH`."""
    if isinstance(info, ArgumentInfo):
        return f"`{name.rstrip('_').upper()}`"
    # With Annotated, typer takes the first name of an option for its default.
    named = (info.default,) if isinstance(info.default, str) and info.default.startswith("-") else ()
    flags = (*named, *(info.param_decls or ())) or (f"--{name.rstrip('_').replace('_', '-')}",)
    shown = ", ".join(f"`{flag}`" for flag in flags)
    kinds = [one for one in (get_args(kind) or (kind,)) if one is not type(None)]
    first = (get_args(kinds[0]) or kinds)[0]
    if first is bool:
        return shown
    if isinstance(first, type) and issubclass(first, Enum):
        return f"{shown} " + "\\|".join(str(member.value) for member in first)
    return f"{shown} {info.metavar or getattr(first, '__name__', str(first)).upper()}"


def page() -> str:
    """Return the whole page."""
    from eyeflow.cli.main import command_line

    lines = [HEAD]
    for name, function in sorted(commands(command_line(), "eyeflow"), key=lambda pair: pair[0]):
        lines += [f"## {name}", "", inspect.getdoc(function) or "", ""]
        rows = [f"| {shown} | {text} |" for shown, text in parameters(function)]
        if rows:
            lines += ["| parameter | meaning |", "|---|---|", *rows, ""]
    return "\n".join(lines).rstrip() + "\n"


def main() -> int:
    """Write or check the page."""
    text = page()
    if "--check" in sys.argv[1:]:
        if not PAGE.exists() or PAGE.read_text() != text:
            sys.stderr.write(f"{PAGE.name} is stale: run make golden\n")
            return 1
        return 0
    PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
