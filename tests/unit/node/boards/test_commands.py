"""What commands ask the node that owns a board's port: the line is let go and taken back, and what runs is recorded."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from components.board_double import BoardDouble, plugged_in
from components.waiting import until
from eyeflow.base.errors import EyeflowError
from eyeflow.board_link.messages import Request
from eyeflow.board_link.port import Board
from eyeflow.node.boards.commands import BoardCommands
from eyeflow.node.boards.hold import HOLD_S_MAX
from eyeflow.protocol.audit_bodies import InstallBody, RemoveBody
from eyeflow.svm.container import decode
from eyeflow.svm.signing import public_key_of

from .test_boards import ShiftedClock, at, boards_of, is_, view
from .test_programs import program, wanted
from .test_records import NAME, audit_of

SIGNER = public_key_of(bytes(range(32)))


def test_the_port_is_free_while_it_is_let_go_and_the_start_after_it_counts_as_none(tmp_path: Path) -> None:
    board = BoardDouble()

    async def test(path: str) -> None:
        async with boards_of(tmp_path, at(path)) as boards:
            await until(is_(boards, "online"))
            commands = BoardCommands(boards)
            await commands.let_go({"name": NAME, "why": "it is flashed"})
            assert (view(boards)["state"], view(boards)["evidence"]) == ("updating", "it is flashed")
            with Board(path) as other:  # nobody has it
                assert other.hello.boot == 1
            with pytest.raises(EyeflowError) as refused:
                await commands.push({"name": NAME, "program": program().hex(), "params": []})
            assert refused.value.code == "board_away" and "it is flashed" in str(refused.value.cause)
            board.restart()
            await commands.take_back({"name": NAME})
            await until(is_(boards, "online"))
            assert (view(boards)["boot"], view(boards)["starts"]) == (2, 0)

    with plugged_in(board) as path:
        asyncio.run(test(path))


def test_a_port_that_nobody_takes_back_is_taken_back_by_the_node(tmp_path: Path) -> None:
    clock = ShiftedClock()

    async def test(path: str) -> None:
        async with boards_of(tmp_path, at(path), clock=clock) as boards:
            await until(is_(boards, "online"))
            await BoardCommands(boards).let_go({"name": NAME, "why": "it is flashed"})
            clock.ahead_us += int(HOLD_S_MAX * 1e6)
            await until(is_(boards, "online"))

    with plugged_in(BoardDouble()) as path:
        asyncio.run(test(path))


def test_only_questions_that_change_nothing_are_handed_on(tmp_path: Path) -> None:
    board = BoardDouble()

    async def test(path: str) -> None:
        async with boards_of(tmp_path, at(path)) as boards:
            await until(is_(boards, "online"))
            commands = BoardCommands(boards)
            asked = {"name": NAME, "payload": ""}
            assert (await commands.exchange(asked | {"request": int(Request.HELLO)}))["payload"]
            for request in Request:
                if request not in (Request.HELLO, Request.PING, Request.INFO, Request.COUNTERS, Request.HEALTH):
                    with pytest.raises(ValueError, match="is not asked so"):
                        await commands.exchange(asked | {"request": int(request)})

    with plugged_in(board) as path:
        asyncio.run(test(path))


def test_what_runs_is_recorded_once_also_over_a_restart_of_the_node(tmp_path: Path) -> None:
    board, first, second = BoardDouble(), program(), program("1.1.0")
    ids = [bytes.fromhex(decode(one).program_id) for one in (first, second)]

    async def push(path: str) -> None:
        async with boards_of(tmp_path, at(path)) as boards:
            await until(is_(boards, "online"))
            await BoardCommands(boards).push({"name": NAME, "program": first.hex(), "params": []})
            records = boards.by_name[NAME].records  # its thread may not have written the first one yet
            await until(lambda: records.epoch > 0 and recorded(1))

    async def deploy(path: str) -> None:
        async with boards_of(tmp_path, at(path)) as boards:
            await until(is_(boards, "online"))
            one = boards.by_name[NAME]
            await one.programs.want(wanted(second, 7, limit=2.0), second)
            await until(lambda: recorded(2))
            board.programs.clear()  # past the node
            await until(lambda: recorded(3))

    def recorded(count: int) -> bool:
        return len(changes()) == count

    def changes() -> list[object]:
        return [one.body for one in audit_of(tmp_path) if isinstance(one.body, InstallBody | RemoveBody)]

    with plugged_in(board) as path:
        asyncio.run(push(path))
        asyncio.run(deploy(path))
    by_hand, deployed, *_ = changes()
    assert isinstance(by_hand, InstallBody) and isinstance(deployed, InstallBody)
    assert (by_hand.program, by_hand.deployment, by_hand.previous, by_hand.signers) == (ids[0], "", None, (SIGNER,))
    assert (deployed.program, deployed.previous, deployed.manifest_version) == (ids[1], ids[0], 7)
    assert changes()[2] == RemoveBody("relay", ids[1])


def test_a_pushed_program_stays_at_the_node_beyond_its_restart(tmp_path: Path) -> None:
    board, data = BoardDouble(), program()
    program_id = decode(data).program_id

    async def push(path: str) -> None:
        async with boards_of(tmp_path, at(path)) as boards:
            await until(is_(boards, "online"))
            await BoardCommands(boards).push({"name": NAME, "program": data.hex(), "params": []})

    async def look(path: str) -> None:
        async with boards_of(tmp_path, at(path)) as boards:
            await until(is_(boards, "online"))
            assert boards.by_name[NAME].programs.program(program_id) == data

    with plugged_in(board) as path:
        asyncio.run(push(path))
        asyncio.run(look(path))
