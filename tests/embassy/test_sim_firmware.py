"""A real Embassy firmware (`fixtures/echo`) on the simulated STM32F401CC: what its drivers need of the chip is there."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from eyeflow.mcu.sim.events import ChipReset, CoreFault, PinChanged
from eyeflow.mcu.sim.simulator import Simulator
from eyeflow.mcu.toolchain import find_toolchain

SOURCE = Path(__file__).parent / "fixtures" / "echo"
TARGET = "thumbv7em-none-eabihf"


@pytest.fixture(scope="session")
def elf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    toolchain = find_toolchain(TARGET)
    output = Path(os.environ.get("CARGO_TARGET_DIR") or tmp_path_factory.mktemp("echo"))
    done = subprocess.run(
        [toolchain.cargo, "build", "--release", "--locked", *toolchain.arguments],
        cwd=SOURCE,
        env={**os.environ, **toolchain.environment, "CARGO_TARGET_DIR": str(output)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return output / TARGET / "release" / "echo"


@pytest.fixture
def chip(elf: Path) -> Iterator[Simulator]:
    simulator = Simulator(elf)
    simulator.run(20_000)
    assert simulator.serial_read(1) == b"boot\n"
    yield simulator
    assert simulator.unmodelled == ()
    simulator.close()


def ask(chip: Simulator, command: bytes, within_us: int = 3_000) -> int:
    chip.serial_write(1, command)
    chip.run_for(within_us)
    answer = chip.serial_read(1)
    assert len(answer) == 5, answer
    assert answer[:1] == command[:1]
    return int.from_bytes(answer[1:], "little")


def test_buffered_uart_echoes(chip: Simulator) -> None:
    assert [ask(chip, b"h" + bytes([byte])) for byte in (0, 1, 127, 255)] == [0, 1, 127, 255]
    assert chip.serial_overruns(1) == 0


def test_time_driver_keeps_virtual_time(chip: Simulator) -> None:
    before, at_us = ask(chip, b"t"), chip.time_us
    chip.run_for(10_000_000)
    after = ask(chip, b"t")
    # TIM4 counts at 16 MHz / 488, a little faster than the 32768 Hz that the driver believes in.
    assert after - before == pytest.approx((chip.time_us - at_us) * 16_000_000 / 488 / 1e6, abs=2)


def test_timer_blinks_at_its_period(chip: Simulator) -> None:
    chip.run(1_050_000)
    edges = [e.time_us for e in chip.take_events() if isinstance(e, PinChanged) and e.pin == "PC13"]
    gaps = [after - before for before, after in pairwise(edges[1:])]
    assert len(gaps) >= 8
    assert gaps == pytest.approx([99_948] * len(gaps), abs=60)


def test_adc_and_inputs(chip: Simulator) -> None:
    for value in (0, 1234, 4095):
        chip.set_adc(0, value)
        assert ask(chip, b"a") == value
    assert ask(chip, b"i") == 1, "pulled up"
    chip.set_pin("PB4", False)
    assert ask(chip, b"i") == 0


def test_edges_wake_a_task(chip: Simulator) -> None:
    for level in (False, True, False, True):
        chip.set_pin("PB0", level)
        chip.run_for(200)
        assert chip.pin("PB1") is level


def test_floats_run(chip: Simulator) -> None:
    assert ask(chip, b"f") == 0x4058_0000


def test_flash_driver_programs_erases_and_keeps(elf: Path, tmp_path: Path) -> None:
    image = tmp_path / "flash.bin"
    chip = Simulator(elf, flash_image=image)
    chip.run(20_000)
    chip.serial_read(1)
    assert ask(chip, b"w\x5a") == 1
    assert ask(chip, b"r") == 0x5A5A_5A5A
    assert ask(chip, b"w\xa7") == 1
    assert ask(chip, b"r") == 0x0202_0202, "only bits that both words have"
    chip.close()
    chip = Simulator(elf, flash_image=image)
    chip.run(20_000)
    chip.serial_read(1)
    assert ask(chip, b"r") == 0x0202_0202
    assert ask(chip, b"e", 1_100_000) == 1
    assert ask(chip, b"r") == 0xFFFF_FFFF
    chip.close()


def test_watchdog_bites_when_it_is_no_longer_fed(chip: Simulator) -> None:
    chip.run_for(5_000_000)
    assert ask(chip, b"x") == 1
    chip.take_events()
    chip.run_for(2_300_000)
    assert [event.cause for event in chip.take_events() if isinstance(event, ChipReset)] == ["watchdog"]
    assert chip.serial_read(1) == b"boot\n"


def test_a_software_reset_boots_again(chip: Simulator) -> None:
    chip.take_events()
    chip.serial_write(1, b"s")
    chip.run_for(20_000)
    assert [event.cause for event in chip.take_events() if isinstance(event, ChipReset)] == ["software"]
    assert chip.serial_read(1) == b"boot\n"


def test_a_hard_fault_is_told_and_the_watchdog_ends_it(chip: Simulator) -> None:
    chip.take_events()
    chip.serial_write(1, b"m")
    chip.run_for(2_500_000)
    events = chip.take_events()
    assert "0x30000000" in next(event.text for event in events if isinstance(event, CoreFault))
    assert [event.cause for event in events if isinstance(event, ChipReset)] == ["watchdog"]
    assert chip.serial_read(1) == b"boot\n"


def test_instruction_counts_repeat(elf: Path) -> None:
    def run() -> tuple[int, bytes]:
        chip = Simulator(elf)
        chip.run(300_000)
        chip.serial_write(1, b"thx")
        chip.run(400_000)
        result = chip.instruction_count, chip.serial_read(1)
        chip.close()
        return result

    assert run() == run()
