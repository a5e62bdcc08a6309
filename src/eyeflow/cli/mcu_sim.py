"""The command `eyeflow mcu sim`: the firmware image on an emulated chip, with virtual pins and a serial port."""

from __future__ import annotations

import re
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eyeflow.cli import mcu
from eyeflow.cli.console import JsonFlag, note, paint, say, say_json

if TYPE_CHECKING:
    from eyeflow.mcu.board import Board
    from eyeflow.mcu.sim.chip import SimulatedChip
    from eyeflow.mcu.sim.endpoints import Endpoint
    from eyeflow.mcu.sim.events import SimEvent
    from eyeflow.mcu.sim.serve import SimServer

KEYS = "keys: `adc 0 850` sets a channel, `DOOR high` an input pin, `cut` and `on` the power, `reset`; Ctrl-C ends"


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("sim")(sim)


def sim(
    elf: Annotated[Path | None, typer.Argument(help="The ELF file (default: the one in the Cargo project).")] = None,
    chip: mcu.ChipOption = "",
    board: mcu.BoardOption = None,
    out: mcu.OutOption = Path("firmware"),
    port: Annotated[int, typer.Option("--tcp", min=0, max=65535, help="TCP port of the serial line; 0: any.")] = 7701,
    pty: Annotated[bool, typer.Option("--pty", help="Put the serial line on a pseudo-terminal instead.")] = False,
    adc: Annotated[Path | None, typer.Option("--adc", help="A CSV file with time, channel and counts.")] = None,
    flash_image: Annotated[
        Path | None, typer.Option("--flash-image", help="A file that keeps the flash, so that programs stay.")
    ] = None,
    speed: Annotated[float, typer.Option("--speed", min=0.01, help="How fast virtual time goes.")] = 1.0,
    json_: JsonFlag = False,
) -> None:
    """Run firmware without a board: pins, analog inputs and a serial port for `eyeflow mcu push`."""
    from eyeflow.mcu.sim.serve import SimServer

    found, _text = mcu.read_board(chip, board)
    chip_ = _chip(elf or mcu.find_elf(out, found), found, adc, flash_image)
    server = SimServer(chip_, _endpoint(port, pty=pty), _link_port(found), speed)
    _start(server, found, as_json=json_)
    try:
        for event in server.events():
            _show(event, found, as_json=json_)
    finally:
        server.close()
    note("simulator stopped")


def _chip(elf: Path, board: Board, adc: Path | None, flash_image: Path | None) -> SimulatedChip:
    from eyeflow.mcu.sim.recording import load_recording

    values = load_recording(adc) if adc else None
    if board.chip.hal == "rp":
        from eyeflow.mcu.sim.rp2040.process import Rp2040Simulator

        return Rp2040Simulator(elf, flash_image=flash_image, adc=values)
    from eyeflow.mcu.sim.simulator import Simulator

    return Simulator(elf, board.chip.name, flash_image=flash_image, adc=values)


def _endpoint(port: int, *, pty: bool) -> Endpoint:
    from eyeflow.mcu.sim.endpoints import PtyEndpoint, TcpEndpoint

    return PtyEndpoint() if pty else TcpEndpoint(port=port)


def _link_port(board: Board) -> int:
    number = re.search(r"\d+$", board.link.peripheral)
    return int(number[0]) if number else 0


def _start(server: SimServer, board: Board, *, as_json: bool) -> None:
    signal.signal(signal.SIGTERM, lambda *_: server.stop())
    signal.signal(signal.SIGINT, lambda *_: server.stop())
    if as_json:
        say_json({"chip": board.chip.name, "board": board.name, "url": server.url}, indent=None)
    else:
        say(f"{board.chip.name} ({board.name}) runs; its serial line is {server.url}")
        note(f"  eyeflow mcu status --port {server.url}")
        note(f"  {KEYS}")
    sys.stdout.flush()
    threading.Thread(target=_read_keys, args=(server, board), daemon=True).start()


def _read_keys(server: SimServer, board: Board) -> None:
    for line in sys.stdin:
        words = line.split()
        if words:
            try:
                _obey(server, board, words)
            except (ValueError, KeyError):
                note(f"not understood: {line.strip()}; {KEYS}")


def _obey(server: SimServer, board: Board, words: list[str]) -> None:
    """Do what a line of the keyboard says; raises ValueError or KeyError for what is not understood."""
    match words:
        case ["adc", channel, counts]:
            number, value = int(channel), int(counts)
            server.post(lambda chip: chip.set_adc(number, value))
        case ["cut"]:
            server.post(lambda chip: chip.power_cut())
        case ["on"]:
            server.post(lambda chip: chip.power_on())
        case ["reset"]:
            server.post(lambda chip: chip.reset())
        case [name, ("high" | "low") as level]:
            pin = {one.name: one.pin for one in board.pins}.get(name, name)
            server.post(lambda chip: chip.set_pin(pin, level == "high"))
        case _:
            raise ValueError(words)


def _show(event: SimEvent, board: Board, *, as_json: bool) -> None:
    from eyeflow.mcu.sim import events as e

    names = {one.pin: one.name for one in board.pins}
    match event:
        case e.PinChanged(time_us, pin, level):
            facts = {"pin": names.get(pin, pin), "level": "HIGH" if level else "LOW"}
        case e.ChipReset(time_us, cause):
            facts = {"reset": cause}
        case e.CoreFault(time_us, text):
            facts = {"fault": text}
        case e.PowerLost(time_us):
            facts = {"power": "lost"}
        case e.SerialText(time_us, port, text):
            facts = {port: text}
    if as_json:
        say_json({"timeUs": time_us, **facts}, indent=None)
    else:
        say(f"{paint(f'{time_us / 1e6:12.3f} s', '2', sys.stdout)}  " + "  ".join(f"{k} {v}" for k, v in facts.items()))
    sys.stdout.flush()
