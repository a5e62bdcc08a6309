"""What a board recorded and what it says: `eyeflow mcu log` and `eyeflow mcu monitor`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eyeflow.base.errors import EyeflowError
from eyeflow.cli import mcu_cluster as cluster
from eyeflow.cli import mcu_programs as programs
from eyeflow.cli.console import JsonFlag, counted, note, say, say_json
from eyeflow.cli.files import usage_error
from eyeflow.cli.mcu_port import (
    TIMEOUT_S,
    BaudOption,
    PortOption,
    TimeoutOption,
    described_board,
    heard_text,
    level_name,
    open_board,
    trap_name,
)
from eyeflow.cli.streams import ReaderLeft, hand_over

if TYPE_CHECKING:
    from eyeflow.board_link.records import BoardExecution, BoardRecord
    from eyeflow.board_link.session import Heard
    from eyeflow.mcu import board as mcu_board

LISTEN_S = 3600.0
WALL_CLOCK_US = 946_684_800_000_000
"""Times of a board before the year 2000 count from its start: nobody ever told it the time."""

LEVELS_BYTES = 4
"""A record's actions: the levels of the outputs, then whether the time was told since the start."""


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("log")(log)
    app.command("monitor")(monitor)


def log(
    context: typer.Context,
    port: PortOption = "",
    baud: BaudOption = 115200,
    timeout: TimeoutOption = TIMEOUT_S,
    forget: Annotated[bool, typer.Option("--forget", help="Let the board forget the records that were shown.")] = False,
    node: cluster.BoardOption = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="With --node: go on with those that come.")] = False,
    json_: JsonFlag = False,
) -> None:
    """Show the execution records that wait on a board, checked against its hash chain.

    With --node: the newest ones of a board behind a node that the coordinator keeps.
    """
    if node:
        cluster.check_no_port(context)
        _log_of_cluster(node, follow, json_)
        return
    if follow:
        raise usage_error("--follow needs --node", "name the board of the cluster with --node")
    with open_board(port, baud, timeout, show=False) as board:
        batch, installed = board.records(), board.list()
        outputs = _outputs(described_board(board.hello))
        rules = {one.program_id[: programs.KEY_DIGITS]: one.rule for one in installed}
        for record in batch.records:
            if json_:
                say_json(_record_json(record, rules), indent=None)
            elif (run := record.execution) is not None:
                say(_record_line(record.sequence, run, rules, outputs))
        if forget and batch.records:
            _require_shown()
            board.acknowledge(batch.next_sequence)
    if not batch.records and not json_:
        note("no records wait on the board")
    if batch.lost:
        note(f"{counted(batch.lost, 'record')} made room for newer ones since the board started: its ring was full")


def _require_shown() -> None:
    """Raise EyeflowError unless all that was printed has a reader: the board may forget only what somebody has."""
    try:
        hand_over()
    except ReaderLeft:
        raise EyeflowError(
            "the board keeps its records",
            cause="what reads the output of this command ended before it had them all",
            next_step="write them to a file first, and let the board forget them then",
            code="no_output",
        ) from None


def _record_json(record: BoardRecord, rules: dict[str, str]) -> dict[str, Any]:
    facts: dict[str, Any] = {"sequence": record.sequence, "raw": record.raw.hex()}
    run = record.execution
    if run is None:
        return facts
    known = rules.get(run.program_key)
    return facts | {
        "place": run.place,
        "rule": known,
        "outcome": run.outcome,
        "trap": run.trap,
        "pc": run.pc,
        "trigger": run.trigger,
        "fuel": run.fuel,
        "timeUs": run.time_us,
        "program": run.program_key,
        "levels": int.from_bytes(run.actions[:LEVELS_BYTES], "little"),
    }


def _record_line(sequence: int, run: BoardExecution, rules: dict[str, str], outputs: Sequence[str]) -> str:
    known = rules.get(run.program_key)
    rule = known or f"program {run.program_key}"
    levels = "  ".join(_levels(int.from_bytes(run.actions[:LEVELS_BYTES], "little"), outputs))
    return f"{sequence:>6}  {_when(run)}  {rule}  {_outcome(run)}  {levels}".rstrip()


def _outcome(run: BoardExecution) -> str:
    if not run.trap:
        return run.outcome
    return f"{run.outcome}: {trap_name(run.trap)} at {programs.where(run.program_key, run.pc)}"


def _when(run: BoardExecution) -> str:
    """Return the time of a record: UTC where a host has told the board the time, else seconds since its start."""
    was_told = run.actions[LEVELS_BYTES:] == b"\x01"
    if not was_told and run.time_us < WALL_CLOCK_US:
        return f"{run.time_us / 1e6:12.3f} s"
    from datetime import UTC, datetime

    moment = datetime.fromtimestamp(run.time_us / 1e6, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return moment if was_told else f"about {moment}"


def _outputs(described: mcu_board.Board | None) -> list[str]:
    """Return the outputs of the board file, when it is here."""
    pins = described.pins if described is not None else ()
    return [pin.name for pin in pins if pin.direction.value == "output"]


def _levels(bits: int, outputs: Sequence[str]) -> list[str]:
    """Return the commanded levels of the outputs by their names."""
    return [f"{name} {'HIGH' if bits >> place & 1 else 'LOW'}" for place, name in enumerate(outputs)]


def monitor(
    context: typer.Context,
    port: PortOption = "",
    baud: BaudOption = 115200,
    timeout: TimeoutOption = TIMEOUT_S,
    node: cluster.BoardOption = "",
    json_: JsonFlag = False,
) -> None:
    """Show what a board and its rules log, until Ctrl-C.

    With --node: a board behind a node of the cluster, from any machine.
    """
    if node:
        cluster.check_no_port(context)
        _monitor_of_cluster(node, json_)
        return
    with open_board(port, baud, timeout, show=False) as board:
        note(f"{board.hello.chip} on {port}, firmware {board.hello.firmware}; Ctrl-C ends")
        while True:
            _say_heard(board.listen(LISTEN_S), json_)


def _log_of_cluster(name: str, follow: bool, json_: bool) -> None:
    from eyeflow.board_link.records import BoardRecord
    from eyeflow.cli.cluster import connect

    is_empty = True
    with connect() as client:
        cluster.found_board(client, name)
        for body in cluster.records_of(client, name, follow):
            is_empty = False
            record = BoardRecord(body.number, body.data)
            run = record.execution
            rules = {run.program_key: body.rule} if run is not None and body.rule else {}
            if json_:
                say_json(_record_json(record, rules), indent=None)
            elif run is not None:
                say(_record_line(record.sequence, run, rules, body.outputs))
            hand_over()
    if is_empty and not json_:
        note(f"the coordinator keeps no records of {name} yet")


def _monitor_of_cluster(name: str, json_: bool) -> None:
    from eyeflow.cli.cluster import connect

    with connect() as client:
        board = cluster.found_board(client, name)
        heard = cluster.lines_of(client, name)
        note(f"{name} behind {board['gateway']} is {board['state']}: {board['evidence']}; Ctrl-C ends")
        _say_heard(heard, json_)


def _say_heard(found: Iterable[Heard], json_: bool) -> None:
    from eyeflow.board_link.messages import LogLine

    for heard in found:
        text = heard_text(heard)
        if json_ and isinstance(heard, LogLine):
            say_json({"level": level_name(heard.level), "text": heard.text}, indent=None)
        elif text and not json_:
            say(text)
        hand_over()
