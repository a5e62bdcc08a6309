"""Renders `src/board.rs`: the board file as the constants and the constructor that the firmware is compiled with.

The Rust stands in `embassy/firmware/board/`: a template, one more for each HAL, and `pieces.toml` for what a board has
several of. Here is only what goes into them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from string import Template

from eyeflow.base.reading import parse_toml
from eyeflow.mcu.board import Board, Bus, Direction, Level, OnLinkLoss, Pin
from eyeflow.mcu.sources import fill_template, read_source

FOLDER = "firmware/board"
WATCHDOGS = {"stm32h7": "IWDG1"}
"""The independent watchdog of a family, where it is not IWDG."""

NRF_INTERRUPTS = {"SPI3": "SPIM3"}
"""The interrupt of a peripheral, where it has another name."""

NRF_BAUDS = (1200, 2400, 4800, 9600, 14400, 19200, 28800, 38400, 57600, 76800, 115200, 230400, 250000, 460800, 921600)
"""The rates that the UARTE of the nRF52840 can do, besides 1,000,000 (product specification, 6.34.10)."""


def render_board(board: Board) -> str:
    """Return the Rust source of a board; raises EyeflowError when this installation lacks a template."""
    found = parse_toml(read_source(f"{FOLDER}/pieces.toml"))[board.chip.hal]
    assert isinstance(found, dict)
    pieces = _Pieces(board, found)
    constants = _constants(board) | _programs(board) | _io(pieces) | {"interrupts": _lines(_interrupts(pieces), ";")}
    head = fill_template(f"{FOLDER}/board.rs.in", constants)
    return head + fill_template(f"{FOLDER}/open-{board.chip.hal}.rs.in", _parts(pieces))


class _Pieces:
    """The lines of Rust for the pins, channels and buses of a board, as its HAL spells them."""

    def __init__(self, board: Board, pieces: Mapping[str, object]) -> None:
        self.board, self._pieces = board, pieces

    def fill(self, piece: str, **values: object) -> str:
        """Return a piece with its names replaced."""
        return Template(str(self._pieces[piece])).substitute(values)

    def of_bus(self, piece: str, bus: Bus) -> str:
        """Return a piece for a bus, whose signals it may name."""
        signals = {signal: self.pin(pin) for signal, pin in bus.signals.items()}
        interrupt = NRF_INTERRUPTS.get(bus.peripheral, bus.peripheral)
        fixed = {"bus": bus.peripheral, "interrupt": interrupt, "hertz": bus.hertz, "baud": self.baud(bus.hertz)}
        return self.fill(piece, **fixed, **signals, mode=bus.mode)

    def pin(self, pin: str) -> str:
        """Return Embassy's name of a pin: PA5, PIN_2, P0_13."""
        return {"rp": pin.replace("GP", "PIN_"), "nrf": pin.replace(".", "_")}.get(self.board.chip.hal, pin)

    def baud(self, baud: int) -> object:
        """Return a rate; of an nRF52840 Embassy's name of the nearest one that it can do."""
        if self.board.chip.hal != "nrf":
            return baud
        nearest = min(NRF_BAUDS, key=lambda known: abs(known - baud))
        return "Baud1M" if baud == 1_000_000 else f"Baud{nearest}"


def _lines(items: Iterable[str], end: str = ",") -> str:
    """Return items as lines of a block, each with what ends it."""
    return "".join(f"    {item}{end}\n" for item in items)


def _pins(board: Board, direction: Direction) -> list[Pin]:
    return [pin for pin in board.pins if pin.direction is direction]


def _constants(board: Board) -> dict[str, object]:
    outputs, inputs = _pins(board, Direction.OUTPUT), _pins(board, Direction.INPUT)
    lines = [f"Line::Output({outputs.index(pin)})" if pin in outputs else f"Line::Input({inputs.index(pin)})"
             for pin in board.pins]  # fmt: skip
    return {
        "name": board.name,
        "chip": board.chip.name,
        "scan_ms": board.scan_ms,
        "watchdog_us": board.watchdog_ms * 1000,
        "save_s": board.save_state_s,
        "link_lost_ms": board.link.lost_after_ms,
        "llm_delegated": _bool(board.llm_delegated),
        "pin_count": len(board.pins),
        "pins": _lines(f'("{pin.name}", {line})' for pin, line in zip(board.pins, lines, strict=True)),
        "output_count": len(outputs),
        "output_infos": _lines(map(_output_info, outputs)),
        "input_count": len(inputs),
        "analog_count": len(board.adc),
        "signer_count": len(board.signers),
        "signers": _lines(map(_bytes, board.signers)),
        "device": _bytes(hashlib.sha256(board.name.encode()).digest()[:8]),
    }


def _programs(board: Board) -> dict[str, object]:
    """Return the flash and the memory of the programs."""
    area, limits = board.chip.programs, board.limits
    return {
        "bank_a": f"0x{area.a:08X}",
        "bank_b": f"0x{area.b:08X}",
        "bank_bytes": area.bank_bytes,
        "sector_a_bytes": area.sector_a_bytes,
        "sector_b_bytes": area.sector_b_bytes,
        "unit_bytes": area.unit_bytes,
        "slots_max": limits.slots_max,
        "stack_max": limits.stack_max,
        "actions_max": limits.actions_max,
        "scratch_bytes": limits.scratch_bytes_max,
        "state_bytes": limits.state_bytes_max,
        "records_bytes": board.chip.records_bytes,
        "data_bytes": board.chip.memory.data_bytes,
    }


