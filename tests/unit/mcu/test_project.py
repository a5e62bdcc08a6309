from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

import golden
from eyeflow.mcu.board import Board, load_board
from eyeflow.mcu.board_source import render_board
from eyeflow.mcu.chips import chips
from eyeflow.mcu.project import CRATES, dependency_manifest, project_files, render_project

BOARDS = Path(__file__).parents[3] / "examples" / "boards"
FULL = Path(__file__).parents[2] / "embassy" / "boards"


def board(name: str = "stm32f401cc") -> Board:
    return load_board(BOARDS / f"{name}.toml")


def test_every_chip_has_an_example_board() -> None:
    assert {path.stem for path in BOARDS.glob("*.toml")} == {name.casefold() for name in chips()}


@pytest.mark.parametrize("name", sorted(name.casefold() for name in chips()))
def test_a_project_is_complete_and_exactly_pinned(name: str) -> None:
    files = project_files(board(name))
    assert {"Cargo.toml", "Cargo.lock", "layout/memory.x", "build.rs", ".cargo/config.toml", "README.md"} <= set(files)
    assert {"src/main.rs", "src/board.rs", "src/hal.rs"} <= set(files)
    assert all(f"{crate}/Cargo.toml" in files and f"{crate}/src/lib.rs" in files for crate in CRATES)
    for version in re.findall(r'version = "([^"]+)"', files["Cargo.toml"].split("[dependencies]")[1]):
        assert version.startswith("="), version


@pytest.mark.parametrize("name", sorted(name.casefold() for name in chips()))
def test_programs_lie_behind_the_firmware_and_each_bank_in_sectors_of_its_own(name: str) -> None:
    chip = board(name).chip
    end = chip.memory.flash_start + chip.memory.flash_bytes
    area = chip.programs
    assert end <= area.a
    assert area.a + max(area.bank_bytes, area.sector_a_bytes) <= area.b
    assert area.b + area.bank_bytes <= chip.memory.flash_start + chip.flash_bytes


@pytest.mark.parametrize(
    "path",
    [*sorted(BOARDS.glob("*.toml")), *sorted(FULL.glob("*.toml"))],
    ids=lambda path: f"{path.parents[1].name}-{path.stem}",
)
def test_the_source_of_a_board(path: Path) -> None:
    kind = "example" if path.parent == BOARDS else "all"
    golden.check(Path(__file__).parent / "board_sources" / f"{kind}-{path.stem}.rs", render_board(load_board(path)))


def test_an_analog_output_is_found_by_its_place_in_the_board_file() -> None:
    both = render_board(replace(board("stm32f407vg"), dac=("PA5", "PA4")))
    assert "0 => self.dac.set_2(count)," in both and "1 => self.dac.set_1(count)," in both
    assert "dac: Dac::new(p.DAC1, p.PA4, p.PA5)" in both


def test_safe_levels_and_keys_reach_the_source() -> None:
    source = project_files(replace(board(), signers=(bytes(range(32)),)))["src/board.rs"]
    assert "Output::new(p.PC13, Level::High, Speed::Low)" in source
    assert "OutputInfo { safe_high: true, safe_on_link_loss: false }" in source
    assert "SIGNERS: [[u8; 32]; 1]" in source
    assert "0x1E, 0x1F]" in source


def test_the_stack_lies_below_the_data_so_that_an_overflow_faults() -> None:
    layout = project_files(board())["layout/memory.x"]
    assert "_stack_end = 0x20000000;" in layout
    assert "_stack_start = 0x20001400;" in layout
    assert "RAM : ORIGIN = 0x20001400" in layout


def test_rendering_again_touches_only_what_changed(tmp_path: Path) -> None:
    render_project(board(), "# one\n", tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    render_project(board(), "# two\n", tmp_path)
    changed = {path.name for path, time in before.items() if path.stat().st_mtime_ns != time}
    assert changed == {"board.toml"}


def test_a_crate_comes_without_what_only_its_development_needs() -> None:
    manifest = (
        '[package]\nname = "a"\n\n[dependencies]\nb = "1"\n\n[dev-dependencies]\nc = "1"\n\n[[example]]\nname = "x"\n'
    )
    assert dependency_manifest(manifest) == '[package]\nname = "a"\n\n[dependencies]\nb = "1"\n'
