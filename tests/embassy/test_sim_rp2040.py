"""The simulator of the RP2040: rp2040js from the npm registry, with a firmware of a few Thumb instructions."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from eyeflow.base.errors import EyeflowError
from eyeflow.mcu.sim.chip import Power
from eyeflow.mcu.sim.endpoints import TcpEndpoint
from eyeflow.mcu.sim.events import ChipReset, PinChanged, PowerLost
from eyeflow.mcu.sim.rp2040.process import FLASH_BASE, FLASH_BYTES, Rp2040Simulator
from eyeflow.mcu.sim.serve import SimServer
from sim_firmware import elf_file

CODE = bytes.fromhex(
    "0948442141627021c16208490163084905220a60074a084c54628369db06fcd403680360d461f8e70040034001030000cc400140000000d000000002"
)
"""UART0 on at 115200 baud, GPIO25 an output; then each byte comes back and toggles the pin."""


@pytest.fixture
def elf(tmp_path: Path) -> Path:
    path = tmp_path / "rp2040.elf"
    path.write_bytes(elf_file(CODE, FLASH_BASE))
    return path


@pytest.fixture
def chip(elf: Path) -> Iterator[Rp2040Simulator]:
    simulator = Rp2040Simulator(elf)
    simulator.run(1_000)
    yield simulator
    simulator.close()


def test_bytes_come_back_and_pins_change(chip: Rp2040Simulator) -> None:
    assert [type(event) for event in chip.take_events()] == [ChipReset]
    chip.serial_write(0, b"abc")
    assert chip.serial_waiting(0) == 3
    chip.run_for(1_000)
    assert chip.serial_read(0) == b"abc"
    changes = [event for event in chip.take_events() if isinstance(event, PinChanged)]
    assert [(change.pin, change.level) for change in changes] == [("GPIO25", True), ("GPIO25", False), ("GPIO25", True)]
    assert changes[1].time_us - changes[0].time_us == pytest.approx(87, abs=2), "bytes arrive at the baud rate"
    assert chip.pin("GPIO25")


def test_equal_runs_are_equal(elf: Path) -> None:
    def run() -> tuple[int, list[object]]:
        chip = Rp2040Simulator(elf)
        chip.run(1_000)
        chip.serial_write(0, b"x")
        chip.run(5_000)
        result = chip.instruction_count, list(chip.take_events())
        chip.close()
        return result

    assert run() == run()


def test_power_goes_and_comes_back(chip: Rp2040Simulator) -> None:
    chip.take_events()
    chip.power_cut()
    assert chip.power is Power.OFF
    at_us, count = chip.time_us, chip.instruction_count
    chip.run_for(1_000)
    assert chip.time_us == at_us, "without power nothing runs"
    chip.power_on()
    chip.run(at_us + 1_000)
    assert [type(event) for event in chip.take_events()] == [PowerLost, ChipReset]
    assert chip.instruction_count > count
    chip.serial_write(0, b"x")
    chip.run_for(1_000)
    assert chip.serial_read(0) == b"x"


def test_inputs_are_driven_from_outside(chip: Rp2040Simulator) -> None:
    chip.set_pin("GPIO2", True)
    chip.run_for(100)
    assert chip.pin("GPIO2")
    chip.set_pin("GPIO2", False)
    chip.run_for(100)
    assert not chip.pin("GPIO2")


def test_the_flash_image_is_a_file(elf: Path, tmp_path: Path) -> None:
    image = tmp_path / "flash.bin"
    chip = Rp2040Simulator(elf, flash_image=image)
    chip.close()
    data = image.read_bytes()
    assert len(data) == FLASH_BYTES
    assert data.startswith(CODE)
    assert set(data[len(CODE) :]) == {0xFF}


def test_it_is_served_like_every_chip(elf: Path) -> None:
    server = SimServer(Rp2040Simulator(elf), TcpEndpoint(), link_port=0)
    thread = Thread(target=lambda: list(server.events()))
    thread.start()
    try:
        host, port = server.url.removeprefix("socket://").split(":")
        with socket.create_connection((host, int(port)), timeout=30) as client:
            client.sendall(b"z")
            assert client.recv(1) == b"z"
    finally:
        server.stop()
        thread.join()
        server.close()


def test_firmware_of_another_chip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "stm32.elf"
    path.write_bytes(elf_file())
    with pytest.raises(EyeflowError, match="outside the flash"):
        Rp2040Simulator(path)
