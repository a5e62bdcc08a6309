"""Rules are checked against what a chip can have and what a board file says is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from eyeflow.compiler.compile import CompileOptions, compile_rule
from eyeflow.compiler.hardware import CHANNEL_KINDS
from eyeflow.mcu.board import parse_board
from eyeflow.mcu.chips import chips, find_chip
from eyeflow.mcu.hardware import board_hardware, chip_hardware
from eyeflow.svm.program import Direction, Profile

BOARDS = Path(__file__).resolve().parents[3] / "examples" / "boards"
BOARD = parse_board((BOARDS / "stm32f401cc.toml").read_text("utf-8"))


def codes(body: str, *, pins: str = "", board: bool = True, chip: str = "STM32F401CC") -> list[str]:
    hardware = board_hardware(BOARD) if board else chip_hardware(find_chip(chip))
    source = f'rule x {{\nversion "1.0.0"\n{pins}\non every 1s\n{body}\n}}'
    options = CompileOptions(Profile.MCU, chip, hardware=hardware)
    return [found.code for found in compile_rule(source, name="x", options=options).diagnostics]


def test_a_board_has_what_its_file_says() -> None:
    hardware = board_hardware(BOARD)
    assert dict(hardware.channels) == {"adc": 2, "dac": 0, "i2c": 1, "spi": 0, "uart": 0}
    assert hardware.pins == {"RELAY": Direction.OUTPUT, "LED": Direction.OUTPUT, "DOOR": Direction.INPUT}


@pytest.mark.parametrize(
    ("body", "pins", "expected"),
    [
        ("gpio.set_pin(RELAY, HIGH)", "pin RELAY: output", []),
        ("gpio.set_pin(RELAIS, HIGH)", "pin RELAIS: output", ["EF0411"]),
        ("gpio.set_pin(DOOR, HIGH)", "pin DOOR: output", ["EF0411"]),
        ('if adc.read_channel(1) > 1.0 { log.info("x") }', "", []),
        ('if adc.read_channel(2) > 1.0 { log.info("x") }', "", ["EF0410"]),
        ('if adc.read_channel(-1) > 1.0 { log.info("x") }', "", ["EF0410"]),
        ("i2c.write_register(0, 72, 1, 2)", "", []),
        ("i2c.write_register(1, 72, 1, 2)", "", ["EF0410"]),
        ("dac.write_channel(0, 1)", "", ["EF0409"]),
        ('uart.write_text(0, "x")', "", ["EF0409"]),
    ],
)
def test_a_rule_is_checked_against_the_board(body: str, pins: str, expected: list[str]) -> None:
    assert codes(body, pins=pins) == expected


def test_with_a_chip_alone_only_what_no_board_can_have_is_refused() -> None:
    assert codes("dac.write_channel(0, 1)", board=False) == ["EF0409"]
    assert codes("dac.write_channel(0, 1)", board=False, chip="STM32F407VG") == []
    assert codes("gpio.set_pin(ANY, HIGH)", pins="pin ANY: output", board=False) == []
    assert codes("i2c.write_register(2, 72, 1, 2)", board=False) == []
    assert codes("i2c.write_register(3, 72, 1, 2)", board=False) == ["EF0410"]


def test_a_chip_that_lacks_something_names_those_that_have_it() -> None:
    assert chip_hardware(find_chip("STM32F401CC")).elsewhere == {"dac": "STM32F407VG and STM32H743ZI have one"}
    for chip in chips().values():
        hardware = chip_hardware(chip)
        assert set(hardware.channels) == set(CHANNEL_KINDS)
        assert set(hardware.elsewhere) == {kind for kind, count in hardware.channels.items() if not count}
