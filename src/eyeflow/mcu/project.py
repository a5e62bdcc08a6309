"""Renders the Cargo project of a board's firmware from the sources that ship inside this package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from eyeflow.base.errors import EyeflowError
from eyeflow.base.reasons import why
from eyeflow.mcu.board import Board
from eyeflow.mcu.board_source import render_board
from eyeflow.mcu.chips import Chip, chips
from eyeflow.mcu.sources import fill_template, read_source, source_tree

CRATES = ("svm", "link", "slots", "state", "ed25519")
"""The crates that a project carries along, so that it needs nothing but crates.io."""

SECTIONS_KEPT = ("[package]", "[lib]", "[features]", "[dependencies]", "[lints")
"""Of their manifests: what a dependency needs. Tests, examples and development dependencies stay behind."""

CRATE_VERSION = "0.1.0"

HAL_DEPENDENCIES = {
    "stm32": (
        'embassy-stm32 = {{ version = "=0.6.0", default-features = false, features = '
        '["{feature}", "rt", "{driver}", "unstable-pac"] }}\n'
    ),
    "rp": (
        'embassy-rp = {{ version = "=0.10.0", features = '
        '["rp2040", "time-driver", "critical-section-impl", "boot2-w25q080", "unstable-pac"] }}\n'
        'portable-atomic = {{ version = "=1.15.0", features = ["critical-section"] }}\n'
    ),
    "nrf": (
        'embassy-nrf = {{ version = "=0.11.0", features = '
        '["{feature}", "time-driver-rtc1", "time", "unstable-pac"] }}\n'
        'embedded-storage = "=0.3.2"\n'
    ),
}
CHECK_OPT_LEVELS = {"thumbv6m-none-eabi": '"s"', "thumbv7em-none-eabihf": "2"}
"""How the check of signatures is compiled: on a Cortex-M4 0.6 KB more make it 2.6 times as fast, on an M0+ little."""

TIME_DRIVERS = {"stm32h7": "time-driver-tim2"}
TIME_DRIVER = "time-driver-tim4"


@dataclass(frozen=True, slots=True)
class Project:
    """A rendered project: where it lies, and the board it is for."""

    directory: Path
    board: Board


def render_project(board: Board, board_source: str, directory: Path) -> Project:
    """Write the project of a board into a directory; files that have not changed keep their time of change.

    `board_source` is the text of the board file, which the project keeps. Raises EyeflowError when a file cannot be
    written.
    """
    files = project_files(board)
    files["board.toml"] = board_source
    for name, content in files.items():
        _write(directory / name, content)
    return Project(directory, board)


def project_files(board: Board) -> dict[str, str]:
    """Return the files of a project by their paths, without the board file."""
    values, hal = _values(board), board.chip.hal
    files = {
        "Cargo.toml": fill_template("firmware/project/Cargo.toml.in", values),
        "Cargo.lock": read_source(f"firmware/locks/{hal}.lock"),
        "layout/memory.x": fill_template("firmware/project/memory.x.in", values),
        "build.rs": read_source("firmware/project/build.rs"),
        ".cargo/config.toml": fill_template("firmware/project/config.toml.in", values),
        ".gitignore": "/target\n/firmware.*\n",
        "README.md": fill_template("firmware/project/README.md.in", values),
        "src/board.rs": render_board(board),
        "src/hal.rs": read_source(f"firmware/hal/{hal}.rs"),
    }
    files |= source_tree("firmware/src", "src")
    for crate in CRATES:
        files[f"{crate}/Cargo.toml"] = dependency_manifest(read_source(f"{crate}/Cargo.toml"))
        files |= source_tree(f"{crate}/src", f"{crate}/src")
    return files


def dependency_manifest(manifest: str) -> str:
    """Return a crate's manifest without what only its own development needs."""
    kept, keeping = [], True
    for line in manifest.splitlines():
        if line.startswith("["):
            keeping = line.startswith(SECTIONS_KEPT)
        if keeping:
            kept.append(line)
    return "\n".join(kept).rstrip() + "\n"


def _values(board: Board) -> dict[str, str]:
    chip, memory = board.chip, board.chip.memory
    boot_bytes = 256 if chip.hal == "rp" else 0
    boot = f"  BOOT2 : ORIGIN = 0x{memory.flash_start:08X}, LENGTH = {boot_bytes}\n" if boot_bytes else ""
    return {
        "version": CRATE_VERSION,
        "crate_version": CRATE_VERSION,
        "chip": chip.name,
        "board": board.name,
        "default_features": ", ".join(f'"{feature}"' for feature in _default_features(board)),
        "features": "".join(f"{feature} = []\n" for feature in (*_families(chip), *USED)),
        "target": chip.target,
        "cortex_m_features": "" if chip.hal == "rp" else '"critical-section-single-core"',
        "time_features": "" if chip.hal == "rp" else '"tick-hz-32_768"',
        "hal_dependencies": _hal_dependencies(chip),
        "boot": boot,
        "flash_start": f"0x{memory.flash_start + boot_bytes:08X}",
        "flash_bytes": str(memory.flash_bytes - boot_bytes),
        "ram_start": f"0x{memory.ram_start:08X}",
        "data_start": f"0x{memory.ram_start + memory.stack_bytes:08X}",
        "data_bytes": str(memory.data_bytes),
        "stack_start": f"0x{memory.ram_start + memory.stack_bytes:08X}",
        "check_opt_level": CHECK_OPT_LEVELS[chip.target],
        "bank_a": f"0x{chip.programs.a:08X}",
        "bank_b": f"0x{chip.programs.b:08X}",
    }


USED = ("dac", "llm", "events")
"""Features of the firmware that take flash only where a board file uses them."""


def _default_features(board: Board) -> list[str]:
    """Return what is compiled: the family, and what of `USED` the board file uses."""
    used = {"dac": bool(board.dac), "llm": board.llm_delegated, "events": board.sends_events}
    return [board.chip.family, *(name for name in USED if used[name])]


def _families(chip: Chip) -> list[str]:
    """Return the families that share the sources of a chip's HAL: each is a feature, one is on."""
    return sorted({other.family for other in chips().values() if other.hal == chip.hal})


def _hal_dependencies(chip: Chip) -> str:
    driver = TIME_DRIVERS.get(chip.family, TIME_DRIVER)
    return HAL_DEPENDENCIES[chip.hal].format(feature=chip.feature, driver=driver)


def _write(path: Path, content: str) -> None:
    try:
        if path.is_file() and path.read_text("utf-8") == content:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, "utf-8")
    except OSError as error:
        raise EyeflowError(
            f"cannot write {path}",
            cause=why(error),
            next_step="choose a directory that you may write to",
            code="project",
        ) from error
