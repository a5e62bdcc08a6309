"""The states of a board, each with the evidence that it claims."""

from __future__ import annotations

import pytest

from eyeflow.base.errors import EyeflowError
from eyeflow.node.boards.standing import RESETS_MAX, STALE_S, BoardState, Contact, Standing, judge

SECOND = 1_000_000
NOW = 1_000 * SECOND


def trouble(code: str) -> EyeflowError:
    return EyeflowError(f"because of {code}", cause="a test", code=code)


@pytest.mark.parametrize(
    ("contact", "state", "reason", "evidence"),
    [
        (Contact(NOW - 2 * SECOND), BoardState.ONLINE, "answers", "it answered 2s ago"),
        (Contact(NOW - 2 * SECOND, trouble("board_stopped")), BoardState.STALE, "unanswered", "last answer 2s ago"),
        (Contact(NOW - 40 * SECOND, trouble("board_stopped")), BoardState.LINK_LOST, "board_silent", "40s ago"),
        (Contact(NOW - 40 * SECOND, trouble("board_stopped"), 7), BoardState.FAILED, "firmware_silent", "7 good frames"),
        (Contact(0, trouble("board_silent")), BoardState.LINK_LOST, "board_silent", "last answer never"),
        (Contact(NOW, trouble("port_gone")), BoardState.LINK_LOST, "port_gone", "because of port_gone"),
        (Contact(NOW, trouble("not_eyeflow")), BoardState.FAILED, "not_eyeflow", "because of not_eyeflow"),
        (Contact(NOW, trouble("other_device")), BoardState.FAILED, "other_device", "because of other_device"),
        (Contact(NOW, trouble("board_file")), BoardState.FAILED, "board_file", "because of board_file"),
        (Contact(NOW, updating="12 of 90 bytes"), BoardState.UPDATING, "update", "12 of 90 bytes"),
        (Contact(NOW, flash_failure="worn out"), BoardState.FAILED, "flash", "worn out"),
        (Contact(NOW, stopped=("relay 1.0.0 is stopped",)), BoardState.FAILED, "rule_stopped", "relay 1.0.0"),
        (Contact(NOW, starts=[NOW] * (RESETS_MAX + 1)), BoardState.FAILED, "resets", "started 4 times"),
        (Contact(NOW, starts=[1] * (RESETS_MAX + 1)), BoardState.ONLINE, "answers", "it answered 0s ago"),
    ],
)  # fmt: skip
def test_each_state_follows_from_what_was_seen(contact: Contact, state: BoardState, reason: str, evidence: str) -> None:
    found = judge(contact, NOW)
    assert found[:2] == (state, reason)
    assert evidence in found[2]


def test_a_silent_board_is_stale_first_and_then_lost() -> None:
    contact = Contact(NOW, trouble("board_stopped"))
    limit = round(STALE_S * SECOND)
    assert judge(contact, NOW + limit - 1)[0] is BoardState.STALE
    assert judge(contact, NOW + limit)[0] is BoardState.LINK_LOST


def test_since_when_is_kept_while_state_and_reason_stay() -> None:
    first = Standing().then(5, BoardState.FAILED, "resets", "4 times")
    again = first.then(9, BoardState.FAILED, "resets", "5 times")
    other = again.then(12, BoardState.FAILED, "flash", "worn out")
    assert (again.since_us, again.evidence, other.since_us) == (5, "5 times", 12)
