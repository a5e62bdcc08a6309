"""Write docs/reference/cli.md from the command tree; `--check` fails when it is stale."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from typer.main import get_command

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "cli.md"

HEAD = """\
# The eyeflow command

Generated from the command itself by `tools/gen_cli.py`: do not edit.

Every command that prints a result has `--json`; errors then are JSON too: `{"error": {"code", "message", "cause",
"next"}, "exitCode"}`. Colour is off when the output is piped or `NO_COLOR` is set. `eyeflow --install-completion` sets
up completion for your shell.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | problems in the input, a failed test or deployment |
| 2 | wrong usage |
| 3 | the environment: a file, the disk, the network |
| 70 | a bug of eyeflow: the message names a report file |
| 130 | interrupted by Ctrl-C |
"""


def commands(command: object, path: str) -> Iterator[tuple[str, object]]:
    """Yield every command below `command` with its full name."""
    children = getattr(command, "commands", None)
    if children is None:
        yield path, command
        return
    for name in sorted(children):
        yield from commands(children[name], f"{path} {name}")


def option_names(param: object) -> str:
    """Return how a parameter is written."""
    if param.param_type_name == "argument":  # type: ignore[attr-defined]
        return f"`{param.human_readable_name}`"  # type: ignore[attr-defined]
    names = ", ".join(f"`{name}`" for name in (*param.opts, *param.secondary_opts))  # type: ignore[attr-defined]
    if param.is_flag:  # type: ignore[attr-defined]
        return names
    choices = getattr(param.type, "choices", None)  # type: ignore[attr-defined]
    shown = "\\|".join(str(getattr(choice, "value", choice)) for choice in choices) if choices else ""
    return f"{names} {shown or (param.metavar or param.type.name.upper())}"  # type: ignore[attr-defined]


def page() -> str:
    """Return the whole page."""
    from eyeflow.cli.main import app

    lines = [HEAD]
    for name, command in commands(get_command(app), "eyeflow"):
        lines += [f"## {name}", "", (command.help or "").strip(), ""]  # type: ignore[attr-defined]
        shown = [p for p in command.params if p.name != "help" and not getattr(p, "hidden", False)]  # type: ignore[attr-defined]
        if shown:
            lines += ["| parameter | meaning |", "|---|---|"]
            lines += [f"| {option_names(p)} | {getattr(p, 'help', None) or ''} |" for p in shown]
            lines.append("")
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
