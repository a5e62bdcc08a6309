"""Exchanges over the serial link without I/O: bytes and the time come in, bytes and answers go out.

A conversation is a generator that yields each `Ask` and is sent the payload of its answer. The line is stop-and-wait:
one request is out at a time and is sent again until it is answered or the patience ends. Each may arrive twice.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from eyeflow.board_link.frames import ANSWER, Frame, Receiver, encode_frame
from eyeflow.board_link.messages import (
    CallPiece,
    EmittedEvent,
    LlmRequest,
    LogLine,
    Request,
    Telemetry,
    Unasked,
    read_unasked,
)
from eyeflow.board_link.questions import Questions

HEARD_MAX = 1000
"""Lines of the log that are kept for a reader who is slower than the board; the oldest ones are dropped."""

Heard = LogLine | LlmRequest | EmittedEvent | Telemetry


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for an answer, and how often to ask. The slow requests erase flash or check a signature."""

    answer_s: float = 0.5
    slow_answer_s: float = 6.0
    tries: int = 6
    slow_tries: int = 4


@dataclass(frozen=True, slots=True)
class Ask:
    """One request; `slow` for those that may keep the board busy for seconds. `once`: it is not sent again."""

    request: Request
    payload: bytes = b""
    slow: bool = False
    once: bool = False


class NoAnswerError(Exception):
    """The patience is at its end."""


@dataclass(slots=True)
class Line:
    """One end of the line: the request that is out, the answer to it, and what the board said unasked."""

    patience: Patience = field(default_factory=Patience)
    receiver: Receiver = field(default_factory=Receiver)
    heard: deque[Heard] = field(default_factory=lambda: deque(maxlen=HEARD_MAX))
    questions: Questions = field(default_factory=Questions)
    events: Questions = field(default_factory=Questions)
    answer: bytes | None = None
    deadline_s: float = 0.0
    resent: int = 0
    since_answer: int = 0
    """Good frames since the last answer. What is sent again may be answered twice: that is no frame of its own."""
    _answered: tuple[int, int] = (0, 0)
    _ask: Ask | None = None
    _sequence: int = 0
    _tries_left: int = 0

    def start(self, ask: Ask, now_s: float) -> bytes:
        """Begin an exchange; returns what to send."""
        self._sequence = (self._sequence + 1) % 256
        self._ask = ask
        self.answer = None
        tries = self.patience.slow_tries if ask.slow else self.patience.tries
        self._tries_left = 1 if ask.once else tries
        return self._send(now_s)

    def _send(self, now_s: float) -> bytes:
        assert self._ask is not None
        self._tries_left -= 1
        self.deadline_s = now_s + (self.patience.slow_answer_s if self._ask.slow else self.patience.answer_s)
        return encode_frame(Frame(self._ask.request, self._sequence, self._ask.payload))

    def feed(self, data: bytes) -> None:
        """Take bytes from the line; sets `answer` when the awaited one is among them."""
        for frame in self.receiver.feed(data):
            key = (frame.kind, frame.sequence)
            if self._ask is not None and key == (self._ask.request | ANSWER, self._sequence):
                self.answer, self._answered, self.since_answer = frame.payload, key, 0
                self._ask = None
                continue
            self.since_answer += key != self._answered
            said = read_unasked(frame.kind, frame.payload)
            heard = self._whole(said) if isinstance(said, CallPiece) else said
            if heard is not None:
                self.heard.append(heard)

    def _whole(self, piece: CallPiece) -> Heard | None:
        return (self.events if piece.kind is Unasked.EVENT else self.questions).add(piece)

    def poll(self, now_s: float) -> bytes:
        """Return what to send again, nothing while there is time; raises NoAnswerError when the patience ends."""
        if self._ask is None or now_s < self.deadline_s:
            return b""
        if self._tries_left <= 0:
            raise NoAnswerError(f"no answer to {self._ask.request.name}")
        self.resent += 1
        return self._send(now_s)
