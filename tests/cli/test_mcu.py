"""`eyeflow mcu` from the command line: what needs neither a board nor a build."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Command

PROBLEMS, USAGE, ENVIRONMENT = 1, 2, 3
CHIPS = ["STM32F401CC", "STM32F407VG", "STM32H743ZI", "nRF52840", "RP2040"]


def test_the_chips_are_listed(eyeflow: Command) -> None:
    assert [chip["name"] for chip in eyeflow("mcu", "chips", "--json").json] == CHIPS
    assert all(name in eyeflow("mcu", "chips").out for name in CHIPS)


@pytest.mark.parametrize("chip", CHIPS)
def test_a_new_board_file_is_right_as_it_is(eyeflow: Command, tmp_path: Path, chip: str) -> None:
    board = tmp_path / "board.toml"
    assert eyeflow("mcu", "new", "--chip", chip, "--out", board).code == 0
    assert eyeflow("mcu", "new", "--chip", chip, "--out", board).code == USAGE
    planned = eyeflow("mcu", "flash", "--board", board, "--dry-run", "--json")
    assert planned.code == 0 and "download" in planned.json["commands"][0]
    assert "--allow-erase-all" not in planned.out


def test_an_unknown_chip_has_a_near_name(eyeflow: Command) -> None:
    ran = eyeflow("mcu", "build", "--chip", "STM32F401CD")
    assert ran.code == USAGE and "did you mean STM32F401CC" in ran.err


def test_a_board_file_with_conflicts_says_all_of_them(eyeflow: Command, tmp_path: Path) -> None:
    board = tmp_path / "board.toml"
    assert eyeflow("mcu", "new", "--chip", "STM32F401CC", "--out", board).code == 0
    board.write_text(board.read_text().replace('pin = "PA5"', 'pin = "PA9"').replace('pin = "PC13"', 'pin = "PZ1"'))
    ran = eyeflow("mcu", "build", "--board", board)
    assert ran.code != 0 and "PA9" in ran.err and "USART1" in ran.err and "PZ1" in ran.err


def test_a_port_that_is_not_there(eyeflow: Command) -> None:
    assert eyeflow("mcu", "status").code == USAGE
    ran = eyeflow("mcu", "status", "--port", "/dev/ttyNOTHING")
    assert ran.code == ENVIRONMENT and "cannot be opened" in ran.err and "try:" in ran.err
    nobody = eyeflow("mcu", "list", "--port", "socket://127.0.0.1:9", "--json")
    assert nobody.code == ENVIRONMENT and nobody.json["error"]["message"]


def test_nothing_was_built_yet(eyeflow: Command) -> None:
    ran = eyeflow("mcu", "size", "--chip", "RP2040")
    assert ran.code == ENVIRONMENT and "eyeflow mcu build" in ran.err
