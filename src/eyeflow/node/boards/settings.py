"""The settings of boards: `[[boards]]`, once for each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from eyeflow.node.config.sections import NAME
from eyeflow.node.config.settings import Section, integer, path, required, text
from eyeflow.node.config.tables import Table
from eyeflow.node.io.connector import SystemNeeds
from eyeflow.protocol.boards import BOARDS_MAX

PORT = re.compile(r"/.+|socket://[^/:]+:[0-9]+")


@dataclass(frozen=True, slots=True)
class BoardSection(Section):
    """A board on a serial line of this node. It is found by its port, or by the serial number of its USB port."""

    SECTION: ClassVar[str] = "boards"

    name: str = required("Name of the board in the cluster, as that of a node.")
    port: str = text("", "Its serial port: `/dev/ttyACM0`, or `socket://HOST:PORT` of a serial server or simulator.")
    usb_serial: str = text(
        "", "Serial number of its USB port, instead of `port`: it is found again when the port gets another name."
    )
    board_file: Path | None = path("Its board file, with which rules for it are compiled.")
    baud: int = integer(115_200, 1_200, 3_000_000, "Speed of the line in bits per second, as in the board file.")

    def checked(self, table: Table) -> Self:
        """Refuse a board that cannot be found, or in two ways."""
        if not NAME.fullmatch(self.name):
            cause = "At most 63 letters, digits, `-`, `_` and `.`."
            table.refuse(f"[boards] name = {self.name!r} is no name", cause, "Choose another name.")
        if bool(self.port) == bool(self.usb_serial):
            cause = "A board is found by its port or by the serial number of its USB port."
            table.refuse(f"[boards] {self.name} needs one of `port` and `usb_serial`", cause, "Write one of them.")
        if self.port and not PORT.fullmatch(self.port):
            hint = "Write a device such as /dev/ttyACM0, or socket://HOST:PORT."
            table.refuse(f"[boards] port = {self.port!r} is no port", "It is no path and no address.", hint)
        return self

    @property
    def place(self) -> str:
        """Where it is looked for, for people."""
        return self.port or f"USB {self.usb_serial}"


def read_boards(tables: Mapping[str, Any], node: str, base: Path) -> tuple[BoardSection, ...]:
    """Return the boards of a configuration file; relative paths start at `base`. Raises EyeflowError."""
    found, table = tables.get("boards", []), Table("boards", {})
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        table.refuse("[boards] is no list", "There may be several boards.", "Write [[boards]] for each of them.")
    boards = tuple(BoardSection.from_table(one, base) for one in found)
    check_places(boards, node)
    return boards


def board_needs(boards: Sequence[BoardSection]) -> SystemNeeds:
    """Return what the sandbox of the service must let through for the boards of the configuration."""
    devices = {one.port for one in boards if one.port.startswith("/")}
    # A board that is found by its serial number may be behind either kind of USB port.
    devices |= {"char-ttyACM", "char-ttyUSB"} if any(one.usb_serial for one in boards) else set()
    return SystemNeeds(tuple(sorted(devices)), ("dialout",) if devices else ())


def check_places(boards: Sequence[BoardSection], node: str) -> None:
    """Refuse two boards with one name or one place, and a board with the name of the node. Raises EyeflowError."""
    table = Table("boards", {})
    if len(boards) > BOARDS_MAX:
        hint = "Give some of them to another node."
        table.refuse(f"[boards] names {len(boards)} boards", f"A node has {BOARDS_MAX} at most.", hint)
    for one in boards:
        if one.name == node or [other.name for other in boards].count(one.name) > 1:
            cause = "A board is a node of its own in the cluster."
            table.refuse(f"[boards] {one.name} is the name of another node", cause, "Choose another name.")
        if [other.place for other in boards].count(one.place) > 1:
            cause = "One line carries one board."
            table.refuse(f"[boards] {one.name} has the place of another board: {one.place}", cause, "Correct one.")
