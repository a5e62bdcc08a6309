"""What a gateway tells of a board behind it, and how it lets the board join (docs/decisions/0023)."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any

from msgspec import Meta, to_builtins

from eyeflow.protocol import wire
from eyeflow.protocol.wire import Natural, ProgramId, Reason, Short

BOARDS_MAX = 32
"""Boards behind one node."""
PLACES_MAX = 16
RESET_CAUSES = ("unknown", "power", "pin", "watchdog", "fault", "software")
"""Why a board started last."""
BOARD_FILE_CHARS_MAX = 64 * 1024
DEVICE = r"[0-9a-f]{16}"
"""The number that a chip has from its maker, in hex."""


class BoardState(Enum):
    """How a board stands, as its gateway sees it."""

    UNKNOWN = "unknown"
    ONLINE = "online"
    STALE = "stale"
    LINK_LOST = "linkLost"
    UPDATING = "updating"
    FAILED = "failed"


class BoardProgram(wire.Wire, frozen=True):
    """A program on a board, in the board's own words. `last_fault` is empty when it had none since the board started.

    `is_good`: it has proved itself there. `has_previous`: there is one to go back to. `has_staged`: another
    one of the rule waits in the second slot.
    """

    rule: Short
    version: Short
    program_id: ProgramId
    is_running: bool
    is_good: bool
    has_previous: bool
    has_staged: bool
    executions: Natural
    traps: Natural
    failures: Natural
    last_fault: Reason = ""


class BoardStatus(wire.Wire, frozen=True):
    """A board as its gateway knows it. Times are microseconds since 1970 UTC; `answered_us` 0: it never answered.

    `reason` is a stable word, `evidence` for people. What follows `boot` is from the newest answer: `flash_bytes` of a
    bank for programs, the longest scan since the start, frames as the board counted them, and as the gateway did:
    damaged ones that came, and questions that it had to send again. `reset_cause` is one of RESET_CAUSES.
    `stack_used_bytes` is the most that was ever used of the `stack_bytes`. Empty and 0: its firmware does not tell.
    """

    state: BoardState
    reason: Short
    since_us: Natural
    evidence: Reason
    answered_us: Natural
    firmware: Short
    abi: Natural
    boot: Natural
    uptime_ms: Natural
    reset_cause: Short
    stack_bytes: Natural
    stack_used_bytes: Natural
    flash_bytes: Natural
    flash_used_bytes: Natural
    ram_bytes: Natural
    ram_used_bytes: Natural
    scans: Natural
    scan_us_max: Natural
    frames_good: Natural
    frames_bad: Natural
    received_bad: Natural
    asked_again: Natural
    starts: Natural
    programs: Annotated[tuple[BoardProgram, ...], Meta(max_length=PLACES_MAX)] = ()


def as_plain(status: BoardStatus) -> dict[str, Any]:
    """Return the fields as JSON-able data."""
    plain: dict[str, Any] = to_builtins(status)
    plain.pop("type", None)
    plain["programs"] = [{name: value for name, value in one.items() if name != "type"} for one in plain["programs"]]
    return plain


def board_bytes(
    coordinator_id: str, gateway: str, nonce: bytes, board: str, public_key: bytes, device: str, board_file: str
) -> bytes:
    """Return what a gateway signs to let a board join: the coordinator's nonce, and what it says of the board."""
    return b"eyeflow board v1\0" + wire.pack([coordinator_id, gateway, nonce, board, public_key, device, board_file])
