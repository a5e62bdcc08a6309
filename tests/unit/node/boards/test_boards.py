"""Boards behind a daemon: found, adopted, lost, found again, exchanged; and what they cannot do to their gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest

from components.board_double import BoardDouble, log_line, plugged_in
from components.waiting import running, until
from eyeflow.base.errors import EyeflowError
from eyeflow.base.machine import Machine
from eyeflow.board_link import async_line
from eyeflow.board_link.async_line import READ_BYTES_PER_S_MIN
from eyeflow.board_link.messages import Reset
from eyeflow.board_link.port import Board, FoundPort
from eyeflow.board_link.session import Patience
from eyeflow.node.boards import boards as boards_module
from eyeflow.node.boards.board import GatewayBoard
from eyeflow.node.boards.boards import Boards
from eyeflow.node.boards.keeping import BoardFolder
from eyeflow.node.boards.link import board_link
from eyeflow.node.boards.settings import BoardSection, read_boards
from eyeflow.node.boards.standing import STALE_S
from eyeflow.node.clock import SystemClock
from eyeflow.node.control import Link
from eyeflow.protocol.boards import BOARDS_MAX

QUICK = Patience(answer_s=0.05, slow_answer_s=0.2, tries=3, slow_tries=2)
SERIAL = "5034A"
FILE = 'chip = "STM32F401CC"\n[link]\nlost_after_ms = 1000\n'


class ShiftedClock(SystemClock):
    """The time of this machine, which a test sets forward."""

    ahead_us = 0

    def steady_us(self) -> int:
        return super().steady_us() + self.ahead_us

    async def sleep(self, duration_s: float) -> None:
        await super().sleep(min(duration_s, 0.01))


class Ports:
    """The ports of the machine, as a scan finds them."""

    def __init__(self) -> None:
        self.found: list[FoundPort] = []

    def __call__(self) -> list[FoundPort]:
        return self.found


@asynccontextmanager
async def boards_of(
    data_dir: Path, *declared: BoardSection, scan: Ports | None = None, clock: ShiftedClock | None = None
) -> AsyncIterator[Boards]:
    made = Boards(
        *("gateway", declared, data_dir, clock or ShiftedClock(), Machine(), ZoneInfo("UTC"), scan or Ports()),
        patience=QUICK,
    )
    async with running(made.run()):
        yield made


def view(boards: Boards, name: str = "node-mcu-01") -> dict[str, Any]:
    return next((one for one in boards.views() if one["name"] == name), {"state": "none", "reason": ""})


def is_(boards: Boards, state: str, reason: str = "", name: str = "node-mcu-01") -> Callable[[], bool]:
    return lambda: view(boards, name)["state"] == state and reason in ("", view(boards, name)["reason"])


def at(path: str, **more: Any) -> BoardSection:
    return BoardSection.from_table({"name": "node-mcu-01", "port": path, **more})


def test_a_declared_board_is_served_and_told_the_time(tmp_path: Path) -> None:
    board = BoardDouble()

    async def test(path: str) -> None:
        (tmp_path / "board.toml").write_text(FILE)
        async with boards_of(tmp_path, at(path, board_file=str(tmp_path / "board.toml"))) as boards:
            await until(is_(boards, "online"))
            found = view(boards)
            with pytest.raises(EyeflowError) as refused:
                Board(path)
        assert refused.value.code == "port_busy"  # the daemon has it alone
        assert (found["chip"], found["device"], found["has_board_file"]) == ("STM32F401CC", "0001020304050607", True)
        assert found["health"]["uptime_ms"] == 60_000 and len(set(board.times)) == 1
        with Board(path) as again:  # given back
            assert again.hello.chip == "STM32F401CC"

    with plugged_in(board) as path:
        asyncio.run(test(path))


def test_a_board_is_found_again_by_its_usb_serial_number_when_its_port_has_another_name(tmp_path: Path) -> None:
    board, ports = BoardDouble(), Ports()

    async def test() -> None:
        async with boards_of(tmp_path, BoardSection("node-mcu-01", usb_serial=SERIAL), scan=ports) as boards:
            await until(is_(boards, "linkLost", "port_missing"))
            with plugged_in(board) as first:
                ports.found = [FoundPort("/dev/other", "77"), FoundPort(first, SERIAL)]
                await until(is_(boards, "online"))
                since_us = view(boards)["since_us"]
                # Kept open until the second is: the system would give the same name again.
                with plugged_in(board) as second:
                    assert first != second
                    await asyncio.to_thread(ports.found.clear)
            with plugged_in(BoardDouble(device=bytes(8))), plugged_in(board) as second:
                await until(is_(boards, "linkLost"))
                ports.found = [FoundPort(second, SERIAL)]
                await until(lambda: view(boards)["url"] == second and is_(boards, "online")())
                assert view(boards)["since_us"] > since_us

    asyncio.run(test())


def test_an_unknown_board_is_shown_and_nothing_is_sent_to_it(tmp_path: Path) -> None:
    board, ports = BoardDouble(), Ports()

    async def test(path: str) -> None:
        ports.found = [FoundPort(path, SERIAL, "a board")]
        async with boards_of(tmp_path, scan=ports) as boards:
            found = await boards.list({})
            assert found == {"boards": [], "unknown": [{"port": path, "usb_serial": SERIAL, "product": "a board"}]}
            assert board.requests == []
            adopted = await boards.adopt({"name": "node-mcu-01", "port": path, "board_text": FILE})
            assert adopted["place"] == f"USB {SERIAL}"
            await until(is_(boards, "online"))
            assert (await boards.list({}))["unknown"] == []
        async with boards_of(tmp_path, scan=ports) as boards:  # after a start
            await until(is_(boards, "online"))
            renamed = await boards.rename({"name": "node-mcu-01", "to": "press"})
            assert (renamed["name"], renamed["has_board_file"]) == ("press", True)
            await until(is_(boards, "online", name="press"))
            await boards.release({"name": "press"})
        async with boards_of(tmp_path, scan=ports) as boards:
            assert (await boards.list({}))["boards"] == []

    with plugged_in(board) as path:
        asyncio.run(test(path))


@pytest.mark.parametrize(
    ("board", "text", "code"),
    [
        (BoardDouble(answers=False), "", "board_silent"),
        (BoardDouble(chip="RP2040"), FILE, "other_chip"),
        (BoardDouble(), "chip = ", "board_file"),
    ],
)
def test_what_is_not_the_board_that_was_meant_is_not_adopted(
    tmp_path: Path, board: BoardDouble, text: str, code: str
) -> None:
    async def test(path: str) -> None:
        async with boards_of(tmp_path) as boards:
            with pytest.raises(EyeflowError) as refused:
                await boards.adopt({"name": "node-mcu-01", "port": path, "board_text": text})
            assert refused.value.code == code and boards.views() == []
            with pytest.raises(EyeflowError, match="is the name of another node"):
                await boards.adopt({"name": "gateway", "port": path})

    with plugged_in(board) as path:
        asyncio.run(test(path))


def test_another_chip_does_not_take_the_name_until_the_board_is_released(tmp_path: Path) -> None:
    async def test() -> None:
        with plugged_in(BoardDouble()) as path:
            async with boards_of(tmp_path, at(path)) as boards:
                await until(is_(boards, "online"))
        with plugged_in(BoardDouble(device=bytes(range(8, 16)))) as path:
            async with boards_of(tmp_path, at(path)) as boards:
                await until(is_(boards, "failed", "other_device"))
                await boards.release({"name": "node-mcu-01"})
                await until(is_(boards, "online"))
                assert view(boards)["device"] == "08090a0b0c0d0e0f"

    asyncio.run(test())


def test_a_board_that_stops_answering_is_stale_then_lost_and_comes_back(tmp_path: Path) -> None:
    board, clock = BoardDouble(), ShiftedClock()

    async def test(path: str) -> None:
        async with boards_of(tmp_path, at(path), clock=clock) as boards:
            await until(is_(boards, "online"))
            board.answers = False
            await until(is_(boards, "stale"))
            clock.ahead_us += round(STALE_S * 1e6)
            await until(is_(boards, "linkLost", "board_silent"))
            board.says = log_line("still here")
            await until(is_(boards, "failed", "firmware_silent"))
            told, since_us = len(board.times), clock.now_us()
            board.says, board.answers = b"", True
            await until(is_(boards, "online"))
            again = board.times[told:]  # it may have lost its clock meanwhile
            assert again and all(since_us <= time_us <= clock.now_us() for time_us in again)

    with plugged_in(board) as path:
        asyncio.run(test(path))


def test_a_board_that_its_watchdog_resets_in_a_loop_has_failed(tmp_path: Path) -> None:
    board = BoardDouble(reset_cause=Reset.WATCHDOG)

    async def test(path: str) -> None:
        async with boards_of(tmp_path, at(path)) as boards:
            await until(is_(boards, "online"))
            while not is_(boards, "failed", "watchdog")():
                board.restart()
                asked = len(board.requests)
                await until(lambda asked=asked: len(board.requests) > asked + 10)  # type: ignore[misc]
            assert "times in the last 120 s, the last time by its watchdog" in view(boards)["evidence"]

    with plugged_in(board) as path:
        asyncio.run(test(path))


@pytest.mark.parametrize(
    "noise", [b"\xaa\x55" * 40, b"login: \r\n" * 9, log_line("x" * 90) * 3, b"\0" * 90, b"\0\x05ab"]
)
def test_floods_and_garbage_leave_the_loop_free_and_the_other_boards_served(tmp_path: Path, noise: bytes) -> None:
    loud, other = BoardDouble(answers=False, says=noise), BoardDouble(device=bytes(range(1, 9)))

    async def test(path: str, other_path: str) -> None:
        places = [at(path), BoardSection.from_table({"name": "quiet", "port": other_path})]
        async with boards_of(tmp_path, *places) as boards:
            await until(is_(boards, "online", name="quiet"))
            await until(lambda: view(boards)["state"] in ("failed", "linkLost"))
            answered = view(boards, "quiet")["answered_us"]
            await until(lambda: view(boards, "quiet")["answered_us"] > answered)

    with plugged_in(loud) as path, plugged_in(other) as other_path:
        asyncio.run(test(path, other_path))


@pytest.mark.parametrize(("bound", "is_held"), [(READ_BYTES_PER_S_MIN, True), (1 << 40, False)])
def test_a_flood_is_read_no_faster_than_the_line_could_carry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: int, is_held: bool
) -> None:
    """Control: with a bound that bounds nothing, the same line brings more than it may."""
    monkeypatch.setattr(async_line, "READ_BYTES_PER_S_MIN", bound)
    board, credit_bytes = BoardDouble(says=b"\xaa" * 4096), 64 * 1024  # a second's worth, and what was under way

    async def test(path: str) -> None:
        async with boards_of(tmp_path, at(path)) as boards:
            await until(lambda: bool(boards.by_name) and boards.by_name["node-mcu-01"]._line is not None)
            line = boards.by_name["node-mcu-01"]._line
            assert line is not None
            receiver, now_s = line.line.receiver, asyncio.get_running_loop().time
            began_s, began_bytes = now_s(), receiver.received_bytes

            def beyond() -> float:
                return receiver.received_bytes - began_bytes - READ_BYTES_PER_S_MIN * (now_s() - began_s)

            await until(lambda: beyond() > credit_bytes or (is_held and receiver.received_bytes > 120_000))
            assert (beyond() <= credit_bytes) is is_held

    with plugged_in(board) as path:
        asyncio.run(test(path))


@pytest.mark.parametrize(
    ("boards", "message"),
    [
        ([{"name": "a"}], "needs one of `port` and `usb_serial`"),
        ([{"name": "a", "port": "/dev/x", "usb_serial": "1"}], "needs one of"),
        ([{"name": "a", "port": "COM3"}], "is no port"),
        ([{"name": "../a", "port": "/dev/x"}], "is no name"),
        ([{"name": "gateway", "port": "/dev/x"}], "is the name of another node"),
        ([{"name": "a", "port": "/dev/x"}, {"name": "a", "port": "/dev/y"}], "is the name of another node"),
        ([{"name": "a", "port": "/dev/x"}, {"name": "b", "port": "/dev/x"}], "has the place of another board"),
        ([{"name": f"b{n}", "port": f"/dev/{n}"} for n in range(BOARDS_MAX + 1)], "names 33 boards"),
        ({"name": "a"}, "is no list"),
        ([{"name": "a", "port": "/dev/x", "speed": 1}], "unknown key `speed`"),
    ],
)
def test_a_wrong_configuration_is_refused_with_the_reason(boards: object, message: str) -> None:
    with pytest.raises(EyeflowError, match=message):
        read_boards({"boards": boards}, "gateway", Path())


def test_a_board_whose_files_cannot_be_used_stops_no_other(tmp_path: Path) -> None:
    (tmp_path / "boards" / "broken").mkdir(parents=True)
    (tmp_path / "boards" / "broken" / "board.json").write_text('{"port": 7}')

    async def test(path: str) -> None:
        missing = {"name": "lacks-file", "port": "/dev/null", "board_file": str(tmp_path / "none.toml")}
        async with boards_of(tmp_path, at(path), BoardSection.from_table(missing)) as boards:
            await until(is_(boards, "online"))
            await until(is_(boards, "failed", "board_file", "lacks-file"))
            await until(is_(boards, "failed", "board_kept", "broken"))

    with plugged_in(BoardDouble()) as path:
        asyncio.run(test(path))


def test_a_board_whose_link_has_no_place_on_the_disk_is_in_trouble_alone_until_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(boards_module, "RETRY_S", 0.0)

    def make_link(board: GatewayBoard, directory: Path) -> Link | None:
        if board.name == "other" and (tmp_path / "file").exists():
            return board_link(cast(Any, None), board, tmp_path / "file" / "board")
        return None

    async def test(path: str) -> None:
        places = [BoardSection.from_table({"name": "other", "port": "/dev/null"}), at(path)]
        async with boards_of(tmp_path, *places) as boards:
            boards.make_link = make_link
            await until(is_(boards, "online"))
            await until(is_(boards, "failed", "cannot_write", "other"))
            evidence = view(boards, "other")["evidence"]
            assert str(tmp_path / "file" / "board") in evidence and "Not a directory" in evidence
            trouble = boards.by_name["other"].kept.trouble
            assert trouble is not None and "tries again each half minute" in trouble.next_step
            (tmp_path / "file").unlink()
            await until(lambda: "other" in boards.by_name and boards.by_name["other"].kept.trouble is None)
            assert view(boards, "other")["reason"] != "cannot_write"

    with plugged_in(BoardDouble()) as path:
        asyncio.run(test(path))


def test_boards_that_cannot_all_begin_leave_no_line_behind(tmp_path: Path) -> None:
    async def test(path: str) -> None:
        places = [at(path), BoardSection.from_table({"name": "other", "port": "/dev/null"})]
        made = Boards("gateway", places, tmp_path, ShiftedClock(), Machine(), ZoneInfo("UTC"), Ports(), QUICK)

        def make_link(board: GatewayBoard, directory: Path) -> None:
            if board.name == "other":
                raise RuntimeError("unforeseen")

        made.make_link = make_link
        with pytest.raises(RuntimeError):
            await made.run()
        assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []

    with plugged_in(BoardDouble()) as path:
        asyncio.run(test(path))


@pytest.mark.parametrize("fails", ["keep", "forget"])
def test_a_board_is_served_on_when_the_disk_refuses_a_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    def refuse(folder: BoardFolder, one: Any) -> None:
        if one == "node-mcu-01" or fails == "keep":
            raise EyeflowError("the disk is full", code="cannot_write")
        forget(folder, one)

    forget = BoardFolder.forget

    async def test(path: str) -> None:
        async with boards_of(tmp_path) as boards:
            await boards.adopt({"name": "node-mcu-01", "port": path})
            await until(is_(boards, "online"))
            with monkeypatch.context() as patched:
                patched.setattr(BoardFolder, fails, refuse)
                with pytest.raises(EyeflowError, match="the disk is full"):
                    await boards.rename({"name": "node-mcu-01", "to": "press"})
                await until(is_(boards, "online"))
                if fails == "forget":
                    with pytest.raises(EyeflowError, match="the disk is full"):
                        await boards.release({"name": "node-mcu-01"})
            since = view(boards)["answered_us"]
            await until(lambda: is_(boards, "online")() and view(boards)["answered_us"] > since)
        async with boards_of(tmp_path) as boards:
            await until(is_(boards, "online"))
            assert [one["name"] for one in boards.views()] == ["node-mcu-01"]

    with plugged_in(BoardDouble()) as path:
        asyncio.run(test(path))


def test_questions_over_the_socket_keep_their_refusals(tmp_path: Path) -> None:
    from eyeflow.node.boards.questions import board_answers
    from eyeflow.node.status.local_socket import ask, serve_status

    async def test() -> None:
        async with boards_of(tmp_path) as boards, serve_status(tmp_path, dict, board_answers(boards)):
            asked: Callable[..., Mapping[str, Any]] = partial(ask, tmp_path)
            assert await asyncio.to_thread(asked, "boards.list") == {"boards": [], "unknown": []}
            with pytest.raises(EyeflowError, match="this node has no board press") as refused:
                await asyncio.to_thread(partial(asked, "boards.release", name="press"))
            assert (refused.value.code, int(refused.value.exit_code)) == ("no_board", 1)
            for what, code in (("boards.rename", "malformed"), ("boards.fly", "other_version")):
                with pytest.raises(EyeflowError) as refused:
                    await asyncio.to_thread(asked, what)
                assert refused.value.code == code

    asyncio.run(test())
