"""Renders the buses and converters of a board for `src/board.rs`: I2C, SPI, UART and DAC by their numbers."""

from __future__ import annotations

from collections.abc import Callable

from eyeflow.mcu.board import Board, Bus

NRF_BAUDS = (1200, 2400, 4800, 9600, 14400, 19200, 28800, 38400, 57600, 76800, 115200, 230400, 250000, 460800, 921600)
"""The rates that the UARTE of the nRF52840 can do, besides 1,000,000 (product specification, 6.34.10)."""

Spell = Callable[[str], str]


def nrf_baud(baud: int) -> str:
    """Return Embassy's name of the rate of an nRF52840 that is nearest to a rate."""
    if baud == 1_000_000:
        return "Baud1M"
    return f"Baud{min(NRF_BAUDS, key=lambda known: abs(known - baud))}"


def render_buses(board: Board) -> list[str]:
    """Return the struct of the buses and how the firmware finds each by its number."""
    return [
        "/// The buses and converters that programs use by number.",
        "pub struct Buses {",
        *(f"    i2c_{bus.number}: {_i2c_type(board, bus)}," for bus in board.i2c),
        *(f"    spi_{bus.number}: {_spi_type(board, bus)}," for bus in board.spi),
        *(f"    selects_{bus.number}: [Output; {len(bus.selects)}]," for bus in board.spi),
        *(f"    uart_{bus.number}: Uart," for bus in board.uart),
        *([f"    dac: {_dac_type(board)},"] if board.dac else []),
        "}",
        "",
        "impl Buses {",
        f"    pub const I2C: usize = {len(board.i2c)};",
        f"    pub const SPI: usize = {len(board.spi)};",
        f"    pub const UART: usize = {len(board.uart)};",
        f"    pub const DAC: usize = {len(board.dac)};",
        "",
        *_finder("i2c", "&mut dyn embedded_hal::i2c::I2c<Error = I2cError>", "&mut self.i2c_{}", len(board.i2c)),
        "    /// A bus, and the pins that select its devices.",
        *_finder("spi", _SPI_FOUND, "(&mut self.spi_{0}, &mut self.selects_{0})", len(board.spi)),
        *_finder("uart", "&mut Uart", "&mut self.uart_{}", len(board.uart)),
        *_dac_finder(board),
        "}",
        "",
    ]


_SPI_FOUND = "(&mut dyn embedded_hal::spi::SpiBus<Error = SpiError>, &mut [Output])"


def _finder(kind: str, found: str, field: str, count: int) -> list[str]:
    """Return the method that gives a bus by its number: `found` is its type, `field` where it is."""
    arms = [f"            {number} => Some({field.format(number)})," for number in range(count)]
    return [
        f"    pub fn {kind}(&mut self, number: i64) -> Option<{found}> {{",
        "        match number {",
        *arms,
        "            _ => None,",
        "        }",
        "    }",
        "",
    ]


def _dac_finder(board: Board) -> list[str]:
    """Return the method that sets a DAC channel: numbers are places in the board file, not channels of the chip."""
    order = [_dac_channel(board, pin) for pin in board.dac]
    setters = [f"set_{channel}" for channel in order] if len(order) > 1 else ["set"]
    arms = [f"            {number} => self.dac.{setter}(count)," for number, setter in enumerate(setters[: len(order)])]
    return [
        f"    pub fn dac(&mut self, number: i64, {'count' if arms else '_count'}: u16) -> Option<i64> {{",
        "        match number {",
        *arms,
        "            _ => return None,",
        "        }",
        *(["        Some(0)"] if arms else []),
        "    }",
    ]


def _dac_type(board: Board) -> str:
    return "Dac" if len(board.dac) > 1 else "DacOne"


def _dac_channel(board: Board, pin: str) -> int:
    return next(pins.index(pin) + 1 for pins in board.chip.dac.values() if pin in pins)


