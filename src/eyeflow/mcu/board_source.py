"""Renders `src/board.rs`: the board file as the constants and the constructor that the firmware is compiled with."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from eyeflow.mcu.board import Board, Bus, Direction, Level, OnLinkLoss, Pin
from eyeflow.mcu.bus_source import buses_field, nrf_baud, render_buses

WATCHDOGS = {"stm32h7": "IWDG1"}
"""The independent watchdog of a family, where it is not IWDG."""


NRF_INTERRUPTS = {"SPI3": "SPIM3"}
"""The interrupt of a peripheral, where it has another name."""


def render_board(board: Board) -> str:
    """Return the Rust source of a board."""
    outputs = [pin for pin in board.pins if pin.direction is Direction.OUTPUT]
    inputs = [pin for pin in board.pins if pin.direction is Direction.INPUT]
    open_body = HALS[board.chip.hal](board, outputs, inputs)
    return "\n".join([*_constants(board, outputs, inputs), *_io(), *render_buses(board), *open_body, ""])


def _constants(board: Board, outputs: list[Pin], inputs: list[Pin]) -> list[str]:
    area = board.chip.programs
    limits = board.limits
    return [
        f"//! The board {board.name}: made from board.toml by eyeflow, change it there.",
        "",
        "use crate::hal::{self, *};",
        "use crate::io::{Line, OutputInfo, Uart};",
        "use crate::once::once;",
        "",
        "/// Name and chip, as the board reports them.",
        f'pub const NAME: &str = "{board.name}";',
        f'pub const CHIP: &str = "{board.chip.name}";',
        "/// Time between two scans, and after which the watchdog resets a board that scans no more.",
        f"pub const SCAN_MS: u64 = {board.scan_ms};",
        f"pub const WATCHDOG_US: u32 = {board.watchdog_ms * 1000};",
        "/// Time between two writes of a program's changed state to flash.",
        f"pub const SAVE_S: u32 = {board.save_state_s};",
        "/// Time without a frame after which the link counts as lost.",
        f"pub const LINK_LOST_MS: u64 = {board.link.lost_after_ms};",
        f"pub const LLM_DELEGATED: bool = {str(board.llm_delegated).lower()};",
        "/// The pins that programs name, and where each is.",
        f"pub static PINS: [(&str, Line); {len(board.pins)}] = [",
        *(f'    ("{pin.name}", {_line(pin, outputs, inputs)}),' for pin in board.pins),
        "];",
        "/// What the outputs do when nothing commands them.",
        f"pub static OUTPUTS: [OutputInfo; {len(outputs)}] = [",
        *(f"    {_output_info(pin)}," for pin in outputs),
        "];",
        "/// How many inputs and analog channels there are.",
        f"pub const INPUTS: usize = {len(inputs)};",
        f"pub const ANALOG: usize = {len(board.adc)};",
        "/// The keys whose programs run here.",
        *_trust(board),
        "/// The flash of the programs.",
        f"pub const BANKS: [u32; 2] = [0x{area.a:08X}, 0x{area.b:08X}];",
        f"pub const BANK_BYTES: u32 = {area.bank_bytes};",
        f"pub const SECTOR_BYTES: [u32; 2] = [{area.sector_a_bytes}, {area.sector_b_bytes}];",
        f"pub const UNIT_BYTES: usize = {area.unit_bytes};",
        "/// The memory that the programs share, and that each of the four has for itself.",
        f"pub const SLOTS_MAX: usize = {limits.slots_max};",
        f"pub const STACK_MAX: usize = {limits.stack_max};",
        f"pub const ACTIONS_MAX: usize = {limits.actions_max};",
        f"pub const SCRATCH_BYTES: usize = {limits.scratch_bytes_max};",
        f"pub const STATE_BYTES: usize = {limits.state_bytes_max};",
        f"pub const RECORDS_BYTES: usize = {board.chip.records_bytes};",
        f"pub const DATA_BYTES: u32 = {board.chip.memory.data_bytes};",
        "",
    ]


def _trust(board: Board) -> list[str]:
    keys = [f"    {_bytes(key)}," for key in board.signers]
    return [
        f"pub static SIGNERS: [[u8; 32]; {len(keys)}] = [",
        *keys,
        "];",
        "/// The number of a board whose chip has none of its own: made from its name.",
        "#[allow(dead_code)]",
        f"pub const DEVICE: [u8; 8] = {_bytes(hashlib.sha256(board.name.encode()).digest()[:8])};",
    ]


def _line(pin: Pin, outputs: list[Pin], inputs: list[Pin]) -> str:
    if pin.direction is Direction.OUTPUT:
        return f"Line::Output({outputs.index(pin)})"
    return f"Line::Input({inputs.index(pin)})"


def _output_info(pin: Pin) -> str:
    safe = str(pin.safe is Level.HIGH).lower()
    loss = str(pin.on_link_loss is OnLinkLoss.SAFE).lower()
    return f"OutputInfo {{ safe_high: {safe}, safe_on_link_loss: {loss} }}"


def _bytes(data: bytes) -> str:
    return "[" + ", ".join(f"0x{byte:02X}" for byte in data) + "]"


def _io() -> list[str]:
    return [
        "/// Everything that the firmware drives.",
        "pub struct Io {",
        "    pub outputs: [Output; OUTPUTS.len()],",
        "    pub inputs: [Input; INPUTS],",
        "    pub analog: Analog<ANALOG>,",
        "    pub watchdog: Watchdog,",
        "    pub serial: Serial,",
        "    pub flash: ProgramFlash,",
        "    pub buses: Buses,",
        "}",
        "",
    ]


def _open(irqs: list[str], setup: list[str], fields: list[str]) -> list[str]:
    return [
        "bind_interrupts!(struct Irqs {",
        *(f"    {irq};" for irq in irqs),
        "});",
        "",
        "/// Take the chip: every output starts at its safe level.",
        "#[inline(never)]",
        "pub fn open() -> Io {",
        *(f"    {line}" for line in setup),
        "    Io {",
        *(f"        {field}," for field in fields),
        "    }",
        "}",
    ]


def _list(items: list[str]) -> str:
    return f"[{', '.join(items)}]"


def _inputs(inputs: list[Pin], spell: Callable[[str], str]) -> str:
    return _list([f"Input::new(p.{spell(pin.pin)}, Pull::{pin.pull.value.capitalize()})" for pin in inputs])


def _level(pin: Pin) -> str:
    return "Level::High" if pin.safe is Level.HIGH else "Level::Low"


def _stm32(board: Board, outputs: list[Pin], inputs: list[Pin]) -> list[str]:
    link = board.link
    setup = [
        "let p = embassy_stm32::init(hal::config());",
        "let (tx, rx) = (once!([u8; 128] = [0; 128]), once!([u8; 256] = [0; 256]));",
        f"let pins = (p.{link.rx}, p.{link.tx});",
        f"let config = hal::uart({link.baud});",
        f"let serial = hal::opened(Serial::new(p.{link.peripheral}, pins.0, pins.1, tx, rx, Irqs, config));",
    ]
    fields = [
        f"outputs: {_list([f'Output::new(p.{pin.pin}, {_level(pin)}, Speed::Low)' for pin in outputs])}",
        f"inputs: {_inputs(inputs, str)}",
        f"analog: Analog::new(p.ADC1, {_list([f'p.{pin}.degrade_adc()' for pin in board.adc])})",
        f"watchdog: Watchdog::start(p.{WATCHDOGS.get(board.chip.family, 'IWDG')}, WATCHDOG_US)",
        "serial",
        "flash: ProgramFlash::new(p.FLASH)",
        buses_field(board, str),
    ]
    uarts = [link.peripheral, *(bus.peripheral for bus in board.uart)]
    irqs = [f"{uart} => BufferedInterruptHandler<peripherals::{uart}>" for uart in uarts]
    return _open(irqs, setup, fields)


def _rp(board: Board, outputs: list[Pin], inputs: list[Pin]) -> list[str]:
    link = board.link
    setup = [
        "let p = embassy_rp::init(Default::default());",
        f"let config = hal::uart({link.baud});",
        f"let pins = (p.{_rp_pin(link.tx)}, p.{_rp_pin(link.rx)});",
        "let (tx, rx) = (once!([u8; 128] = [0; 128]), once!([u8; 256] = [0; 256]));",
    ]
    channels = [f"AnalogPin::new_pin(p.{_rp_pin(pin)}, Pull::None)" for pin in board.adc]
    fields = [
        f"outputs: {_list([f'Output::new(p.{_rp_pin(pin.pin)}, {_level(pin)})' for pin in outputs])}",
        f"inputs: {_inputs(inputs, _rp_pin)}",
        f"analog: Analog::new(p.ADC, {_list(channels)})",
        "watchdog: Watchdog::start(p.WATCHDOG, WATCHDOG_US)",
        f"serial: Serial::new(p.{link.peripheral}, pins.0, pins.1, Irqs, tx, rx, config)",
        "flash: ProgramFlash::new(p.FLASH)",
        buses_field(board, _rp_pin),
    ]
    uarts = [link.peripheral, *(bus.peripheral for bus in board.uart)]
    return _open([f"{uart}_IRQ => BufferedInterruptHandler<peripherals::{uart}>" for uart in uarts], setup, fields)


def _rp_pin(pin: str) -> str:
    return pin.replace("GP", "PIN_")


def _nrf(board: Board, outputs: list[Pin], inputs: list[Pin]) -> list[str]:
    link = board.link
    setup = [
        "let p = embassy_nrf::init(Default::default());",
        f"let config = hal::uart(Baudrate::{nrf_baud(link.baud)});",
        "let (tx, rx) = (once!([u8; 128] = [0; 128]), once!([u8; 256] = [0; 256]));",
        f"let pins = (p.{_nrf_pin(link.rx)}, p.{_nrf_pin(link.tx)});",
        "let ppi = (p.PPI_CH0, p.PPI_CH1, p.PPI_GROUP0);",
    ]
    serial = f"Serial::new(p.{link.peripheral}, p.TIMER1, ppi.0, ppi.1, ppi.2, pins.0, pins.1, Irqs, config, rx, tx)"
    drive = "OutputDrive::Standard"
    channels = [f"AnalogPin::single_ended(p.{_nrf_pin(pin)})" for pin in board.adc]
    made = [f"Output::new(p.{_nrf_pin(pin.pin)}, {_level(pin)}, {drive})" for pin in outputs]
    fields = [
        f"outputs: {_list(made)}",
        f"inputs: {_inputs(inputs, _nrf_pin)}",
        f"analog: Analog::new(p.SAADC, Irqs, {_list(channels)})",
        "watchdog: Watchdog::start(p.WDT, WATCHDOG_US)",
        f"serial: {serial}",
        "flash: ProgramFlash::new(p.NVMC)",
        buses_field(board, _nrf_pin),
    ]
    uarts = [link.peripheral, *(bus.peripheral for bus in board.uart)]
    irqs = [
        *(f"{uart} => BufferedInterruptHandler<peripherals::{uart}>" for uart in uarts),
        *(f"{bus.peripheral} => I2cInterruptHandler<peripherals::{bus.peripheral}>" for bus in board.i2c),
        *(f"{NRF_INTERRUPTS.get(bus.peripheral, bus.peripheral)} => {_nrf_spi(bus)}" for bus in board.spi),
        "SAADC => AnalogInterruptHandler",
    ]
    return _open(irqs, setup, fields)


def _nrf_spi(bus: Bus) -> str:
    return f"SpiInterruptHandler<peripherals::{bus.peripheral}>"


def _nrf_pin(pin: str) -> str:
    return pin.replace(".", "_")


HALS: dict[str, Callable[[Board, list[Pin], list[Pin]], list[str]]] = {"stm32": _stm32, "rp": _rp, "nrf": _nrf}
