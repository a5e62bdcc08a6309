"""The programs of a running board, real or simulated: `eyeflow mcu push`, `list`, `remove` and `status`."""

from __future__ import annotations

import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eyeflow.base.clock import wall_clock_us
from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.cli import mcu_programs as programs
from eyeflow.cli import mcu_project as p
from eyeflow.cli.console import JsonFlag, note, note_moving, paint, progress, say, say_json, table
from eyeflow.cli.files import read_program, usage_error
from eyeflow.cli.mcu_port import (
    TIMEOUT_S,
    BaudOption,
    PortOption,
    TimeoutOption,
    described_board,
    open_board,
    trap_name,
)

if TYPE_CHECKING:
    from eyeflow.board_link.messages import Hello
    from eyeflow.board_link.port import Board
    from eyeflow.board_link.push import Pushed
    from eyeflow.node.boards.behind import BoardBehindNode

PROBATION = {True: "good", False: "on probation"}


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for name, function in (
        ("push", push),
        ("list", list_),
        ("remove", remove),
        ("status", status),
    ):
        app.command(name)(function)


def push(
    program: Annotated[Path, typer.Argument(help="A signed .svm program, or a rule (.eye) to compile and sign now.")],
    port: PortOption = "",
    baud: BaudOption = 115200,
    timeout: TimeoutOption = TIMEOUT_S,
    sign: Annotated[str, typer.Option("--sign", metavar="KEY", help="The key to sign a rule with.")] = p.DEFAULT_KEY,
    board_file: p.BoardOption = None,
    param: Annotated[
        list[str] | None,
        typer.Option("--param", metavar="NAME=VALUE", help="Set a parameter of the rule; the board keeps it."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Behind a node: also a rule that the cluster deployed to the board.")
    ] = False,
    json_: JsonFlag = False,
) -> None:
    """Send a program to a running board; it is verified there and runs from the next scan on.

    A rule is compiled for the board's chip first, checked against the board file, and signed with your key. The board
    is told the time, too. When a node of this machine owns the port, the program goes through that node.
    """
    with open_board(port, baud, timeout, show=not json_) as board:
        data = _program(program, board.hello, sign, board_file)
        values = _params(data, param or [])
        done = _pushed(board, data, values, force=force, show=not json_)
        stopped = done.already and _is_stopped(board, done.place)
    programs.remember(data, done.program_id)
    if json_:
        say_json(
            {
                "rule": done.rule,
                "programId": done.program_id,
                "place": done.place,
                "already": done.already,
                "stopped": stopped,
                "sizeBytes": done.size_bytes,
                "sentBytes": done.sent_bytes,
                "encoding": done.encoding,
                "resumedFromBytes": done.resumed_from_bytes,
            }
        )
    elif stopped:
        say(f"{done.rule} {done.program_id[:16]} is on the board already, but it was stopped after faults")
        note("  eyeflow mcu status shows the last fault; repair the rule, raise its version and push it")
    elif done.already:
        say(f"{done.rule} {done.program_id[:16]} is on the board already")
    else:
        say(f"{done.rule} {done.program_id[:16]} runs in place {done.place}")
        note(f"  {done.size_bytes} bytes, sent as {done.sent_bytes} ({done.encoding})")


def _pushed(
    board: Board | BoardBehindNode, data: bytes, values: dict[int, bool | int | float], *, force: bool, show: bool
) -> Pushed:
    from eyeflow.board_link.port import Board

    if not isinstance(board, Board):
        with progress(f"the node sends the program to {board.name}") if show else nullcontext():
            return board.push(data, values, force=force)
    board.set_time(wall_clock_us(), time.localtime().tm_gmtoff)
    done = board.push(data, _progress if sys.stderr.isatty() and show else None)
    for index, value in values.items():
        board.set_param(done.rule, index, value)
    return done


def _is_stopped(board: Board | BoardBehindNode, place: int) -> bool:
    found = board.status()
    pairs = zip(found.programs, found.counters, strict=False)
    return any(program.place == place and not counters.running for program, counters in pairs)


def _program(path: Path, hello: Hello, key: str, board_file: Path | None) -> bytes:
    """Return the bytes of a program file, or of a rule compiled for the board and signed."""
    if path.suffix != ".eye":
        return read_program(path)[0]
    from eyeflow.cli import compiling
    from eyeflow.cli.program_files import sign_bytes
    from eyeflow.svm.container import encode

    described = board_file or _file_of(hello)
    options = compiling.compile_options(compiling.ProfileName.MCU, hello.chip, described)
    source, result = compiling.compile_path(path, compiling.load_catalog(None), options)
    compiling.show_diagnostics(result.diagnostics, source, path, compiling.Format.TEXT)
    if result.program is None:
        raise EyeflowError(
            f"{path} does not compile for {hello.chip}", code="not_compiled", exit_code=ExitCode.PROBLEMS
        )
    return sign_bytes(encode(result.program), key)


def _params(data: bytes, texts: list[str]) -> dict[int, bool | int | float]:
    """Return the values of `--param` by the places of the parameters in the program."""
    if not texts:
        return {}
    from eyeflow.cli.parameters import parse_params
    from eyeflow.svm.container import decode

    program = decode(data).program
    places = {param.name: place for place, param in enumerate(program.params)}
    values: dict[int, bool | int | float] = {}
    for name, value in parse_params(program, texts).items():
        if isinstance(value, str):
            raise usage_error(f"--param {name}: a board takes no texts as parameters", "write the text into the rule")
        values[places[name]] = value
    return values


def _file_of(hello: Hello) -> Path | None:
    """Return ./board.toml when it describes a board with this chip."""
    board = described_board(hello)
    return p.BOARD_FILE if board is not None else None


def _progress(done_bytes: int, total_bytes: int) -> None:
    note_moving(f"{done_bytes} of {total_bytes} bytes")
    if done_bytes >= total_bytes:
        note("")


def list_(
    port: PortOption = "", baud: BaudOption = 115200, timeout: TimeoutOption = TIMEOUT_S, json_: JsonFlag = False
) -> None:
    """List the programs on a board."""
    with open_board(port, baud, timeout, show=False) as board:
        installed = board.list()
    if json_:
        say_json([_installed(one) for one in installed])
        return
    if not installed:
        note("no programs on the board yet: eyeflow mcu push PROGRAM")
        return
    table(
        ["PLACE", "RULE", "VERSION", "PROGRAM", "BYTES", "STATE"],
        [
            [
                str(one.place),
                one.rule,
                one.version,
                one.program_id[:16],
                str(one.size_bytes),
                PROBATION[one.good],
            ]
            for one in installed
        ],
    )


def _installed(program: Any) -> dict[str, Any]:
    return {
        "place": program.place,
        "rule": program.rule,
        "version": program.version,
        "programId": program.program_id,
        "sequence": program.sequence,
        "sizeBytes": program.size_bytes,
        "good": program.good,
        "hasPrevious": program.has_previous,
    }


def remove(
    rule: Annotated[str, typer.Argument(help="The rule, by name.")],
    port: PortOption = "",
    baud: BaudOption = 115200,
    timeout: TimeoutOption = TIMEOUT_S,
    json_: JsonFlag = False,
) -> None:
    """Remove a rule from a board."""
    with open_board(port, baud, timeout, show=False) as board:
        board.remove(rule)
    if json_:
        say_json({"removed": rule})
    else:
        say(f"{rule} is off the board")


def status(
    port: PortOption = "", baud: BaudOption = 115200, timeout: TimeoutOption = TIMEOUT_S, json_: JsonFlag = False
) -> None:
    """Show a board: firmware, memory, scans, and what its programs did."""
    with open_board(port, baud, timeout, show=False) as board:
        found = board.status()
    if json_:
        say_json(_status_json(found))
        return
    hello, health = found.hello, found.health
    say(f"{paint(hello.chip, '1', sys.stdout)}  firmware {hello.firmware}  device {hello.device}  boot {hello.boot}")
    say(f"  flash for programs {health.flash_used_bytes} of {health.flash_bytes} bytes")
    say(f"  RAM                {health.ram_used_bytes} of {health.ram_bytes} bytes")
    say(f"  {health.scans} scans, the longest {health.scan_us_max} us")
    say(f"  {health.frames_good} good frames, {health.frames_bad} bad ones")
    rows = [
        [
            one.rule,
            one.version,
            "running" if c.running else "stopped",
            str(c.executions),
            str(c.traps),
            _fault(one.program_id, c),
        ]
        for one, c in zip(found.programs, found.counters, strict=False)
    ]
    if rows:
        table(["RULE", "VERSION", "STATE", "EXECUTIONS", "TRAPS", "LAST FAULT"], rows)


def _fault(program_id: str, counters: Any) -> str:
    return f"{trap_name(counters.trap)} at {programs.where(program_id, counters.pc)}" if counters.trap else ""


def _status_json(found: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "hello": asdict(found.hello),
        "health": asdict(found.health),
        "programs": [
            _installed(program) | {"counters": asdict(counters)}
            for program, counters in zip(found.programs, found.counters, strict=False)
        ],
    }
