"""An STM32F4 put together: core, memories, clock tree and peripherals at their addresses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random

from eyeflow.mcu.sim.bus import Bus, Registers
from eyeflow.mcu.sim.core import Core, Memory
from eyeflow.mcu.sim.nvic import Nvic
from eyeflow.mcu.sim.stm32f4.analog import Adc
from eyeflow.mcu.sim.stm32f4.buses import I2c, Spi
from eyeflow.mcu.sim.stm32f4.clocks import HSI_HZ, Pwr, Rcc, ResetCause
from eyeflow.mcu.sim.stm32f4.flash import FLASH_BASE, Cells, FlashController
from eyeflow.mcu.sim.stm32f4.gpio import Exti, Port
from eyeflow.mcu.sim.stm32f4.timer import Timer
from eyeflow.mcu.sim.stm32f4.usart import Usart
from eyeflow.mcu.sim.stm32f4.watchdog import Watchdog
from eyeflow.mcu.sim.storage import FlashImage
from eyeflow.mcu.sim.timeline import Timeline

KIB = 1024
RAM_BASE = 0x2000_0000
SYSTEM_MEMORY_BASE, SYSTEM_MEMORY_SIZE = 0x1FFF_0000, 0x8000
UNIQUE_ID_OFFSET, FLASH_SIZE_OFFSET = 0x7A10, 0x7A22
_PORT_RESETS: dict[str, dict[int, int]] = {"A": {0x00: 0xA800_0000, 0x0C: 0x6400_0000}, "B": {0x00: 0x280, 0x0C: 0x100}}
_TIMERS = {2: (0x4000_0000, 28, 32), 3: (0x4000_0400, 29, 16), 4: (0x4000_0800, 30, 16), 5: (0x4000_0C00, 50, 32)}
_USARTS = {1: (0x4001_1000, 37, 2), 2: (0x4000_4400, 38, 1), 6: (0x4001_1400, 71, 2)}
_SPIS = (0x4001_3000, 0x4000_3800, 0x4000_3C00, 0x4001_3400)
_I2CS = (0x4000_5400, 0x4000_5800, 0x4000_5C00)
_PORTS = {"A": 0x4002_0000, "B": 0x4002_0400, "C": 0x4002_0800, "D": 0x4002_0C00, "E": 0x4002_1000, "H": 0x4002_1C00}


@dataclass(frozen=True, slots=True)
class Geometry:
    """What differs between the chips of the family: RAM and the flash sectors, both in bytes."""

    ram_bytes: int
    sectors: tuple[int, ...]

    @property
    def flash_bytes(self) -> int:
        """The size of the whole array."""
        return sum(self.sectors)


GEOMETRIES = {"STM32F401CC": Geometry(64 * KIB, (16 * KIB,) * 4 + (64 * KIB, 128 * KIB))}


class Stm32f4:
    """The chip. Callbacks tell of pins, resets wanted from inside, and the power that fails in a flash operation."""

    def __init__(self, geometry: Geometry, image: FlashImage, unique_id: bytes, hse_hz: int) -> None:
        self.geometry, self.image = geometry, image
        self.timeline = Timeline(HSI_HZ)
        self.on_level: Callable[[str, int, bool], None] = lambda port, pin, level: None
        self.pending_reset: ResetCause | None = None
        self._starts = 0
        self.nvic = Nvic(self.timeline, lambda: self._want_reset(ResetCause.SOFTWARE))
        self.bus = Bus()
        self.core = Core(self.timeline, self.nvic, self.bus, self._memories(), FLASH_BASE)
        self._attach_system(hse_hz)
        self._attach_ports()
        self._attach_serial_and_timers()
        self._attach_flash()
        self._write_system_memory(unique_id)

    def _memories(self) -> tuple[Memory, ...]:
        return (
            Memory(FLASH_BASE, self.geometry.flash_bytes, writable=False),
            Memory(RAM_BASE, self.geometry.ram_bytes, writable=True),
            Memory(SYSTEM_MEMORY_BASE, SYSTEM_MEMORY_SIZE, writable=False),
        )

    def _attach_system(self, hse_hz: int) -> None:
        self.rcc = Rcc(self.timeline, hse_hz)
        self.watchdog = Watchdog(self.timeline, lambda: self._want_reset(ResetCause.WATCHDOG))
        self.syscfg = Registers()
        self.bus.attach(0x4002_3800, self.rcc)
        self.bus.attach(0x4000_7000, Pwr())
        self.bus.attach(0x4000_3000, self.watchdog)
        self.bus.attach(0x4001_3800, self.syscfg)
        for base in _SPIS:
            self.bus.attach(base, Spi())
        for base in _I2CS:
            self.bus.attach(base, I2c())
        for base in (0x4002_6000, 0x4002_6400):  # DMA: registers only; nothing moves
            self.bus.attach(base, Registers())

    def _attach_ports(self) -> None:
        self.exti = Exti(self.nvic, self.syscfg)
        self.bus.attach(0x4001_3C00, self.exti)
        self.ports = {letter: Port(letter, self._level, _PORT_RESETS.get(letter, {})) for letter in _PORTS}
        for letter, base in _PORTS.items():
            self.bus.attach(base, self.ports[letter])

    def _level(self, letter: str, pin: int, level: bool) -> None:
        self.exti.edge(letter, pin, level)
        self.on_level(letter, pin, level)

    def _attach_serial_and_timers(self) -> None:
        rcc = self.rcc
        self.usarts: dict[int, Usart] = {}
        for number, (base, irq, bus) in _USARTS.items():
            usart = Usart(self.nvic, self.timeline, irq, partial(rcc.bus_divider, bus))
            self.usarts[number] = usart
            self.bus.attach(base, usart)
        for base, irq, bits in _TIMERS.values():
            self.bus.attach(base, Timer(self.nvic, self.timeline, irq, lambda: rcc.timer_divider(1), bits))
        self.adc = Adc(self.nvic, self.timeline, lambda: rcc.bus_divider(2))
        self.bus.attach(0x4001_2000, self.adc)

    def _attach_flash(self) -> None:
        cells = Cells(self.core.read, self._write_cells)
        self.flash = FlashController(self.geometry.sectors, cells, self._stall)
        self.core.on_protected_write = self.flash_store
        self.bus.attach(0x4002_3C00, self.flash)

    def flash_store(self, address: int, size: int, value: int) -> None:
        """Take a store into memory that code cannot write: flash programs, the rest ignores it."""
        if FLASH_BASE <= address < FLASH_BASE + self.geometry.flash_bytes:
            self.flash.program(address, size, value)

    def _write_cells(self, address: int, data: bytes) -> None:
        self.core.write(address, data)
        self.image.write(address, data)
        self.core.forget_code(address, len(data))

    def _stall(self, duration_ns: int) -> None:
        self.core.stall_cycles += self.timeline.cycles_of_ns(duration_ns)

    def _write_system_memory(self, unique_id: bytes) -> None:
        self.core.write(SYSTEM_MEMORY_BASE + UNIQUE_ID_OFFSET, unique_id)
        kib = (self.geometry.flash_bytes // KIB).to_bytes(2, "little")
        self.core.write(SYSTEM_MEMORY_BASE + FLASH_SIZE_OFFSET, kib)

    def _want_reset(self, cause: ResetCause) -> None:
        self.pending_reset = cause
        self.core.stop()

    def power_on(self) -> None:
        """Start with the flash as it is and RAM as power leaves it: not zero, and other bits each time."""
        self.core.write(FLASH_BASE, bytes(self.image.data))
        self._starts += 1
        self.core.write(RAM_BASE, Random(self._starts).randbytes(self.geometry.ram_bytes))
        self.core.forget_code(FLASH_BASE, self.geometry.flash_bytes)
        self.reset(ResetCause.POWER)

    def reset(self, cause: ResetCause) -> None:
        """Reset core and peripherals; RAM keeps its contents, the clock runs on."""
        self.pending_reset = None
        self.timeline.forget_all()
        self.nvic.reset()
        self.bus.reset()
        self.rcc.set_cause(cause)
        self.core.reset()
