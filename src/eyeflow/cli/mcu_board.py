"""The commands of `eyeflow mcu` that talk to a running board, real or simulated."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eyeflow.base.errors import EyeflowError
from eyeflow.cli.console import JsonFlag, note, paint, say, say_json, table
from eyeflow.cli.files import read_bytes, usage_error

if TYPE_CHECKING:
    from eyeflow.mcu.link.port import Board
    from eyeflow.mcu.link.session import Heard

PROBATION = {True: "good", False: "on probation"}
PORT_ENV = "EYEFLOW_MCU_PORT"
LISTEN_S = 3600.0

PortOption = Annotated[
    str, typer.Option("--port", "-p", envvar=PORT_ENV, help="Serial port: /dev/ttyACM0, socket://127.0.0.1:7701.")
]
BaudOption = Annotated[int, typer.Option("--baud", min=300, help="Baud rate of the board's link.")]


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


def open_board(port: str, baud: int, *, show: bool = True) -> Board:
    """Return the board at a port; what it logs meanwhile goes to stderr."""
    from eyeflow.mcu.link.port import Board

    if not port:
        raise usage_error("which board?", f"name its serial port with --port, or set {PORT_ENV}")
    return Board(port, baud=baud, on_heard=_show_heard if show else None)


def _show_heard(heard: Heard) -> None:
    text = heard_text(heard)
    if text:
        note(f"{paint('board', '2', sys.stderr)}: {text}")


def heard_text(heard: Heard) -> str:
    """Return what a board said unasked, for people; nothing for what only machines read."""
    from eyeflow.mcu.link.messages import LlmRequest, LogLine

    if isinstance(heard, LogLine):
        return heard.text
    return f"asks its gateway for a language model: {heard.text}" if isinstance(heard, LlmRequest) else ""


def push(
    program: Annotated[Path, typer.Argument(help="A signed .svm program, or a rule (.eye) to compile and sign now.")],
    port: PortOption = "",
    baud: BaudOption = 115200,
    sign: Annotated[str, typer.Option("--sign", metavar="KEY", help="The key to sign a rule with.")] = "default",
    json_: JsonFlag = False,
) -> None:
    """Send a program to a running board; it is verified there and runs from the next scan on."""
    with open_board(port, baud, show=not json_) as board:
        data = _program(program, board.hello.chip, sign)
        done = board.push(data, _progress if sys.stderr.isatty() and not json_ else None)
    if json_:
        say_json(
            {
                "rule": done.rule,
                "programId": done.program_id,
                "place": done.place,
                "already": done.already,
                "sizeBytes": done.size_bytes,
                "sentBytes": done.sent_bytes,
                "encoding": done.encoding,
                "resumedFromBytes": done.resumed_from_bytes,
            }
        )
    elif done.already:
        say(f"{done.rule} {done.program_id[:16]} is on the board already")
    else:
        say(f"{done.rule} {done.program_id[:16]} runs in place {done.place}")
        note(f"  {done.size_bytes} bytes, sent as {done.sent_bytes} ({done.encoding})")


def _program(path: Path, chip: str, key: str) -> bytes:
    """Return the bytes of a program file, or of a rule compiled for the chip and signed."""
    if path.suffix != ".eye":
        return read_bytes(path)
    from eyeflow.base.errors import ExitCode
    from eyeflow.cli import rules as r
    from eyeflow.cli.programs import sign_bytes
    from eyeflow.svm.container import encode

    source, result = r.compile_path(path, r.load_catalog(None), r.compile_options(r.ProfileName.MCU, chip))
    r.show_diagnostics(result.diagnostics, source, path, r.Format.TEXT)
    if result.program is None:
        raise EyeflowError(f"{path} does not compile for {chip}", code="not_compiled", exit_code=ExitCode.PROBLEMS)
    return sign_bytes(encode(result.program), key)


def _progress(done_bytes: int, total_bytes: int) -> None:
    sys.stderr.write(f"\r\x1b[K{done_bytes} of {total_bytes} bytes")
    sys.stderr.write("\n" if done_bytes >= total_bytes else "")
    sys.stderr.flush()


def list_(port: PortOption = "", baud: BaudOption = 115200, json_: JsonFlag = False) -> None:
    """List the programs on a board."""
    with open_board(port, baud, show=False) as board:
        programs = board.list()
    if json_:
        say_json([_installed(one) for one in programs])
        return
    if not programs:
        note("no programs on the board yet: eyeflow mcu push PROGRAM")
        return
    table(
        ["PLACE", "RULE", "VERSION", "PROGRAM", "BYTES", "STATE"],
        [
            [
                str(p.place),
                p.rule,
                p.version,
                p.program_id[:16],
                str(p.size_bytes),
                PROBATION[p.good],
            ]
            for p in programs
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
    json_: JsonFlag = False,
) -> None:
    """Remove a rule from a board."""
    with open_board(port, baud, show=False) as board:
        board.remove(rule)
    if json_:
        say_json({"removed": rule})
    else:
        say(f"{rule} is off the board")


def status(port: PortOption = "", baud: BaudOption = 115200, json_: JsonFlag = False) -> None:
    """Show a board: firmware, memory, scans, and what its programs did."""
    with open_board(port, baud, show=False) as board:
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
        [p.rule, p.version, "running" if c.running else "stopped", str(c.executions), str(c.traps), _fault(c)]
        for p, c in zip(found.programs, found.counters, strict=False)
    ]
    if rows:
        table(["RULE", "VERSION", "STATE", "EXECUTIONS", "TRAPS", "LAST FAULT"], rows)


def _fault(counters: Any) -> str:
    from eyeflow.svm.opcodes import Trap

    return f"{Trap(counters.trap).name} at instruction {counters.pc}" if counters.trap else ""


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
    forget: Annotated[bool, typer.Option("--forget", help="Let the board forget the records that were shown.")] = False,
    json_: JsonFlag = False,
) -> None:
    """Show the execution records that wait on a board, checked against its hash chain."""
    with open_board(port, baud, show=False) as board:
        batch = board.records()
        if forget and batch.records:
            board.acknowledge(batch.next_sequence)
    for record in batch.records:
        run = record.execution
        if json_:
            facts: dict[str, Any] = {"sequence": record.sequence, "raw": record.raw.hex()}
            if run is not None:
                facts |= {"place": run.place, "outcome": run.outcome, "trap": run.trap, "pc": run.pc,
                          "trigger": run.trigger, "fuel": run.fuel, "timeUs": run.time_us,
                          "program": run.program_key}  # fmt: skip
            say_json(facts, indent=None)
        elif run is not None:
            fault = f", trap {run.trap} at instruction {run.pc}" if run.trap else ""
            say(f"{record.sequence:>6}  {run.time_us / 1e6:12.3f} s  place {run.place}  {run.outcome}{fault}")
    if batch.lost:
        note(f"{batch.lost} records were lost since the board started: its ring was full")


def monitor(port: PortOption = "", baud: BaudOption = 115200) -> None:
    """Show what a board logs, until Ctrl-C."""
    with open_board(port, baud, show=False) as board:
        note(f"{board.hello.chip} on {port}, firmware {board.hello.firmware}; Ctrl-C ends")
        while True:
            for heard in board.listen(LISTEN_S):
                text = heard_text(heard)
                if text:
                    say(text)
                    sys.stdout.flush()
