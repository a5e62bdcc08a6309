"""Programs for boards: kept while the board is away, brought once it answers, and reported as the board says."""

from __future__ import annotations

import asyncio
import struct
import threading
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from components.board_double import BoardDouble, plugged_in
from components.waiting import running, until
from eyeflow.base.errors import EyeflowError
from eyeflow.base.whole_file import write_whole
from eyeflow.board_link.messages import Code, Request
from eyeflow.compiler.compile import CompileOptions, compile_rule
from eyeflow.node.boards.bringing import Bringing, param_bits
from eyeflow.node.boards.control import BoardControl
from eyeflow.node.boards.programs import RULES_MAX, BoardPrograms
from eyeflow.node.boards.wanted import There, Wanted
from eyeflow.node.control import InstallOutcome
from eyeflow.protocol.identity import Identity
from eyeflow.protocol.slot import Slot
from eyeflow.svm.container import decode, encode
from eyeflow.svm.program import Profile
from eyeflow.svm.signing import sign_program

from .test_boards import at, boards_of, is_, view

RULE = """rule relay {{
    version "{version}"
    pin RELAY: output
    param limit: float = 3.0
    param turns: int = 5
    param name: text(8) = "a"
    on every 1s
    if adc.read_channel(0) > limit {{
        gpio.set_pin(RELAY, HIGH)
        log.info("{{name}} {{turns}}")
    }}
}}
"""


def program(version: str = "1.0.0") -> bytes:
    options = CompileOptions(profile=Profile.MCU, chip="STM32F401CC")
    result = compile_rule(RULE.format(version=version), name="relay.eye", options=options)
    assert result.program is not None, result.diagnostics
    return sign_program(encode(result.program), bytes(range(32)))


def wanted(data: bytes, version: int = 1, **params: object) -> Wanted:
    signed = decode(data)
    return Wanted(signed.program.rule, signed.program_id, tuple(sorted(params.items())), version)  # type: ignore[arg-type]


def test_a_program_is_brought_with_its_parameters_and_reported_by_the_board(tmp_path: Path) -> None:
    board, data = BoardDouble(), program()

    async def test(path: str) -> None:
        async with boards_of(tmp_path, at(path)) as boards:
            await until(is_(boards, "online"))
            programs = boards.by_name["node-mcu-01"].programs
            result = await programs.want(wanted(data, limit=7.5), data)
            assert (result.outcome, result.program_id) == (InstallOutcome.INSTALLED, decode(data).program_id)
            assert board.params == {("relay", 0): struct.pack("<d", 7.5), ("relay", 1): struct.pack("<q", 5)}
            assert [one["rule"] for one in view(boards)["rules"]] == ["relay"]
            # The default comes back by itself: a board keeps what an earlier deployment has set.
            await programs.want(wanted(data), data)
            assert board.params["relay", 0] == struct.pack("<d", 3.0)
            refused = await programs.want(wanted(data, name="b"), data)
            assert (refused.code, refused.outcome) == ("bad_params", InstallOutcome.REFUSED)
            await programs.want(Wanted("relay", ""))
            assert board.programs == {} and programs.wanted == {}

    with plugged_in(board) as path:
        asyncio.run(test(path))
    again = BoardPrograms(tmp_path / "boards" / "node-mcu-01", write_whole)
    again.load()
    assert again.wanted == {}


def test_a_program_waits_for_the_board_over_a_restart_of_the_gateway_without_a_coordinator(tmp_path: Path) -> None:
    assert brought_after_a_restart(tmp_path) == [decode(program()).program_id]


def test_control_a_gateway_that_keeps_nothing_brings_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoardPrograms, "_write_down", lambda self, rules, program_id, program: None)
    assert brought_after_a_restart(tmp_path) == []


def brought_after_a_restart(tmp_path: Path) -> list[str]:
    """Want a program of a board that is away, and start the gateway anew; return what it then brought."""
    board, data = BoardDouble(answers=False), program()

    async def begin(path: str) -> None:
        async with boards_of(tmp_path, at(path)) as boards:
            await until(is_(boards, "linkLost"))
            programs = boards.by_name["node-mcu-01"].programs
            async with running(programs.want(wanted(data), data)):  # type: ignore[arg-type]
                await until(lambda: programs.open(There()) != [])  # it is kept
            held = programs.held(There())
            assert [(one.rule, bool(one.refusal)) for one in held] == [("relay", True)]

    async def go_on(path: str) -> None:
        async with boards_of(tmp_path, at(path)) as boards:
            await until(is_(boards, "online"))
            programs = boards.by_name["node-mcu-01"].programs
            held = lambda: {one.signed.program.rule: one.signed.program_id for one in board.programs.values()}  # noqa: E731
            await until(lambda: programs.open(There(held())) == [])

    with plugged_in(board) as path:
        asyncio.run(begin(path))
    board.answers = True
    with plugged_in(board) as path:
        asyncio.run(go_on(path))
    return [one.signed.program_id for one in board.programs.values()]


