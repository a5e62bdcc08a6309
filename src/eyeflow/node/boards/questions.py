"""What commands ask a node of its boards, over its socket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.reasons import why
from eyeflow.node.boards import verbs
from eyeflow.node.boards.boards import Boards
from eyeflow.node.boards.commands import BoardCommands
from eyeflow.node.status.local_socket import Answer
from eyeflow.node.status.report import as_shown


def board_answers(boards: Boards) -> Mapping[str, Answer]:
    """Return the questions about boards with what answers them."""
    commands = BoardCommands(boards)
    asked: dict[str, Callable[[Mapping[str, Any]], Awaitable[dict[str, object]]]] = {
        verbs.LIST: boards.list,
        verbs.ADOPT: boards.adopt,
        verbs.RENAME: boards.rename,
        verbs.RELEASE: boards.release,
        verbs.FIND: commands.find,
        verbs.EXCHANGE: commands.exchange,
        verbs.PUSH: commands.push,
        verbs.REMOVE: commands.remove,
        verbs.LOG: commands.log,
        verbs.SAID: commands.said,
        verbs.LET_GO: commands.let_go,
        verbs.TAKE_BACK: commands.take_back,
    }
    return {name: _shown(answer) for name, answer in asked.items()}


def _shown(answer: Callable[[Mapping[str, Any]], Awaitable[dict[str, object]]]) -> Answer:
    async def answered(asked: Mapping[str, Any]) -> Mapping[str, object]:
        try:
            return as_shown(await answer(asked))
        except (KeyError, TypeError, ValueError) as error:
            raise EyeflowError(
                "the question is malformed",
                cause=why(error),
                next_step="Ask with the eyeflow that the node runs.",
                code="malformed",
                exit_code=ExitCode.USAGE,
            ) from error

    return answered
