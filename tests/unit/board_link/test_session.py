"""The line without I/O: asking again, answers that are late, double or for somebody else; pushing against a model board."""

from __future__ import annotations

import pytest

from eyeflow.board_link.frames import ANSWER, Frame, encode_frame
from eyeflow.board_link.messages import LogLine, Request, Unasked
from eyeflow.board_link.session import HEARD_MAX, Ask, Line, NoAnswerError, Patience

PING = Ask(Request.PING, b"x")
PATIENCE = Patience(answer_s=1.0, slow_answer_s=5.0, tries=3, slow_tries=2)


def answer(sequence: int, payload: bytes = b"\0x", request: Request = Request.PING) -> bytes:
    return encode_frame(Frame(request | ANSWER, sequence, payload))


def test_an_answer_ends_the_exchange() -> None:
    line = Line(PATIENCE)
    assert line.start(PING, 0.0) == encode_frame(Frame(Request.PING, 1, b"x"))
    line.feed(answer(1))
    assert line.answer == b"\0x"
    assert line.poll(100.0) == b""


def test_it_asks_again_and_gives_up_in_the_end() -> None:
    line = Line(PATIENCE)
    first = line.start(PING, 0.0)
    assert line.poll(0.9) == b""
    assert line.poll(1.0) == first
    assert line.poll(2.0) == first
    with pytest.raises(NoAnswerError, match="PING"):
        line.poll(3.0)
    assert line.resent == 2


def test_slow_requests_get_more_time() -> None:
    line = Line(PATIENCE)
    line.start(Ask(Request.PUSH_END, b"", slow=True), 0.0)
    assert line.poll(4.9) == b""
    assert line.poll(5.0) != b""
    with pytest.raises(NoAnswerError):
        line.poll(10.0)


def test_late_answers_to_other_requests_are_not_taken() -> None:
    line = Line(PATIENCE)
    line.start(PING, 0.0)
    line.feed(answer(1))
    line.start(PING, 0.0)
    line.feed(answer(1, b"\0late"))
    line.feed(answer(2, b"\0y", Request.HELLO))
    assert line.answer is None
    line.feed(answer(2, b"\0z") + answer(2, b"\0again"))
    assert line.answer == b"\0z"


def test_numbers_go_round() -> None:
    line = Line(PATIENCE)
    for count in range(600):
        wire = line.start(PING, 0.0)
        assert wire == encode_frame(Frame(Request.PING, (count + 1) % 256, b"x"))
        line.feed(answer((count + 1) % 256))
        assert line.answer is not None


def test_what_the_board_says_in_between_is_kept_and_bounded() -> None:
    line = Line(PATIENCE)
    line.start(PING, 0.0)
    log = encode_frame(Frame(Unasked.LOG, 0, b"\x01hello"))
    line.feed(log + answer(1) + log)
    assert line.answer is not None
    assert list(line.heard) == [LogLine(1, "hello")] * 2
    for _ in range(HEARD_MAX):
        line.feed(log)
    assert len(line.heard) == HEARD_MAX


def test_frames_since_the_last_answer_are_counted_and_a_second_answer_is_none_of_them() -> None:
    line = Line(PATIENCE)
    log = encode_frame(Frame(Unasked.LOG, 0, b"\x01hello"))
    line.start(PING, 0.0)
    line.feed(log + answer(1) + answer(1))
    assert line.since_answer == 0
    line.start(PING, 0.0)
    line.feed(log + log)
    assert line.since_answer == 2
    line.feed(answer(2))
    assert line.since_answer == 0
