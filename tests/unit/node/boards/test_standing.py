"""The states of a board, each with the evidence that it claims."""

from __future__ import annotations

from typing import Any

import pytest

from eyeflow.base.errors import EyeflowError
from eyeflow.board_link.messages import Reset
from eyeflow.node.boards.standing import RESETS_MAX, STALE_S, Contact, Standing, judge
from eyeflow.protocol.boards import BoardState

SECOND = 1_000_000
NOW = 1_000 * SECOND


def trouble(code: str) -> EyeflowError:
    return EyeflowError(f"because of {code}", cause="a test", code=code)


def heard(ago_s: int, of: EyeflowError | None = None, **more: Any) -> Contact:
    """A board that answered so long ago; the wall clock and the steady one show the same time."""
    at_us = NOW - ago_s * SECOND
    return Contact(answered_us=at_us, answered_wall_us=at_us, trouble=of, **more)


@pytest.mark.parametrize(
    ("contact", "state", "reason", "evidence"),
    [
        (heard(2), BoardState.ONLINE, "answers", "it answered the newest question"),
        (heard(2, trouble("board_stopped")), BoardState.STALE, "unanswered", "last answer 1970-01-01 00:16:38 UTC"),
        (heard(40, trouble("board_stopped")), BoardState.LINK_LOST, "board_silent", "00:16:00 UTC"),
        (heard(40, trouble("board_stopped"), good_frames=7), BoardState.FAILED, "firmware_silent", "good frames came"),
        (Contact(trouble=trouble("board_silent")), BoardState.LINK_LOST, "board_silent", "last answer never"),
        (heard(0, trouble("port_gone")), BoardState.LINK_LOST, "port_gone", "because of port_gone"),
        (heard(0, trouble("not_eyeflow")), BoardState.FAILED, "not_eyeflow", "because of not_eyeflow"),
        (heard(0, trouble("other_device")), BoardState.FAILED, "other_device", "because of other_device"),
        (heard(0, trouble("board_file")), BoardState.FAILED, "board_file", "because of board_file"),
        (heard(0, trouble("cannot_write")), BoardState.FAILED, "cannot_write", "because of cannot_write"),
        (heard(0, updating="12 of 90 bytes"), BoardState.UPDATING, "update", "12 of 90 bytes"),
        (heard(0, flash_failure="worn out"), BoardState.FAILED, "flash", "worn out"),
        (heard(0, stopped=("relay 1.0.0 is stopped",)), BoardState.FAILED, "rule_stopped", "relay 1.0.0"),
        (heard(0, starts=[NOW] * (RESETS_MAX + 1)), BoardState.FAILED, "resets", "started 4 times"),
        (heard(0, starts=[NOW] * (RESETS_MAX + 1), reset_cause=Reset.FAULT), BoardState.FAILED, "resets", "a fault of its processor"),
        (heard(0, starts=[NOW] * (RESETS_MAX + 1), reset_cause=Reset.WATCHDOG), BoardState.FAILED, "watchdog", "started 4 times in the last 120 s, the last time by its watchdog"),
        (heard(0, starts=[1] * (RESETS_MAX + 1)), BoardState.ONLINE, "answers", "it answered the newest question"),
    ],
)  # fmt: skip
def test_each_state_follows_from_what_was_seen(contact: Contact, state: BoardState, reason: str, evidence: str) -> None:
    found = judge(contact, NOW)
    assert found[:2] == (state, reason)
    assert evidence in found[2]


def test_a_silent_board_is_stale_first_and_then_lost() -> None:
    contact = heard(0, trouble("board_stopped"))
    limit = round(STALE_S * SECOND)
    assert judge(contact, NOW + limit - 1)[0] is BoardState.STALE
    assert judge(contact, NOW + limit)[0] is BoardState.LINK_LOST


def test_since_when_is_kept_while_state_and_reason_stay() -> None:
    first = Standing().then(5, BoardState.FAILED, "resets", "4 times")
    again = first.then(9, BoardState.FAILED, "resets", "5 times")
    other = again.then(12, BoardState.FAILED, "flash", "worn out")
    assert (again.since_us, again.evidence, other.since_us) == (5, "5 times", 12)
