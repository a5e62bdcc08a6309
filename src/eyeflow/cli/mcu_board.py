"""The commands of `eyeflow mcu` that talk to a running board, real or simulated."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.cli import mcu_programs as programs
from eyeflow.cli import mcu_project as p
from eyeflow.cli.console import JsonFlag, counted, note, paint, say, say_json, table
from eyeflow.cli.files import read_bytes, usage_error

if TYPE_CHECKING:
    from eyeflow.mcu import board as mcu_board
    from eyeflow.mcu.link.messages import Hello, Installed
    from eyeflow.mcu.link.port import Board
    from eyeflow.mcu.link.records import BoardExecution, BoardRecord
    from eyeflow.mcu.link.session import Heard

PROBATION = {True: "good", False: "on probation"}
PORT_ENV = "EYEFLOW_MCU_PORT"
TIMEOUT_ENV = "EYEFLOW_MCU_TIMEOUT"
TIMEOUT_S, SLOW_FACTOR = 3.0, 8
LISTEN_S = 3600.0
SIMULATOR = "socket://127.0.0.1:7701"
LEVELS = ("debug", "info", "warning", "error")
STYLES = {"warning": "33", "error": "31"}
WALL_CLOCK_US = 946_684_800_000_000
"""Times of a board before the year 2000 count from its start: nobody ever told it the time."""

LEVELS_BYTES = 4
"""A record's actions: the levels of the outputs, then whether the time was told since the start."""


def complete_port(incomplete: str) -> list[str]:
    """Return the serial ports that a shell may complete to."""
    from eyeflow.mcu.link.port import serial_ports

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
        min=0.5,
        envvar=TIMEOUT_ENV,
        help="Seconds in which the board must answer; what erases flash or checks a signature has eight times as long.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for name, function in (
        ("push", push),
        ("list", list_),
        ("remove", remove),
        ("status", status),
        ("log", log),
        ("monitor", monitor),
    ):
        app.command(name)(function)


def open_board(port: str, baud: int, timeout_s: float, *, show: bool = True) -> Board:
    """Return the board at a port; what it logs meanwhile goes to stderr."""
    from eyeflow.mcu.link.port import Board, Patience, serial_ports

    if not port:
        found = ", ".join(serial_ports()) or "none"
        raise usage_error(
            "which board?",
            f"name its serial port with --port, or set {PORT_ENV}; serial ports of this machine: {found}; "
            f"`eyeflow mcu sim` listens on {SIMULATOR}",
        )
    usual = Patience()
    patience = Patience(answer_s=timeout_s / usual.tries, slow_answer_s=timeout_s * SLOW_FACTOR / usual.slow_tries)
    return Board(port, baud=baud, patience=patience, on_heard=_show_heard if show else None)


def _show_heard(heard: Heard) -> None:
    text = heard_text(heard)
    if text:
        note(f"{paint('board', '2', sys.stderr)}: {text}")


def heard_text(heard: Heard) -> str:
    """Return what a board said unasked, for people; nothing for what only machines read."""
    from eyeflow.mcu.link.messages import LlmRequest, LogLine

    if isinstance(heard, LogLine):
        word = _level(heard.level)
        return f"{paint(word, STYLES[word], sys.stdout)} {heard.text}" if word in STYLES else heard.text
    if not isinstance(heard, LlmRequest):
        return ""
    return f"asks its gateway for a language model: {', '.join(str(arg) for arg in heard.args)}"


