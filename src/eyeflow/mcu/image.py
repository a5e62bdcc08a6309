"""What a build leaves in a project for `flash`, `sim` and `size`: the image, and a note on what it was made of."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from eyeflow.base.errors import EyeflowError
from eyeflow.base.reading import Unreadable, parse_json, read_text
from eyeflow.base.reasons import why
from eyeflow.mcu.board import Board

NAME = "firmware"
NOTE = f"{NAME}.json"


@dataclass(frozen=True, slots=True)
class Image:
    """A built firmware: the ELF file, the flash image, a UF2 file where the chip takes one.

    `is_stale` says that the board file has changed since.
    """

    elf: Path
    bin: Path
    uf2: Path | None
    is_stale: bool = False


def keep_image(directory: Path, board: Board, board_source: str, elf: Path, binary: bytes, uf2: bytes | None) -> Image:
    """Write a firmware into its project, wherever cargo had put it; raises EyeflowError when it cannot be written.

    The note comes last: without it the files count as not built.
    """
    image = _image(directory, has_uf2=uf2 is not None)
    note = {"chip": board.chip.name, "board": board.name, "boardFile": _digest(board_source)}
    try:
        (directory / NOTE).unlink(missing_ok=True)
        shutil.copyfile(elf, image.elf)
        image.bin.write_bytes(binary)
        if image.uf2 is not None and uf2 is not None:
            image.uf2.write_bytes(uf2)
        (directory / NOTE).write_text(json.dumps(note, indent=2) + "\n", "utf-8")
    except OSError as error:
        raise EyeflowError(
            f"cannot write the firmware into {directory}",
            cause=why(error),
            next_step="check that the disk has room and that you may write there",
            code="project",
        ) from error
    return image


def find_image(directory: Path, board: Board, board_source: str, build_command: str) -> Image:
    """Return the firmware of a board in a project.

    Raises EyeflowError with the command that builds it when there is none, or one for another chip.
    """
    note = _read_note(directory / NOTE)
    if note is None:
        raise _not_built(f"there is no firmware in {directory}", "it has not been built", build_command)
    if note.get("chip") != board.chip.name:
        cause = f"it was built for {note.get('chip')}, and this board has {board.chip.name}"
        raise _not_built(f"the firmware in {directory} is for another chip", cause, build_command)
    found = _image(directory, has_uf2=(directory / f"{NAME}.uf2").is_file())
    return Image(found.elf, found.bin, found.uf2, note.get("boardFile") != _digest(board_source))


def elf_path(directory: Path) -> Path:
    """Return where a project keeps the ELF file of its firmware."""
    return directory / f"{NAME}.elf"


def _image(directory: Path, *, has_uf2: bool) -> Image:
    uf2 = directory / f"{NAME}.uf2" if has_uf2 else None
    return Image(elf_path(directory), directory / f"{NAME}.bin", uf2)


def _read_note(path: Path) -> dict[str, object] | None:
    try:
        note = parse_json(read_text(path))
    except (OSError, Unreadable):
        return None
    return note if isinstance(note, dict) and path.with_suffix(".elf").is_file() else None


def _not_built(message: str, cause: str, build_command: str) -> EyeflowError:
    return EyeflowError(message, cause=cause, next_step=build_command, code="firmware_missing")


def _digest(board_source: str) -> str:
    return hashlib.sha256(board_source.encode()).hexdigest()
