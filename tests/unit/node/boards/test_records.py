"""Records of boards: each is in the audit of its board once and in order, whatever happens to gateway, line and board."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.board_double import BoardDouble, HeldProgram, plugged_in
from components.waiting import until
from eyeflow.board_link.frames import Frame
from eyeflow.board_link.messages import Request
from eyeflow.node.boards.boards import Boards
from eyeflow.node.boards.records import output_names
from eyeflow.node.boards.told import board_health
from eyeflow.node.own_key import load_identity
from eyeflow.node.store.reader import AuditReader
from eyeflow.node.store.types import Batch, Committed, StorageError
from eyeflow.node.store.writer import ThreadWriter
from eyeflow.protocol.audit import Record, decode_record, verify_chain
from eyeflow.protocol.audit_bodies import BoardChainBody, BoardRecordBody, GapBody, InstallBody, StartBody, StopBody
from eyeflow.protocol.board_records import first_chain, next_chain
from eyeflow.svm.container import decode

from .test_boards import at, boards_of, is_
from .test_programs import program

NAME = "node-mcu-01"
BOARD_FILE = 'chip = "STM32F401CC"\n[pins]\nDOOR = { direction = "input" }\nRELAY = { direction = "output" }\n'


def audit_of(tmp_path: Path) -> list[Record]:
    """Return the records in the audit of the board, which holds as any node's does."""
    directory = tmp_path / "boards" / NAME
    stored = list(AuditReader(directory).records(1))
    report = verify_chain(stored, load_identity(directory).public_key)
    assert report.holds, report.problem
    return [decode_record(one) for one in stored]


def taken(audit: list[Record]) -> list[tuple[int, int, bytes]]:
    """Return start, number and bytes of each record of the board."""
    bodies = (record.body for record in audit)
    return [(one.boot, one.number, one.data) for one in bodies if isinstance(one, BoardRecordBody)]


def told(audit: list[Record]) -> list[str]:
    """Return the story of an audit in short words."""

    def words() -> Iterator[str]:
        for record in audit:
            body = record.body
            if isinstance(body, GapBody):
                yield f"{body.count} {body.reason}"
            elif isinstance(body, BoardChainBody):
                yield f"{body.reason} {body.boot} {body.number}"
            elif isinstance(body, BoardRecordBody):
                yield f"record {body.boot} {body.number}"

    return list(words())


def all_kept(boards: Boards, board: BoardDouble) -> bool:
    """Whether the board has been told that everything it recorded is safe."""
    return boards.by_name[NAME].records.is_open and board.oldest == len(board.records)


def test_records_are_taken_with_their_bytes_and_acknowledged(tmp_path: Path) -> None:
    board, data = BoardDouble(), program()
    board.programs[0] = HeldProgram(decode(data), len(data))
    (tmp_path / "board.toml").write_text(BOARD_FILE)

    async def test(path: str) -> None:
        async with boards_of(tmp_path, at(path, board_file=str(tmp_path / "board.toml"))) as boards:
            await until(is_(boards, "online"))
            for number in range(40):
                board.run(number % 2, time_us=number)
                await until(lambda: all_kept(boards, board))
            assert boards.views()[0]["records"]["trouble"] == ""  # type: ignore[index]

    with plugged_in(board) as path:
        asyncio.run(test(path))
    audit = audit_of(tmp_path)
    assert taken(audit) == [(1, number, raw) for number, raw in enumerate(board.records)]
    assert [type(record.body) for record in audit][:3] == [StartBody, InstallBody, BoardChainBody]
    assert isinstance(audit[-2].body, StopBody)
    first = next(record.body for record in audit if isinstance(record.body, BoardRecordBody))
    assert (first.rule, first.program, first.outputs) == ("relay", bytes.fromhex(decode(data).program_id), ("RELAY",))