def test_a_board_that_was_flashed_anew_gets_its_program_again_and_one_that_went_back_does_not(tmp_path: Path) -> None:
    board, first, second = BoardDouble(), program("1.0.0"), program("2.0.0")

    async def test(path: str) -> None:
        async with boards_of(tmp_path, at(path)) as boards:
            await until(is_(boards, "online"))
            programs = boards.by_name["node-mcu-01"].programs
            await programs.want(wanted(first), first)
            await programs.want(wanted(second, 2), second)
            board.programs.clear()
            board.restart()
            await until(lambda: bool(board.programs))
            assert board.programs[0].signed.program_id == decode(second).program_id
            await until(lambda: view(boards)["rules"] != [])
            board.programs[0].signed = decode(first)  # after repeated faults it went back by itself
            begun, asked = board.requests.count(Request.PUSH_BEGIN), len(board.requests)
            await until(lambda: len(board.requests) > asked + 30)
            assert board.requests.count(Request.PUSH_BEGIN) == begun
            there = boards.by_name["node-mcu-01"].there
            assert "the board gave up relay" in programs.held(there)[0].refusal

    with plugged_in(board) as path:
        asyncio.run(test(path))


def test_what_a_board_gave_up_is_not_pushed_again_over_links_and_restarts_unless_something_changes(
    tmp_path: Path,
) -> None:
    board, first, second = BoardDouble(), program("1.0.0"), program("2.0.0")

    async def give_up(path: str) -> None:
        async with boards_of(tmp_path, at(path)) as boards:
            await until(is_(boards, "online"))
            programs = boards.by_name["node-mcu-01"].programs
            await programs.want(wanted(second), second)
        board.programs[0].signed = decode(first)  # while nobody looks

    async def want_again(path: str, version: int) -> None:
        begun = board.requests.count(Request.PUSH_BEGIN)
        async with boards_of(tmp_path, at(path)) as boards:
            await until(is_(boards, "online"))
            programs = boards.by_name["node-mcu-01"].programs
            for number in (version, version + 1):
                result = await programs.want(wanted(second, number), second)
                assert (result.outcome, result.code) == (InstallOutcome.REFUSED, "went_back")
            board.answers = False
            assert (await programs.want(wanted(second, version), second)).code == "went_back"  # without the board
            board.answers = True
            assert board.requests.count(Request.PUSH_BEGIN) == begun

    async def change(path: str) -> None:
        async with boards_of(tmp_path, at(path)) as boards:
            await until(is_(boards, "online"))
            programs = boards.by_name["node-mcu-01"].programs
            board.programs.clear()  # flashed anew
            board.restart()
            await until(lambda: bool(board.programs))
            await until(lambda: programs.held(boards.by_name["node-mcu-01"].there)[0].refusal == "")
            board.programs[0].signed = decode(first)
            await until(lambda: "gave up" in programs.held(There())[0].refusal)
            result = await programs.want(wanted(second, 9, limit=9.0), second)
            assert result.outcome is InstallOutcome.INSTALLED

    for test in (give_up, lambda path: want_again(path, 2), lambda path: want_again(path, 4), change):
        with plugged_in(board) as path:
            asyncio.run(test(path))  # type: ignore[no-untyped-call]
        again = BoardPrograms(tmp_path / "boards" / "node-mcu-01", write_whole)
        again.load()
        gave_up = "the board gave up relay" in again.held(There())[0].refusal  # before the board has answered, too
        assert gave_up is (test not in (give_up, change))


