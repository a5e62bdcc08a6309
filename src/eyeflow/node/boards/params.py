"""Sets parameters of rules on a board for rules of its gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from typing import Protocol, TypeVar

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.board_link import conversations
from eyeflow.board_link.conversations import Status
from eyeflow.board_link.messages import Hello, Request, text
from eyeflow.board_link.session import Ask
from eyeflow.node.boards.bringing import param_value
from eyeflow.svm.container import decode

T = TypeVar("T")


class Board(Protocol):
    """What is needed of a board."""

    found: Status | None

    @property
    def name(self) -> str:
        """Its name in the cluster."""
        ...

    async def converse(self, conversation: Generator[Ask, bytes, T]) -> T:
        """Return what a conversation over the line ends with. Raises EyeflowError."""
        ...


async def set_param(
    board: Board, program_of: Callable[[str], bytes], rule: str, name: str, value: bool | int | float
) -> None:
    """Set the parameter `name` of a rule that runs on a board. Raises EyeflowError; nothing changed then, unless the
    answer was lost on the line.

    The board keeps the value on its flash. A program that is brought anew begins with the parameters of its deployment.
    """
    found = board.found
    if found is None:
        raise _refused(board.name, f"the board {board.name} has not answered yet")
    installed = next((one for one in found.programs if one.rule == rule), None)
    if installed is None:
        raise _refused(board.name, f"no rule {rule} runs on {board.name}")
    program = decode(await asyncio.to_thread(program_of, installed.program_id)).program
    index = next((number for number, one in enumerate(program.params) if one.name == name), None)
    if index is None:
        raise _refused(board.name, f"{rule} has no parameter {name}")
    bits = param_value(program.params[index], value)
    await board.converse(_set(found.hello, installed.place, installed.program_id, rule, bytes([index]) + bits))


def _set(hello: Hello, place: int, program_id: str, rule: str, what: bytes) -> Generator[Ask, bytes, None]:
    """Ask which program runs there, and set the parameter at once: the number of a parameter belongs to a program."""
    installed = yield from conversations.program_in(place)
    if installed is None or installed.program_id != program_id:
        raise _refused("the board", f"{rule} was exchanged on the board just now")
    ask = Ask(Request.SET_PARAM, text(rule) + what, slow=True)
    yield from conversations.done(ask, hello, rule)


def _refused(board: str, message: str) -> EyeflowError:
    return EyeflowError(message, cause="", next_step="", code="no_param", exit_code=ExitCode.PROBLEMS)