def test_the_boards_own_hashes_can_be_followed_by_whoever_has_the_audit(tmp_path: Path) -> None:
    board = BoardDouble()

    async def test(path: str) -> None:
        async with boards_of(tmp_path, at(path)) as boards:
            for _ in range(12):
                board.run(1)
            await until(lambda: bool(boards.by_name) and all_kept(boards, board))
            board.run(0)
            await until(lambda: all_kept(boards, board))

    with plugged_in(board) as path:
        asyncio.run(test(path))
    chain, ends = b"", 0
    for record in audit_of(tmp_path):
        body = record.body
        if isinstance(body, BoardChainBody):
            chain = body.chain
            assert chain == first_chain(body.device, body.boot)
        elif isinstance(body, BoardRecordBody):
            chain = next_chain(chain, body.number, body.data)
            if body.chain is not None:
                assert body.chain == chain
                ends += 1
    assert ends >= 2, "each reading says what the board itself made of it"


def test_what_was_recorded_while_the_link_was_down_comes_in_order_and_what_did_not_fit_is_a_gap(tmp_path: Path) -> None:
    board = BoardDouble()

    lost = list[dict[str, int]]()

    async def take(path: str) -> None:
        async with boards_of(tmp_path, at(path)) as boards:
            await until(lambda: bool(boards.by_name) and all_kept(boards, board))
            lost.append(boards.by_name[NAME].records.lost)

    for _ in range(3):
        board.run(1)
    with plugged_in(board) as path:
        asyncio.run(take(path))
    for _ in range(board.ring_records):  # hours of it: all that fits
        board.run(0)
    with plugged_in(board) as path:
        asyncio.run(take(path))
    assert [word for word in told(audit_of(tmp_path)) if "record" not in word] == ["started 1 0"]
    for _ in range(board.ring_records + 7):
        board.run(1)
    with plugged_in(board) as path:
        asyncio.run(take(path))
    audit = audit_of(tmp_path)
    assert lost == [{}, {}, {"board_full": 7}]
    story = told(audit)
    assert story[19:21] == ["7 board_full", "missing 1 25"]
    assert [number for _, number, _ in taken(audit)] == [*range(18), *range(25, 40)]
    gap = next(record.body for record in audit if isinstance(record.body, GapBody))
    assert gap.lost_total == 7 and gap.since_us < gap.until_us


def test_a_start_of_the_board_is_recorded_and_what_it_lost_by_that_is_counted(tmp_path: Path) -> None:
    board = BoardDouble()

    async def take(path: str) -> None:
        async with boards_of(tmp_path, at(path)) as boards:
            await until(lambda: bool(boards.by_name) and all_kept(boards, board))
            await until(lambda: boards.by_name[NAME].records.head.seq > 1)

    board.run(1)
    with plugged_in(board) as path:
        asyncio.run(take(path))
    board.run(1)  # in memory only when it restarts: nobody can know of it
    board.restart()
    for _ in range(board.ring_records + 2):
        board.run(0)
    board.oldest += 3  # somebody else read and acknowledged some
    with plugged_in(board) as path:
        asyncio.run(take(path))
    story = told(audit_of(tmp_path))
    assert story[:6] == ["started 1 0", "record 1 0", "2 board_full", "3 board_taken", "missing 2 5", "record 2 5"]
    assert story[-1] == "record 2 16"


class RefusingWriter(ThreadWriter):
    """A store whose disk refuses, once `refuses` is set; `after` says whether the batch was written all the same."""

    refuses, after = False, False

    async def commit(self, batch: Batch) -> Committed:
        if not RefusingWriter.refuses:
            return await super().commit(batch)
        if RefusingWriter.after:
            await super().commit(batch)
        raise StorageError("the disk failed", cause="a test", next_step="", full=False)


