"""The board file `board.toml`: what is connected to which pin of the chip. Checked strictly."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from eyeflow.base.errors import EyeflowError
from eyeflow.base.reading import Unreadable, exit_code, parse_toml, read_text
from eyeflow.base.reasons import why
from eyeflow.compiler.limits import ChipLimits
from eyeflow.mcu.chips import Chip, find_chip
from eyeflow.mcu.pinout import Pinout
from eyeflow.mcu.problems import BoardError, Problems, Section
from eyeflow.svm.signing import is_strong_key

BOARD_BYTES_MAX = 1024 * 1024
PINS_MAX = 32
CHANNELS_MAX = 8
BUSES_MAX = 4
SELECTS_MAX = 4
SIGNERS_MAX = 4
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
PIN_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,31}")
KEY_HEX = re.compile(r"[0-9a-f]{64}")
BAUD_MIN, BAUD_MAX = 1_200, 3_000_000


class Direction(Enum):
    """Which way a pin goes."""

    INPUT = "input"
    OUTPUT = "output"


class Level(Enum):
    """The level of a pin."""

    LOW = "low"
    HIGH = "high"


class Pull(Enum):
    """The resistor at an input."""

    NONE = "none"
    UP = "up"
    DOWN = "down"


class OnLinkLoss(Enum):
    """What an output does when the link to the gateway is lost: go on by the rules, or go to its safe level."""

    KEEP = "keep"
    SAFE = "safe"


@dataclass(frozen=True, slots=True)
class Pin:
    """A named pin; `safe` and `on_link_loss` are of outputs, `pull` of inputs."""

    name: str
    pin: str
    direction: Direction
    safe: Level = Level.LOW
    on_link_loss: OnLinkLoss = OnLinkLoss.KEEP
    pull: Pull = Pull.NONE


@dataclass(frozen=True, slots=True)
class Bus:
    """A peripheral that programs name by its number: `signals`: its pins by signal; `hertz`: its clock or baud rate.

    Of an SPI: `selects`, the pins that select its devices, and its `mode`, 0 to 3 (clock polarity and phase).
    """

    number: int
    peripheral: str
    signals: dict[str, str]
    hertz: int
    selects: tuple[str, ...] = ()
    mode: int = 0


@dataclass(frozen=True, slots=True)
class Link:
    """The serial line to the gateway; `lost_after_ms` without a frame counts as loss of the link."""

    peripheral: str
    tx: str
    rx: str
    baud: int
    lost_after_ms: int


@dataclass(frozen=True, slots=True)
class Board:
    """A checked board file. `signers` are the Ed25519 public keys whose programs the board runs."""

    name: str
    chip: Chip
    link: Link
    pins: tuple[Pin, ...]
    adc: tuple[str, ...]
    dac: tuple[str, ...]
    i2c: tuple[Bus, ...]
    spi: tuple[Bus, ...]
    uart: tuple[Bus, ...]
    signers: tuple[bytes, ...]
    llm_delegated: bool
    sends_events: bool
    scan_ms: int
    watchdog_ms: int
    save_state_s: int

    @property
    def limits(self) -> ChipLimits:
        """What one program may use: of a board that delegates LLM calls half of the chip's memory.

        The other half is for the execution that waits for an answer while other programs run.
        """
        limits = self.chip.limits
        if not self.llm_delegated:
            return limits
        return replace(
            limits,
            slots_max=_half(limits.slots_max),
            state_bytes_max=_half(limits.state_bytes_max),
            scratch_bytes_max=_half(limits.scratch_bytes_max),
            actions_max=_half(limits.actions_max),
        )


def _half(limit: int | None) -> int | None:
    return None if limit is None else limit // 2


def load_board(path: Path) -> Board:
    """Read and check a board file; raises EyeflowError when it cannot be read and BoardError for what is in it."""
    return parse_board(read_board(path), path.name)


def read_board(path: Path) -> str:
    """Return the text of a board file; raises EyeflowError when it cannot be read."""
    try:
        return read_text(path, BOARD_BYTES_MAX)
    except (OSError, Unreadable) as error:
        raise EyeflowError(
            f"cannot read the board file {path}",
            cause=why(error),
            next_step="write one with `eyeflow mcu new --chip CHIP`, or name another with --board",
            code="board",
            exit_code=exit_code(error),
        ) from error


def parse_board(source: str, name: str = "board.toml") -> Board:
    """Check the text of a board file; raises BoardError with every problem found."""
    problems = Problems()
    try:
        values = parse_toml(source)
    except Unreadable as error:
        problems.add("TOML", str(error), "correct the line; TOML is explained at https://toml.io")
        raise BoardError(name, tuple(problems.found)) from error
    board = _read_board(Section("", values, problems))
    if problems.found or board is None:
        raise BoardError(name, tuple(problems.found))
    return board


def _read_board(root: Section) -> Board | None:
    chip_name = root.text("chip")
    if not chip_name:
        return None
    chip = find_chip(chip_name)
    pinout = Pinout(chip, root.problems)
    scan, trust, llm, events = (root.table(name) for name in ("scan", "trust", "llm", "events"))
    board = Board(
        name=_name(root),
        chip=chip,
        link=_link(root.table("link"), pinout),
        pins=_pins(root.table("pins"), pinout),
        adc=_channels(root.table("adc"), pinout, "adc"),
        dac=_channels(root.table("dac"), pinout, "dac"),
        i2c=_buses(root.table("i2c"), pinout, "i2c", ("scl", "sda"), 100_000, 400_000),
        spi=_buses(root.table("spi"), pinout, "spi", ("sck", "miso", "mosi"), 1_000_000, 8_000_000),
        uart=_buses(root.table("uart"), pinout, "uart", ("tx", "rx"), 9_600, BAUD_MAX),
        signers=_signers(trust),
        llm_delegated=llm.boolean("delegated", False),
        sends_events=events.boolean("to_gateway", False),
        scan_ms=scan.integer("period_ms", 10, 1, 1000),
        watchdog_ms=scan.integer("watchdog_ms", 8000, 4000, 8000),
        save_state_s=scan.integer("save_state_s", 60, 1, 86_400),
    )
    for section in (scan, trust, llm, events, root):
        section.finish()
    return board


def _name(root: Section) -> str:
    name = root.text("name", "board")
    if not NAME.fullmatch(name):
        root.problems.add("name", f"{name!r} is no name", "use up to 32 letters, digits, dots, dashes and underscores")
    return name


def _link(section: Section, pinout: Pinout) -> Link:
    peripheral, tx, rx = section.text("uart"), section.text("tx"), section.text("rx")
    baud = section.integer("baud", 115_200, BAUD_MIN, BAUD_MAX)
    lost_after_ms = section.integer("lost_after_ms", 10_000, 1_000, 3_600_000)
    section.finish()
    if peripheral and tx and rx:
        pinout.peripheral(section.name, "uart", peripheral, {"tx": tx, "rx": rx})
    return Link(peripheral, tx, rx, baud, lost_after_ms)


def _pins(section: Section, pinout: Pinout) -> tuple[Pin, ...]:
    pins = tuple(_pin(name, table, pinout) for name, table in section.tables())
    if len(pins) > PINS_MAX:
        section.problems.add(section.name, f"{len(pins)} pins are named", f"name at most {PINS_MAX}")
    return pins


def _pin(name: str, table: Section, pinout: Pinout) -> Pin:
    if not PIN_NAME.fullmatch(name):
        table.problems.add(table.name, f"{name!r} is no pin name", "use capitals, digits and underscores: RELAY_1")
    pin = pinout.plain(table.name, table.text("pin"), name)
    direction = Direction(table.choice("direction", "output", [way.value for way in Direction]))
    if direction is Direction.OUTPUT:
        safe = Level(table.choice("safe", "low", [level.value for level in Level]))
        loss = OnLinkLoss(table.choice("on_link_loss", "keep", [answer.value for answer in OnLinkLoss]))
        table.finish()
        return Pin(name, pin, direction, safe, loss)
    pull = Pull(table.choice("pull", "none", [pull.value for pull in Pull]))
    table.finish()
    return Pin(name, pin, direction, pull=pull)


def _channels(section: Section, pinout: Pinout, kind: str) -> tuple[str, ...]:
    pins = section.texts("channels")
    section.finish()
    if len(pins) > CHANNELS_MAX:
        section.problems.add(section.name, f"has {len(pins)} channels", f"name at most {CHANNELS_MAX}")
    return tuple(pinout.channel(f"{section.name}.channels", kind, pin) for pin in pins)


def _buses(
    section: Section, pinout: Pinout, kind: str, signals: tuple[str, ...], hertz: int, hertz_max: int
) -> tuple[Bus, ...]:
    buses = [_bus(key, table, pinout, kind, signals, hertz, hertz_max) for key, table in section.tables()]
    numbers = sorted(bus.number for bus in buses)
    if numbers != list(range(len(numbers))) or len(numbers) > BUSES_MAX:
        section.problems.add(
            section.name, f"has the numbers {numbers}", f"number them 0, 1, 2... without a gap, at most {BUSES_MAX}"
        )
    return tuple(sorted(buses, key=lambda bus: bus.number))


def _bus(
    key: str, table: Section, pinout: Pinout, kind: str, signals: tuple[str, ...], hertz: int, hertz_max: int
) -> Bus:
    number = int(key) if key.isdecimal() and len(key) < 3 else -1
    if number < 0:
        table.problems.add(table.name, f"{key!r} is no number", f"name it [{kind}.0]: rules use the number")
    peripheral = table.text("peripheral")
    pins = {signal: table.text(signal) for signal in signals}
    clock = table.integer("baud" if kind == "uart" else "frequency_hz", hertz, 1_200, hertz_max)
    selects = table.texts("select") if kind == "spi" else ()
    mode = table.integer("mode", 0, 0, 3) if kind == "spi" else 0
    table.finish()
    if peripheral and all(pins.values()):
        pinout.peripheral(table.name, kind, peripheral, pins)
    if len(selects) > SELECTS_MAX:
        table.problems.add(f"{table.name}.select", f"names {len(selects)} pins", f"name at most {SELECTS_MAX}")
    where = f"{table.name}.select"
    chosen = tuple(pinout.plain(where, pin, f"select {place} of {table.name}") for place, pin in enumerate(selects))
    return Bus(number, peripheral, pins, clock, chosen, mode)


def _signers(section: Section) -> tuple[bytes, ...]:
    keys = section.texts("signers")
    for key in keys:
        if not KEY_HEX.fullmatch(key):
            section.problems.add(
                f"{section.name}.signers",
                f"{key[:16]!r}... is no public key",
                "write the 64 hexadecimal digits that `eyeflow keys show NAME` prints",
            )
            return ()
        if not is_strong_key(bytes.fromhex(key)):
            section.problems.add(
                f"{section.name}.signers",
                f"{key[:16]!r}... protects nothing: anybody can make signatures of it",
                "write the key that `eyeflow keys show NAME` prints; nobody has a private key of this one",
            )
            return ()
    if len(keys) > SIGNERS_MAX:
        section.problems.add(f"{section.name}.signers", f"names {len(keys)} keys", f"name at most {SIGNERS_MAX}")
    return tuple(bytes.fromhex(key) for key in keys)
