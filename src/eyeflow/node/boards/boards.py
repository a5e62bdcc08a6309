"""All boards behind this node: those of its configuration and those that somebody adopted here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from zoneinfo import ZoneInfo

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.machine import Machine
from eyeflow.base.names import near
from eyeflow.base.reading import Unreadable
from eyeflow.board_link import conversations
from eyeflow.board_link.async_line import AsyncLine
from eyeflow.board_link.port import FoundPort, found_ports
from eyeflow.board_link.session import Patience
from eyeflow.node.boards.board import GatewayBoard, Scan
from eyeflow.node.boards.events import BoardEvents, DeliverEvent
from eyeflow.node.boards.keeping import BOARD_BYTES_MAX, BoardFolder, KeptBoard, facts_of
from eyeflow.node.boards.models import BoardModels, ModelAccess
from eyeflow.node.boards.params import set_param
from eyeflow.node.boards.programs import BoardPrograms
from eyeflow.node.boards.records import AUDIT_LIMITS, BoardRecords, MakeWriter
from eyeflow.node.boards.settings import BoardSection, check_places
from eyeflow.node.clock import Clock
from eyeflow.node.control import Link
from eyeflow.node.io.ports import PortStatus
from eyeflow.node.store.types import BufferLimits
from eyeflow.node.store.writer import ThreadWriter
from eyeflow.protocol.boards import BoardState

MakeLink = Callable[[GatewayBoard, Path], Link | None]

LOOK_S = 1.0
"""How often the node's log is told of boards whose state changed."""
RETRY_S = 30.0
"""How often a board is begun again whose files could not be written."""