@pytest.mark.parametrize("cut_at", [1, 2, 3])
def test_a_transfer_goes_on_where_the_line_was_cut(tmp_path: Path, cut_at: int) -> None:
    board, data = BoardDouble(pieces_max=cut_at), program()

    async def test(path: str) -> None:
        async with boards_of(tmp_path, at(path)) as boards:
            await until(is_(boards, "online"))
            programs = boards.by_name["node-mcu-01"].programs
            wanting = asyncio.ensure_future(programs.want(wanted(data), data))
            await until(lambda: not board.answers)
            await until(lambda: view(boards)["state"] in ("stale", "linkLost"))
            assert not wanting.done()
            board.answers = True
            assert (await wanting).outcome is InstallOutcome.INSTALLED
        assert board.requests.count(Request.PUSH_END) == 1

    with plugged_in(board) as path:
        asyncio.run(test(path))
    sent = len(board._received)
    assert board.pieces == -(-sent // 112), "no piece was sent twice"


@pytest.mark.parametrize(
    ("board", "code", "state"),
    [
        (BoardDouble(refuses_push=Code.FIFTH_PROGRAM), "fifth_program", "online"),
        (BoardDouble(refuses_push=Code.OLDER), "older_program", "online"),
        (BoardDouble(refuses_push=Code.STORAGE), "board_storage", "failed"),
        (BoardDouble(breaks=True), "not_running", "failed"),
    ],
)
def test_what_the_board_refuses_is_told_in_its_words(tmp_path: Path, board: BoardDouble, code: str, state: str) -> None:
    data = program()

    async def test(path: str) -> None:
        async with boards_of(tmp_path, at(path)) as boards:
            await until(is_(boards, "online"))
            result = await boards.by_name["node-mcu-01"].programs.want(wanted(data), data)
            assert (result.outcome, result.code) == (InstallOutcome.REFUSED, code)
            await until(is_(boards, state))
            reason = {"board_storage": "flash", "not_running": "rule_stopped"}.get(code, "answers")
            assert view(boards)["reason"] == reason
            told = {"flash": "flash", "rule_stopped": "relay 1.0.0 is stopped: LOOP_BOUND at line 8"}.get(reason, "")
            assert told in view(boards)["evidence"]
            begun = board.requests.count(Request.PUSH_BEGIN)
            asked = len(board.requests)
            await until(lambda: len(board.requests) > asked + 20)
            assert board.requests.count(Request.PUSH_BEGIN) == begun, "a refusal holds until something else is wanted"

    with plugged_in(board) as path:
        asyncio.run(test(path))


def test_a_rule_that_nobody_waits_for_any_more_is_removed_and_forgotten(tmp_path: Path) -> None:
    """Tombstones that stay would fill the place of rules: after 16 names each new rule would be refused."""
    board, data = BoardDouble(), program()

    async def test(path: str) -> None:
        async with boards_of(tmp_path, at(path)) as boards:
            await until(is_(boards, "online"))
            programs = boards.by_name["node-mcu-01"].programs
            await programs.want(wanted(data), data)
            board.answers = False
            async with running(programs.want(Wanted("relay", ""))):  # type: ignore[arg-type]
                await until(lambda: '"programId": ""' in (tmp_path / "boards/node-mcu-01/wanted.json").read_text())
            assert [(one.rule, one.program_id, bool(one.refusal)) for one in programs.held(There())] == [
                ("relay", "", True)
            ]
            board.answers = True
            await until(lambda: programs.wanted == {})
            assert board.programs == {} and programs.results == {}
            await until(lambda: (tmp_path / "boards/node-mcu-01/wanted.json").read_text() == "[]")

    with plugged_in(board) as path:
        asyncio.run(test(path))


def test_a_removal_that_the_board_refuses_is_no_success_and_is_tried_again(tmp_path: Path) -> None:
    board, data = BoardDouble(refuses_remove=Code.STORAGE), program()

    async def test(path: str) -> None:
        async with boards_of(tmp_path, at(path)) as boards:
            await until(is_(boards, "online"))
            control = BoardControl(boards.by_name["node-mcu-01"], Identity(bytes(range(32))), "1")
            await control.board.programs.want(wanted(data), data)
            for _ in range(2):
                with pytest.raises(EyeflowError) as refused:
                    await control.remove("relay")
                assert refused.value.code == "board_storage"
                assert [one.rule for one in control.held()] == ["relay"]  # so the next link removes it, too
            board.refuses_remove, board.loses = None, Request.REMOVE  # it works, and the answer does not arrive
            assert await control.remove("relay")
            assert control.held() == () and board.programs == {}
            assert (await control.roll_back("relay", "")).code == "no_previous"

    with plugged_in(board) as path:
        asyncio.run(test(path))


class Asked:
    """A board that took a program while its line brought it; `meanwhile` is called then."""

    def __init__(self, programs: BoardPrograms, meanwhile: Callable[[], None]) -> None:
        self.programs, self.found = programs, None
        self.hello: Any = object()
        self.conversations, self._meanwhile = 0, meanwhile

    async def converse(self, conversation: Generator[Any, bytes, Any]) -> None:
        self.conversations += 1
        self._meanwhile()

    async def look_again(self, line: object) -> None:
        """It shows nothing."""

    def show_update(self, text: str) -> None:
        """As `look_again`."""

    show_flash_failure = show_update


def test_what_is_wanted_no_more_when_its_turn_comes_is_not_brought(tmp_path: Path) -> None:
    data = program()
    a, b = (replace(wanted(data), rule=rule) for rule in ("a", "b"))

    async def test() -> None:
        programs = BoardPrograms(tmp_path, write_whole)
        async with running(programs.want(a, data)), running(programs.want(b, data)):  # type: ignore[arg-type]
            await until(lambda: len(programs.open(There())) == 2)
            newer = replace(b, program_id="f" * 64)
            board: Any = Asked(programs, lambda: programs.wanted.update({newer.key: newer}))
            await Bringing(board, board).bring()
            # `b` is not brought, so all that was said to the board is about `a`: the program and two parameters.
            assert board.conversations == 3
            assert programs.results[a.key][1].code == "not_running" and b.key not in programs.results
            await Bringing(board, board).bring()  # the file of `newer` is not there: that is no fault of the line
            assert programs.results[b.key][1].code == "program_lost"

    asyncio.run(test())


def test_a_write_of_what_is_wanted_no_more_comes_before_the_next(tmp_path: Path) -> None:
    data = program()
    entered, other = threading.Event(), threading.Event()

    def write(path: Path, content: bytes, mode: int) -> None:
        if path.name == "wanted.json" and not entered.is_set():
            entered.set()
            other.wait(1.0)  # a disk that is slow now; the next write must not overtake this one
        write_whole(path, content, mode)
        if b'"version": 2' in content:
            other.set()

    async def test() -> None:
        programs = BoardPrograms(tmp_path, write)
        async with running(programs.want(wanted(data, 1), data)):  # type: ignore[arg-type]
            await until(entered.is_set)
        async with running(programs.want(wanted(data, 2), data)):  # type: ignore[arg-type]
            await until(other.is_set)
            await programs.close()

    asyncio.run(test())
    again = BoardPrograms(tmp_path, write_whole)
    again.load()
    assert [one.manifest_version for one in again.wanted.values()] == [2]


def test_a_disk_that_refuses_changes_nothing_of_what_is_wanted(tmp_path: Path) -> None:
    data, full = program(), False

    def write(path: Path, content: bytes, mode: int) -> None:
        if full:
            raise OSError(28, "No space left on device")
        write_whole(path, content, mode)

    async def test() -> None:
        nonlocal full
        programs = BoardPrograms(tmp_path, write)
        async with running(programs.want(wanted(data, 1), data)):  # type: ignore[arg-type]
            await until(lambda: programs.open(There()) != [])
        full = True
        for one in (wanted(data, 2), Wanted("other", "e" * 64)):
            with pytest.raises(EyeflowError, match="cannot keep what the board shall run"):
                await programs.want(one, data)
        assert list(programs.wanted.values()) == [wanted(data, 1)]
        await programs.ended(wanted(data, 1))  # what the board said holds nevertheless
        assert programs.results["relay", Slot.ACTIVE][1].outcome is InstallOutcome.INSTALLED

    asyncio.run(test())


def test_no_more_rules_and_bytes_are_kept_than_a_board_could_take(tmp_path: Path) -> None:
    async def test() -> None:
        programs = BoardPrograms(tmp_path, write_whole)
        assert (await programs.want(wanted(program()), bytes(70_000))).code == "too_big"
        programs.wanted = {one.key: one for one in (Wanted(f"r{number}", "") for number in range(RULES_MAX))}
        assert (await programs.want(wanted(program()), program())).code == "too_many"

    asyncio.run(test())


def test_a_file_that_was_damaged_is_not_taken_for_what_is_wanted(tmp_path: Path) -> None:
    for text in ('{"a": 1}', '[{"rule": "r", "programId": "../../x", "params": [], "version": 1}]', "[7]"):
        (tmp_path / "wanted.json").write_text(text)
        with pytest.raises(EyeflowError, match="cannot be used"):
            BoardPrograms(tmp_path, write_whole).load()


def test_parameters_are_sent_as_the_board_keeps_them() -> None:
    found = dict(param_bits(decode(program()).program, {"limit": 1, "turns": -2}))
    assert found == {0: struct.pack("<d", 1.0), 1: struct.pack("<q", -2)}
