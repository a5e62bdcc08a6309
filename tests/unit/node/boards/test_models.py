"""Questions of boards for a language model: a real HTTP server answers, each is recorded, and the board gets it."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response

from components.board_double import BoardDouble, plugged_in
from components.boards import F401
from components.http_server import serve
from components.waiting import HANG_S, running, until
from eyeflow.base.machine import Machine
from eyeflow.board_link.port import FoundPort
from eyeflow.compiler.compile import CompileOptions, compile_rule
from eyeflow.mcu.board import parse_board
from eyeflow.mcu.hardware import board_hardware
from eyeflow.node.boards.boards import Boards
from eyeflow.node.boards.models import ModelAccess
from eyeflow.node.boards.settings import BoardSection
from eyeflow.node.boards.wanted import Wanted
from eyeflow.node.config.config import NodeConfig
from eyeflow.node.io.connectors import ports_config
from eyeflow.node.io.llm.driver import LlmDriver
from eyeflow.node.io.llm.settings import LlmConfig
from eyeflow.node.runtime import model_access
from eyeflow.protocol.audit_bodies import BoardAnswerBody
from eyeflow.svm.container import decode, encode
from eyeflow.svm.program import Profile
from eyeflow.svm.signing import sign_program

from .test_boards import QUICK, SERIAL, Ports, ShiftedClock, is_
from .test_records import NAME, RefusingWriter, audit_of

RULE = """
rule triage {
    version "1.0.0"
    pin RELAY: output
    enum Kind { CALM, HOT }
    on every 1s
    let kind = llm.classify("TEXT", Kind, "is it hot?") timeout 2s else CALM
    gpio.set_pin(RELAY, if kind == HOT then HIGH else LOW)
    log.info(llm.complete("what now?", max: 200) timeout 2s else "nobody knows")
}
"""
CLASSIFY, COMPLETE = "llm.classify", "llm.complete"
LONG = "what the probe says, " * 9


def program() -> bytes:
    board = parse_board(F401.board_text)
    options = CompileOptions(Profile.MCU, board.chip.name, board.limits, hardware=board_hardware(board))
    result = compile_rule(RULE.replace("TEXT", LONG), name="rule.eye", options=options)
    assert result.program is not None, result.diagnostics
    return sign_program(encode(result.program), bytes(range(32)))


DATA = program()
SITES = {one.capability: index for index, one in enumerate(decode(DATA).program.sites)}


@contextmanager
def model(answer: Callable[[dict[str, Any]], str | None]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A language model at an address, with what it was asked; None of `answer`: it fails."""
    asked: list[dict[str, Any]] = []

    def answered(request: HttpRequest, body: bytes) -> Response:
        asked.append(json.loads(body))
        text = answer(asked[-1])
        if text is None:
            return Response(status_code=503)
        return JSONResponse({"choices": [{"message": {"content": text}}]})

    with serve(answered) as url:
        yield url, asked


@asynccontextmanager
async def served(tmp_path: Path, ports: Ports, access: ModelAccess) -> AsyncIterator[Boards]:
    """The board at the first of the ports, with its program."""
    place = BoardSection(NAME, usb_serial=SERIAL)
    how = (ShiftedClock(), Machine(), ZoneInfo("UTC"), ports)
    made = Boards("gateway", (place,), tmp_path, *how, patience=QUICK, access=access)
    async with running(made.run()):
        await until(is_(made, "online"))
        await made.by_name[NAME].programs.want(Wanted("triage", decode(DATA).program_id), DATA)
        await until(lambda: made.by_name[NAME].records.is_open)
        yield made


def at(path: str) -> Ports:
    ports = Ports()
    ports.found = [FoundPort(path, SERIAL)]
    return ports


def access(url: str, granted: tuple[str, ...] = (CLASSIFY, COMPLETE), calls: int = 30) -> ModelAccess:
    return ModelAccess(LlmDriver(LlmConfig(f"{url}/v1", "small")), granted.__contains__, calls)


def answers(tmp_path: Path) -> list[BoardAnswerBody]:
    return [record.body for record in audit_of(tmp_path) if isinstance(record.body, BoardAnswerBody)]


def test_a_question_is_asked_recorded_and_answered(tmp_path: Path) -> None:
    board = BoardDouble(delegates_llm=True)

    async def test(path: str, url: str) -> None:
        async with served(tmp_path, at(path), access(url)) as boards:
            board.ask(7, SITES[CLASSIFY], LONG, "is it hot?")
            await until(lambda: len(board.llm_answers) == 1)
            board.ask(8, SITES[COMPLETE], "what now?")
            await until(lambda: len(board.llm_answers) == 2)
            view: Any = boards.views()[0]["models"]
            assert view == {"answered": 2, "failed": 0, "refused": 0}

    with plugged_in(board) as path, model(lambda asked: "HOT" if "HOT" in str(asked) else "öffne") as (url, asked):
        asyncio.run(test(path, url))
    assert board.llm_answers == [bytes([7, 2]) + struct.pack("<q", 1), bytes([8, 0]) + "öffne".encode()]
    assert [one["messages"][1]["content"] for one in asked] == [LONG, "what now?"]
    assert "126 bytes" in asked[1]["messages"][0]["content"], "a longer answer does not go over the line"
    first, second = answers(tmp_path)
    assert (first.rule, first.program.hex(), first.site) == ("triage", decode(DATA).program_id, SITES[CLASSIFY])
    assert (first.boot, first.number, first.args, first.answer) == (1, 7, (LONG, "is it hot?"), "HOT")
    assert (second.args, second.answer, second.error) == (("what now?",), "öffne", "")


