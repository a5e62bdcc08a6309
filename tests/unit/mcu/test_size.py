from __future__ import annotations

from pathlib import Path

import pytest

from eyeflow.base.errors import EyeflowError
from eyeflow.mcu.board import load_board
from eyeflow.mcu.build import check_budget
from eyeflow.mcu.chips import find_chip
from eyeflow.mcu.project import Project
from eyeflow.mcu.size import Kind, Section, Sizes, Symbol, read_sizes

BOARD = Path(__file__).parents[3] / "examples" / "boards" / "stm32f401cc.toml"


def sizes(text_bytes: int, bss_bytes: int = 100) -> Sizes:
    sections = (
        Section(".text", text_bytes, Kind.FLASH),
        Section(".data", 8, Kind.BOTH),
        Section(".bss", bss_bytes, Kind.RAM),
    )
    symbols = (Symbol("large", 900, Kind.FLASH), Symbol("buffer", 500, Kind.RAM), Symbol("small", 2, Kind.FLASH))
    return Sizes(sections, symbols, 5120)


def test_data_counts_in_flash_and_in_ram() -> None:
    found = sizes(1000)
    assert (found.flash_bytes, found.static_bytes, found.ram_bytes) == (1008, 108, 5228)


def test_a_budget_is_kept_to_the_byte() -> None:
    project = Project(Path(), load_board(BOARD))
    check_budget(project, sizes(65536 - 8))
    with pytest.raises(EyeflowError, match="65537 bytes of flash") as caught:
        check_budget(project, sizes(65536 - 7))
    assert caught.value.cause.index("large") < caught.value.cause.index("small")
    assert "buffer" not in caught.value.cause
    with pytest.raises(EyeflowError, match="bytes of RAM"):
        check_budget(project, sizes(10, 16384))


def test_a_file_that_is_no_elf_is_named(tmp_path: Path) -> None:
    path = tmp_path / "firmware.elf"
    path.write_bytes(b"\x7fELX nothing")
    with pytest.raises(EyeflowError, match="cannot read the firmware"):
        read_sizes(path, find_chip("STM32F401CC"))
