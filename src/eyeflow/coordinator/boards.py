"""Boards behind nodes: how a gateway lets one join, and how a board stands as far as anybody can know.

What a board's link says, its gateway says. Without that link nobody knows how the board is: it runs on by itself, so it
is called unknown and not offline (docs/decisions/0023).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eyeflow.base.names import camel_case
from eyeflow.coordinator.problem import Problem
from eyeflow.coordinator.room import check_room
from eyeflow.coordinator.standings import UNHEARD_S
from eyeflow.coordinator.store.cluster_store import Writing
from eyeflow.coordinator.store.facts import Kept, LogEntry
from eyeflow.coordinator.store.kept_boards import KeptBoard
from eyeflow.coordinator.tokens import NODE_ACTOR
from eyeflow.protocol.boards import BOARDS_MAX, BoardState, BoardStatus, as_plain
from eyeflow.rollout.deployment import NODES_MAX

NOT_TOLD = "its gateway has not told yet how it is"


@dataclass(frozen=True, slots=True)
class JoiningBoard:
    """A board that a gateway lets join: its name, the key of its link, the number of its chip, and its board file."""

    name: str
    public_key: bytes
    device: str
    file: str = ""


def let_join(writing: Writing, gateway: str, board: JoiningBoard, now_us: int) -> bool:
    """Register a board of a gateway; False when it is there already: then its board file is kept. Raises Problem.

    A gateway takes no name that another node has, whoever speaks for that one.
    """
    known, kept = writing.node(board.name), writing.board(board.name)
    if known is not None:
        if kept is not None and kept.gateway == gateway and known.public_key == board.public_key:
            if board.file != writing.board_file(board.name):
                writing.record_board_file(board.name, board.file, now_us)
            return False
        raise Problem(
            "node_exists",
            f"A node named {board.name} with another key or another gateway is in the cluster.",
            f"choose another name, or remove it first: eyeflow nodes forget {board.name}",
        )
    if writing.board(gateway) is not None:
        raise Problem("forbidden", f"{gateway} is a board: it speaks for no others.")
    if len(writing.boards_of(gateway)) >= BOARDS_MAX:
        full = f"{gateway} speaks for {BOARDS_MAX} boards already."
        raise Problem("limit_reached", full, "give some of them to another node")
    check_room(writing, Kept.NODES, NODES_MAX)
    writing.register_node(board.name, board.public_key, now_us)
    writing.record_board(board.name, gateway, board.device)
    writing.record_board_file(board.name, board.file, now_us)
    told = f"device {board.device}"
    writing.add_log_entry(LogEntry(now_us, f"{NODE_ACTOR}{gateway}", "join_board", board.name, told))
    return True


@dataclass(frozen=True, slots=True)
class Heard:
    """What the coordinator itself knows of the links of a board and its gateway. Times: microseconds since 1970 UTC."""

    is_linked: bool
    gateway_is_linked: bool
    seen_us: int
    now_us: int


def board_view(kept: KeptBoard, status: BoardStatus | None, heard: Heard) -> dict[str, Any]:
    """Return a `Board`: what its gateway told last, and how it stands now."""
    told = as_plain(status) if status is not None else kept.told
    standing = _standing(kept, told, heard)
    shown = {camel_case(name): value for name, value in (told or {}).items() if name != "programs"}
    programs = [
        {"hasStaged": False, **{camel_case(name): value for name, value in one.items()}}
        for one in (told or {}).get("programs", ())
    ]
    known = {"gateway": kept.gateway, "device": kept.device, "hasBoardFile": kept.has_file}
    return {**known, **_EMPTY, **shown, "programs": programs, **standing}


_NUMBERS = (
    *("answeredUs", "abi", "boot", "uptimeMs", "flashBytes", "flashUsedBytes", "ramBytes", "ramUsedBytes", "scans"),
    *("scanUsMax", "framesGood", "framesBad", "receivedBad", "askedAgain", "starts", "stackBytes", "stackUsedBytes"),
)
_EMPTY: dict[str, Any] = {"firmware": "", "resetCause": "", **dict.fromkeys(_NUMBERS, 0)}


AWAY = frozenset({BoardState.LINK_LOST.value, BoardState.UNKNOWN.value})
ANSWERING = frozenset({"rule_stopped", "resets", "watchdog", "flash"})
"""Reasons of failed boards that answer their gateway all the same."""


def is_away(state: str, reason: str) -> bool:
    """Whether a board does not answer its gateway, by what that told: its link is no sign that it can do anything."""
    return state in AWAY or (state == BoardState.FAILED.value and reason not in ANSWERING)


def is_told_away(told: dict[str, Any] | None) -> bool:
    """The same, by what is kept of it; also a board of which nothing was told yet."""
    return told is None or is_away(told["state"], told["reason"])


def _standing(kept: KeptBoard, told: dict[str, Any] | None, heard: Heard) -> dict[str, Any]:
    before = f"; before that it was {told['state']}: {told['evidence']}" if told else ""
    is_silent = heard.now_us - heard.seen_us > UNHEARD_S * 1_000_000
    if heard.is_linked and not is_silent and told is not None:
        return {camel_case(name): told[name] for name in ("state", "reason", "since_us", "evidence")}
    if heard.is_linked and not is_silent:
        return _unknown("not_told", heard.seen_us, NOT_TOLD)
    if heard.is_linked:
        text = f"its gateway {kept.gateway} has a link and tells nothing of it{before}"
        return _unknown("gateway_silent", heard.seen_us, text)
    if not heard.gateway_is_linked:
        return _unknown("gateway_lost", heard.seen_us, f"its gateway {kept.gateway} has no link{before}")
    text = f"its gateway {kept.gateway} has a link and does not speak for it: was it released there?{before}"
    return _unknown("not_served", heard.seen_us, text)


def _unknown(reason: str, since_us: int, evidence: str) -> dict[str, Any]:
    return {"state": BoardState.UNKNOWN.value, "reason": reason, "sinceUs": since_us, "evidence": evidence}
