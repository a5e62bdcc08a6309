"""Write src/eyeflow/cli/surface.py from the command tree; `--check` fails when it is stale.

The table holds typer's own answers: its help pages, and the words it would complete. `eyeflow.cli.quick` gives them
without loading typer or a command.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pprint import pformat
from typing import Any

import typer
from typer.main import get_command

PAGE = Path(__file__).parents[1] / "src" / "eyeflow" / "cli" / "surface.py"

HEAD = '''\
"""Help pages and completions of every command. Generated from the commands by `tools/gen_surface.py`: do not edit."""
# fmt: off

from __future__ import annotations

Words = tuple[tuple[str, str], ...]
"""Words to complete, each with its help, which may be empty."""

Option = tuple[tuple[str, ...], str, Words | None, bool]
"""An option: its names, its help, the values known for it (None: it takes no value), whether it may be given again."""

DYNAMIC: Words = (("", "only code knows"),)
"""Stands for values that the command itself must be asked for."""

'''
PATHS = "A command is named by its words after `eyeflow`; the empty name is `eyeflow` itself."
TABLES = {
    "MODULES": ("dict[str, str]", "Which module of `eyeflow.cli` registers a command."),
    "COMMANDS": ("dict[str, Words]", f"The commands of each group. {PATHS}"),
    "ALONE": ("dict[str, str]", "The groups that do something without a command: what."),
    "OPTIONS": ("dict[str, tuple[Option, ...]]", "The options of each command whose options are fixed."),
    "ARGUMENTS": ("dict[str, tuple[tuple[bool, Words], ...]]", "Of each argument: does it repeat, and its values."),
}
DYNAMIC = "DYNAMIC"
FIXED = {"chip"}
"""Parameters completed by code from what lies in this package. Others depend on the machine: serial ports."""


class Name:
    """Is printed as a name of the generated module."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


def modules() -> Iterator[tuple[str, str]]:
    """Yield every top command with the module that registers it."""
    from eyeflow.cli.main import PARTS

    for part in PARTS:
        app = typer.Typer()
        app.callback()(lambda: None)
        import_module(f"eyeflow.cli.{part}").register(app)
        group: Any = get_command(app)
        yield from ((name, part) for name in group.commands)


def tree(command: Any, path: str = "", parent: Any = None) -> Iterator[tuple[str, Any, Any]]:
    """Yield every group and command with its path and a context that runs nothing."""
    name = path.rpartition(" ")[2] or "eyeflow"
    context = command.make_context(name, [], parent=parent, resilient_parsing=True)
    yield path, command, context
    for word, child in getattr(command, "commands", {}).items():
        yield from tree(child, f"{path} {word}".strip(), context)


def words(items: list[Any]) -> tuple[tuple[str, str], ...]:
    """Return completions as the table keeps them: help on one line."""
    return tuple((item.value, " ".join((item.help or "").split())) for item in items)


def values(param: Any, context: Any) -> object:
    """Return the values that typer knows for a parameter."""
    if param._custom_shell_complete and param.name not in FIXED:
        return Name(DYNAMIC)
    return words(param.shell_complete(context, ""))


def names(param: Any) -> tuple[str, ...]:
    """Return the names of an option; typer keeps those of its own `--help` in no order, so they get one."""
    found = (*param.opts, *param.secondary_opts)
    return tuple(sorted(found)) if param.name == "help" else found


def options(command: Any, context: Any) -> tuple[object, ...]:
    """Return the options of a command in typer's order."""
    return tuple(
        (
            names(param),
            " ".join((param.help or "").split()),
            None if param.is_flag or param.count else values(param, context),
            bool(param.multiple),
        )
        for param in command.get_params(context)
        if param.param_type_name == "option" and not param.hidden
    )


def arguments(command: Any, context: Any) -> tuple[object, ...]:
    """Return the arguments of a command."""
    found = [param for param in command.get_params(context) if param.param_type_name == "argument"]
    return tuple((param.nargs == -1, values(param, context)) for param in found)


def page() -> str:
    """Return the whole module."""
    from eyeflow.cli.main import command_line

    tables: dict[str, dict[str, object]] = {name: {} for name in TABLES}
    tables["MODULES"] |= dict(modules())
    pages = {}
    for path, command, context in tree(get_command(command_line())):
        pages[path] = command.get_help(context)
        if hasattr(command, "commands"):
            tables["COMMANDS"][path] = words(command.shell_complete(context, ""))
            if command.invoke_without_command and path:
                tables["ALONE"][path] = " ".join((command.help or "").split())
        if not context.ignore_unknown_options:
            tables["OPTIONS"][path] = options(command, context)
            tables["ARGUMENTS"][path] = arguments(command, context)
    shown = [
        f'{name}: {kind} = {pformat(tables[name], sort_dicts=False, width=116)}\n"""{about}"""\n'
        for name, (kind, about) in TABLES.items()
    ]
    helps = "".join(f'    {path!r}: """\\\n{literal(text)}""",\n' for path, text in pages.items())
    return f'{HEAD}{chr(10).join(shown)}\nHELP: dict[str, str] = {{\n{helps}}}\n"""What `--help` prints."""\n'


def literal(text: str) -> str:
    """Return a text as it stands between triple quotes."""
    return text.replace("\\", "\\\\").replace('"""', '\\"""')


def main() -> int:
    """Write or check the page."""
    os.environ["COLUMNS"] = "80"  # typer lays its pages out for the terminal
    if "--check" not in sys.argv[1:]:  # the commands import the table: it must load, also with marks of a merge in it
        empty = "".join(
            f"{name}: {kind} = {{}}\n" for name, (kind, _) in (TABLES | {"HELP": ("dict[str, str]", "")}).items()
        )
        PAGE.write_text(HEAD + empty)
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
