"""Which board a command of `eyeflow mcu` is about: its file, its Cargo project, and whose programs it will run."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eyeflow.cli.console import note
from eyeflow.cli.files import usage_error

if TYPE_CHECKING:
    from collections.abc import Iterable

    from eyeflow.mcu.board import Board
    from eyeflow.mcu.image import Image

BOARD_FILE = Path("board.toml")
PROJECT = "firmware"
DEFAULT_KEY = "default"


def complete_chip(incomplete: str) -> list[str]:
    """Return the chips that a shell may complete to."""
    from eyeflow.mcu.chips import chips

    return [name for name in chips() if name.casefold().startswith(incomplete.casefold())]


ElfArgument = Annotated[
    Path | None, typer.Argument(metavar="ELF", help="The ELF file (default: the one that was built for the board).")
]
ChipOption = Annotated[
    str,
    typer.Option(
        "--chip", autocompletion=complete_chip, help="The chip, with the board file that `mcu new` writes for it."
    ),
]
BoardOption = Annotated[
    Path | None, typer.Option("--board", help=f"The board file (default: {BOARD_FILE}, if it is there).")
]
OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        help="Folder of the Cargo project (default: firmware, with another board's or chip's name added).",
    ),
]


@dataclass(frozen=True, slots=True)
class Choice:
    """A board, the text of its file, the folder of its project, and the options that name it again."""

    board: Board
    text: str
    folder: Path
    options: str

    def command(self, name: str) -> str:
        """Return the `eyeflow mcu` command of a name for this board."""
        return " ".join(("eyeflow", "mcu", name)) + self.options

    def image(self) -> Image:
        """Return the built firmware; raises EyeflowError when there is none, and warns when it is stale."""
        from eyeflow.mcu.image import find_image

        found = find_image(self.folder, self.board, self.text, self.command("build"))
        if found.is_stale:
            note(f"the board file has changed since this firmware was built: {self.command('build')}")
        return found


def choose(chip: str, board: Path | None, out: Path | None = None) -> Choice:
    """Return the board that is meant: the one named, ./board.toml, or the one that `mcu new` would write for a chip."""
    from eyeflow.mcu.board import parse_board, read_board

    path = board or (BOARD_FILE if BOARD_FILE.exists() and not chip else None)
    if path is None:
        name = _known_chip(chip)
        text = new_board(name, [])
        folder, options = f"{PROJECT}-{name.lower()}", f" --chip {name}"
        found = parse_board(text, f"the default board of {name}")
    else:
        text = read_board(path)
        found = parse_board(text, str(path))
        _agree(path, found, chip)
        is_usual = path == BOARD_FILE
        folder = PROJECT if is_usual else f"{PROJECT}-{path.stem}"
        options = "" if is_usual else f" --board {shlex.quote(str(path))}"
    return Choice(found, text, out or Path(folder), options + (f" --out {shlex.quote(str(out))}" if out else ""))


def _known_chip(chip: str) -> str:
    """Return a chip's name as it is written; refuses none and an unknown one."""
    from eyeflow.mcu.chips import chips, find_chip

    if not chip:
        known = ", ".join(chips())
        raise usage_error(
            f"which chip? there is no {BOARD_FILE} here", f"eyeflow mcu new --chip CHIP writes one; chips: {known}"
        )
    return find_chip(chip).name


def _agree(path: Path, board: Board, chip: str) -> None:
    from eyeflow.mcu.chips import find_chip

    if chip and find_chip(chip).name != board.chip.name:
        raise usage_error(f"{path} is a board with {board.chip.name}, not {chip}", "leave out --chip")


def new_board(chip: str, signers: list[str]) -> str:
    """Return the text of a new board file for a chip, which trusts the keys named, or else the user's own."""
    from importlib import resources

    from eyeflow.mcu.chips import find_chip

    name = find_chip(chip).name
    text = resources.files("eyeflow.mcu").joinpath("boards").joinpath(f"{name.lower()}.toml").read_text("utf-8")
    return f"{text}\n{_trust(_named_keys(signers) if signers else _own_keys())}"


def _trust(keys: list[tuple[str, str]]) -> str:
    head = "[trust]                   # whose programs the board runs: up to 4 public keys\n"
    if not keys:
        return (
            f'{head}signers = []    # none yet: no program is taken. Write ["..."] with what `eyeflow keys show` says\n'
        )
    lines = "".join(f'    "{key}",    # {name}\n' for name, key in keys)
    return f"{head}signers = [\n{lines}]\n"


def _own_keys() -> list[tuple[str, str]]:
    """Return name and public key of the user's `default` key, or of all signing keys when none has this name."""
    from eyeflow.cli.keyring import open_keyring, revoked_keys
    from eyeflow.mcu.board import SIGNERS_MAX

    revoked = revoked_keys()
    own = [key for key in open_keyring().list() if key.public_key not in revoked]
    usual = [key for key in own if key.name == DEFAULT_KEY]
    return [(key.name, key.public_key.hex()) for key in usual or own[:SIGNERS_MAX]]


def _named_keys(names: Iterable[str]) -> list[tuple[str, str]]:
    from eyeflow.cli.keyring import names_by_key
    from eyeflow.client.keyring import read_public_key

    known = {name: key for key, name in names_by_key().items()}
    keys = [known[name] if name in known else read_public_key(name) for name in names]
    named = {key: name for name, key in known.items()}
    return [(named.get(key, "given"), key.hex()) for key in dict.fromkeys(keys)]


def warn_of_no_signers(choice: Choice) -> None:
    """Say when a board will take no program, and what to do."""
    if choice.board.signers:
        return
    from eyeflow.cli.keyring import open_keyring

    has_key = bool(open_keyring().list())
    make = "" if has_key else "make a key with `eyeflow keys new`, "
    note(
        "warning: this firmware will take no program, for its board file trusts no key: "
        f"{make}write what `eyeflow keys show` says into [trust] signers, and build again"
    )
