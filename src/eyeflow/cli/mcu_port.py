"""A running board behind a serial port: the options that name it, and what it says."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from eyeflow.base.errors import EyeflowError
from eyeflow.cli import mcu_project as p
from eyeflow.cli.console import note, paint
from eyeflow.cli.durations import seconds
from eyeflow.cli.files import usage_error

if TYPE_CHECKING:
    from eyeflow.board_link.messages import Hello
    from eyeflow.board_link.port import Board
    from eyeflow.board_link.session import Heard
    from eyeflow.mcu import board as mcu_board
    from eyeflow.node.boards.behind import BoardBehindNode

PORT_ENV = "EYEFLOW_MCU_PORT"
TIMEOUT_ENV = "EYEFLOW_MCU_TIMEOUT"
TIMEOUT_S, SLOW_FACTOR = 3.0, 8
SIMULATOR = "socket://127.0.0.1:7701"
LEVELS = ("debug", "info", "warning", "error")
STYLES = {"warning": "33", "error": "31"}


def complete_port(incomplete: str) -> list[str]:
    """Return the serial ports that a shell may complete to."""
    from eyeflow.board_link.port import serial_ports

    return [port for port in [*serial_ports(), SIMULATOR] if port.startswith(incomplete)]


PortOption = Annotated[
    str,
    typer.Option(
        "--port",
        "-p",
        envvar=PORT_ENV,
        autocompletion=complete_port,
        help=f"Serial port: /dev/ttyACM0, or {SIMULATOR} of the simulator.",
    ),
]
BaudOption = Annotated[
    int, typer.Option("--baud", min=300, help="Baud rate of the board's link, as in its board file.")
]

TimeoutOption = Annotated[
    float,
    typer.Option(
        "--timeout",
        metavar="DURATION",
        parser=seconds(0.5),
        envvar=TIMEOUT_ENV,
        help="In which the board must answer; what erases flash or checks a signature has eight times as long.",
    ),
]


def open_board(port: str, baud: int, timeout_s: float, *, show: bool = True) -> Board | BoardBehindNode:
    """Return the board at a port; what it logs meanwhile goes to stderr. A node that owns the port is asked instead."""
    from eyeflow.board_link.port import Board, Patience, serial_ports

    if not port:
        found = ", ".join(serial_ports()) or "none"
        raise usage_error(
            "which board?",
            f"name its serial port with --port, or set {PORT_ENV}; serial ports of this machine: {found}; "
            f"`eyeflow mcu sim` listens on {SIMULATOR}",
        )
    usual = Patience()
    patience = Patience(answer_s=timeout_s / usual.tries, slow_answer_s=timeout_s * SLOW_FACTOR / usual.slow_tries)
    try:
        board = Board(port, baud=baud, patience=patience, on_heard=_show_heard if show else None)
        if "://" in port:
            _ask_who(board)  # only an answer tells that nobody else has such a port
        return board
    except EyeflowError as error:
        behind = board_of_node(port) if error.code == "port_busy" else None
        if behind is None:
            raise
        return behind


def _ask_who(board: Board) -> None:
    try:
        board.hello  # noqa: B018 - it asks
    except EyeflowError:
        board.close()
        raise


def board_of_node(port: str) -> BoardBehindNode | None:
    """Return the board at a port that a node of this machine owns, and say so; None when no node has it."""
    from eyeflow.cli.node_options import load_node_config
    from eyeflow.node.boards.owner import board_at

    configured = None
    with suppress(EyeflowError):
        configured = load_node_config(None, []).data_dir
    found = board_at(port, configured)
    if found is not None:
        note(f"{port} is {found.name} of the node that runs on {found.data_dir}: asking that node")
    return found


def _show_heard(heard: Heard) -> None:
    text = heard_text(heard)
    if text:
        note(f"{paint('board', '2', sys.stderr)}: {text}")


def heard_text(heard: Heard) -> str:
    """Return what a board said unasked, for people; nothing for what only machines read."""
    from eyeflow.board_link.messages import LlmRequest, LogLine

    if isinstance(heard, LogLine):
        word = level_name(heard.level)
        return f"{paint(word, STYLES[word], sys.stdout)} {heard.text}" if word in STYLES else heard.text
    if not isinstance(heard, LlmRequest):
        return ""
    return f"asks its gateway for a language model: {', '.join(str(arg) for arg in heard.args)}"


def level_name(number: int) -> str:
    """Return the level of a board's log line; its number when a newer firmware has others."""
    return LEVELS[number] if number < len(LEVELS) else str(number)


def trap_name(number: int) -> str:
    """Return a trap's name; a firmware that is newer than this eyeflow may know others."""
    from eyeflow.svm.opcodes import Trap

    return Trap(number).name if number in set(Trap) else f"trap {number}"


def described_board(hello: Hello) -> mcu_board.Board | None:
    """Return the board of ./board.toml, when there is one and it has this chip."""
    from eyeflow.mcu.board import load_board

    board = load_board(p.BOARD_FILE) if p.BOARD_FILE.is_file() else None
    return board if board is not None and board.chip.name == hello.chip else None
