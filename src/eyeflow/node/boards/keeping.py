"""What a node keeps of its boards: `data_dir/boards/NAME/board.json`, one for each."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from eyeflow.base.errors import EyeflowError
from eyeflow.base.machine import WriteWhole
from eyeflow.base.reading import Unreadable, parse_json, parse_toml, read_at_once, read_text
from eyeflow.base.reasons import why
from eyeflow.base.whole_file import sync_directory
from eyeflow.node.boards.records import is_audit
from eyeflow.node.boards.settings import BoardSection
from eyeflow.node.config.sections import NAME

FOLDER, FILE = "boards", "board.json"
FILE_BYTES_MAX = 256 * 1024
BOARD_BYTES_MAX = 64 * 1024
"""Longest board file that a node keeps."""
LOST_AFTER_MS = 10_000
"""After which silence a board takes its link for lost, unless its board file says."""


@dataclass(frozen=True, slots=True)
class KeptBoard:
    """A board of this node: where it is, its board file, and which chip took the name (`device`, empty: none yet).

    `chip`, `abi` and `ram_bytes` are what it told last. `is_declared`: it stands in the configuration file; else
    somebody adopted it. `trouble`: why it cannot be used.
    """

    place: BoardSection
    board_text: str = ""
    device: str = ""
    chip: str = ""
    abi: int = 0
    ram_bytes: int = 0
    is_declared: bool = False
    trouble: EyeflowError | None = None

    @property
    def name(self) -> str:
        """Its name in the cluster."""
        return self.place.name


@dataclass(frozen=True, slots=True)
class BoardFacts:
    """What a gateway itself reads of a board file; `chip` is empty without one."""

    chip: str = ""
    lost_after_ms: int = LOST_AFTER_MS


def facts_of(board_text: str) -> BoardFacts:
    """Return what a board file says to its gateway. Raises Unreadable. `eyeflow mcu` checks all of the file."""
    values = parse_toml(board_text) if board_text else {}
    chip, link = values.get("chip", ""), values.get("link", {})
    lost_after_ms = link.get("lost_after_ms", LOST_AFTER_MS) if isinstance(link, dict) else 0
    if not isinstance(chip, str) or type(lost_after_ms) is not int or lost_after_ms < 1:
        raise Unreadable("chip is no text, or [link] lost_after_ms is no number")
    return BoardFacts(chip, lost_after_ms)


class BoardFolder:
    """The folder of the boards of one node."""

    def __init__(self, data_dir: Path, write: WriteWhole) -> None:
        self._folder, self._write = data_dir / FOLDER, write

    def of(self, name: str) -> Path:
        """Return where a board's files are."""
        return self._folder / name

    def load(self, declared: Iterable[BoardSection]) -> list[KeptBoard]:
        """Return the boards of the configuration file, then those that were adopted; one in trouble with why."""
        found = [self._declared(place) for place in declared]
        names = {one.name for one in found}
        folders = sorted(self._folder.iterdir()) if self._folder.is_dir() else []
        adopted = (self._adopted(folder.name) for folder in folders if folder.name not in names)
        return found + [one for one in adopted if one is not None]

    def _declared(self, place: BoardSection) -> KeptBoard:
        try:
            before = self._read(place.name)
            text = "" if place.board_file is None else read_board_file(place.board_file)
        except EyeflowError as error:
            return KeptBoard(place, is_declared=True, trouble=error)
        if before is None:
            return KeptBoard(place, text, is_declared=True)
        return replace(before, place=place, board_text=text, is_declared=True)

    def _adopted(self, name: str) -> KeptBoard | None:
        try:
            kept = self._read(name)
        except EyeflowError as error:
            return KeptBoard(BoardSection(name), trouble=error)
        return None if kept is None or kept.is_declared else kept  # it was in the configuration file once

    def _read(self, name: str) -> KeptBoard | None:
        path = self.of(name) / FILE
        try:
            plain = parse_json(read_at_once(path, FILE_BYTES_MAX))
            place = BoardSection(name, plain["port"], plain["usbSerial"], None, plain["baud"])
            told = (plain["device"], plain["chip"], plain["abi"], plain["ramBytes"])
            text, is_declared = plain["boardText"], plain["isDeclared"]
            kinds = [type(one) for one in (*told, text, is_declared)]
            if not NAME.fullmatch(name) or kinds != [str, str, int, int, str, bool]:
                raise Unreadable("a value has the wrong type")
            return KeptBoard(place, text, *told, is_declared)
        except FileNotFoundError:
            return None
        except (OSError, Unreadable, KeyError, TypeError) as error:
            raise EyeflowError(
                f"{path} cannot be used",
                cause=why(error),
                next_step="Move its folder away and adopt the board again: `eyeflow node boards adopt`.",
                code="board_kept",
            ) from error

    def keep(self, board: KeptBoard) -> None:
        """Write a board down. Raises EyeflowError."""
        place = board.place
        plain = {
            "port": place.port,
            "usbSerial": place.usb_serial,
            "baud": place.baud,
            "device": board.device,
            "chip": board.chip,
            "abi": board.abi,
            "ramBytes": board.ram_bytes,
            "boardText": board.board_text,
            "isDeclared": board.is_declared,
        }
        with writes(self.of(board.name)):
            self.of(board.name).mkdir(parents=True, exist_ok=True, mode=0o700)
            self._write(self.of(board.name) / FILE, json.dumps(plain).encode(), 0o600)
            sync_directory(self._folder)

    def forget(self, name: str) -> None:
        """Remove what is kept of a board but its audit, with the key that signs it. Raises EyeflowError."""
        folder = self.of(name)
        with writes(folder):
            # The name goes first: a crash in between must not leave half of a board.
            (folder / FILE).unlink(missing_ok=True)
            there = list(folder.iterdir()) if folder.is_dir() else []
            for path in there:
                if path.is_dir() and not is_audit(path.name):
                    shutil.rmtree(path, ignore_errors=True)
                elif not is_audit(path.name):
                    path.unlink(missing_ok=True)


def read_board_file(path: Path) -> str:
    """Return the text of a board file of the configuration. Raises EyeflowError."""
    try:
        text = read_text(path, BOARD_BYTES_MAX)
        facts_of(text)
    except (OSError, Unreadable) as error:
        raise EyeflowError(
            f"cannot use the board file {path}",
            cause=why(error),
            next_step=f"Correct [[boards]] board_file, or the file: `eyeflow compile RULE --board {path}` helps.",
            code="board_file",
        ) from error
    return text


@contextmanager
def writes(path: Path, then: str = "") -> Iterator[None]:
    """Turn the failure to write `path` into an EyeflowError; `then` is what to do once the cause is gone."""
    try:
        yield
    except OSError as error:
        raise EyeflowError(
            f"cannot write {path}",
            cause=why(error),
            next_step=f"Check that the disk is not full, and that the node may write there. {then}".rstrip(),
            code="cannot_write",
        ) from error
