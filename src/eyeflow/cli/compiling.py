"""Compiling the rules that a command is given: the options for it, and how diagnostics are shown."""

from __future__ import annotations

import sys
from dataclasses import replace
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eyeflow.base.diagnostic import Severity
from eyeflow.cli.console import note_lines, paint, say_lines
from eyeflow.cli.files import STDIN, read_bytes, usage_error

if TYPE_CHECKING:
    from eyeflow.base.diagnostic import Diagnostic
    from eyeflow.compiler.catalog import Catalog
    from eyeflow.compiler.compile import CompileOptions, CompileResult
    from eyeflow.mcu.board import Board


class Format(Enum):
    """How diagnostics are shown."""

    TEXT = "text"
    CONCISE = "concise"
    GITHUB = "github"


class ProfileName(Enum):
    """The profile to compile for."""

    LINUX = "linux"
    MCU = "mcu"


NOT_ON_PROFILE = "EF0402"
Rules = Annotated[list[Path], typer.Argument(help="Rule files, folders with rules, or - for standard input.")]
FormatOption = Annotated[Format, typer.Option("--format", help="How to show diagnostics.")]
CatalogOption = Annotated[
    list[Path] | None, typer.Option("--catalog", help="A TOML file with more capabilities; may be given again.")
]
TargetOption = Annotated[
    str, typer.Option("--target", metavar="CHIP", help="Compile for this chip (implies --profile mcu): STM32F401CC.")
]
BoardOption = Annotated[
    Path | None,
    typer.Option("--board", help="Compile for the chip of this board file, and check pins and buses against it."),
]
ProfileOption = Annotated[
    ProfileName | None,
    typer.Option(
        "--profile", help="What the rule may use (default: linux, or mcu for a rule that needs what only boards have)."
    ),
]


def read_source(path: Path) -> str:
    """Return the text of a rule file; refuses what is not UTF-8 or too large."""
    from eyeflow.compiler.source import decode_source

    return decode_source(read_bytes(path), shown_name(path))


def shown_name(path: Path) -> str:
    """Return the name of a source in messages."""
    return "<stdin>" if path == STDIN else str(path)


def load_catalog(paths: list[Path] | None) -> Catalog:
    """Return the built-in catalog with the user's own added."""
    from eyeflow.compiler.catalog import Catalog

    catalog = Catalog.builtin()
    for path in paths or []:
        catalog = catalog.with_toml(read_bytes(path).decode("utf-8", errors="replace"), name=str(path))
    return catalog


def compile_options(
    profile: ProfileName | None, target: str, board: Path | None = None, sequence: int | None = None
) -> CompileOptions:
    """Return the options for a profile (None: linux), a chip and its limits, or a board and what is wired to it."""
    from eyeflow.compiler.compile import CompileOptions
    from eyeflow.svm.program import Profile

    if not target and board is None:
        chosen = Profile.MCU if profile is ProfileName.MCU else Profile.LINUX
        return CompileOptions(profile=chosen, sequence=sequence)
    from eyeflow.mcu.chips import find_chip
    from eyeflow.mcu.hardware import chip_hardware

    if board is None:
        chip = find_chip(target)
        return CompileOptions(Profile.MCU, chip.name, chip.limits, sequence, chip_hardware(chip))
    return board_options(_board(board, target), sequence)


def board_options(board: Board, sequence: int | None = None) -> CompileOptions:
    """Return the options for a board and what is wired to it."""
    from eyeflow.compiler.compile import CompileOptions
    from eyeflow.mcu.hardware import board_hardware
    from eyeflow.svm.program import Profile

    return CompileOptions(Profile.MCU, board.chip.name, board.limits, sequence, board_hardware(board))


def _board(path: Path, target: str) -> Board:
    """Return the board of a board file; refuses a --target that names another chip."""
    from eyeflow.mcu.board import load_board
    from eyeflow.mcu.chips import find_chip

    board = load_board(path)
    if target and find_chip(target).name != board.chip.name:
        raise usage_error(f"the board in {path} has the chip {board.chip.name}, not {target}", "leave out --target")
    return board


def compile_path(
    path: Path, catalog: Catalog, options: CompileOptions, *, guess_profile: bool = False
) -> tuple[str, CompileResult]:
    """Return the source text and the result of compiling one file.

    With `guess_profile` a rule that asks for what is not on its profile is taken for one of a microcontroller, if it is
    nearer to being right there: I2C, SPI and DAC are on boards only.
    """
    from eyeflow.compiler.compile import compile_rule
    from eyeflow.svm.program import Profile

    source = read_source(path)
    # Only the file's own name goes into the program: its id must not depend on where the file lies.
    result = compile_rule(source, name=path.name, catalog=catalog, options=options)
    if guess_profile and any(one.code == NOT_ON_PROFILE for one in result.diagnostics):
        other = compile_rule(source, name=path.name, catalog=catalog, options=replace(options, profile=Profile.MCU))
        if count_errors(other.diagnostics) < count_errors(result.diagnostics):
            return source, other
    return source, result


def is_profile_open(profile: ProfileName | None, target: str, board: Path | None) -> bool:
    """Return whether the user has left open where a rule shall run."""
    return profile is None and not target and board is None


def count_errors(diagnostics: tuple[Diagnostic, ...]) -> int:
    """Return how many diagnostics are errors."""
    return sum(one.severity is Severity.ERROR for one in diagnostics)


def has_errors(diagnostics: tuple[Diagnostic, ...]) -> bool:
    """Return whether any diagnostic is an error."""
    return any(d.severity is Severity.ERROR for d in diagnostics)


def show_diagnostics(diagnostics: tuple[Diagnostic, ...], source: str, path: Path, how: Format) -> None:
    """Print diagnostics for people on stderr, or for GitHub on stdout, where its runner reads them."""
    if not diagnostics:
        return
    from eyeflow.compiler import render

    name = shown_name(path)
    if how is Format.GITHUB:
        say_lines(render.render_github(diagnostics, source, name))
    elif how is Format.CONCISE:
        note_lines(render.render_short(diagnostics, source, name))
    else:
        note_lines(render.render_text(diagnostics, source, name, _width(), partial(paint, stream=sys.stderr)))


def _width() -> int:
    import shutil

    return shutil.get_terminal_size().columns


def diagnostics_json(diagnostics: tuple[Diagnostic, ...], source: str, path: Path) -> list[dict[str, object]]:
    """Return diagnostics as JSON-able data."""
    from eyeflow.compiler.render import render_json

    return render_json(diagnostics, source, shown_name(path))
