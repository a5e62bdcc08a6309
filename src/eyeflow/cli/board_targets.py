"""For which board a rule is compiled that goes to boards of the cluster: by the board file that their gateway told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.cli import compiling

if TYPE_CHECKING:
    from eyeflow.client.rest import CoordinatorClient
    from eyeflow.compiler.compile import CompileOptions

Json = dict[str, Any]


def target_options(client: CoordinatorClient, where: Json) -> CompileOptions | None:
    """Return the options for the boards that are named; None for nodes, and for boards that are not named one by one.

    A rule for a board is checked against its pins and buses, so boards are named. Raises EyeflowError for nodes and
    boards together, for a board without a known board file, and for boards with different files.
    """
    names = where.get("nodeIds", ())
    boards = [name for name in names if _is_board(client, name)]
    if not boards:
        return None
    if len(boards) < len(names):
        other = next(name for name in names if name not in boards)
        told = f"{boards[0]} is a board and {other} is none"
        raise _refused(told, "one program has one target", "Deploy to nodes and to boards one after the other.")
    files = {name: client.board_file(name) for name in boards}
    if missing := [name for name, text in files.items() if not text]:
        cause = "rules for boards are compiled with it, and its gateway has told none"
        raise _refused(f"the board file of {missing[0]} is not known", cause, "Name it in [[boards]] board_file there.")
    if len(set(files.values())) > 1:
        raise _refused(
            f"the boards {', '.join(boards)} have different board files",
            "a rule is compiled for one of them",
            "Deploy to boards with the same board file together, and to the others by themselves.",
        )
    from eyeflow.mcu.board import parse_board

    return compiling.board_options(parse_board(files[boards[0]], f"board file of {boards[0]}"))


def _is_board(client: CoordinatorClient, name: str) -> bool:
    try:
        return client.node(name)["board"] is not None
    except EyeflowError as error:
        if error.code == "node_not_found":
            return False  # the coordinator says so, with names that are near
        raise


def _refused(message: str, cause: str, next_step: str) -> EyeflowError:
    return EyeflowError(message, cause=cause, next_step=next_step, code="no_target", exit_code=ExitCode.PROBLEMS)
