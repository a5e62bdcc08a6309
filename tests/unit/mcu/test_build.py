"""Two builds with one folder of compiled crates: each board gets its own image."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier, BrokenBarrierError

import pytest

import sim_firmware
from eyeflow.mcu import build
from eyeflow.mcu.board import load_board
from eyeflow.mcu.chips import Chip
from eyeflow.mcu.project import Project, render_project
from eyeflow.mcu.size import Sizes, read_sizes
from eyeflow.mcu.toolchain import Toolchain

BOARD = Path(__file__).parents[3] / "examples" / "boards" / "stm32f401cc.toml"
MEETING_S = 2.0
"""How long one build waits for the other one beside it."""

CARGO = """#!/bin/sh
[ "$1" = build ] || exit 0
cp made-by-cargo "$CARGO_TARGET_DIR/eyeflow-firmware"
echo '{"reason": "compiler-artifact", "package_id": "x", "executable": "'"$CARGO_TARGET_DIR"'/eyeflow-firmware"}'
"""
"""Stands for cargo: it puts the image where that of every board goes, and ends."""


def project(directory: Path, code: bytes) -> tuple[Project, bytes]:
    """Return a project for which cargo makes an image with this code, and the image."""
    made, image = render_project(load_board(BOARD), BOARD.read_text("utf-8"), directory), sim_firmware.elf_file(code)
    (directory / "made-by-cargo").write_bytes(image)
    return made, image


@pytest.fixture
def projects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[Project, bytes]]]:
    monkeypatch.setenv("CARGO_TARGET_DIR", str(tmp_path / "shared"))
    (tmp_path / "shared").mkdir()
    yield [project(tmp_path / name, sim_firmware.CODE + name.encode() * 2) for name in ("ab", "cd")]


def test_two_boards_built_at_once_get_their_own_images(
    projects: list[tuple[Project, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both would meet behind cargo's end, where the image of one has replaced that of the other."""
    met, meeting, sizes = [], Barrier(2), read_sizes

    def after_cargo(path: Path, chip: Chip) -> Sizes:
        with suppress(BrokenBarrierError):
            meeting.wait(MEETING_S)
            met.append(path)
        return sizes(path, chip)

    monkeypatch.setattr(build, "read_sizes", after_cargo)
    cargo = tmp_path / "cargo"
    cargo.write_text(CARGO)
    cargo.chmod(0o755)
    with ThreadPoolExecutor(2) as threads:
        built = [
            threads.submit(build.build_firmware, one, lambda *_: None, Toolchain(cargo, ())) for one, _image in projects
        ]
        images = [one.result().image.elf.read_bytes() for one in built]
    assert images == [image for _project, image in projects]
    assert not met
