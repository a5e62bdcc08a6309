from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from eyeflow.base.errors import EyeflowError
from eyeflow.mcu.board import Board, load_board
from eyeflow.mcu.image import find_image, keep_image

BOARDS = Path(__file__).parents[3] / "examples" / "boards"
BUILD = "eyeflow mcu build"


def board(name: str = "stm32f401cc") -> Board:
    return load_board(BOARDS / f"{name}.toml")


def keep(directory: Path, of: Board, text: str = "# a board") -> None:
    elf = directory / "cargo-made-this"
    elf.write_bytes(b"\x7fELF")
    keep_image(directory, of, text, elf, b"image", b"uf2" if of.chip.hal == "rp" else None)


def test_an_image_is_found_again_until_its_board_file_changes(tmp_path: Path) -> None:
    keep(tmp_path, board())
    found = find_image(tmp_path, board(), "# a board", BUILD)
    assert (found.elf.read_bytes(), found.bin.read_bytes(), found.uf2) == (b"\x7fELF", b"image", None)
    assert not found.is_stale
    assert find_image(tmp_path, board(), "# another", BUILD).is_stale


def test_a_uf2_file_is_there_where_the_chip_takes_one(tmp_path: Path) -> None:
    keep(tmp_path, board("rp2040"))
    found = find_image(tmp_path, board("rp2040"), "# a board", BUILD)
    assert found.uf2 is not None and found.uf2.read_bytes() == b"uf2"


def test_an_image_for_another_chip_of_the_same_core_is_refused(tmp_path: Path) -> None:
    """Both have the same Rust target, so that cargo calls both files the same."""
    keep(tmp_path, board("stm32f407vg"))
    with pytest.raises(EyeflowError, match="for another chip") as caught:
        find_image(tmp_path, board(), "# a board", BUILD)
    assert caught.value.next_step == BUILD and "STM32F407VG" in caught.value.cause


@pytest.mark.parametrize("note", ["", "[]", "{"])
def test_what_was_not_built_to_the_end_does_not_count(tmp_path: Path, note: str) -> None:
    with pytest.raises(EyeflowError, match="no firmware"):
        find_image(tmp_path, board(), "", BUILD)
    keep(tmp_path, board())
    (tmp_path / "firmware.json").write_text(note)
    with pytest.raises(EyeflowError, match="no firmware"):
        find_image(tmp_path, board(), "", BUILD)


def test_a_folder_that_takes_no_files_is_named(tmp_path: Path) -> None:
    with pytest.raises(EyeflowError, match="cannot write the firmware"):
        keep_image(tmp_path / "nowhere", replace(board(), name="x"), "", tmp_path, b"", None)
