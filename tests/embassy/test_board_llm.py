"""A board that delegates LLM calls: the question comes over the line, the answer or the fallback goes on with the rule."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import pytest

from components.boards import F401, PLAIN_F401, SECOND_US, SIGNER, Lab
from eyeflow.base.errors import EyeflowError
from eyeflow.board_link.messages import LlmRequest, LogLine
from eyeflow.board_link.port import Board
from eyeflow.compiler.compile import CompileOptions, CompileResult, compile_rule
from eyeflow.mcu.board import parse_board
from eyeflow.mcu.hardware import board_hardware
from eyeflow.mcu.sim.chip import SimulatedChip
from eyeflow.svm.container import encode
from eyeflow.svm.program import Profile
from eyeflow.svm.signing import sign_program

CALM, HOT = 0, 1
PATIENCE_S = 60.0
LED = "PC13"

CLASSIFY = """
rule triage {
    version "1.0.0"
    pin RELAY: output
    enum Kind { CALM, HOT }
    on every 1s
    let kind = llm.classify("LONG", Kind, "is it hot?") timeout 3s else CALM
    gpio.set_pin(RELAY, if kind == HOT then HIGH else LOW)
}
""".replace("LONG", "what the probe says, " * 9)
COMPLETE = """
rule advice {
    version "1.0.0"
    on every 1s
    log.info(llm.complete("what now?", max: 60) retry 1 timeout 2s else "nobody knows")
}
"""
BLINK = """
rule blink {
    version "1.0.0"
    pin LED: output
    state on: bool = false
    on every 100ms
    on = not on
    gpio.set_pin(LED, if on then HIGH else LOW)
}
"""


def compiled(source: str, lab: Lab = F401) -> CompileResult:
    board = parse_board(lab.board_text)
    options = CompileOptions(Profile.MCU, board.chip.name, board.limits, hardware=board_hardware(board))
    return compile_rule(source, name="rule.eye", options=options)


def program(source: str) -> bytes:
    result = compiled(source)
    assert result.program is not None, result.diagnostics
    return sign_program(encode(result.program), SIGNER)


def asked(board: Board, after: int | None = None) -> LlmRequest:
    """Wait for a question, for a later one than `after`."""
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        for heard in board.listen(0.1):
            if isinstance(heard, LlmRequest) and heard.number != after:
                return heard
    pytest.fail("the board asks nothing")


def until(board: Board, right: Callable[[], bool]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not right():
        assert time.monotonic() < end_s
        list(board.listen(0.05))


def test_an_answer_changes_what_the_rule_does_and_others_run_meanwhile() -> None:
    chip = F401.start()
    with F401.link(chip) as board:
        assert board.hello.delegates_llm
        board.push(program(CLASSIFY))
        board.push(program(BLINK))
        assert asked(board).args == ("what the probe says, " * 9, "is it hot?")
        levels: set[bool] = set()
        until(board, lambda: levels.add(chip.pin(LED)) is None and len(levels) == 2)
        assert chip.pin(F401.relay) is False
        answered_hot(board, chip)
    chip.close()


def answered_hot(board: Board, chip: SimulatedChip) -> int:
    """Answer until one answer came in time; returns the number of that question."""
    number = None
    end_s = time.monotonic() + PATIENCE_S
    while not chip.pin(F401.relay) and time.monotonic() < end_s:
        number = asked(board, number).number
        board.answer_llm(number, HOT)
        list(board.listen(0.2))
    assert number is not None and chip.pin(F401.relay)
    return number


def test_without_an_answer_the_declared_fallback_counts_at_the_timeout_and_a_late_answer_changes_nothing() -> None:
    chip = F401.start()
    with F401.link(chip) as board:
        board.push(program(CLASSIFY))
        before = answered_hot(board, chip)
        number = asked(board, before).number
        until(board, lambda: not chip.pin(F401.relay))
        board.answer_llm(number, HOT)
        board.answer_llm(before, HOT)
    went_on: list[bool] = []
    for _ in range(20):
        chip.run(chip.time_us + SECOND_US // 4)
        went_on.append(chip.pin(F401.relay))
    assert not any(went_on), "the question was over"
    chip.close()


def test_a_model_that_failed_and_an_answer_that_is_no_member_end_in_the_fallback() -> None:
    chip = F401.start()
    with F401.link(chip) as board:
        board.push(program(CLASSIFY))
        number = asked(board).number
        board.answer_llm(number, None)
        number = asked(board, number).number
        board.answer_llm(number, 7)
        asked(board, number)
        assert board.status().counters[0].failures == 1, "what is no member is no failure of the model"
        assert not chip.pin(F401.relay)
    chip.close()


def test_noise_on_the_line_costs_no_question_and_no_answer() -> None:
    chip, noise = F401.start(), random.Random(7)
    with F401.link(chip) as board:
        board.push(program(CLASSIFY))
        for _ in range(20):
            chip.serial_write(F401.link_port, noise.randbytes(40))
            list(board.listen(0.05))
        answered_hot(board, chip)
    chip.close()


def test_a_text_is_answered_asked_again_when_it_fails_and_then_replaced() -> None:
    chip = F401.start()
    lines: list[str] = []
    with F401.link(chip) as board:
        board.push(program(COMPLETE))
        number, end_s = None, time.monotonic() + PATIENCE_S
        while not lines and time.monotonic() < end_s:
            number = asked(board, number).number
            board.answer_llm(number, "öffne das Ventil")
            lines += [heard.text for heard in board.listen(0.3) if isinstance(heard, LogLine)]
        assert "advice: öffne das Ventil" in lines
        lines.clear()
        numbers: set[int] = set()
        while not lines and time.monotonic() < end_s + PATIENCE_S:
            for heard in board.listen(0.2):
                if isinstance(heard, LogLine):
                    lines.append(heard.text)
                elif isinstance(heard, LlmRequest) and not lines:
                    numbers.add(heard.number)
        assert lines[0] == "advice: nobody knows"
        assert len(numbers) >= 2, "declared: one retry"
    chip.close()


def test_a_new_version_replaces_a_program_that_waits() -> None:
    chip = F401.start()
    with F401.link(chip) as board:
        board.push(program(CLASSIFY))
        number = asked(board).number
        board.push(program(CLASSIFY.replace('"1.0.0"', '"1.1.0"')))
        asked(board, number)
        assert board.list()[0].version == "1.1.0"
        answered_hot(board, chip)
    chip.close()


def test_a_board_that_does_not_delegate_takes_no_such_program() -> None:
    chip = PLAIN_F401.start()
    with F401.link(chip) as board:
        assert not board.hello.delegates_llm
        with pytest.raises(EyeflowError, match=r"(?i)capabilit|lacks|not have"):
            board.push(program(CLASSIFY))
    chip.close()


def test_the_compiler_allows_it_for_a_board_that_delegates_with_half_the_memory() -> None:
    refused = compiled(CLASSIFY, PLAIN_F401)
    assert refused.program is None
    assert refused.diagnostics[0].code == "EF0402"
    plain, delegating = parse_board(PLAIN_F401.board_text), parse_board(F401.board_text)
    assert plain.limits == plain.chip.limits
    assert delegating.limits.slots_max == (plain.limits.slots_max or 0) // 2
