"""A gateway that is killed with SIGKILL while it takes records of a board: each is in the audit once."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from components.board_double import BoardDouble, plugged_in
from components.waiting import wait_until
from eyeflow.board_link.messages import Request

from . import gateway_process
from .test_records import audit_of, taken, told

STEPS = [("read", 1), ("read", 3), ("committed", 1), ("committed", 2), ("acknowledged", 1), ("acknowledged", 2)]


def gateway(tmp_path: Path, port: str, step: str, number: int, *how: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, gateway_process.__file__, str(tmp_path), port, step, str(number), *how]
    return subprocess.Popen(command, stdin=subprocess.PIPE)


def killed(tmp_path: Path, board: BoardDouble, port: str, step: str, number: int, *how: str) -> None:
    """Let the board record until the gateway has killed itself."""
    process = gateway(tmp_path, port, step, number, *how)
    while process.poll() is None:
        board.run(1)
        board.requests.clear()
        wait_until(lambda: process.poll() is not None or Request.RECORDS_INFO in board.requests, "it is asked")
    assert process.returncode == -signal.SIGKILL
    process.communicate()


def finished(tmp_path: Path, board: BoardDouble, port: str) -> None:
    board.run(0)  # one that nobody has acknowledged yet
    process = gateway(tmp_path, port, "none", 0)
    wait_until(lambda: board.oldest == len(board.records), "the gateway has all records")
    process.communicate(b"\n")
    assert process.returncode == 0


def test_each_record_is_in_the_audit_once_wherever_the_gateway_is_killed(tmp_path: Path) -> None:
    board = BoardDouble(ring_records=1000)
    with plugged_in(board) as port:
        for step, number in STEPS:
            killed(tmp_path, board, port, step, number)
        finished(tmp_path, board, port)
    audit = audit_of(tmp_path)
    assert taken(audit) == [(1, number, raw) for number, raw in enumerate(board.records)]
    assert [word for word in told(audit) if "record" not in word] == ["started 1 0"], "nothing is missing"


def test_the_control_a_gateway_that_acknowledges_before_the_commit_loses_records(tmp_path: Path) -> None:
    board = BoardDouble(ring_records=1000)
    with plugged_in(board) as port:
        killed(tmp_path, board, port, "read", 3, "hasty")
        finished(tmp_path, board, port)
    with pytest.raises(AssertionError):
        assert taken(audit_of(tmp_path)) == [(1, number, raw) for number, raw in enumerate(board.records)]
    assert "board_taken" in " ".join(told(audit_of(tmp_path)))