def _bool(value: bool) -> str:
    return str(value).lower()


def _output_info(pin: Pin) -> str:
    safe, loss = _bool(pin.safe is Level.HIGH), _bool(pin.on_link_loss is OnLinkLoss.SAFE)
    return f"OutputInfo {{ safe_high: {safe}, safe_on_link_loss: {loss} }}"


def _bytes(data: bytes) -> str:
    return "[" + ", ".join(f"0x{byte:02X}" for byte in data) + "]"


def _io(pieces: _Pieces) -> dict[str, object]:
    """Return the fields of the buses, and how each is found by its number."""
    board = pieces.board
    fields = [
        *(f"i2c_{bus.number}: {pieces.of_bus('i2c_type', bus)}" for bus in board.i2c),
        *(f"spi_{bus.number}: {pieces.of_bus('spi_type', bus)}" for bus in board.spi),
        *(f"selects_{bus.number}: [Output; {len(bus.selects)}]" for bus in board.spi),
        *(f"uart_{bus.number}: Uart" for bus in board.uart),
        *([f"dac: {_dac_type(board)}"] if board.dac else []),
    ]
    counts = {f"{kind}_count": len(getattr(board, kind)) for kind in ("i2c", "spi", "uart", "dac")}
    return counts | {
        "bus_fields": _lines(fields),
        "i2c_arms": _arms(f"Some(&mut self.i2c_{n})" for n in range(len(board.i2c))),
        "spi_arms": _arms(f"Some((&mut self.spi_{n}, &mut self.selects_{n}))" for n in range(len(board.spi))),
        "uart_arms": _arms(f"Some(&mut self.uart_{n})" for n in range(len(board.uart))),
        "dac_argument": "count" if board.dac else "_count",
        "dac_arms": _arms(f"self.dac.{setter}(count)" for setter in _dac_setters(board)),
        "dac_result": "        Some(0)\n" if board.dac else "",
    }


def _arms(answers: Iterable[str]) -> str:
    return "".join(f"            {number} => {answer},\n" for number, answer in enumerate(answers))


def _dac_type(board: Board) -> str:
    return "Dac" if len(board.dac) > 1 else "DacOne"


def _dac_setters(board: Board) -> list[str]:
    """Return the method for each channel: numbers are places in the board file, not channels of the chip."""
    if len(board.dac) < 2:
        return ["set"] * len(board.dac)
    channels = [next(pins.index(pin) + 1 for pins in board.chip.dac.values() if pin in pins) for pin in board.dac]
    return [f"set_{channel}" for channel in channels]


def _interrupts(pieces: _Pieces) -> list[str]:
    board = pieces.board
    found = [
        pieces.fill("uart_interrupt", bus=board.link.peripheral),
        *(pieces.of_bus("uart_interrupt", bus) for bus in board.uart),
        *(pieces.of_bus("i2c_interrupt", bus) for bus in board.i2c),
        *(pieces.of_bus("spi_interrupt", bus) for bus in board.spi),
        pieces.fill("other_interrupt"),
    ]
    return [interrupt for interrupt in found if interrupt]


def _parts(pieces: _Pieces) -> dict[str, object]:
    """Return what the constructor of `Io` takes."""
    board = pieces.board
    outputs = [
        pieces.fill("output", pin=pieces.pin(pin.pin), level="High" if pin.safe is Level.HIGH else "Low")
        for pin in _pins(board, Direction.OUTPUT)
    ]
    inputs = [
        pieces.fill("input", pin=pieces.pin(pin.pin), pull=pin.pull.value.capitalize())
        for pin in _pins(board, Direction.INPUT)
    ]
    return {
        "link": board.link.peripheral,
        "link_rx": pieces.pin(board.link.rx),
        "link_tx": pieces.pin(board.link.tx),
        "link_baud": pieces.baud(board.link.baud),
        "watchdog": WATCHDOGS.get(board.chip.family, "IWDG"),
        "outputs": ", ".join(outputs),
        "inputs": ", ".join(inputs),
        "analog": ", ".join(pieces.fill("analog", pin=pieces.pin(pin)) for pin in board.adc),
        "buses": ", ".join(_buses(pieces)),
    }


def _buses(pieces: _Pieces) -> list[str]:
    board = pieces.board
    selects = {
        bus.number: ", ".join(pieces.fill("select", pin=pieces.pin(pin)) for pin in bus.selects) for bus in board.spi
    }
    return [
        *(f"i2c_{bus.number}: {pieces.of_bus('i2c', bus)}" for bus in board.i2c),
        *(f"spi_{bus.number}: {pieces.of_bus('spi', bus)}" for bus in board.spi),
        *(f"selects_{number}: [{made}]" for number, made in selects.items()),
        *(f"uart_{bus.number}: {pieces.of_bus('uart', bus)}" for bus in board.uart),
        *([f"dac: {_dac_type(board)}::new(p.DAC1, {_dac_pins(board)})"] if board.dac else []),
    ]


def _dac_pins(board: Board) -> str:
    pins = next(iter(board.chip.dac.values())) if len(board.dac) > 1 else board.dac
    return ", ".join(f"p.{pin}" for pin in pins)
