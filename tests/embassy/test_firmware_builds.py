"""The firmware of every chip builds within its budget from the committed lock, and what does not is refused.

A first build takes one to two minutes for each family of chips on two cores, a later one some seconds for each chip.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from components.boards import full_board, image_of
from eyeflow.base.errors import EyeflowError
from eyeflow.mcu.board import parse_board
from eyeflow.mcu.build import Firmware, build_firmware
from eyeflow.mcu.chips import chips
from eyeflow.mcu.project import Project, project_files
from eyeflow.mcu.size import image_bytes, read_sizes

BOARDS = Path(__file__).resolve().parents[2] / "examples" / "boards"
SMALL = Path(__file__).parent / "fixtures" / "small"


def built(project: Project) -> Firmware:
    return build_firmware(project, lambda step, done, total: None)


@pytest.mark.parametrize("name", sorted(name.casefold() for name in chips()))
def test_a_chip_builds_within_its_budget_with_all_it_can_do(name: str) -> None:
    text = full_board(name)
    chip, image = parse_board(text).chip, image_of(text)
    sizes, memory = read_sizes(image.elf, chip), chip.memory
    assert 0 < sizes.flash_bytes <= memory.flash_bytes
    assert 0 < sizes.ram_bytes <= memory.ram_bytes
    start, binary = image_bytes(image.elf)
    assert start == memory.flash_start
    assert image.bin.read_bytes() == binary
    assert (image.uf2 is not None) == (chip.hal == "rp")
    names = " ".join(symbol.name for symbol in sizes.symbols)
    assert "4core3fmt9Formatter" not in names, "text formatting came into the image"


@pytest.fixture
def small(tmp_path: Path) -> Project:
    """A firmware of one function and one large table: what is refused does not depend on what else is in it."""
    shutil.copytree(SMALL, tmp_path, dirs_exist_ok=True)
    text = (BOARDS / "stm32f401cc.toml").read_text("utf-8")
    board, shared = parse_board(text), project_files(parse_board(text))
    for name, content in {
        "board.toml": text,
        **{name: shared[name] for name in ("build.rs", "layout/memory.x")},
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content, "utf-8")
    return Project(tmp_path, board)


def test_an_image_over_its_budget_names_what_is_large(small: Project) -> None:
    with pytest.raises(EyeflowError, match=r"takes \d+ bytes of flash; STM32F401CC has a budget of 65536") as caught:
        built(small)
    assert caught.value.code == "over_budget"
    assert "70000 eyeflow_firmware::TABLE" in caught.value.cause


def test_control_the_small_firmware_builds_within_its_budget(small: Project) -> None:
    source = small.directory / "src/main.rs"
    source.write_text(source.read_text("utf-8").replace("70_000", "7_000"), "utf-8")
    assert 7_000 < built(small).sizes.flash_bytes < 8_000


def test_a_source_that_does_not_compile_says_where(small: Project) -> None:
    (small.directory / "src/main.rs").write_text("fn broken( {\n", "utf-8")
    with pytest.raises(EyeflowError, match="does not compile") as caught:
        built(small)
    assert "src/main.rs:1" in caught.value.cause