@pytest.mark.parametrize("after", [False, True])
def test_nothing_is_acknowledged_before_the_commit_and_nothing_is_taken_twice_when_that_is_in_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    monkeypatch.setattr("eyeflow.node.boards.records.RETRY_S", 0.01)
    monkeypatch.setattr(RefusingWriter, "after", after)
    monkeypatch.setattr("eyeflow.node.boards.boards.ThreadWriter", RefusingWriter)
    board = BoardDouble()

    async def test(path: str) -> None:
        async with boards_of(tmp_path, at(path)) as boards:
            await until(lambda: bool(boards.by_name) and boards.by_name[NAME].records.is_open)
            board.run(1)
            await until(lambda: all_kept(boards, board))
            monkeypatch.setattr(RefusingWriter, "refuses", True)
            board.run(0)
            await until(lambda: boards.by_name[NAME].records.trouble != "")
            store: Any = board_health(boards.by_name[NAME])["store"]
            assert (store["state"], store["problem"]) == ("failed", "the disk failed: a test")
            assert board.oldest == 1, "the control: an acknowledgement before the commit would lose the record here"
            monkeypatch.setattr(RefusingWriter, "refuses", False)
            await until(lambda: all_kept(boards, board))
            assert boards.by_name[NAME].records.trouble == ""

    with plugged_in(board) as path:
        asyncio.run(test(path))
    assert [number for _, number, _ in taken(audit_of(tmp_path))] == [0, 1]


class HangingWriter(ThreadWriter):
    """A store that commits and does not say so, while `hangs` is set."""

    hangs = False

    async def commit(self, batch: Batch) -> Committed:
        committed = await super().commit(batch)
        if HangingWriter.hangs:
            await asyncio.get_running_loop().create_future()
        return committed


def test_a_line_that_is_lost_in_the_middle_of_a_commit_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eyeflow.node.boards.boards.ThreadWriter", HangingWriter)
    board = BoardDouble()

    async def test(path: str) -> None:
        async with boards_of(tmp_path, at(path)) as boards:
            await until(lambda: bool(boards.by_name) and boards.by_name[NAME].records.is_open)
            board.run(1)
            await until(lambda: all_kept(boards, board))
            monkeypatch.setattr(HangingWriter, "hangs", True)
            seq = boards.by_name[NAME].records.head.seq
            board.run(0)
            await until(lambda: boards.by_name[NAME].records.head.seq > seq)
            monkeypatch.setattr(HangingWriter, "hangs", False)
            line = boards.by_name[NAME]._line
            assert line is not None
            line._wire.connection_lost(OSError("unplugged"))
            await until(lambda: all_kept(boards, board))

    with plugged_in(board) as path:
        asyncio.run(test(path))
    assert [number for _, number, _ in taken(audit_of(tmp_path))] == [0, 1]


def test_records_that_the_gateway_saw_and_the_board_lost_at_a_start_are_a_gap_with_their_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eyeflow.node.boards.records.RETRY_S", 0.01)
    monkeypatch.setattr("eyeflow.node.boards.boards.ThreadWriter", RefusingWriter)
    board = BoardDouble()

    async def test(path: str) -> None:
        async with boards_of(tmp_path, at(path)) as boards:
            board.run(1)
            await until(lambda: bool(boards.by_name) and all_kept(boards, board))
            monkeypatch.setattr(RefusingWriter, "refuses", True)
            board.run(0)
            board.run(1)
            read = boards.by_name[NAME].records
            await until(lambda: read.trouble != "" and read._seen.next == 3)
            board.restart()
            monkeypatch.setattr(RefusingWriter, "refuses", False)
            board.run(1)
            await until(lambda: all_kept(boards, board))

    with plugged_in(board) as path:
        asyncio.run(test(path))
    assert told(audit_of(tmp_path)) == ["started 1 0", "record 1 0", "2 board_restart", "started 2 0", "record 2 0"]


