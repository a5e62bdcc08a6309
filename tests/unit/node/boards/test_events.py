"""Events of boards reach the rules of their gateway, and rules of the gateway set parameters of boards."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import TypeVar

import pytest

from components.board_double import BoardDouble, HeldProgram, plugged_in
from components.waiting import until
from eyeflow.base.errors import EyeflowError
from eyeflow.board_link import conversations
from eyeflow.board_link.conversations import Status
from eyeflow.board_link.frames import Frame
from eyeflow.board_link.messages import EmittedEvent
from eyeflow.board_link.session import Ask
from eyeflow.compiler.compile import CompileOptions, compile_rule
from eyeflow.node.boards.boards import Boards
from eyeflow.node.boards.events import WAITING_MAX, BoardEvents
from eyeflow.node.boards.params import set_param
from eyeflow.node.io.board.driver import BoardDriver
from eyeflow.node.io.board.settings import BoardParam
from eyeflow.svm.container import decode, encode
from eyeflow.svm.execution import CapabilityFailure
from eyeflow.svm.program import Profile, SiteKind

from .test_boards import at, boards_of, is_, view
from .test_programs import wanted
from .test_records import NAME

T = TypeVar("T")

RULE = """rule press {
    version "1.0.0"
    pin RELAY: output
    enum Kind { COLD, HOT }
    param limit: float = 80.0 in 40.0..120.0
    param turns: int = 5
    param armed: bool = false
    on every 1s
    let temp = adc.read_channel(0)
    if temp > limit {
        emit tripped(temp: temp, kind: Kind.HOT, after: 2s, note: "oil")
    }
}
"""
FIELDS = b"\x02" + struct.pack("<d", 91.5) + b"\x01" + struct.pack("<q", 1) + b"\x01" + struct.pack("<q", 2_000_000)
FIELDS += b"\x03\x03oil"


def program(version: str = "1.0.0") -> bytes:
    source = RULE.replace('"1.0.0"', f'"{version}"')
    result = compile_rule(source, name="press.eye", options=CompileOptions(profile=Profile.MCU, chip="STM32F401CC"))
    assert result.program is not None, result.diagnostics
    return encode(result.program)


def site_of(data: bytes) -> int:
    sites = decode(data).program.sites
    return next(number for number, site in enumerate(sites) if site.kind is SiteKind.EMIT)


class Rules:
    """Stands for the rules of the gateway: some events are heard, all are noted."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, dict[str, object], str]] = []

    async def __call__(self, name: str, payload: Mapping[str, object], board: str) -> bool:
        self.heard.append((name, dict(payload), board))
        return name == "tripped"


def events_of(boards: Boards) -> object:
    return view(boards)["events"]


def test_an_event_arrives_with_its_fields_by_name_once_and_in_order(tmp_path: Path) -> None:
    board, data, rules = BoardDouble(), program(), Rules()

    async def test(path: str) -> None:
        async with boards_of(tmp_path, at(path)) as boards:
            boards.deliver = rules
            await until(is_(boards, "online"))
            await boards.by_name[NAME].programs.want(wanted(data), data)
            for number in range(1, 6):
                board.emit(number, site_of(data), FIELDS)
            await until(lambda: events_of(boards) == {"taken": 5, "unheard": 0, "dropped": 0})

    with plugged_in(board) as path:
        asyncio.run(test(path))
    payload = {"temp": 91.5, "kind": "HOT", "after": "2s", "note": "oil"}
    assert rules.heard == [("tripped", payload, NAME)] * 5


def test_what_cannot_be_an_event_of_the_program_is_dropped_and_counted(tmp_path: Path) -> None:
    board, data, rules = BoardDouble(), program(), Rules()
    board.programs[1] = HeldProgram(decode(data), len(data))  # it came there past the gateway

    async def test(path: str) -> None:
        async with boards_of(tmp_path, at(path)) as boards:
            boards.deliver = rules
            await until(is_(boards, "online"))
            board.emit(1, site_of(data), FIELDS, place=1)
            await until(lambda: view(boards)["events"]["dropped"] == 1)
            await boards.by_name[NAME].programs.want(wanted(data), data)
            board.programs[0] = board.programs[1]
            for number, (site, fields) in enumerate(((99, FIELDS), (0, b""), (site_of(data), FIELDS[:9])), start=2):
                board.emit(number, site, fields)
            board.emit(9, site_of(data), FIELDS, place=3)
            await until(lambda: view(boards)["events"]["dropped"] == 5)
            assert view(boards)["state"] == "online"

    with plugged_in(board) as path:
        asyncio.run(test(path))
    assert rules.heard == []


