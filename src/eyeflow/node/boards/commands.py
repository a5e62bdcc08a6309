"""What `eyeflow mcu` asks of the node that owns a board's port, over the node's socket."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Mapping
from dataclasses import asdict
from pathlib import Path

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.board_link import conversations
from eyeflow.board_link.messages import Hello, Request, text
from eyeflow.board_link.push import Pushed, push
from eyeflow.board_link.session import Ask
from eyeflow.node.boards.board import GatewayBoard
from eyeflow.node.boards.boards import Boards
from eyeflow.node.boards.keeping import writes
from eyeflow.svm.container import decode

RECORDS_SHOWN = 100
LET_GO_S = 30.0
"""How long a transfer that is under way is waited for, before the port is given back."""

READS = frozenset(
    {
        Request.HELLO,
        Request.PING,
        Request.INFO,
        Request.COUNTERS,
        Request.HEALTH,
    }
)
"""Requests that change nothing on a board: a command may ask them through its gateway."""


class BoardCommands:
    """Each method answers one question; all but `find` name a board (`name`)."""

    def __init__(self, boards: Boards) -> None:
        self._boards = boards

    async def find(self, asked: Mapping[str, object]) -> dict[str, object]:
        """Return the name of the board at a `port`; empty when this node has none there."""
        port = str(asked["port"])
        there = (name for name, board in self._boards.by_name.items() if _is_at(board, port))
        return {"name": next(there, "")}

    async def exchange(self, asked: Mapping[str, object]) -> dict[str, object]:
        """Ask a board a `request` that changes nothing (`payload` in hex), and return its answer."""
        request = Request(int(str(asked["request"])))
        if request not in READS:
            raise ValueError(f"{request.name} is not asked so")
        ask = Ask(request, bytes.fromhex(str(asked["payload"])))
        return {"payload": (await self._board(asked).converse(_single(ask))).hex()}

    async def push(self, asked: Mapping[str, object]) -> dict[str, object]:
        """Push a `program` (hex), set `params` (index and bits in hex), and return what became of it.

        A rule that the cluster brought is refused, unless `force` is given.
        """
        board, data = self._board(asked), bytes.fromhex(str(asked["program"]))
        params = [(int(str(index)), bytes.fromhex(bits)) for index, bits in _pairs(asked["params"])]
        signed = decode(data)
        rule = signed.program.rule
        if rule in board.programs.rules and asked.get("force") is not True:
            raise _managed(board.name, rule, "push")
        hello = await board.converse(conversations.hello(board.url))
        pushed = await board.converse(_pushed(data, params, rule, hello))
        with writes(board.programs.directory):
            await asyncio.to_thread(board.programs.pushed.keep, signed.program_id, data)
        await board.refresh()
        return asdict(pushed)

    async def remove(self, asked: Mapping[str, object]) -> dict[str, object]:
        """Remove a `rule` that no deployment brought."""
        board, rule = self._board(asked), str(asked["rule"])
        if rule in board.programs.rules:
            raise _managed(board.name, rule, "remove")
        hello = await board.converse(conversations.hello(board.url))
        await board.converse(conversations.done(Ask(Request.REMOVE, text(rule), slow=True), hello, rule))
        await board.refresh()
        return {"removed": rule}

    async def log(self, asked: Mapping[str, object]) -> dict[str, object]:
        """Return the newest records of the board in its audit, and how many are lost."""
        records = self._board(asked).records
        found = await records.newest(RECORDS_SHOWN)
        shown = [{"number": one.number, "data": one.data.hex(), "rule": one.rule} for one in found]
        return {"records": shown, "lost": sum(records.lost.values())}

    async def said(self, asked: Mapping[str, object]) -> dict[str, object]:
        """Return what the board logged since (`since`: the `next` of the last answer; None: the newest lines)."""
        since = asked.get("since")
        return asdict(self._board(asked).said.since(None if since is None else int(str(since))))

    async def let_go(self, asked: Mapping[str, object]) -> dict[str, object]:
        """Give the port back, as `why` says, until `take_back` or for ten minutes."""
        board = self._board(asked)
        try:
            async with asyncio.timeout(LET_GO_S):
                await board.let_go(str(asked["why"])[:200])
        except TimeoutError:
            board.take_back()
            raise EyeflowError(
                f"the node is at work on {board.name}",
                cause=board.standing.evidence,
                next_step="Wait until that has ended: `eyeflow node boards list` shows it.",
                code="board_busy",
            ) from None
        return {"name": board.name}

    async def take_back(self, asked: Mapping[str, object]) -> dict[str, object]:
        """Own the port again."""
        board = self._board(asked)
        board.take_back()
        return {"name": board.name}

    def _board(self, asked: Mapping[str, object]) -> GatewayBoard:
        return self._boards.board(str(asked["name"]))


def _is_at(board: GatewayBoard, port: str) -> bool:
    names = {board.url, board.kept.place.port} - {""}
    return port in names or any(name.startswith("/") and str(Path(name).resolve()) == port for name in names)


def _pairs(given: object) -> list[tuple[object, str]]:
    if not isinstance(given, list):
        raise ValueError("params is no list")
    return [(index, bits) for index, bits in given]


def _single(ask: Ask) -> Generator[Ask, bytes, bytes]:
    return (yield ask)


def _pushed(data: bytes, params: list[tuple[int, bytes]], rule: str, hello: Hello) -> Generator[Ask, bytes, Pushed]:
    """Push and set parameters in one conversation, so that nothing else comes in between."""
    pushed = yield from push(data, hello, lambda done, total: None)
    for index, bits in params:
        ask = Ask(Request.SET_PARAM, text(rule) + bytes([index]) + bits, slow=True)
        yield from conversations.done(ask, hello, rule)
    return pushed


def _managed(name: str, rule: str, verb: str) -> EyeflowError:
    instead = {
        "push": f"Deploy it: `eyeflow deploy RULE --nodes {name}`. `--force` pushes it all the same; then the cluster "
        "shows that the board does not run what it shall.",
        "remove": f"Let the cluster remove it: `eyeflow remove {rule} --nodes {name}`.",
    }
    return EyeflowError(
        f"{rule} on {name} is the cluster's",
        cause="a deployment brought it, and the cluster looks after it",
        next_step=instead[verb],
        code="managed",
        exit_code=ExitCode.PROBLEMS,
    )
