"""The simulator of the STM32F401CC: runs the firmware image, and gives access to pins, serial ports and power."""

from __future__ import annotations

from collections import deque
from functools import partial
from pathlib import Path

from eyeflow.mcu.sim.chip import Power, SerialBuffer, unknown_chip
from eyeflow.mcu.sim.events import EVENTS_MAX, ChipReset, CoreFault, PinChanged, PowerLost, SimEvent
from eyeflow.mcu.sim.firmware import Firmware, load_firmware
from eyeflow.mcu.sim.measure import CallCounts, find_function
from eyeflow.mcu.sim.pins import parse_stm32_pin
from eyeflow.mcu.sim.recording import COUNTS_MAX, AdcValues
from eyeflow.mcu.sim.stm32f4.chip import GEOMETRIES, Stm32f4
from eyeflow.mcu.sim.stm32f4.clocks import ResetCause
from eyeflow.mcu.sim.stm32f4.flash import FLASH_BASE
from eyeflow.mcu.sim.storage import FlashImage

HSE_HZ = 25_000_000
"""The crystal of the usual STM32F401CC board."""

UNIQUE_ID = bytes(range(0x31, 0x3D))
_CAUSES = {
    ResetCause.POWER: "power",
    ResetCause.SOFTWARE: "software",
    ResetCause.WATCHDOG: "watchdog",
    ResetCause.PIN: "pin",
}


