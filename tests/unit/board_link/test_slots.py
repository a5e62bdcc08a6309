"""Staging, switching and going back, as a host asks for them: against a light board, also one with older firmware."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from components.board_double import BoardDouble, plugged_in
from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.board_link.messages import Reset
from eyeflow.board_link.port import Board
from eyeflow.compiler.compile import CompileOptions, compile_rule
from eyeflow.svm.container import encode
from eyeflow.svm.program import Profile

RULE = (
    'rule {rule} {{\n    version "{version}"\n    pin LAMP: output\n    on every 1s\n    gpio.set_pin(LAMP, HIGH)\n}}\n'
)


def program(version: str, rule: str = "lamp") -> bytes:
    source = RULE.format(rule=rule, version=version)
    result = compile_rule(source, name="lamp.eye", options=CompileOptions(Profile.MCU))
    assert result.program is not None
    return encode(result.program)


@pytest.fixture
def double() -> BoardDouble:
    return BoardDouble()


@pytest.fixture
def board(double: BoardDouble) -> Iterator[Board]:
    with plugged_in(double) as port, Board(port) as opened:
        yield opened


def versions(board: Board) -> tuple[list[str], list[str], list[str]]:
    """The versions that run, those before them, and those that are staged."""
    found = board.status()
    running, previous, staged = (
        [one.version for one in slot] for slot in (found.programs, found.previous, found.staged)
    )
    return running, previous, staged


def test_a_staged_program_waits_runs_after_the_switch_and_is_taken_back(board: Board) -> None:
    old = board.push(program("1.0.0")).program_id
    new = board.stage(program("1.1.0"))
    assert not new.already and board.stage(program("1.1.0")).already
    assert versions(board) == (["1.0.0"], [], ["1.1.0"])
    assert board.list()[0].has_staged
    board.switch(new.program_id)
    board.switch(new.program_id)
    assert versions(board) == (["1.1.0"], ["1.0.0"], [])
    board.back(old)
    board.back(old)
    assert versions(board) == (["1.0.0"], [], [])


def test_a_rule_that_is_only_staged_is_seen_and_given_up(board: Board) -> None:
    staged = board.stage(program("1.0.0")).program_id
    assert versions(board) == ([], [], ["1.0.0"])
    board.drop(staged)
    board.drop(staged)
    assert versions(board) == ([], [], [])


def test_what_the_board_does_not_keep_is_named(board: Board) -> None:
    old = board.push(program("1.0.0")).program_id
    with pytest.raises(EyeflowError, match=f"has not staged all of {old[:12]}, 00000000") as caught:
        board.switch(old, "0" * 64)
    assert (caught.value.code, caught.value.exit_code) == ("not_kept", ExitCode.PROBLEMS)
    with pytest.raises(EyeflowError, match="as the one before the running one"):
        board.back("0" * 64)


def test_older_firmware_is_read_and_says_that_it_has_no_second_slots(board: Board, double: BoardDouble) -> None:
    double.is_old = True
    board.push(program("1.0.0"))
    old = board.push(program("1.1.0")).program_id
    found = board.status()
    assert [one.has_previous for one in found.programs] == [True] and found.previous == ()
    assert (found.health.reset_cause, found.health.stack_bytes) == (Reset.UNKNOWN, 0)
    for ask in (lambda: board.stage(program("1.2.0")), lambda: board.switch(old), lambda: board.drop(old)):
        with pytest.raises(EyeflowError, match="keeps no second program of a rule") as caught:
            ask()
        assert (caught.value.code, caught.value.exit_code) == ("no_slots", ExitCode.PROBLEMS)
    assert versions(board) == (["1.1.0"], [], [])
