"""Answers that need no command loaded: help pages and shell completion, from the generated table in `surface`.

Loading typer alone takes longer than a shell user waits for the tab key. So this module imports nothing but the table,
and leaves to typer whatever is out of the ordinary: a narrow terminal, a value that only code can complete, a wrong
command line. Tests compare every answer with typer's own.
"""

from __future__ import annotations

import os
import sys

from eyeflow import __version__
from eyeflow.base.errors import ExitCode
from eyeflow.cli.surface import ALONE, ARGUMENTS, COMMANDS, DYNAMIC, HELP, OPTIONS, Words

TYPE_CHECKING = False  # `typing` takes longer to load than a help page to print
if TYPE_CHECKING:
    from typing import TextIO

COMPLETE_ENV = "_EYEFLOW_COMPLETE"
PAGE_COLUMNS = 80
"""Help pages are laid out for this width, and typer uses no more of a wider terminal."""

COLON = "\\\\:"
ZSH_ESCAPES = str.maketrans({'"': '""', "'": "''", "$": "\\$", "`": "\\`", ":": COLON})


def answer(arguments: list[str]) -> bool:
    """Print a help page or completions if the table has them; return whether it did.

    Ends the process for fish, and with exit code 2 where a command is missing.
    """
    instruction = os.environ.get(COMPLETE_ENV, "")
    path = " ".join(arguments)
    if not instruction and all(arguments) and path in COMMANDS and path not in ALONE:
        if _columns() >= PAGE_COLUMNS and _write(HELP[path], sys.stderr):
            sys.exit(int(ExitCode.USAGE))
        return False
    text = _completed(instruction) if instruction else _page(arguments)
    return text is not None and _write(text, sys.stdout)


def first_word(arguments: list[str]) -> str:
    """Return the command that is called, or being completed: of the others nothing needs to be loaded."""
    if os.environ.get(COMPLETE_ENV):
        line = _command_line(os.environ[COMPLETE_ENV].removeprefix("complete_"))
        arguments = line[0] if line else []
    return arguments[0] if arguments else ""


def _write(text: str, stream: TextIO | None) -> bool:
    if stream is None:  # closed by the caller
        return False
    try:
        stream.write(text + "\n")
        stream.flush()
    except (OSError, ValueError):  # full, unread, or not in UTF-8: the commands' own streams know what to do
        return False
    return True


def _page(arguments: list[str]) -> str | None:
    if arguments == ["--version"]:
        return f"eyeflow {__version__}"
    if not arguments or arguments[-1] not in ("--help", "-h") or _columns() < PAGE_COLUMNS:
        return None
    return HELP.get(" ".join(arguments[:-1]))


def _columns() -> int:
    """Return the width of the terminal as `shutil.get_terminal_size` does, which is slow to import."""
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and int(given):
        return int(given)
    try:
        return os.get_terminal_size(sys.__stdout__.fileno()).columns  # type: ignore[union-attr]
    except (OSError, ValueError, AttributeError):
        return PAGE_COLUMNS


def _completed(instruction: str) -> str | None:
    """Return what the completion script of bash, zsh or fish wants to read, None if typer must answer."""
    shell = instruction.removeprefix("complete_")
    line = _command_line(shell)
    found = completions(*line) if line else None
    if found is None:
        return None
    if shell == "bash":
        return "\n".join(word for word, _ in found)
    if shell == "zsh":
        shown = "\n".join(_described(word, about) for word, about in found)
        return f"_arguments '*: :(({shown}))'" if found else "_files"
    if os.environ.get("_TYPER_COMPLETE_FISH_ACTION") == "is-args":
        sys.exit(0 if found else 1)  # 1: let fish complete files
    return "\n".join(f"{word}\t{about}" if about else word for word, about in found)


def _described(word: str, about: str) -> str:
    quoted = f'"{word.translate(ZSH_ESCAPES)}"'
    return f'{quoted}:"{about.translate(ZSH_ESCAPES)}"' if about else quoted


def _command_line(shell: str) -> tuple[list[str], str] | None:
    """Return the whole words after `eyeflow` and the unfinished one; None for another shell, or with quotes."""
    if shell not in ("bash", "zsh", "fish"):
        return None
    line = os.environ.get("COMP_WORDS" if shell == "bash" else "_TYPER_COMPLETE_ARGS", "")
    odd = any(sign in line for sign in "'\"\\") or not line.isascii()
    if odd or (shell == "bash" and not os.environ.get("COMP_CWORD", "").isdecimal()):
        return None
    words = line.split()
    if shell == "bash":
        place = int(os.environ["COMP_CWORD"])
        return words[1:place], words[place] if place < len(words) else ""
    if len(words) < 2 or line.endswith(" "):
        return words[1:], ""
    return words[1:-1], words[-1]


def completions(words: list[str], unfinished: str) -> Words | None:
    """Return what `unfinished` can become after `words`, each with its help; None if typer must answer."""
    path, rest = "", list(words)
    while path in COMMANDS and rest:
        path = f"{path} {rest.pop(0)}".lstrip()
    if path not in OPTIONS or "=" in unfinished:
        return None
    if path in COMMANDS and not unfinished.startswith("-"):
        return _starting(COMMANDS[path], unfinished)
    return _in_command(path, rest, unfinished)


def _in_command(path: str, rest: list[str], unfinished: str) -> Words | None:
    """Return the options, or the values of the option or argument whose turn it is."""
    options = {name: option for option in OPTIONS[path] for name in option[0]}
    given, filled = [], 0
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            filled += 1
            continue
        option = options.get(word)
        if option is None:
            return None
        given.append(option)
        _names, _about, values, _again = option
        if values is None:
            continue
        if not rest:
            return None if unfinished.startswith("-") or values is DYNAMIC else _starting(values, unfinished)
        if rest.pop(0).startswith("-"):
            return None
    if unfinished.startswith("-"):
        free = [option for option in OPTIONS[path] if option[3] or option not in given]
        return _starting(tuple((name, about) for names, about, _, _ in free for name in names), unfinished)
    for place, (many, values) in enumerate(ARGUMENTS[path]):
        if many or place >= filled:
            return None if values is DYNAMIC else _starting(values, unfinished)
    return ()


def _starting(found: Words, start: str) -> Words:
    return tuple(pair for pair in found if pair[0].startswith(start))