class Simulator:
    """An STM32F401CC running `elf`; see `SimulatedChip` for what each method does.

    `flash_image` is a file that keeps the flash between runs: the firmware is written into it as by a probe, everything
    else in it stays. Equal inputs at equal virtual times give equal runs, to the instruction.
    """

    serial_ports: tuple[int, ...] = (1, 2, 6)

    def __init__(
        self,
        elf: Path | Firmware,
        chip: str = "STM32F401CC",
        *,
        flash_image: Path | None = None,
        adc: AdcValues | None = None,
        unique_id: bytes = UNIQUE_ID,
        hse_hz: int = HSE_HZ,
    ) -> None:
        geometry = GEOMETRIES.get(chip)
        if geometry is None:
            raise unknown_chip(chip, [*GEOMETRIES, "RP2040"])
        self.firmware = elf if isinstance(elf, Firmware) else load_firmware(elf)
        self.adc = adc or AdcValues()
        self._image = FlashImage(FLASH_BASE, geometry.flash_bytes, flash_image)
        self._image.flash(self.firmware)
        self._events: deque[SimEvent] = deque(maxlen=EVENTS_MAX)
        self._received = {port: SerialBuffer() for port in self.serial_ports}
        self.power = Power.OFF
        self._chip = Stm32f4(geometry, self._image, unique_id, hse_hz)
        self._connect()
        self.power_on()

    def _connect(self) -> None:
        chip = self._chip
        chip.on_level = lambda port, pin, level: self._note(PinChanged(self.time_us, f"P{port}{pin}", level))
        chip.core.on_fault = lambda text: self._note(CoreFault(self.time_us, text))
        chip.flash.on_power_cut = self.power_cut
        chip.adc.sample = lambda channel: self.adc.sample(self.time_us, channel)
        for number, usart in chip.usarts.items():
            usart.on_byte = partial(self._sent, number)

    def _sent(self, port: int, byte: int) -> None:
        self._received[port].append(bytes([byte]))

    def _note(self, event: SimEvent) -> None:
        self._events.append(event)

    # Time.

    @property
    def time_us(self) -> int:
        """Virtual microseconds since the simulator was made."""
        return self._chip.timeline.time_us

    @property
    def instruction_count(self) -> int:
        """Instructions executed since the simulator was made."""
        return self._chip.core.counts.all

    def run(self, until_us: int) -> None:
        """Run to a virtual time, or until the power fails."""
        chip = self._chip
        while self.power is Power.ON and self.time_us < until_us:
            chip.core.run(chip.timeline.cycle_at_us(until_us))
            if chip.pending_reset is not None:
                self._restart(chip.pending_reset)

    def run_for(self, duration_us: int) -> None:
        """Run for a virtual duration, or until the power fails."""
        self.run(self.time_us + duration_us)

    def measure(self, function: str) -> CallCounts:
        """Count the instructions of every call of the one function whose name contains `function`.

        Raises EyeflowError when no function or more than one matches (inlined functions have no symbol).
        """
        name, address = find_function(self.firmware, function)
        calls = CallCounts(name)
        self._chip.core.marks[address] = lambda: self._call_begins(calls)
        return calls

    def _call_begins(self, calls: CallCounts) -> None:
        core = self._chip.core
        if not core.in_thread:
            return
        begun, stack, back = core.counts.thread, core.stack_pointer, core.return_address

        def returned() -> None:
            if core.in_thread and core.stack_pointer == stack:
                calls.counts.append(core.counts.thread - begun)
                del core.marks[back]

        core.marks[back] = returned

    # Pins, ADC and serial ports.

    def pin(self, name: str) -> bool:
        """Return the level of a pin such as PC13."""
        port, number = parse_stm32_pin(name)
        return self._chip.ports[port].level(number)

    def set_pin(self, name: str, level: bool | None) -> None:
        """Drive a pin from outside; None lets it go."""
        port, number = parse_stm32_pin(name)
        self._chip.ports[port].drive(number, level)

    def set_adc(self, channel: int, value: int) -> None:
        """Set what an ADC channel reads from now on, 0..4095 (ValueError outside)."""
        if not 0 <= value <= COUNTS_MAX:
            raise ValueError(f"{value} is outside 0..{COUNTS_MAX}")
        self.adc.set(self.time_us, channel, value)

    def serial_write(self, port: int, data: bytes) -> None:
        """Put bytes on the line to the chip; they arrive one after the other at the baud rate."""
        if self.power is Power.ON:
            self._chip.usarts[port].feed(data)

    def serial_read(self, port: int) -> bytes:
        """Take what the chip has sent."""
        return self._received[port].take()

    def serial_waiting(self, port: int) -> int:
        """Return how many bytes to the chip are still on the line."""
        return len(self._chip.usarts[port].line)

    def serial_overruns(self, port: int) -> int:
        """Return how many bytes the firmware was too slow to take."""
        return self._chip.usarts[port].overruns

    def take_events(self) -> list[SimEvent]:
        """Return what has happened since the last call, in order."""
        events = list(self._events)
        self._events.clear()
        return events

    @property
    def unmodelled(self) -> tuple[int, ...]:
        """Windows of peripherals that the firmware has used and the simulator does not model."""
        return tuple(self._chip.bus.unmodelled)

    # Power and flash.

    @property
    def flash_operations(self) -> int:
        """Erases and programmed words since the simulator was made."""
        return self._chip.flash.operations

    def read_flash(self, address: int, size_bytes: int) -> bytes:
        """Return what the flash holds."""
        start = address - FLASH_BASE
        return bytes(self._image.data[start : start + size_bytes])

    def cut_power_in(self, flash_operations: int) -> None:
        """Let the power fail within the n-th flash operation from now (1 is the next), which is then half done."""
        self._chip.flash.cut_power_in(flash_operations)

    def power_cut(self) -> None:
        """Take the power away at once; what is on the serial lines is lost."""
        if self.power is Power.OFF:
            return
        self.power = Power.OFF
        self._chip.core.stop()
        for usart in self._chip.usarts.values():
            usart.line.clear()
        self._note(PowerLost(self.time_us))

    def power_on(self) -> None:
        """Give power again: the flash is as it was, RAM is not."""
        if self.power is Power.ON:
            return
        self.power = Power.ON
        self._chip.power_on()
        self._note(ChipReset(self.time_us, "power"))

    def reset(self) -> None:
        """Pull the reset pin."""
        if self.power is Power.ON:
            self._restart(ResetCause.PIN)

    def _restart(self, cause: ResetCause) -> None:
        self._chip.reset(cause)
        self._note(ChipReset(self.time_us, _CAUSES[cause]))

    def close(self) -> None:
        """Close the flash image."""
        self._image.close()