def failing(tmp_path: Path, grant: ModelAccess, ask: Callable[[BoardDouble], None]) -> tuple[BoardDouble, list[str]]:
    """Return the board after a question that fails, and the reasons that are recorded."""
    board = BoardDouble(delegates_llm=True)

    async def test(path: str) -> None:
        async with served(tmp_path, at(path), grant):
            ask(board)
            await until(lambda: len(board.llm_answers) == 1)

    with plugged_in(board) as path:
        asyncio.run(test(path))
    return board, [one.error for one in answers(tmp_path)]


def ask_two_texts(site: int, board: BoardDouble) -> None:
    board.ask(7, site, LONG, "is it hot?")


def ask_for_advice(number: int, board: BoardDouble) -> None:
    board.ask(number, SITES[COMPLETE], "what now?")


def test_what_cannot_be_answered_fails_at_once_and_says_why_in_the_audit(tmp_path: Path) -> None:
    with model(lambda asked: "maybe") as (url, asked):
        cases = {
            "no-model": (ModelAccess(), SITES[CLASSIFY], "has no section [llm]"),
            "no-grant": (
                access(url, (COMPLETE,)),
                SITES[CLASSIFY],
                "[grants] allow of the gateway has no llm.classify",
            ),
            "no-member": (access(url), SITES[CLASSIFY], "which is none of CALM, HOT"),
            "no-site": (access(url), 99, "asks no language model"),
            "arguments": (access(url), SITES[COMPLETE], "its arguments are not those of the call"),
        }
        for name, (grant, site, text) in cases.items():
            board, errors = failing(tmp_path / name, grant, partial(ask_two_texts, site))
            assert board.llm_answers == [bytes([7, 1])]
            assert len(errors) == 1 and text in errors[0], errors
        assert len(asked) == 1, "only one of them reached the model"


def test_a_model_that_fails_or_is_too_late_is_a_failure_within_the_timeout_of_the_rule(tmp_path: Path) -> None:
    over = Event()
    ask = partial(ask_for_advice, 7)
    with model(lambda asked: None) as (url, _):
        board, errors = failing(tmp_path / "fails", access(url), ask)
    assert board.llm_answers == [bytes([7, 1])] and "answered 503" in errors[0]
    with model(lambda asked: str(over.wait(HANG_S))) as (url, _):
        board, errors = failing(tmp_path / "late", access(url), ask)
        over.set()
    assert board.llm_answers == [bytes([7, 1])] and "did not answer within 2s" in errors[0]
    assert answers(tmp_path / "late")[0].took_us >= 2_000_000


def test_a_board_may_ask_so_often_in_a_minute_and_then_takes_its_fallback(tmp_path: Path) -> None:
    board = BoardDouble(delegates_llm=True)

    async def test(path: str, url: str) -> None:
        async with served(tmp_path, at(path), access(url, calls=2)) as boards:
            for number in range(4):
                board.ask(number, SITES[COMPLETE], "what now?")
                await until(lambda count=number: len(board.llm_answers) == count + 1)  # type: ignore[misc]
            assert boards.views()[0]["models"] == {"answered": 2, "failed": 0, "refused": 2}

    with plugged_in(board) as path, model(lambda asked: "wait") as (url, asked):
        asyncio.run(test(path, url))
    assert [one[1] for one in board.llm_answers] == [0, 0, 1, 1] and len(asked) == 2


def test_a_repeated_question_is_asked_once_also_over_a_new_line(tmp_path: Path) -> None:
    board = BoardDouble(delegates_llm=True)

    async def test(url: str) -> None:
        with plugged_in(board) as second:
            with plugged_in(board) as first:
                ports = at(first)
                gateway = served(tmp_path, ports, access(url))
                boards = await gateway.__aenter__()
                for _ in range(2):
                    board.ask(7, SITES[COMPLETE], "what now?")
                await until(lambda: bool(board.llm_answers))  # two, where the second came after the first was answered
                ports.found = [FoundPort(second, SERIAL)]
            await until(lambda: boards.by_name[NAME].url == second and is_(boards, "online")())
            answered = len(board.llm_answers)
            board.ask(7, SITES[COMPLETE], "what now?")
            await until(lambda: len(board.llm_answers) > answered)
            await gateway.__aexit__(None, None, None)

    with model(lambda asked: "wait") as (url, asked):
        asyncio.run(test(url))
    assert len(asked) == 1 and len(answers(tmp_path)) == 1


def test_an_answer_that_cannot_be_recorded_decides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of the record: without it the board would act on an answer that nobody can show."""
    monkeypatch.setattr("eyeflow.node.boards.boards.ThreadWriter", RefusingWriter)
    board = BoardDouble(delegates_llm=True)

    async def test(path: str, url: str) -> None:
        async with served(tmp_path, at(path), access(url)):
            monkeypatch.setattr(RefusingWriter, "refuses", True)
            board.ask(7, SITES[COMPLETE], "what now?")
            await until(lambda: len(board.llm_answers) == 1)
            monkeypatch.setattr(RefusingWriter, "refuses", False)

    with plugged_in(board) as path, model(lambda asked: "wait") as (url, _):
        asyncio.run(test(path, url))
    assert board.llm_answers == [bytes([7, 1])]


def test_the_access_of_boards_is_that_of_the_nodes_configuration(tmp_path: Path) -> None:
    ports = ports_config(LlmConfig("http://127.0.0.1:9/v1", "m", board_calls_per_minute=3))
    config = NodeConfig("n", tmp_path, grants=("llm.classify",), ports=ports)
    found = model_access(config, {"llm": LlmDriver(LlmConfig("http://127.0.0.1:9/v1", "m"))})
    assert (found.is_granted(CLASSIFY), found.is_granted(COMPLETE), found.calls_per_minute) == (True, False, 3)
    assert model_access(config, {}).driver is None
