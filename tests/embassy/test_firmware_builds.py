"""The firmware of every chip builds within its budget from the committed lock, and the F401's answers on a simulated chip.

A first build takes one to two minutes for each family of chips on two cores, a later one some seconds for each chip.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from eyeflow.base.errors import EyeflowError
from eyeflow.mcu.board import load_board
from eyeflow.mcu.build import Firmware, build_firmware
from eyeflow.mcu.chips import chips
from eyeflow.mcu.project import Project, render_project
from eyeflow.mcu.size import image_bytes

BOARDS = Path(__file__).resolve().parents[2] / "examples" / "boards"
FULL = Path(__file__).parent / "boards"


def rendered(name: str, directory: Path, boards: Path = BOARDS) -> Project:
    path = boards / f"{name}.toml"
    return render_project(load_board(path), path.read_text("utf-8"), directory)


def build(project: Project) -> Firmware:
    return build_firmware(project, lambda step, done, total: None)


@pytest.mark.parametrize("name", sorted(name.casefold() for name in chips()))
def test_a_chip_builds_within_its_budget_with_all_it_can_do(name: str, tmp_path: Path) -> None:
    project = rendered(name, tmp_path, FULL)
    firmware = build(project)
    memory = project.board.chip.memory
    assert 0 < firmware.sizes.flash_bytes <= memory.flash_bytes
    assert 0 < firmware.sizes.ram_bytes <= memory.ram_bytes
    start, binary = image_bytes(firmware.image.elf)
    assert start == memory.flash_start
    assert firmware.image.bin.read_bytes() == binary
    assert (firmware.image.uf2 is not None) == (project.board.chip.hal == "rp")
    names = " ".join(symbol.name for symbol in firmware.sizes.symbols)
    assert "4core3fmt9Formatter" not in names, "text formatting came into the image"


def test_an_image_over_its_budget_names_what_is_large(tmp_path: Path) -> None:
    path = BOARDS / "stm32f401cc.toml"
    board = load_board(path)
    small = replace(board.chip, memory=replace(board.chip.memory, flash_bytes=16384))
    project = render_project(replace(board, chip=small), path.read_text("utf-8"), tmp_path)
    with pytest.raises(EyeflowError, match="has a budget of 16384") as caught:
        build(project)
    assert caught.value.code == "over_budget"
    assert "eyeflow_svm" in caught.value.cause


def test_a_source_that_does_not_compile_says_where(tmp_path: Path) -> None:
    project = rendered("stm32f401cc", tmp_path)
    (tmp_path / "src" / "io.rs").write_text("fn broken( {\n", "utf-8")
    with pytest.raises(EyeflowError, match="does not compile") as caught:
        build(project)
    assert "src/io.rs:1" in caught.value.cause
