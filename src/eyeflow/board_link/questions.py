"""Questions and events of a board, put together from the pieces in which they come. docs/serial-link.md."""

from __future__ import annotations

from dataclasses import dataclass, field

from eyeflow.board_link.messages import (
    CallPiece,
    EmittedEvent,
    Fields,
    LlmRequest,
    MalformedAnswerError,
    Unasked,
    Value,
    plain,
)

QUESTION_BYTES_MAX = 1024
ANSWER_BYTES_MAX = 126
"""The longest answer: what fits a frame behind number and status."""
_BOOL, _INT, _FLOAT = range(3)


@dataclass(slots=True)
class Questions:
    """The question that is under way, and the one that came last: a board asks again until it is answered.

    Events have one of their own: a board says each of them once.
    """

    _piece: CallPiece | None = None
    _data: bytearray = field(default_factory=bytearray)
    _missing: set[int] = field(default_factory=set)

    def add(self, piece: CallPiece) -> LlmRequest | EmittedEvent | None:
        """Take a piece; returns the question or event when it is whole, once, and None for pieces that do not fit."""
        if piece.size > QUESTION_BYTES_MAX or piece.offset + len(piece.data) > piece.size:
            return None
        if self._piece is None or _key(self._piece) != _key(piece):
            self._piece, self._data = piece, bytearray(piece.size)
            self._missing = set(range(piece.size)) or {0}
        elif not self._missing:
            return None
        end = piece.offset + len(piece.data)
        self._data[piece.offset : end] = piece.data
        self._missing -= set(range(piece.offset, max(end, 1)))
        return None if self._missing else _question(piece, bytes(self._data))


def _key(piece: CallPiece) -> tuple[int, int, int, int]:
    return piece.number, piece.place, piece.site, piece.size


def _question(piece: CallPiece, data: bytes) -> LlmRequest | EmittedEvent | None:
    made = LlmRequest if piece.kind is Unasked.LLM_REQUEST else EmittedEvent
    try:
        return made(piece.number, piece.place, piece.site, read_arguments(data))
    except MalformedAnswerError:
        return None


def read_arguments(data: bytes) -> tuple[Value, ...]:
    """Return the arguments in a question, each a type and a value; raises MalformedAnswerError for anything else."""
    fields, found = Fields(data), list[Value]()
    while fields.left:
        kind = fields.number("B")
        if kind > _FLOAT + 1:
            raise MalformedAnswerError(f"type {kind} is not known")
        if kind == _BOOL:
            found.append(bool(fields.number("B")))
        elif kind in (_INT, _FLOAT):
            found.append(fields.number("q" if kind == _INT else "d"))
        else:
            found.append(plain(fields.take(fields.number("B"))))
    return tuple(found)


def answer_payload(number: int, answer: str | int | None) -> bytes:
    """Return the payload of LLM_ANSWER: a text (cut at a character where it is too long), an ordinal, or None."""
    if answer is None:
        return bytes([number, 1])
    if isinstance(answer, int):
        return bytes([number, 2]) + answer.to_bytes(8, "little", signed=True)
    cut = answer.encode()[:ANSWER_BYTES_MAX].decode("utf-8", "ignore")
    return bytes([number, 0]) + cut.encode()
