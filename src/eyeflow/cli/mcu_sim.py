"""The command `eyeflow mcu sim`: the firmware image on an emulated chip, with virtual pins and a serial port."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.names import near
from eyeflow.base.reading import Unreadable, parse_int
from eyeflow.cli import mcu_project as p
from eyeflow.cli.console import JsonFlag, finite, note, paint, say, say_json
from eyeflow.cli.streams import hand_over

if TYPE_CHECKING:
    from eyeflow.mcu.board import Board
    from eyeflow.mcu.sim.endpoints import Endpoint
    from eyeflow.mcu.sim.events import SimEvent
    from eyeflow.mcu.sim.recording import AdcValues
    from eyeflow.mcu.sim.serve import SimServer

LEVELS = {"high": True, "low": False, "free": None}


LINE_CHARACTERS_MAX = 1000


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("sim")(sim)


def sim(
    elf: p.ElfArgument = None,
    chip: p.ChipOption = "",
    board: p.BoardOption = None,
    out: p.OutOption = None,
    port: Annotated[int, typer.Option("--tcp", min=0, max=65535, help="TCP port of the serial line; 0: any.")] = 7701,
    pty: Annotated[bool, typer.Option("--pty", help="Put the serial line on a pseudo-terminal instead.")] = False,
    adc: Annotated[
        Path | None,
        typer.Option("--adc", help="What the analog channels read: a CSV file with time, channel and value, or a "
                     "recording of `eyeflow run`."),
    ] = None,
    flash_image: Annotated[
        Path | None, typer.Option("--flash-image", help="A file that keeps the flash, so that programs stay.")
    ] = None,
    speed: Annotated[
        float, typer.Option("--speed", min=0.01, callback=finite, help="How fast virtual time goes.")
    ] = 1.0,
    json_: JsonFlag = False,
) -> None:  # fmt: skip
    """Run firmware without a board: pins, analog inputs and a serial port for `eyeflow mcu push`."""
    from eyeflow.mcu.sim.serve import SimServer
    from eyeflow.mcu.sim.start import serial_port_number, start_simulator

    choice = p.choose(chip, board, out)
    found = choice.board
    values = _recorded(adc, found) if adc else None
    image = elf or choice.image().elf
    chip_ = start_simulator(image, found.chip.name, flash_image=flash_image, adc=values)
    server = SimServer(chip_, _endpoint(port, pty=pty), serial_port_number(found.link.peripheral), speed)
    _start(server, found, as_json=json_)
    try:
        for event in server.events():
            _show(event, found, as_json=json_)
    finally:
        server.close()
    note("simulator stopped")


def _recorded(path: Path, board: Board) -> AdcValues:
    """Return a recording with the channels of the board file, by which rules name them, as those of the chip."""
    from eyeflow.mcu.sim.recording import NoChannel, load_recording

    try:
        return load_recording(path).moved(_converter_channels(board))
    except NoChannel as error:
        raise EyeflowError(
            f"{path} has values for the channel {error.channel}, and this board has {len(board.adc)}",
            cause="the channels of a recording are those of [adc] channels in the board file, counted from 0",
            next_step="correct the recording, or add the channel to the board file and build again",
            code="bad_recording",
            exit_code=ExitCode.PROBLEMS,
        ) from error


def _converter_channels(board: Board) -> list[int]:
    """Return the converter's channel of each channel of the board; the chip table lists its pins in their order."""
    order = next(iter(board.chip.adc.values()), ())
    return [order.index(pin) for pin in board.adc]


def _endpoint(port: int, *, pty: bool) -> Endpoint:
    from eyeflow.mcu.sim.endpoints import PtyEndpoint, TcpEndpoint

    return PtyEndpoint() if pty else TcpEndpoint(port=port)


