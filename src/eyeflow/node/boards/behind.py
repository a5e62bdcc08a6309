"""A board whose port a node of this machine owns, as `eyeflow mcu` sees it: each request goes to that node."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from eyeflow.base.errors import EyeflowError
from eyeflow.board_link import conversations, failures
from eyeflow.board_link.conversations import Status
from eyeflow.board_link.messages import Hello, Installed, LlmRequest, LogLine, MalformedAnswerError
from eyeflow.board_link.push import Pushed
from eyeflow.board_link.records import BoardRecord, RecordBatch
from eyeflow.board_link.session import Ask, Heard
from eyeflow.node.boards import verbs
from eyeflow.node.status.local_socket import ask

LISTEN_POLL_S = 0.5
"""How often the node is asked what the board logged."""

T = TypeVar("T")


@dataclass(slots=True)
class BoardBehindNode:
    """The board `name` of the node that runs on `data_dir`. It has the methods of `board_link.port.Board`."""

    data_dir: Path
    name: str
    _hello: Hello | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """There is nothing to close: each request has a connection of its own."""

    @property
    def hello(self) -> Hello:
        """Who the board is; asked once."""
        if self._hello is None:
            self._hello = self._converse(conversations.hello(self.name))
        return self._hello

    def list(self) -> tuple[Installed, ...]:
        """Return the programs on the board, by place."""
        return self._converse(conversations.programs(self.hello))

    def status(self) -> Status:
        """Return who the board is, how it is, what it runs and what that did."""
        return self._converse(conversations.status(self.hello))

    def push(self, program: bytes, params: Mapping[int, bool | int | float], *, force: bool) -> Pushed:
        """Push a program, and set parameters of it by their places. Raises EyeflowError, also `managed`."""
        packed = [(index, _bits(value).hex()) for index, value in params.items()]
        told = self._ask(verbs.PUSH, program=program.hex(), params=packed, force=force)
        return Pushed(
            told["rule"],
            told["programId"],
            told["place"],
            told["already"],
            told["sizeBytes"],
            told["sentBytes"],
            told["encoding"],
            told["resumedFromBytes"],
        )

    def remove(self, rule: str) -> None:
        """Remove a rule that no deployment brought."""
        self._ask(verbs.REMOVE, rule=rule)

    def records(self) -> RecordBatch:
        """Return the newest records of the board that its node has taken: they wait on the board no more."""
        told = self._ask(verbs.LOG)
        found = tuple(BoardRecord(one["number"], bytes.fromhex(one["data"])) for one in told["records"])
        following = found[-1].sequence + 1 if found else 0
        return RecordBatch(found, following, told["lost"], b"", b"")

    def acknowledge(self, next_sequence: int) -> None:
        """Refuse: the node lets the board forget its records, once it has them."""
        raise EyeflowError(
            f"the node takes the records of {self.name}",
            cause="it commits each one to the audit of the board, and lets the board forget it then",
            next_step="Leave out --forget.",
            code="port_busy",
        )

    def listen(self, seconds: float) -> Iterator[Heard]:
        """Yield what the board logs from now on, for so long."""
        return listened(lambda since: self._ask(verbs.SAID, since=since), seconds)

    def let_go(self, why: str) -> None:
        """Let the node give the port back; it shows `why`."""
        self._ask(verbs.LET_GO, why=why)

    def take_back(self) -> None:
        """Let the node own the port again."""
        self._ask(verbs.TAKE_BACK)

    def _ask(self, what: str, **more: object) -> dict[str, Any]:
        return ask(self.data_dir, what, name=self.name, **more)

    def _converse(self, conversation: Generator[Ask, bytes, T]) -> T:
        answer: bytes | None = None
        try:
            while True:
                wanted = next(conversation) if answer is None else conversation.send(answer)
                told = self._ask(verbs.EXCHANGE, request=int(wanted.request), payload=wanted.payload.hex())
                answer = bytes.fromhex(told["payload"])
        except StopIteration as stop:
            value: T = stop.value
            return value
        except MalformedAnswerError as error:
            raise failures.malformed(self.name, error) from error


def listened(ask: Callable[[int | None], Mapping[str, Any]], seconds: float) -> Iterator[Heard]:
    """Yield what a board logs from now on, for so long; `ask` gives a page of `said.Said`."""
    ends_s = time.monotonic() + seconds
    since = ask(None)["next"]
    while time.monotonic() < ends_s:
        page = ask(since)
        if page["missed"]:
            yield LogLine(2, f"{page['missed']} lines are missing here: they came faster than they were read")
        yield from (_heard(one) for one in page["lines"])
        since = page["next"]
        if not page["lines"]:
            time.sleep(LISTEN_POLL_S)


def _bits(value: bool | int | float) -> bytes:
    return struct.pack("<d", value) if isinstance(value, float) else struct.pack("<q", value)


def _heard(line: Mapping[str, Any]) -> Heard:
    return LlmRequest(0, 0, 0, tuple(line["asks"])) if line["asks"] else LogLine(line["level"], line["text"])
