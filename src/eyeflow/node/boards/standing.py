"""How a board stands, since when, and by what evidence: a pure function of what its line brought."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from eyeflow.base.errors import EyeflowError
from eyeflow.board_link.messages import Reset
from eyeflow.protocol.boards import BoardState

STALE_S = 15.0
"""How long a board that stops answering is called stale; then its link is lost, or it has failed."""
RESETS_MAX = 3
RESETS_WITHIN_S = 120.0
"""A board that starts more often than this in this time resets in a loop."""
SECOND_US = 1_000_000

FIRMWARE = frozenset({"not_eyeflow", "line_garbled", "protocol", "other_device", "other_chip", "internal"})
"""Codes of failures where something answers, and not as the board of this line should."""
UNUSABLE = frozenset({"board_file", "board_kept", "cannot_write", "node_key"})
"""Codes of boards of which this node has no files that it can use."""
CAUSES = {
    Reset.POWER: ", the last time because it got power",
    Reset.PIN: ", the last time by its reset pin",
    Reset.WATCHDOG: ", the last time by its watchdog: its firmware stood still",
    Reset.FAULT: ", the last time by a fault of its processor, or a panic of its firmware",
    Reset.SOFTWARE: ", the last time by its software",
}
"""Why a board started. Older firmware does not tell."""
SILENT = frozenset({"board_silent", "board_stopped"})


@dataclass(frozen=True, slots=True)
class Standing:
    """A state with its stable reason, since when it holds (microseconds since 1970 UTC), and what shows it."""

    state: BoardState = BoardState.UNKNOWN
    reason: str = "not_asked"
    since_us: int = 0
    evidence: str = "this node has not asked it yet since it started"

    def then(self, now_us: int, state: BoardState, reason: str, evidence: str) -> Standing:
        """Return what follows: a state that goes on for the same reason keeps its beginning."""
        is_same = (state, reason) == (self.state, self.reason)
        return Standing(state, reason, self.since_us if is_same else now_us, evidence)


@dataclass(slots=True)
class Contact:
    """What a gateway knows of the line of a board. Times are microseconds of a steady clock; 0: never.

    `answered_wall_us`: when it answered last on the wall clock, for people.

    `trouble` is the failure of the newest attempt, None when it was answered. `good_frames` came since the last answer.
    `stopped` tells of each rule that the board stopped, and why. `starts`: when the board was found to have started;
    `reset_cause`: why it did so last.
    """

    answered_us: int = 0
    answered_wall_us: int = 0
    trouble: EyeflowError | None = None
    good_frames: int = 0
    stopped: tuple[str, ...] = ()
    updating: str = ""
    flash_failure: str = ""
    starts: list[int] = field(default_factory=list)
    reset_cause: Reset = Reset.UNKNOWN


def judge(contact: Contact, steady_us: int) -> tuple[BoardState, str, str]:
    """Return state, reason and evidence."""
    if contact.trouble is not None:
        return _troubled(contact, contact.trouble, steady_us)
    if contact.updating:
        return BoardState.UPDATING, "update", contact.updating
    if contact.flash_failure:
        return BoardState.FAILED, "flash", contact.flash_failure
    recent = [start for start in contact.starts if steady_us - start <= RESETS_WITHIN_S * SECOND_US]
    if len(recent) > RESETS_MAX:
        told = f"it started {len(recent)} times in the last {RESETS_WITHIN_S:g} s{CAUSES.get(contact.reset_cause, '')}"
        return BoardState.FAILED, "watchdog" if contact.reset_cause is Reset.WATCHDOG else "resets", told
    if contact.stopped:
        return BoardState.FAILED, "rule_stopped", "; ".join(contact.stopped)
    return BoardState.ONLINE, "answers", "it answered the newest question"


def _troubled(contact: Contact, trouble: EyeflowError, steady_us: int) -> tuple[BoardState, str, str]:
    told = f"{trouble.brief}; last answer {_when(contact.answered_wall_us)}"
    if trouble.code in FIRMWARE | UNUSABLE:
        return BoardState.FAILED, trouble.code, told
    if trouble.code not in SILENT:  # the port itself
        return BoardState.LINK_LOST, trouble.code, told
    if contact.answered_us and steady_us - contact.answered_us < STALE_S * SECOND_US:
        return BoardState.STALE, "unanswered", told
    if contact.good_frames:
        told = f"good frames came since, and no answer; {told}"
        return BoardState.FAILED, "firmware_silent", told
    return BoardState.LINK_LOST, "board_silent", told


def _when(time_us: int) -> str:
    return datetime.fromtimestamp(time_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if time_us else "never"