def test_records_that_do_not_fit_the_hashes_of_the_board_are_kept_as_evidence(tmp_path: Path) -> None:
    board = BoardDouble()

    async def test(path: str) -> None:
        async with boards_of(tmp_path, at(path)) as boards:
            board.run(1)
            await until(lambda: bool(boards.by_name) and all_kept(boards, board))
            board.records[0] = bytes([2])  # another history before what comes next
            board.run(0)
            await until(lambda: all_kept(boards, board))

    with plugged_in(board) as path:
        asyncio.run(test(path))
    assert told(audit_of(tmp_path)) == ["started 1 0", "record 1 0", "broken 1 1", "record 1 1"]


def test_a_lost_answer_to_an_acknowledgement_costs_nothing_and_it_is_not_sent_again_by_itself(tmp_path: Path) -> None:
    board = BoardDouble()

    async def test(path: str) -> None:
        async with boards_of(tmp_path, at(path)) as boards:
            await until(lambda: bool(boards.by_name) and boards.by_name[NAME].records.is_open)
            board.loses = Request.RECORDS_ACK
            board.run(1)
            await until(lambda: all_kept(boards, board) and board.loses is None)
            board.run(1)
            await until(lambda: all_kept(boards, board))

    with plugged_in(board) as path:
        asyncio.run(test(path))
    assert told(audit_of(tmp_path)) == ["started 1 0", "record 1 0", "record 1 1"]
    acknowledged = [at for at, one in enumerate(board.requests) if one is Request.RECORDS_ACK]
    assert all(board.requests[at - 1] is Request.HELLO for at in acknowledged), "it asks first who answers"


class RestartingBoard(BoardDouble):
    """It loses power once, right before it answers the first request for which `is_due` says so."""

    def answer(self, frame: Frame) -> bytes:
        if self.boot == 1 and self.is_due(Request(frame.kind)):
            self.restart()
            self.run(0)
        return super().answer(frame)

    def is_due(self, request: Request) -> bool:
        raise NotImplementedError


class RestartsWhileRead(RestartingBoard):
    def is_due(self, request: Request) -> bool:
        return request is Request.RECORDS_READ and bool(self.records)


class RestartsBeforeAcknowledged(RestartingBoard):
    def is_due(self, request: Request) -> bool:
        """What follows the question that ends a reading."""
        after = (
            self.requests[self.requests.index(Request.RECORDS_READ) :] if Request.RECORDS_READ in self.requests else []
        )
        return bool(after.count(Request.HELLO) and request in (Request.HELLO, Request.RECORDS_ACK))


@pytest.mark.parametrize(
    ("kind", "story"),
    [
        (RestartsWhileRead, ["started 2 0", "record 2 0"]),
        (RestartsBeforeAcknowledged, ["started 1 0", "record 1 0", "started 2 0", "record 2 0"]),
    ],
)
def test_a_board_that_starts_in_the_middle_of_a_reading_loses_nothing_of_its_new_start(
    tmp_path: Path, kind: type[RestartingBoard], story: list[str]
) -> None:
    board = kind()
    board.run(1)

    async def test(path: str) -> None:
        async with boards_of(tmp_path, at(path)) as boards:
            await until(lambda: board.boot == 2 and all_kept(boards, board))

    with plugged_in(board) as path:
        asyncio.run(test(path))
    assert told(audit_of(tmp_path)) == story


def test_the_audit_of_a_board_outlives_its_release_and_goes_on_when_it_is_adopted_again(tmp_path: Path) -> None:
    board = BoardDouble()

    async def test(path: str) -> None:
        async with boards_of(tmp_path) as boards:
            for _ in range(2):
                await boards.adopt({"name": NAME, "port": path})
                board.run(1)
                await until(lambda: all_kept(boards, board))
                await boards.release({"name": NAME})

    with plugged_in(board) as path:
        asyncio.run(test(path))
    assert told(audit_of(tmp_path)) == ["started 1 0", "record 1 0", "record 1 1"]


def test_outputs_are_named_in_the_order_of_the_board_file() -> None:
    assert output_names(BOARD_FILE) == ("RELAY",)
    assert output_names("") == output_names("pins = 3") == output_names("[") == ()
