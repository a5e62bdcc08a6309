"""The simulator of the RP2040: a Node.js process that runs the firmware in steps of virtual time."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections import deque
from contextlib import ExitStack
from importlib import resources
from pathlib import Path
from typing import Any

from eyeflow.base.errors import EyeflowError
from eyeflow.mcu.sim.chip import Power, SerialBuffer
from eyeflow.mcu.sim.events import EVENTS_MAX, ChipReset, CoreFault, PinChanged, PowerLost, SimEvent
from eyeflow.mcu.sim.firmware import Firmware, load_firmware
from eyeflow.mcu.sim.measure import CallCounts, find_function
from eyeflow.mcu.sim.pins import parse_rp2040_pin
from eyeflow.mcu.sim.recording import COUNTS_MAX, AdcValues
from eyeflow.mcu.sim.rp2040.install import find_node, find_rp2040js
from eyeflow.mcu.sim.storage import FlashImage

FLASH_BASE = 0x1000_0000
FLASH_BYTES = 2 * 1024 * 1024
ADC_CHANNELS = 5
STEP_US = 50_000
"""Virtual time of one command to the process."""

END_TIMEOUT_S = 5.0
SCRIPTS = ("runner.mjs", "patches.mjs")


class Rp2040Simulator:
    """An RP2040 running `elf`; see `SimulatedChip` for what each method does, and `Simulator` for the arguments."""

    serial_ports: tuple[int, ...] = (0, 1)

    def __init__(self, elf: Path | Firmware, *, flash_image: Path | None = None, adc: AdcValues | None = None) -> None:
        self.firmware = elf if isinstance(elf, Firmware) else load_firmware(elf)
        self.adc = adc or AdcValues()
        self._resources = ExitStack()
        directory = Path(self._resources.enter_context(tempfile.TemporaryDirectory(prefix="eyeflow-rp2040-")))
        self._scripts = directory
        self._image_path = flash_image or directory / "flash.bin"
        try:
            self._command = self._prepare()
        except BaseException:
            self._resources.close()
            raise
        self._events: deque[SimEvent] = deque(maxlen=EVENTS_MAX)
        self._received = {port: SerialBuffer() for port in self.serial_ports}
        self._calls: dict[int, CallCounts] = {}
        self._told: dict[str, Any] = {}
        self._pending: dict[str, Any] = {"serial": {}, "pins": []}
        self._base_ns = 0
        self._base_instructions = 0
        self._process: subprocess.Popen[str] | None = None
        self.power = Power.OFF
        self.power_on()

    def _prepare(self) -> list[str]:
        node, package = find_node(), find_rp2040js()
        for name in SCRIPTS:
            text = resources.files("eyeflow.mcu.sim.rp2040").joinpath(name).read_text("utf-8")
            (self._scripts / name).write_text(text, "utf-8")
        image = FlashImage(FLASH_BASE, FLASH_BYTES, self._image_path)
        try:
            image.flash(self.firmware)
        finally:
            image.close()
        return [node, str(self._scripts / "runner.mjs"), str(package), str(self._image_path)]

    # The process.

    def _ask(self, command: dict[str, Any]) -> None:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(command) + "\n")
            process.stdin.flush()
        except OSError as error:
            raise self._ended() from error
        self._hear()

    def _hear(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._ended()
        self._take(json.loads(line))

    def _ended(self) -> EyeflowError:
        assert self._process is not None
        _, said = self._process.communicate(timeout=END_TIMEOUT_S)
        self.power = Power.OFF
        return EyeflowError(
            "the process that simulates the RP2040 has ended",
            cause="\n".join(said.strip().splitlines()[-8:]) or f"exit code {self._process.returncode}",
            next_step="start it again; if it ends again, report it with the firmware's ELF file",
            code="rp2040js_ended",
        )

    def _take(self, told: dict[str, Any]) -> None:
        self._told = told
        for port in self.serial_ports:
            self._received[port].append(bytes.fromhex(told["sent"][str(port)]))
        happened: list[tuple[int, SimEvent]] = []
        for at_ns, number, high in told["pins"]:
            happened.append((at_ns, PinChanged(self._us(at_ns), f"GPIO{number}", high)))
        happened += [(at_ns, ChipReset(self._us(at_ns), cause)) for at_ns, cause in told["resets"]]
        happened += [(at_ns, CoreFault(self._us(at_ns), text)) for at_ns, text in told["faults"]]
        self._events.extend(event for _, event in sorted(happened, key=lambda pair: pair[0]))
        for address, counts in told["measured"].items():
            self._calls[int(address)].counts += counts
        if told["powerLost"]:
            self._lose_power()

    def _us(self, at_ns: float) -> int:
        return (self._base_ns + int(at_ns)) // 1000

    # Time.

    @property
    def time_us(self) -> int:
        """Virtual microseconds since the simulator was made."""
        return self._us(self._told.get("ns", 0))

    @property
    def instruction_count(self) -> int:
        """Instructions executed since the simulator was made."""
        return self._base_instructions + int(self._told.get("instructions", 0))

    def run(self, until_us: int) -> None:
        """Run to a virtual time, or until the power fails."""
        while self.power is Power.ON and self.time_us < until_us:
            step_us = min(until_us, self.time_us + STEP_US)
            command, self._pending = self._pending, {"serial": {}, "pins": []}
            samples = [
                (at_us * 1000 - self._base_ns, channel, value)
                for at_us, channel, value in self.adc.changes(self.time_us, step_us, ADC_CHANNELS)
            ]
            self._ask(command | {"run": step_us * 1000 - self._base_ns + 1, "adc": samples})

    def run_for(self, duration_us: int) -> None:
        """Run for a virtual duration, or until the power fails."""
        self.run(self.time_us + duration_us)

    def measure(self, function: str) -> CallCounts:
        """Count the instructions of every call of a function; see `Simulator.measure`."""
        name, address = find_function(self.firmware, function)
        self._calls[address] = CallCounts(name)
        self._ask({"measure": address})
        return self._calls[address]

    # Pins, ADC and serial ports.

    def pin(self, name: str) -> bool:
        """Return the level of a pin such as GPIO25."""
        number = parse_rp2040_pin(name)
        waiting = [level for pin, level in self._pending["pins"] if pin == number and level is not None]
        return bool(waiting[-1] if waiting else self._told["levels"][number])

    def set_pin(self, name: str, level: bool | None) -> None:
        """Drive a pin from outside from the next run on; None lets it go."""
        self._pending["pins"].append((parse_rp2040_pin(name), level))

    def set_adc(self, channel: int, value: int) -> None:
        """Set what an ADC channel reads from now on, 0..4095 (ValueError outside)."""
        if not 0 <= value <= COUNTS_MAX:
            raise ValueError(f"{value} is outside 0..{COUNTS_MAX}")
        self.adc.set(self.time_us, channel, value)

    def serial_write(self, port: int, data: bytes) -> None:
        """Put bytes on the line to the chip; they arrive one after the other at the baud rate."""
        serial = self._pending["serial"]
        serial[str(port)] = serial.get(str(port), "") + data.hex()

    def serial_read(self, port: int) -> bytes:
        """Take what the chip has sent."""
        return self._received[port].take()

    def serial_waiting(self, port: int) -> int:
        """Return how many bytes to the chip are still on the line."""
        return int(self._told["waiting"][port]) + len(self._pending["serial"].get(str(port), "")) // 2

    def serial_overruns(self, port: int) -> int:
        """Return how many bytes the firmware was too slow to take."""
        return int(self._told["overruns"][port])

    def take_events(self) -> list[SimEvent]:
        """Return what has happened since the last call, in order."""
        events = list(self._events)
        self._events.clear()
        return events

    # Power and flash.

    def read_flash(self, address: int, size_bytes: int) -> bytes:
        """Return what the flash holds."""
        with self._image_path.open("rb") as file:
            file.seek(address - FLASH_BASE)
            return file.read(size_bytes)

    def cut_power_in(self, flash_operations: int) -> None:
        """Let the power fail within the n-th erased sector or programmed page from now, which is then half done."""
        self._ask({"cut": flash_operations})

    def power_cut(self) -> None:
        """Take the power away at once; what is on the serial lines is lost."""
        if self.power is Power.ON:
            self._lose_power()

    def _lose_power(self) -> None:
        self.power = Power.OFF
        self._events.append(PowerLost(self.time_us))
        self._base_ns += int(self._told["ns"])
        self._base_instructions += int(self._told["instructions"])
        self._told |= {"ns": 0, "instructions": 0, "powerLost": False}
        self._pending["serial"] = {}
        self._end()

    def power_on(self) -> None:
        """Give power again: the flash is as it was, RAM is not."""
        if self.power is Power.ON:
            return
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.power = Power.ON
        self._hear()
        for address in self._calls:
            self._ask({"measure": address})

    def reset(self) -> None:
        """Pull the reset pin."""
        if self.power is Power.ON:
            self._ask({"reset": True})

    def _end(self) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        process.kill()
        process.communicate(timeout=END_TIMEOUT_S)

    def close(self) -> None:
        """End the process and remove its temporary files."""
        self._end()
        self.power = Power.OFF
        self._resources.close()