def _i2c_type(board: Board, bus: Bus) -> str:
    return f"I2c<peripherals::{bus.peripheral}>" if board.chip.hal == "rp" else "I2c"


def _spi_type(board: Board, bus: Bus) -> str:
    return f"Spi<peripherals::{bus.peripheral}>" if board.chip.hal == "rp" else "Spi"


def buses_field(board: Board, spell: Spell) -> str:
    """Return the field of `Io` that makes the buses; `spell` gives Embassy's name of a pin."""
    parts = [
        *(f"i2c_{bus.number}: {_i2c(board, bus, spell)}" for bus in board.i2c),
        *(f"spi_{bus.number}: {_spi(board, bus, spell)}" for bus in board.spi),
        *(f"selects_{bus.number}: {_selects(board, bus, spell)}" for bus in board.spi),
        *(f"uart_{bus.number}: {_uart(board, bus, spell)}" for bus in board.uart),
        *([f"dac: {_dac_type(board)}::new(p.DAC1, {_dac_pins(board)})"] if board.dac else []),
    ]
    return f"buses: Buses {{ {', '.join(parts)} }}"


def _i2c(board: Board, bus: Bus, spell: Spell) -> str:
    irqs = "Irqs, " if board.chip.hal == "nrf" else ""
    scl, sda = spell(bus.signals["scl"]), spell(bus.signals["sda"])
    memory = ", once!([u8; TRANSFER_BYTES_MAX] = [0; TRANSFER_BYTES_MAX])" if board.chip.hal == "nrf" else ""
    return f"hal::i2c(p.{bus.peripheral}, {irqs}p.{scl}, p.{sda}, {bus.hertz}{memory})"


def _spi(board: Board, bus: Bus, spell: Spell) -> str:
    irqs = "Irqs, " if board.chip.hal == "nrf" else ""
    pins = ", ".join(f"p.{spell(bus.signals[signal])}" for signal in ("sck", "mosi", "miso"))
    return f"hal::spi(p.{bus.peripheral}, {irqs}{pins}, {bus.hertz}, {bus.mode})"


def _selects(board: Board, bus: Bus, spell: Spell) -> str:
    """Return the outputs that select the devices of an SPI bus, all high: none is selected."""
    drive = {"stm32": ", Speed::Medium", "nrf": ", OutputDrive::Standard"}.get(board.chip.hal, "")
    return f"[{', '.join(f'Output::new(p.{spell(pin)}, Level::High{drive})' for pin in bus.selects)}]"


def _uart(board: Board, bus: Bus, spell: Spell) -> str:
    tx, rx = f"p.{spell(bus.signals['tx'])}", f"p.{spell(bus.signals['rx'])}"
    buffers = (
        "once!([u8; 64] = [0; 64])",
        "once!([u8; 64] = [0; 64])",
    )
    peripheral = f"p.{bus.peripheral}"
    if board.chip.hal == "stm32":
        made = f"Serial::new({peripheral}, {rx}, {tx}, {buffers[0]}, {buffers[1]}, Irqs, hal::uart({bus.hertz}))"
        return f"Uart(hal::opened({made}))"
    if board.chip.hal == "rp":
        return f"Uart(Serial::new({peripheral}, {tx}, {rx}, Irqs, {buffers[0]}, {buffers[1]}, hal::uart({bus.hertz})))"
    config = f"hal::uart(Baudrate::{nrf_baud(bus.hertz)})"
    shared = "p.TIMER2, p.PPI_CH2, p.PPI_CH3, p.PPI_GROUP1"
    return f"Uart(Serial::new({peripheral}, {shared}, {rx}, {tx}, Irqs, {config}, {buffers[1]}, {buffers[0]}))"


def _dac_pins(board: Board) -> str:
    pins = next(iter(board.chip.dac.values())) if len(board.dac) > 1 else board.dac
    return ", ".join(f"p.{pin}" for pin in pins)
