"""For what a rule is compiled that goes to the cluster: nodes, and each board file that gateways have told.

A program for boards depends on their chip alone. Their board file says whether the rule fits (docs/decisions/0025).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.cli import compiling

if TYPE_CHECKING:
    from eyeflow.client.rest import CoordinatorClient
    from eyeflow.compiler.compile import CompileOptions

Json = dict[str, Any]


@dataclass(frozen=True)
class CompileTarget:
    """Options to compile with, and the boards that they are for; none: they are for nodes."""

    options: CompileOptions
    boards: tuple[str, ...] = ()


def for_nodes() -> CompileTarget:
    """Return the target of nodes that are no boards."""
    return CompileTarget(compiling.compile_options(compiling.ProfileName.LINUX, ""))


def compile_targets(client: CoordinatorClient, where: Json) -> list[CompileTarget]:
    """Return the targets of the nodes that `where` means, that of nodes first. One for each board file.

    Raises EyeflowError for a board whose file is not known.
    """
    boards, has_nodes = _named(client, where) if "nodeIds" in where else _chosen(client, where)
    files: dict[str, list[str]] = {}
    for name in boards:
        files.setdefault(client.board_file(name), []).append(name)
    if unknown := files.get(""):
        raise EyeflowError(
            f"the board file of {', '.join(unknown)} is not known",
            cause="rules for boards are compiled with it, and its gateway has told none",
            next_step=f"name it in [[boards]] board_file there, or leave them out: --exclude {','.join(unknown)}",
            code="no_target",
            exit_code=ExitCode.PROBLEMS,
        )
    return [*([for_nodes()] if has_nodes or not boards else []), *(_for_boards(*one) for one in files.items())]


def _for_boards(text: str, names: list[str]) -> CompileTarget:
    from eyeflow.mcu.board import parse_board

    return CompileTarget(compiling.board_options(parse_board(text, f"board file of {names[0]}")), tuple(names))


def _named(client: CoordinatorClient, where: Json) -> tuple[list[str], bool]:
    """Return the boards among named nodes, and whether others are among them."""
    names = [name for name in where["nodeIds"] if name not in where.get("exclude", ())]
    boards = [name for name in names if _is_board(client, name)]
    return boards, len(boards) < len(names)


def _is_board(client: CoordinatorClient, name: str) -> bool:
    try:
        return client.node(name)["board"] is not None
    except EyeflowError as error:
        if error.code == "node_not_found":
            return False  # the coordinator says so, with names that are near
        raise


def _chosen(client: CoordinatorClient, where: Json) -> tuple[list[str], bool]:
    """The same for nodes with labels, or all. Of those that are no boards, it looks no further than the first."""
    boards = [one["name"] for one in _meant(client, where, is_board=True)]
    return boards, any(True for _ in _meant(client, where, is_board=False))


def _meant(client: CoordinatorClient, where: Json, *, is_board: bool) -> Iterator[Json]:
    asked: Json = {"board": is_board}
    if labels := where.get("labels"):
        asked["label"] = [f"{name}={value}" for name, value in labels.items()]
    cursor = ""
    while True:
        page = client.node_page(cursor, **asked)
        for one in page["nodes"]:
            if one["name"] not in where.get("exclude", ()) and not one["drainedUs"]:
                yield one
        if not (cursor := page["nextCursor"]):
            return