def _start(server: SimServer, board: Board, *, as_json: bool) -> None:
    signal.signal(signal.SIGTERM, lambda *_: server.stop())
    signal.signal(signal.SIGINT, lambda *_: server.stop())
    if as_json:
        say_json({"chip": board.chip.name, "board": board.name, "url": server.url}, indent=None)
    else:
        say(f"{board.chip.name} ({board.name}) runs; its serial line is {server.url}")
        note(f"  in another terminal: eyeflow mcu status --port {server.url}")
        note(f"  type here: {_keys(board)}; Ctrl-C ends")
    sys.stdout.flush()
    threading.Thread(target=_read_keys, args=(server, board), daemon=True).start()


def _keys(board: Board) -> str:
    """Return what may be typed, with names of this very board."""
    inputs = [pin.name for pin in board.pins if pin.direction.value == "input"]
    keys = ["`adc 0 850` sets an analog channel"] if board.adc else []
    keys += [f"`{inputs[0]} high`, `low` or `free` drives an input pin"] if inputs else []
    return ", ".join([*keys, "`cut` and `on` the power, `reset`"])


def _read_keys(server: SimServer, board: Board) -> None:
    while line := sys.stdin.readline(LINE_CHARACTERS_MAX):
        words = line.split()
        if words:
            try:
                _obey(server, board, words)
            except Unreadable as error:
                note(f"not understood: {line.strip()}: {error}")


def _obey(server: SimServer, board: Board, words: list[str]) -> None:
    """Do what a line of the keyboard says; raises Unreadable with the reason for what cannot be done."""
    match [word.lower() for word in words]:
        case ["adc", channel, counts]:
            number, value = _channel(board, channel), _counts(counts)
            server.post(lambda chip: chip.set_adc(number, value))
        case ["cut"]:
            server.post(lambda chip: chip.power_cut())
        case ["on"]:
            server.post(lambda chip: chip.power_on())
        case ["reset"]:
            server.post(lambda chip: chip.reset())
        case [_, level] if level in LEVELS:
            pin, driven = _input(board, words[0]), LEVELS[level]
            server.post(lambda chip: chip.set_pin(pin, driven))
        case _:
            raise Unreadable(f"type {_keys(board)}")


def _channel(board: Board, text: str) -> int:
    channels = _converter_channels(board)
    channel = int(text) if text.isdecimal() and len(text) < 3 else len(channels)
    if channel >= len(channels):
        raise Unreadable(f"the board file names {len(channels)} analog channels, counted from 0")
    return channels[channel]


def _counts(text: str) -> int:
    from eyeflow.mcu.sim.recording import COUNTS_MAX

    counts = parse_int(text)
    if not 0 <= counts <= COUNTS_MAX:
        raise Unreadable(f"the converter gives 0 to {COUNTS_MAX}")
    return counts


def _input(board: Board, name: str) -> str:
    """Return the chip's pin of a name of the board file, or of the chip itself."""
    pins = {pin.name.casefold(): pin for pin in board.pins}
    found = pins.get(name.casefold())
    if found is not None and found.direction.value == "output":
        raise Unreadable(f"{found.name} is an output: the board drives it")
    if found is None and name.upper() not in board.chip.pins:
        guess = near(name.upper(), [*(pin.name for pin in board.pins), *board.chip.pins])
        raise Unreadable(f"there is no pin {name}" + (f"; did you mean {guess}?" if guess else ""))
    return found.pin if found is not None else name.upper()


def _simulated(pin: str) -> str:
    """Return the simulators' name of a pin of the chip table: rp2040js says GPIO2 where the chip's pages say GP2."""
    return f"GPIO{pin[2:]}" if pin.startswith("GP") and not pin.startswith("GPIO") else pin


def _show(event: SimEvent, board: Board, *, as_json: bool) -> None:
    from eyeflow.mcu.sim import events as e

    names = {_simulated(pin): pin for pin in board.chip.pins} | {_simulated(one.pin): one.name for one in board.pins}
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
    hand_over()
