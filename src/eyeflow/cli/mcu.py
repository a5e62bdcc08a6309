"""The commands `eyeflow mcu ...`: firmware for microcontrollers, and boards that run it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eyeflow.base.errors import EyeflowError
from eyeflow.cli import mcu_board
from eyeflow.cli.console import JsonFlag, note, paint, say, say_json, table
from eyeflow.cli.files import usage_error, write_bytes

if TYPE_CHECKING:
    from eyeflow.mcu.board import Board
    from eyeflow.mcu.build import Firmware
    from eyeflow.mcu.size import Sizes

app = typer.Typer(
    no_args_is_help=True, help="Microcontrollers: build, flash and talk to boards.", rich_markup_mode=None
)

mcu_board.register(app)

BOARD_NAME = "board.toml"

ChipOption = Annotated[str, typer.Option("--chip", help="The chip, when there is no board file: STM32F401CC.")]
BoardOption = Annotated[
    Path | None, typer.Option("--board", help=f"The board file (default: {BOARD_NAME}, if it is there).")
]
OutOption = Annotated[Path, typer.Option("--out", "-o", help="Folder of the Cargo project.")]


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
    chip: Annotated[str, typer.Option("--chip", help="The chip on the board: STM32F401CC.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The board file to write.")] = Path(BOARD_NAME),
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Write a board file with comments: pins, serial line, channels. Edit it to match your wiring."""
    if out.exists() and not force:
        raise usage_error(f"{out} exists", "edit it, or overwrite it with --force")
    write_bytes(out, _default_board(chip).encode())
    note(f"wrote {out}: edit it, then eyeflow mcu build --board {out}")


def _default_board(chip: str) -> str:
    from importlib import resources

    from eyeflow.mcu.chips import find_chip

    name = find_chip(chip).name
    return resources.files("eyeflow.mcu").joinpath("boards").joinpath(f"{name.lower()}.toml").read_text("utf-8")


def read_board(chip: str, board: Path | None) -> tuple[Board, str]:
    """Return the board and the text of its file: the one named, ./board.toml, or the default board of a chip."""
    from eyeflow.mcu.board import parse_board

    path = board or (Path(BOARD_NAME) if Path(BOARD_NAME).exists() and not chip else None)
    if path is None:
        if not chip:
            raise usage_error("for which chip?", "give --chip STM32F401CC, or a board file with --board")
        text = _default_board(chip)
        return parse_board(text, f"the default board of {chip}"), text
    from eyeflow.cli.files import read_bytes

    text = read_bytes(path).decode("utf-8", errors="replace")
    found = parse_board(text, str(path))
    if chip and found.chip.name.casefold() != chip.casefold():
        raise usage_error(
            f"{path} is a board with {found.chip.name}, not {chip}", "leave out --chip, or name its board"
        )
    return found, text


@app.command("build")
def build(
    chip: ChipOption = "", board: BoardOption = None, out: OutOption = Path("firmware"), json_: JsonFlag = False
) -> None:
    """Build the firmware of a board: writes a Cargo project, runs cargo, and checks the budget of the chip."""
    from eyeflow.mcu.build import build_firmware
    from eyeflow.mcu.project import render_project

    found, text = read_board(chip, board)
    project = render_project(found, text, out)
    note(f"the Cargo project is in {out}; `cargo build --release` there builds it too")
    firmware = build_firmware(project, _Progress())
    if json_:
        say_json(_firmware_json(found, firmware))
        return
    say_sizes(firmware.sizes, found)
    for path in (firmware.elf, firmware.bin, firmware.uf2):
        if path is not None:
            say(f"  {path}")


class _Progress:
    """Shows what cargo does: one moving line on a terminal, a line for each tenth elsewhere."""

    def __init__(self) -> None:
        self._last = -1

    def __call__(self, what: str, done: int, total: int) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[K{what} {done}/{total}")
            sys.stderr.write("\n" if done >= total > 0 else "")
            sys.stderr.flush()
            return
        tenth = done * 10 // max(total, 1)
        if tenth != self._last:
            self._last = tenth
            note(f"{what} {done}/{total}")


def _firmware_json(board: Board, firmware: Firmware) -> dict[str, Any]:
    sizes, memory = firmware.sizes, board.chip.memory
    return {
        "chip": board.chip.name,
        "elf": str(firmware.elf),
        "bin": str(firmware.bin),
        "uf2": str(firmware.uf2) if firmware.uf2 else None,
        "toolchain": firmware.toolchain.describe(),
        "flashBytes": sizes.flash_bytes,
        "flashBudgetBytes": memory.flash_bytes,
        "ramBytes": sizes.ram_bytes,
        "ramBudgetBytes": memory.ram_bytes,
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
    elf: Annotated[Path | None, typer.Argument(help="The ELF file (default: the one in the Cargo project).")] = None,
    chip: ChipOption = "",
    board: BoardOption = None,
    out: OutOption = Path("firmware"),
    json_: JsonFlag = False,
) -> None:
    """Show what a built firmware takes, with its largest functions and variables."""
    from eyeflow.mcu.size import Kind, read_sizes

    found, _text = read_board(chip, board)
    sizes = read_sizes(elf or find_elf(out, found), found.chip)
    if json_:
        say_json(
            {
                "flashBytes": sizes.flash_bytes,
                "ramBytes": sizes.ram_bytes,
                "symbols": [{"name": s.name, "bytes": s.size_bytes, "kind": s.kind.value} for s in sizes.symbols],
            }
        )
        return
    say_sizes(sizes, found)
    for kind in (Kind.FLASH, Kind.RAM):
        say()
        table([f"LARGEST IN {kind.value.upper()}", "BYTES"], [[s.name, str(s.size_bytes)] for s in sizes.largest(kind)])


def find_elf(project: Path, board: Board) -> Path:
    """Return the ELF file of a built project."""
    folder = project / "target" / board.chip.target / "release"
    found = [path for path in folder.glob("*") if path.is_file() and path.read_bytes()[:4] == b"\x7fELF"]
    if not found:
        raise EyeflowError(
            f"there is no firmware in {folder}",
            cause="it has not been built",
            next_step=f"eyeflow mcu build --chip {board.chip.name}",
            code="firmware_missing",
        )
    return found[0]


@app.command("flash")
def flash(
    elf: Annotated[Path | None, typer.Argument(help="The ELF file (default: the one in the Cargo project).")] = None,
    chip: ChipOption = "",
    board: BoardOption = None,
    out: OutOption = Path("firmware"),
    probe: Annotated[str, typer.Option("--probe", help="Which debug probe: VID:PID[:SERIAL].")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the commands and do nothing.")] = False,
    json_: JsonFlag = False,
) -> None:
    """Write a built firmware to a board with probe-rs, verify it and start it."""
    from eyeflow.mcu import flash as flashing

    found, _text = read_board(chip, board)
    if dry_run:
        target = elf or out / "target" / found.chip.target / "release" / "firmware"
        commands = flashing.dry_run(target, found.chip, probe or None)
        say_json({"commands": commands}) if json_ else say("\n".join(commands))
        return
    done = flashing.flash_firmware(elf or find_elf(out, found), found.chip, probe=probe or None)
    if json_:
        say_json({"probe": done.probe.selector, "commands": list(done.commands)})
    else:
        say(f"flashed and verified {found.chip.name} by {done.probe.describe()}")
