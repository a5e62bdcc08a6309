"""The simulator as a whole, with a firmware of a few instructions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.mcu.sim.chip import Power
from eyeflow.mcu.sim.events import ChipReset, PinChanged, PowerLost
from eyeflow.mcu.sim.recording import AdcValues
from eyeflow.mcu.sim.simulator import Simulator
from eyeflow.mcu.sim.start import serial_port_number, start_simulator
from sim_firmware import FIRMWARE, LAST_SECTOR, elf_file

BYTE_US = 87


@pytest.fixture
def chip() -> Iterator[Simulator]:
    simulator = Simulator(FIRMWARE)
    simulator.run(1_000)
    yield simulator
    simulator.close()


def say(chip: Simulator, data: bytes, within_us: int = 2_000) -> bytes:
    chip.serial_write(1, data)
    chip.run_for(within_us)
    return chip.serial_read(1)


def test_bytes_go_in_and_come_back_at_the_baud_rate(chip: Simulator) -> None:
    chip.serial_write(1, b"x")
    chip.run_for(2 * BYTE_US - 10)
    assert chip.serial_read(1) == b""
    chip.run_for(20)
    assert chip.serial_read(1) == b"x"
    assert say(chip, b"hello") == b"hello"
    assert chip.serial_overruns(1) == 0


def test_pin_changes_carry_their_virtual_time(chip: Simulator) -> None:
    chip.take_events()
    say(chip, b"x")
    (change,) = chip.take_events()
    assert isinstance(change, PinChanged)
    assert (change.pin, change.level) == ("PA5", True)
    assert 1_000 + BYTE_US - 2 <= change.time_us <= 1_000 + BYTE_US + 5
    assert chip.pin("pa5")


def test_adc_reads_the_recording_and_what_is_set_by_hand() -> None:
    values = AdcValues()
    values.record(0, 0, 0x100)
    values.record(10_000, 0, 0x200)
    chip = Simulator(FIRMWARE, adc=values)
    chip.run(1_000)
    assert say(chip, b"a") == b"\x10"
    chip.set_adc(0, 0x7F0)
    assert say(chip, b"a") == b"\x7f"
    chip.run(11_000)
    assert say(chip, b"a") == b"\x20"
    with pytest.raises(ValueError, match=r"outside 0\.\.4095"):
        chip.set_adc(0, 4096)


def test_equal_runs_are_equal(chip: Simulator) -> None:
    def run() -> tuple[int, list[object], bytes]:
        simulator = Simulator(FIRMWARE)
        answer = b"".join(say(simulator, byte, 777) for byte in (b"a", b"xy", b"w", b"!"))
        return simulator.instruction_count, list(simulator.take_events()), answer

    assert run() == run()


def test_calls_of_a_function_are_counted_to_the_instruction(chip: Simulator) -> None:
    calls = chip.measure("serve")
    chip.run_for(1_000)
    assert set(calls.counts) == {4}, "without a byte: load, shift, branch, return"
    say(chip, b"x")
    assert sorted(set(calls.counts)) == [4, 15]
    with pytest.raises(EyeflowError, match="2 functions") as caught:
        chip.measure("echo")
    assert caught.value.exit_code is ExitCode.USAGE


def test_a_system_reset_starts_again(chip: Simulator) -> None:
    chip.take_events()
    say(chip, b"!")
    assert ChipReset in {type(event) for event in chip.take_events()}
    assert not chip.pin("PA5"), "a reset lets go of the pins"
    assert say(chip, b"x") == b"x"


def test_flash_outlives_the_power_and_the_process(tmp_path: Path) -> None:
    image = tmp_path / "flash.bin"
    chip = Simulator(FIRMWARE, flash_image=image)
    assert say(chip, b"w") == b"\x5a"
    assert chip.read_flash(LAST_SECTOR, 4) == b"\x5a" * 4
    chip.power_cut()
    assert chip.power is Power.OFF
    before_us = chip.time_us
    chip.run_for(1_000)
    assert chip.time_us == before_us, "without power nothing runs"
    chip.power_on()
    assert chip.read_flash(LAST_SECTOR, 4) == b"\x5a" * 4
    chip.close()
    again = Simulator(FIRMWARE, flash_image=image)
    assert again.read_flash(LAST_SECTOR, 8) == b"\x5a" * 4 + b"\xff" * 4
    assert say(again, b"x") == b"x"
    again.close()


def test_power_fails_within_a_flash_operation(chip: Simulator) -> None:
    chip.cut_power_in(1)
    assert say(chip, b"w") == b""
    assert chip.power is Power.OFF
    assert isinstance(chip.take_events()[-1], PowerLost)
    assert chip.read_flash(LAST_SECTOR, 4) == b"\xfa" * 4, "half of the bits that were to be cleared"
    chip.power_on()
    chip.run_for(1_000)
    assert say(chip, b"w") == b"\x5a", "programming again ends the work"


def test_flash_programming_holds_the_core_up(chip: Simulator) -> None:
    def instructions(byte: bytes) -> int:
        before = chip.instruction_count
        say(chip, byte, 1_000)
        return chip.instruction_count - before

    polling, programming = instructions(b"x"), instructions(b"w")
    assert polling - programming == pytest.approx(16 * 16, abs=16), "16 us at 16 MHz without an instruction"
    assert chip.flash_operations == 1


def test_unknown_chips_and_pins_have_near_names(tmp_path: Path) -> None:
    with pytest.raises(EyeflowError, match="cannot be simulated") as caught:
        start_simulator(tmp_path / "x.elf", "STM32F401C")
    assert "STM32F401CC" in caught.value.next_step
    simulator = Simulator(FIRMWARE)
    for name in ("PF1", "PA16", "GPIO1", ""):
        with pytest.raises(EyeflowError, match="there is no pin"):
            simulator.pin(name)


def test_start_takes_the_file_and_any_case(tmp_path: Path) -> None:
    elf = tmp_path / "firmware.elf"
    elf.write_bytes(elf_file())
    chip = start_simulator(elf, "stm32f401cc")
    chip.run(1_000)
    chip.serial_write(1, b"x")
    chip.run(3_000)
    assert chip.serial_read(1) == b"x"
    chip.close()


def test_ports_are_numbered_as_on_the_chip() -> None:
    assert [serial_port_number(name) for name in ("USART1", "USART6", "UART0")] == [1, 6, 0]