def test_events_that_nobody_takes_are_bounded(tmp_path: Path) -> None:
    events = BoardEvents(NAME, Rules(), lambda program_id: b"")
    for number in range(WAITING_MAX + 7):
        events.heard(EmittedEvent(number % 256, 0, 0, ()))
    assert events.counts.dropped == 7


def test_a_rule_of_the_gateway_sets_what_the_configuration_names_and_not_too_often(tmp_path: Path) -> None:
    board, data = BoardDouble(), program()
    places = {
        "limit": BoardParam(NAME, "press", "limit", 60.0),
        "armed": BoardParam(NAME, "press", "armed", 1.0),
        "turns": BoardParam(NAME, "press", "turns", 1.0),
        "gone": BoardParam(NAME, "press", "speed", 1.0),
        "other": BoardParam("nobody", "press", "limit", 1.0),
    }
    now_s = [100.0]
    driver = BoardDriver(places, lambda: now_s[0])

    async def set_(name: str, value: float) -> None:
        await driver.act("board.set_param", {"name": name, "value": value})

    async def refused(name: str, value: float, why: str) -> None:
        with pytest.raises(CapabilityFailure, match=why):
            await set_(name, value)

    async def test(path: str) -> None:
        async with boards_of(tmp_path, at(path)) as boards:
            driver.set_param = boards.set_param
            await until(is_(boards, "online"))
            await refused("limit", 70.0, "no rule press runs on node-mcu-01")
            await boards.by_name[NAME].programs.want(wanted(data), data)
            board.params.clear()
            await set_("limit", 70.0)
            assert board.params == {("press", 0): struct.pack("<d", 70.0)}
            await refused("limit", 60.0, "less than 60 s ago")
            now_s[0] += 61
            await set_("limit", 60.0)
            await set_("turns", 7.0)
            await refused("turns", 7.5, "less than 1 s ago")
            now_s[0] += 2
            await refused("turns", 7.5, "no value of the parameter")
            await refused("armed", 2.0, "no value of the parameter")
            await set_("armed", 1.0)
            await refused("gone", 1.0, "press has no parameter speed")
            await refused("other", 1.0, "this node has no board nobody")
            await refused("limt", 1.0, "did you mean limit")
        assert board.params == {
            ("press", 0): struct.pack("<d", 60.0),
            ("press", 1): struct.pack("<q", 7),
            ("press", 2): struct.pack("<q", 1),
        }

    with plugged_in(board) as path:
        asyncio.run(test(path))


class Answered:
    """A board that is asked at once, with what was found of it before."""

    name = NAME

    def __init__(self, board: BoardDouble) -> None:
        self.board = board
        hello = self._run(conversations.hello(NAME))
        self.found: Status | None = self._run(conversations.status(hello))

    async def converse(self, conversation: Generator[Ask, bytes, T]) -> T:
        return self._run(conversation)

    def _run(self, conversation: Generator[Ask, bytes, T]) -> T:
        answer: bytes | None = None
        try:
            while True:
                ask = next(conversation) if answer is None else conversation.send(answer)
                answer = self.board.answer(Frame(ask.request, 0, ask.payload))
        except StopIteration as stop:
            value: T = stop.value
            return value


def test_a_parameter_is_not_set_in_a_program_that_came_meanwhile() -> None:
    first, second = program(), program("1.1.0")
    board = BoardDouble(programs={0: HeldProgram(decode(first), len(first))})
    asked = Answered(board)
    asyncio.run(set_param(asked, lambda program_id: first, "press", "limit", 70.0))
    assert list(board.params) == [("press", 0)]
    board.programs[0] = HeldProgram(decode(second), len(second))
    with pytest.raises(EyeflowError, match="exchanged"):
        asyncio.run(set_param(asked, lambda program_id: first, "press", "limit", 60.0))
    assert board.params["press", 0] == struct.pack("<d", 70.0)