def _level(number: int) -> str:
    return LEVELS[number] if number < len(LEVELS) else str(number)


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
    json_: JsonFlag = False,
) -> None:
    """Send a program to a running board; it is verified there and runs from the next scan on.

    A rule is compiled for the board's chip first, checked against the board file, and signed with your key. The board
    is told the time, too.
    """
    with open_board(port, baud, timeout, show=not json_) as board:
        data = _program(program, board.hello, sign, board_file)
        values = _params(data, param or [])
        board.set_time(time.time_ns() // 1000, time.localtime().tm_gmtoff)
        done = board.push(data, _progress if sys.stderr.isatty() and not json_ else None)
        for index, value in values.items():
            board.set_param(done.rule, index, value)
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


def _is_stopped(board: Board, place: int) -> bool:
    found = board.status()
    pairs = zip(found.programs, found.counters, strict=False)
    return any(program.place == place and not counters.running for program, counters in pairs)


def _program(path: Path, hello: Hello, key: str, board_file: Path | None) -> bytes:
    """Return the bytes of a program file, or of a rule compiled for the board and signed."""
    if path.suffix != ".eye":
        return _checked(path, read_bytes(path))
    from eyeflow.cli import rules as r
    from eyeflow.cli.programs import sign_bytes
    from eyeflow.svm.container import encode

    described = board_file or _file_of(hello)
    options = r.compile_options(r.ProfileName.MCU, hello.chip, described)
    source, result = r.compile_path(path, r.load_catalog(None), options)
    r.show_diagnostics(result.diagnostics, source, path, r.Format.TEXT)
    if result.program is None:
        raise EyeflowError(
            f"{path} does not compile for {hello.chip}", code="not_compiled", exit_code=ExitCode.PROBLEMS
        )
    return sign_bytes(encode(result.program), key)


def _params(data: bytes, texts: list[str]) -> dict[int, bool | int | float]:
    """Return the values of `--param` by the places of the parameters in the program."""
    if not texts:
        return {}
    from eyeflow.cli.running import parse_params
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
    board = _described(hello)
    return p.BOARD_FILE if board is not None else None


def _described(hello: Hello) -> mcu_board.Board | None:
    """Return the board of ./board.toml, when there is one and it has this chip."""
    from eyeflow.mcu.board import load_board

    board = load_board(p.BOARD_FILE) if p.BOARD_FILE.is_file() else None
    return board if board is not None and board.chip.name == hello.chip else None


def _checked(path: Path, data: bytes) -> bytes:
    """Return the bytes of a file that holds a program; says which file when it does not."""
    from eyeflow.svm.container import decode
    from eyeflow.svm.failure import ProgramError

    try:
        decode(data)
    except ProgramError as error:
        raise EyeflowError(
            f"{path} holds no program that can be pushed",
            cause=error.message,
            next_step=error.next_step,
            code=error.code,
            exit_code=error.exit_code,
        ) from error
    return data


def _progress(done_bytes: int, total_bytes: int) -> None:
    sys.stderr.write(f"\r\x1b[K{done_bytes} of {total_bytes} bytes")
    sys.stderr.write("\n" if done_bytes >= total_bytes else "")
    sys.stderr.flush()


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
    return f"{_trap(counters.trap)} at {programs.where(program_id, counters.pc)}" if counters.trap else ""


def _trap(number: int) -> str:
    """Return a trap's name; a firmware that is newer than this eyeflow may know others."""
    from eyeflow.svm.opcodes import Trap

    return Trap(number).name if number in set(Trap) else f"trap {number}"


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


def log(
    port: PortOption = "",
    baud: BaudOption = 115200,
    timeout: TimeoutOption = TIMEOUT_S,
    forget: Annotated[bool, typer.Option("--forget", help="Let the board forget the records that were shown.")] = False,
    json_: JsonFlag = False,
) -> None:
    """Show the execution records that wait on a board, checked against its hash chain."""
    with open_board(port, baud, timeout, show=False) as board:
        batch, installed = board.records(), board.list()
        described = _described(board.hello)
        rules = {one.program_id[: programs.KEY_DIGITS]: one for one in installed}
        for record in batch.records:
            if json_:
                say_json(_record_json(record, rules), indent=None)
            elif (run := record.execution) is not None:
                say(_record_line(record.sequence, run, rules, described))
        # The board may forget only what has left this process.
        sys.stdout.flush()
        if forget and batch.records:
            board.acknowledge(batch.next_sequence)
    if not batch.records and not json_:
        note("no records wait on the board")
    if batch.lost:
        note(f"{counted(batch.lost, 'record')} made room for newer ones since the board started: its ring was full")


def _record_json(record: BoardRecord, rules: dict[str, Installed]) -> dict[str, Any]:
    facts: dict[str, Any] = {"sequence": record.sequence, "raw": record.raw.hex()}
    run = record.execution
    if run is None:
        return facts
    known = rules.get(run.program_key)
    return facts | {
        "place": run.place,
        "rule": known.rule if known else None,
        "outcome": run.outcome,
        "trap": run.trap,
        "pc": run.pc,
        "trigger": run.trigger,
        "fuel": run.fuel,
        "timeUs": run.time_us,
        "program": run.program_key,
        "levels": int.from_bytes(run.actions[:LEVELS_BYTES], "little"),
    }


def _record_line(
    sequence: int, run: BoardExecution, rules: dict[str, Installed], described: mcu_board.Board | None
) -> str:
    known = rules.get(run.program_key)
    rule = known.rule if known else f"program {run.program_key}"
    levels = "  ".join(_levels(int.from_bytes(run.actions[:LEVELS_BYTES], "little"), described))
    return f"{sequence:>6}  {_when(run)}  {rule}  {_outcome(run)}  {levels}".rstrip()


def _outcome(run: BoardExecution) -> str:
    if not run.trap:
        return run.outcome
    return f"{run.outcome}: {_trap(run.trap)} at {programs.where(run.program_key, run.pc)}"


def _when(run: BoardExecution) -> str:
    """Return the time of a record: UTC where a host has told the board the time, else seconds since its start."""
    was_told = run.actions[LEVELS_BYTES:] == b"\x01"
    if not was_told and run.time_us < WALL_CLOCK_US:
        return f"{run.time_us / 1e6:12.3f} s"
    from datetime import UTC, datetime

    moment = datetime.fromtimestamp(run.time_us / 1e6, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return moment if was_told else f"about {moment}"


def _levels(bits: int, described: mcu_board.Board | None) -> list[str]:
    """Return the commanded levels of the outputs by the names of the board file, when it is here."""
    pins = described.pins if described is not None else ()
    outputs = [pin.name for pin in pins if pin.direction.value == "output"]
    return [f"{name} {'HIGH' if bits >> place & 1 else 'LOW'}" for place, name in enumerate(outputs)]


def monitor(
    port: PortOption = "", baud: BaudOption = 115200, timeout: TimeoutOption = TIMEOUT_S, json_: JsonFlag = False
) -> None:
    """Show what a board and its rules log, until Ctrl-C."""
    from eyeflow.mcu.link.messages import LogLine

    with open_board(port, baud, timeout, show=False) as board:
        note(f"{board.hello.chip} on {port}, firmware {board.hello.firmware}; Ctrl-C ends")
        while True:
            for heard in board.listen(LISTEN_S):
                text = heard_text(heard)
                if json_ and isinstance(heard, LogLine):
                    say_json({"level": _level(heard.level), "text": heard.text}, indent=None)
                elif text and not json_:
                    say(text)
                sys.stdout.flush()
