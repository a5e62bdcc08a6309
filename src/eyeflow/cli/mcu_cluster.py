"""A board of the cluster as `eyeflow mcu log` and `monitor` read it through the coordinator, from any machine."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.cli.console import note
from eyeflow.cli.files import usage_error

if TYPE_CHECKING:
    from eyeflow.board_link.session import Heard
    from eyeflow.client.rest import CoordinatorClient
    from eyeflow.protocol.audit_bodies import BoardRecordBody

SEARCHED_MAX = 1000
"""Audit records of a board among which its newest ones are searched; others are of the gateway's own."""
RECORDS_SHOWN = 100
POLL_S = 1.0
FOLLOWED_S = 10.0 * 365 * 24 * 3600
PASSING = frozenset({"unreachable", "storage", "board_unheard", "too_many_listeners"})
"""Refusals that end by themselves: who follows waits."""
OF_PORTS = ("port", "baud", "timeout", "forget")

BoardOption = Annotated[
    str, typer.Option("--node", metavar="BOARD", help="This board of the cluster, through the coordinator.")
]

T = TypeVar("T")


def check_no_port(context: typer.Context) -> None:
    """Refuse options of a serial port beside --node; what the environment says of ports is of no matter."""
    for name in OF_PORTS:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise usage_error(f"--{name} is of a board at a serial port", "leave it out, or leave out --node")


def found_board(client: CoordinatorClient, name: str) -> dict[str, Any]:
    """Return how a board stands: `Board` of the REST API. Raises EyeflowError for a node that is none."""
    board = client.node(name)["board"]
    if board is None:
        raise EyeflowError(
            f"{name} is no board",
            cause="it is a node itself",
            next_step=f"see its executions: eyeflow executions --node {name}",
            code="no_board",
            exit_code=ExitCode.PROBLEMS,
        )
    found: dict[str, Any] = board
    return found


def records_of(client: CoordinatorClient, name: str, follow: bool) -> Iterator[BoardRecordBody]:
    """Yield the newest records of a board that the coordinator keeps, in order; with `follow` also those that come."""
    epoch, last = _head(client, name)
    after = max(0, last - SEARCHED_MAX)
    yield from _page(client, name, epoch, after, SEARCHED_MAX)[0][-RECORDS_SHOWN:]
    after = last
    while follow:
        now_epoch, last = _patiently(lambda: _head(client, name))
        if now_epoch != epoch:  # the board was adopted anew
            epoch, after = now_epoch, 0
        before = after
        if last > after:
            found, after = _patiently(partial(_page, client, name, epoch, after, SEARCHED_MAX))
            yield from found
        if after == before:
            time.sleep(POLL_S)


def lines_of(client: CoordinatorClient, name: str) -> Iterator[Heard]:
    """Yield what a board logs from now on. A gateway or coordinator that goes away is waited for."""
    from eyeflow.node.boards.behind import listened

    def ask(since: int | None) -> dict[str, Any]:
        if since is None:  # nobody waits for what was never there
            return client.board_lines(name, None)
        return _patiently(lambda: client.board_lines(name, since))

    return listened(ask, FOLLOWED_S)


def _head(client: CoordinatorClient, name: str) -> tuple[int, int]:
    """Return the epoch and the last number of the copy of a board's audit."""
    found = [(one["epoch"], one["seq"]) for one in client.copies(name) if not one["branch"]]
    return found[0] if found else (0, 0)


def _page(
    client: CoordinatorClient, name: str, epoch: int, after: int, limit: int
) -> tuple[list[BoardRecordBody], int]:
    """Return the records of the board behind a number of its audit, and the last number that was read."""
    from eyeflow.protocol.audit import decode_record
    from eyeflow.protocol.audit_bodies import BoardRecordBody

    found = client.records(name, after, limit, epoch=epoch)
    bodies = [decode_record(base64.b64decode(one["record"])).body for one in found]
    return [one for one in bodies if isinstance(one, BoardRecordBody)], found[-1]["seq"] if found else after


def _patiently(ask: Callable[[], T]) -> T:
    is_told = False
    while True:
        try:
            return ask()
        except EyeflowError as error:
            if error.code not in PASSING:
                raise
            if not is_told:
                note(f"{error.message}; waits")
            is_told = True
            time.sleep(POLL_S)
