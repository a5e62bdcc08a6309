"""Writes the lock files of the firmware projects, one for each family of chips: run it when a pinned version changes.

Needs cargo and the network. A build uses the locks as they are (`--locked`), so every build gets the same crates.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from eyeflow.mcu.board import load_board
from eyeflow.mcu.project import render_project
from eyeflow.mcu.toolchain import find_toolchain

ROOT = Path(__file__).parents[1]
LOCKS = ROOT / "embassy" / "firmware" / "locks"
BOARDS = ROOT / "examples" / "boards"
EXAMPLES = {"stm32": "stm32f401cc", "rp": "rp2040", "nrf": "nrf52840"}


def main() -> None:
    """Write the lock file of each family named on the command line; of all without a name."""
    for hal in sys.argv[1:] or EXAMPLES:
        write_lock(hal, BOARDS / f"{EXAMPLES[hal]}.toml")


def write_lock(hal: str, board_file: Path) -> None:
    """Let cargo complete the lock of one family, keeping what it already has."""
    lock = LOCKS / f"{hal}.lock"
    lock.parent.mkdir(exist_ok=True)
    lock.touch()
    with tempfile.TemporaryDirectory() as scratch:
        project = render_project(load_board(board_file), "", Path(scratch))
        toolchain = find_toolchain(project.board.chip.target)
        subprocess.run(
            [toolchain.cargo, "metadata", "--format-version=1"], cwd=scratch, check=True, stdout=subprocess.DEVNULL
        )
        shutil.copy(Path(scratch) / "Cargo.lock", lock)


if __name__ == "__main__":
    main()
