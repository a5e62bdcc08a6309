"""The command `eyeflow mcu flash`: firmware onto a board by a debug probe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from eyeflow.base.errors import EyeflowError
from eyeflow.cli import mcu_project as p
from eyeflow.cli.console import JsonFlag, ends_on_sigterm, note, say, say_json, say_lines
from eyeflow.cli.mcu_port import PORT_ENV, board_of_node, complete_port

if TYPE_CHECKING:
    from eyeflow.mcu.flash import Probe


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("flash")(flash)


def flash(
    elf: p.ElfArgument = None,
    chip: p.ChipOption = "",
    board: p.BoardOption = None,
    out: p.OutOption = None,
    probe: Annotated[str, typer.Option("--probe", help="Which debug probe: VID:PID[:SERIAL].")] = "",
    port: Annotated[
        str,
        typer.Option(
            "--port",
            "-p",
            envvar=PORT_ENV,
            autocompletion=complete_port,
            help="The serial port of the board, which a node may own (default: that of the probe).",
        ),
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the commands and do nothing.")] = False,
    json_: JsonFlag = False,
) -> None:
    """Write a built firmware to a board with probe-rs, verify it and start it.

    A node of this machine that owns the board's port lets it go meanwhile, and shows the board as updating.
    """
    from eyeflow.mcu import flash as flashing
    from eyeflow.mcu.image import elf_path

    choice = p.choose(chip, board, out)
    found = choice.board.chip
    if dry_run:
        commands = flashing.dry_run(elf or elf_path(choice.folder), found, probe or None)
        say_json({"commands": commands}) if json_ else say_lines("\n".join(commands))
        return
    image = elf or choice.image().elf
    with ends_on_sigterm():
        ready = flashing.prepare(image, found, probe=probe or None)
        with _let_go(port or _port_of(ready.probe)):
            done = flashing.write(ready, found)
    if json_:
        say_json({"chip": found.name, "probe": done.probe.selector, "commands": list(done.commands)})
        return
    say(f"flashed and verified {found.name} by {done.probe.describe()}")
    link = choice.board.link
    note(f"it answers on {link.peripheral} (TX {link.tx}, RX {link.rx}): eyeflow mcu status --port PORT")


def _port_of(probe: Probe) -> str:
    """Return the serial port that the probe itself has, as those of Nucleo and Discovery boards; else nothing."""
    from eyeflow.board_link.port import found_ports

    serial = probe.serial.casefold()
    ports = [one.device for one in found_ports() if serial and one.usb_serial.casefold() == serial]
    return ports[0] if len(ports) == 1 else ""


@contextmanager
def _let_go(port: str) -> Iterator[None]:
    """Let the node that owns a port give it back for the length of the block; without such a node do nothing."""
    behind = board_of_node(port) if port else None
    if behind is None:
        yield
        return
    behind.let_go("its firmware is written by eyeflow mcu flash")
    try:
        yield
    finally:
        try:
            behind.take_back()
        except EyeflowError as error:
            note(f"{behind.name}: its node did not answer: {error.brief}; it takes the port back by itself")