class Boards:
    """Runs a task for each board. What a command asks of it (`list`, `adopt`, ...) comes over the node's socket.

    `limits` bound the audit of each board, `access` says what boards may ask of a language model.
    """

    def __init__(
        self,
        node: str,
        declared: Sequence[BoardSection],
        data_dir: Path,
        clock: Clock,
        machine: Machine,
        zone: ZoneInfo,
        scan: Scan = found_ports,
        patience: Patience | None = None,
        limits: BufferLimits = AUDIT_LIMITS,
        access: ModelAccess | None = None,
    ) -> None:
        self.status = PortStatus("boards", "up")
        self.by_name: dict[str, GatewayBoard] = {}
        self._node, self._declared = node, tuple(declared)
        self._folder, self._write = BoardFolder(data_dir, machine.write_whole), machine.write_whole
        self._clock, self._random, self._zone = clock, machine.random, zone
        self._scan, self._patience = scan, patience
        self._machine, self._limits, self._access = machine, limits, access or ModelAccess()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.make_link: MakeLink = lambda board, directory: None
        """Makes the link of a board to the cluster of its gateway; None: the node runs alone."""
        self.make_writer: MakeWriter = ThreadWriter
        """Makes what writes the audit of a board."""
        self.deliver: DeliverEvent | None = None
        """Gives events of boards to the rules of the node; None: there are no rules."""
        self._changing = asyncio.Lock()

    async def run(self) -> None:
        """Serve the boards until cancelled."""
        try:
            for kept in await asyncio.to_thread(self._folder.load, self._declared):
                self._begin(kept)
            retry_s = 0.0
            while True:
                self.look()
                await asyncio.sleep(LOOK_S)
                retry_s += LOOK_S
                if retry_s >= RETRY_S:
                    retry_s = 0.0
                    await self._retry_unwritten()
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
            self._tasks.clear()

    def _begin(self, kept: KeptBoard) -> None:
        directory = self._folder.of(kept.name)
        programs = BoardPrograms(directory, self._write)
        how = (self._scan, self._folder.keep, self._clock, self._random, self._zone)
        records = BoardRecords(kept.name, directory, self._limits, self._clock, self._machine, self.make_writer)
        answering = (self._access, programs.program, records, self._clock, self._machine.in_thread)
        events = BoardEvents(kept.name, self._hand_on, programs.program)
        models = BoardModels(kept.name, *answering)
        board = GatewayBoard(kept, *how, programs, records, models, events, self._patience)
        try:
            board.link = self._opened(board)
        except EyeflowError as error:  # its key cannot be used: no other board suffers from that
            board.kept = replace(kept, trouble=error)
        self.by_name[kept.name] = board
        self._tasks[kept.name] = asyncio.create_task(_serve(board))

    async def _hand_on(self, name: str, payload: Mapping[str, object], board: str) -> bool:
        return self.deliver is not None and await self.deliver(name, payload, board)

    async def set_param(self, name: str, rule: str, param: str, value: float) -> None:
        """Set a parameter of a rule on a board. Raises EyeflowError."""
        board = self.board(name)
        await set_param(board, board.programs.program, rule, param, value)

    def _opened(self, board: GatewayBoard) -> Link | None:
        board.programs.load()
        return self.make_link(board, self._folder.of(board.name))

    async def _retry_unwritten(self) -> None:
        """Begin boards again that failed because a file could not be written: a disk is not full for ever."""
        async with self._changing:
            for name, board in list(self.by_name.items()):
                kept = board.kept
                if kept.trouble is None or kept.trouble.code != "cannot_write":
                    continue
                try:
                    self._opened(board)
                except EyeflowError:  # as before: what it shows, and since when, stays
                    continue
                await self._end(name)
                self._begin(replace(kept, trouble=None))

    async def _end(self, name: str) -> None:
        task, board = self._tasks.pop(name), self.by_name.pop(name)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await board.programs.close()

    def views(self) -> list[dict[str, object]]:
        """Return how each board does, by name, as JSON-able data."""
        return [board.view() for _, board in sorted(self.by_name.items())]

    def look(self) -> None:
        """Tell the node's log of boards whose state changed: see `PortLog`."""
        for name, board in self.by_name.items():
            is_up = board.standing.state in (BoardState.ONLINE, BoardState.UPDATING)
            detail = "" if is_up else board.standing.evidence
            self.status.parts[name] = PortStatus(f"board {name}", "up" if is_up else board.standing.state.value, detail)
        for name in self.status.parts.keys() - self.by_name.keys():
            del self.status.parts[name]

    async def list(self, asked: Mapping[str, object]) -> dict[str, object]:
        """Return the boards, and the ports of this machine that no board of this node has. Nothing is sent to them."""
        ports = await asyncio.to_thread(self._scan)
        taken = {board.url for board in self.by_name.values()} | {one.kept.place.port for one in self.by_name.values()}
        serials = {one.kept.place.usb_serial for one in self.by_name.values()} - {""}
        unknown = [one for one in ports if one.device not in taken and one.usb_serial not in serials]
        return {"boards": self.views(), "unknown": [_port_view(one) for one in unknown]}

    async def adopt(self, asked: Mapping[str, object]) -> dict[str, object]:
        """Take the board that answers at a port: `name`, `port`, `baud`, `board_text` (empty: none)."""
        text = str(asked.get("board_text", ""))
        port, baud = str(asked["port"]), int(str(asked.get("baud", 115_200)))
        async with self._changing:
            place = await self._place_of(port, str(asked["name"]), baud)
            check_places([place, *(one.kept.place for one in self.by_name.values())], self._node)
            await self._check_answer(port, baud, text)
            kept = KeptBoard(place, text)
            await asyncio.to_thread(self._folder.keep, kept)
            self._begin(kept)
        return self.by_name[place.name].view()

    async def _place_of(self, port: str, name: str, baud: int) -> BoardSection:
        """Keep the serial number of a USB port rather than its name, which another device may have tomorrow."""
        ports = await asyncio.to_thread(self._scan)
        serial = next((one.usb_serial for one in ports if one.device == port), "")
        is_unique = serial and [one.usb_serial for one in ports].count(serial) == 1
        where = {"usb_serial": serial} if is_unique else {"port": port}
        return BoardSection.from_table({"name": name, "baud": baud, **where})

    async def _check_answer(self, port: str, baud: int, board_text: str) -> None:
        """Refuse to adopt what does not answer, or is another chip than the board file says."""
        try:
            chip = facts_of(board_text).chip
        except Unreadable as error:
            raise _refused("the board file cannot be used", str(error), "Correct it.", "board_file") from error
        if len(board_text.encode()) > BOARD_BYTES_MAX:
            raise _refused(
                "the board file is too long", f"{BOARD_BYTES_MAX} bytes at most", "Shorten it.", "board_file"
            )
        line = await AsyncLine.open(port, baud, self._patience)
        try:
            hello = await line.converse(conversations.hello(port))
        finally:
            line.close()
        if chip and chip.casefold() != hello.chip.casefold():
            told = f"the board at {port} has the chip {hello.chip}, and the board file says {chip}"
            raise _refused(told, "it is the file of another board", "Name the right one.", "other_chip")

    async def rename(self, asked: Mapping[str, object]) -> dict[str, object]:
        """Give an adopted board another name: in the cluster it is another node from then on. `name`, `to`."""
        name, to = str(asked["name"]), str(asked["to"])
        async with self._changing:
            board = self._adopted(name, "Change its name in the configuration file, and start the node anew.")
            before = board.kept
            where = {"port": before.place.port, "usb_serial": before.place.usb_serial}
            place = BoardSection.from_table({"name": to, "baud": before.place.baud, **where})
            others = [one.kept.place for other, one in self.by_name.items() if other != name]
            check_places([place, *others], self._node)
            # The new name is kept first: after a crash in between there are two names for one chip, and none is lost.
            renamed = KeptBoard(place, before.board_text, before.device)
            await asyncio.to_thread(self._folder.keep, renamed)
            try:
                await self._forget(name)
            except EyeflowError:
                with suppress(EyeflowError):
                    await asyncio.to_thread(self._folder.forget, to)
                raise
            self._begin(renamed)
        return self.by_name[to].view()

    async def _forget(self, name: str) -> None:
        """End a board and forget its files. When the disk refuses, it is served on."""
        kept = self.by_name[name].kept
        await self._end(name)
        try:
            await asyncio.to_thread(self._folder.forget, name)
        except EyeflowError:
            self._begin(kept)
            raise

    async def release(self, asked: Mapping[str, object]) -> dict[str, object]:
        """Forget a board. One of the configuration file forgets its chip, and takes the next one that answers."""
        name = str(asked["name"])
        async with self._changing:
            kept = self.board(name).kept
            await self._forget(name)
            if kept.is_declared:
                declared = [one for one in self._declared if one.name == name]
                self._begin((await asyncio.to_thread(self._folder.load, declared))[0])
        return {"released": name, "isDeclared": kept.is_declared}

    def _adopted(self, name: str, next_step: str) -> GatewayBoard:
        board = self.board(name)
        if board.kept.is_declared:
            raise _refused(f"{name} stands in the configuration file", "[[boards]] names it", next_step, "declared")
        return board

    def board(self, name: str) -> GatewayBoard:
        """Return a board by its name. Raises EyeflowError for one that this node does not have."""
        if name not in self.by_name:
            guess = near(name, self.by_name)
            hint = f"Did you mean {guess}?" if guess else "`eyeflow node boards list` shows them."
            raise _refused(f"this node has no board {name}", "nobody adopted it, and [[boards]] names none", hint)
        return self.by_name[name]


async def _serve(board: GatewayBoard) -> None:
    """Keep the line of a board, its audit and its link side by side. None of them ends by itself."""
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(board.records.open())
            group.create_task(board.run())
            if board.link is not None:
                group.create_task(board.link.run())
    finally:
        await board.records.close()


def _port_view(port: FoundPort) -> dict[str, object]:
    return {"port": port.device, "usb_serial": port.usb_serial, "product": port.product}


def _refused(message: str, cause: str, next_step: str, code: str = "no_board") -> EyeflowError:
    return EyeflowError(message, cause=cause, next_step=next_step, code=code, exit_code=ExitCode.PROBLEMS)
