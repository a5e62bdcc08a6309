"""Questions of a board come in pieces, in any order, more than once, and damaged."""

from __future__ import annotations

import struct

import pytest

from eyeflow.board_link.frames import Frame, encode_frame
from eyeflow.board_link.messages import CallPiece, EmittedEvent, LlmRequest, MalformedAnswerError, Unasked
from eyeflow.board_link.questions import Questions, answer_payload, read_arguments
from eyeflow.board_link.session import Line

DATA = b"\x03\x05hello\x01" + (-7).to_bytes(8, "little", signed=True) + b"\x00\x01\x02" + struct.pack("<d", 2.5)
ARGS = ("hello", -7, True, 2.5)


def pieces(number: int = 5, size: int = 10) -> list[CallPiece]:
    return [
        CallPiece(Unasked.LLM_REQUEST, number, 1, 2, at, len(DATA), DATA[at : at + size])
        for at in range(0, len(DATA), size)
    ]


@pytest.mark.parametrize("order", [1, -1])
def test_pieces_in_any_order_are_one_question(order: int) -> None:
    questions = Questions()
    found = [questions.add(piece) for piece in pieces()[::order]]
    assert found == [None, None, LlmRequest(5, 1, 2, ARGS)]


def test_a_question_that_is_asked_again_is_the_same_one() -> None:
    questions = Questions()
    found = [questions.add(piece) for piece in pieces() * 3]
    assert [question for question in found if question] == [LlmRequest(5, 1, 2, ARGS)]


def test_a_lost_piece_comes_with_the_next_round_and_another_number_starts_anew() -> None:
    questions = Questions()
    assert not any(questions.add(piece) for piece in pieces()[1:])
    assert [bool(questions.add(piece)) for piece in pieces()] == [True, False, False]
    assert [bool(questions.add(piece)) for piece in pieces(number=6)] == [False, False, True]


@pytest.mark.parametrize(
    "piece",
    [
        CallPiece(Unasked.LLM_REQUEST, 1, 0, 0, 0, 5000, b"x"),
        CallPiece(Unasked.LLM_REQUEST, 1, 0, 0, 4, 5, b"xx"),
        CallPiece(Unasked.LLM_REQUEST, 1, 0, 0, 0, 2, b"\x09x"),
        CallPiece(Unasked.LLM_REQUEST, 1, 0, 0, 0, 3, b"\x03\x09x"),
    ],
)
def test_pieces_that_do_not_fit_are_no_question(piece: CallPiece) -> None:
    assert Questions().add(piece) is None


def test_a_question_without_arguments_is_one() -> None:
    assert Questions().add(CallPiece(Unasked.LLM_REQUEST, 1, 0, 0, 0, 0, b"")) == LlmRequest(1, 0, 0, ())


def test_texts_of_a_board_steer_no_terminal() -> None:
    assert read_arguments(b"\x03\x03a\x1b[") == ("a\N{REPLACEMENT CHARACTER}[",)
    with pytest.raises(MalformedAnswerError):
        read_arguments(b"\x04")


def test_answers() -> None:
    assert answer_payload(3, None) == b"\x03\x01"
    assert answer_payload(3, "ja") == b"\x03\x00ja"
    assert answer_payload(3, 1) == b"\x03\x02\x01" + bytes(7)
    cut = answer_payload(3, "x" + "ö" * 100)
    assert len(cut) == 2 + 125, "never in the middle of a character"
    assert cut[2:].decode() == "x" + "ö" * 62


def test_an_event_comes_once_and_does_not_disturb_the_question_that_is_under_way() -> None:
    line = Line()
    first, *rest = pieces()
    for piece in (first, CallPiece(Unasked.EVENT, 1, 0, 3, 0, 2, b"\x00\x01"), *rest):
        payload = struct.pack("<BBHHH", piece.number, piece.place, piece.site, piece.offset, piece.size) + piece.data
        line.feed(encode_frame(Frame(piece.kind, 0, payload)))
    event, question = line.heard
    assert event == EmittedEvent(1, 0, 3, (True,)) and isinstance(question, LlmRequest)
