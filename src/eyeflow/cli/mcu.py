"""The commands `eyeflow mcu ...`: firmware for microcontrollers, and boards that run it."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eyeflow.cli import mcu_board, mcu_flash, mcu_log, mcu_sim
from eyeflow.cli import mcu_project as p
from eyeflow.cli.console import JsonFlag, ends_on_sigterm, note, note_moving, paint, say, say_json, table
from eyeflow.cli.files import usage_error, write_bytes

if TYPE_CHECKING:
    from eyeflow.mcu.board import Board
    from eyeflow.mcu.build import Firmware
    from eyeflow.mcu.size import Sizes

app = typer.Typer(
    no_args_is_help=True, help="Microcontrollers: build, flash and talk to boards.", rich_markup_mode=None
)

mcu_board.register(app)
mcu_flash.register(app)
mcu_log.register(app)
mcu_sim.register(app)


def register(root: typer.Typer) -> None:
    """Add the commands for microcontrollers."""
    root.add_typer(app, name="mcu")


@app.command("chips")
def chips(json_: JsonFlag = False) -> None:
    """List the chips that firmware can be built for."""
    from eyeflow.mcu.chips import chips as known

    if json_:
        say_json([_chip_json(chip) for chip in known().values()])
        return
    rows = [
        [
            chip.name,
            chip.core,
            f"{chip.flash_bytes // 1024} / {chip.ram_bytes // 1024} KB",
            f"{chip.memory.flash_bytes // 1024} / {chip.memory.ram_bytes // 1024} KB",
            str(len(chip.pins)),
            ", ".join(name for name in ("uart", "i2c", "spi", "adc", "dac") if getattr(chip, name)),
        ]
        for chip in known().values()
    ]
    table(["CHIP", "CORE", "FLASH / RAM", "FIRMWARE BUDGET", "PINS", "PERIPHERALS"], rows)


def _chip_json(chip: Any) -> dict[str, Any]:
    return {
        "name": chip.name,
        "family": chip.family,
        "core": chip.core,
        "flashBytes": chip.flash_bytes,
        "ramBytes": chip.ram_bytes,
        "budget": {"flashBytes": chip.memory.flash_bytes, "ramBytes": chip.memory.ram_bytes},
        "pins": list(chip.pins),
        "peripherals": {name: sorted(getattr(chip, name)) for name in ("uart", "i2c", "spi", "adc", "dac")},
    }


@app.command("new")
def new(
    chip: Annotated[
        str, typer.Option("--chip", autocompletion=p.complete_chip, help="The chip on the board: STM32F401CC.")
    ] = "",
    out: Annotated[Path, typer.Option("--out", "-o", help="The board file to write.")] = p.BOARD_FILE,
    signer: Annotated[
        list[str] | None,
        typer.Option(
            "--signer", metavar="KEY", help="Whose programs it runs: a key's name, hex or file (default: your own key)."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    json_: JsonFlag = False,
) -> None:
    """Write a board file with comments: pins, serial line, channels, keys. Edit it to match your wiring."""
    from eyeflow.mcu.board import parse_board
    from eyeflow.mcu.chips import chips, find_chip

    if not chip:
        raise usage_error("which chip?", f"name it with --chip: {', '.join(chips())}")
    if out.exists() and not force:
        raise usage_error(f"{out} exists", "edit it, or overwrite it with --force")
    text = p.new_board(chip, signer or [])
    board = parse_board(text, str(out))
    write_bytes(out, text.encode())
    if json_:
        keys = [key.hex() for key in board.signers]
        say_json({"board": str(out), "chip": find_chip(chip).name, "name": board.name, "signers": keys})
        return
    choice = p.choose("", out)
    note(f"wrote {out}: edit it to match your wiring, then {choice.command('build')}")
    p.warn_of_no_signers(choice)


@app.command("build")
def build(
    chip: p.ChipOption = "", board: p.BoardOption = None, out: p.OutOption = None, json_: JsonFlag = False
) -> None:
    """Build the firmware of a board: writes a Cargo project, runs cargo, and checks the budget of the chip."""
    from eyeflow.mcu.build import build_firmware
    from eyeflow.mcu.project import render_project

    choice = p.choose(chip, board, out)
    p.warn_of_no_signers(choice)
    project = render_project(choice.board, choice.text, choice.folder)
    note(f"{choice.board.chip.name} ({choice.board.name}): the Cargo project is in {choice.folder}")
    start_s = time.monotonic()
    with ends_on_sigterm(), _Progress() as progress:
        firmware = build_firmware(project, progress)
    note(f"built in {time.monotonic() - start_s:.0f} s with {firmware.toolchain.describe()}")
    if json_:
        say_json(_firmware_json(choice.board, firmware))
        return
    say_sizes(firmware.sizes, choice.board)
    for path in (firmware.image.elf, firmware.image.bin, firmware.image.uf2):
        if path is not None:
            say(f"  {path}")
    note(f"next: {choice.command('flash')}" + _or_simulate(choice))


def _or_simulate(choice: p.Choice) -> str:
    from eyeflow.mcu.sim import start

    return f", or without a board: {choice.command('sim')}" if choice.board.chip.name in start.CHIPS else ""


class _Progress:
    """Shows what cargo does: one moving line on a terminal, a line for each tenth elsewhere."""

    def __init__(self) -> None:
        self._last = -1
        self._moves = sys.stderr.isatty()

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._moves and self._last >= 0:
            note_moving("")

    def __call__(self, what: str, done: int, total: int) -> None:
        tenth = done * 10 // max(total, 1)
        if self._moves:
            note_moving(f"{what}  {done} of at most {total} packages")
        elif tenth != self._last:
            note(f"{what}  {done} of at most {total} packages")
        self._last = tenth


def _firmware_json(board: Board, firmware: Firmware) -> dict[str, Any]:
    sizes, image = firmware.sizes, firmware.image
    return {
        "chip": board.chip.name,
        "board": board.name,
        "signers": [key.hex() for key in board.signers],
        "elf": str(image.elf),
        "bin": str(image.bin),
        "uf2": str(image.uf2) if image.uf2 else None,
        "toolchain": firmware.toolchain.describe(),
        **_used(sizes, board),
    }


def _used(sizes: Sizes, board: Board) -> dict[str, Any]:
    return {
        "flashBytes": sizes.flash_bytes,
        "ramBytes": sizes.ram_bytes,
        "stackBytes": sizes.stack_bytes,
        "flashBudgetBytes": board.chip.memory.flash_bytes,
        "ramBudgetBytes": board.chip.memory.ram_bytes,
        "sections": [{"name": s.name, "bytes": s.size_bytes, "kind": s.kind.value} for s in sizes.sections],
    }


def say_sizes(sizes: Sizes, board: Board) -> None:
    """Print the use of flash and RAM per section, against the budget of the chip."""
    memory = board.chip.memory
    table(["SECTION", "BYTES", "IN"], [[s.name, str(s.size_bytes), s.kind.value] for s in sizes.sections])
    say()
    for name, used, allowed in (
        ("flash", sizes.flash_bytes, memory.flash_bytes),
        ("RAM", sizes.ram_bytes, memory.ram_bytes),
    ):
        percent = f"{100 * used / allowed:.0f} %"
        say(f"{name:<6}{used:>7} of {allowed} bytes  {paint(percent, '32' if used <= allowed else '31', sys.stdout)}")
    say(f"  of the RAM {sizes.stack_bytes} bytes are set aside for the stack")


@app.command("size")
def size(
    elf: p.ElfArgument = None,
    chip: p.ChipOption = "",
    board: p.BoardOption = None,
    out: p.OutOption = None,
    json_: JsonFlag = False,
) -> None:
    """Show what a built firmware takes, with its largest functions and variables."""
    from eyeflow.mcu.size import Kind, read_sizes

    choice = p.choose(chip, board, out)
    sizes = read_sizes(elf or choice.image().elf, choice.board.chip)
    if json_:
        symbols = [{"name": s.name, "bytes": s.size_bytes, "kind": s.kind.value} for s in sizes.symbols]
        say_json({**_used(sizes, choice.board), "symbols": symbols})
        return
    say_sizes(sizes, choice.board)
    for kind in (Kind.FLASH, Kind.RAM):
        say()
        table(
            [f"LARGEST IN {kind.value.upper()}", "BYTES"],
            [[s.name, str(s.size_bytes)] for s in sizes.largest(kind)],
            cut=0,
        )
