"""The link of one board to the coordinator that its gateway has joined."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from eyeflow.base.errors import EyeflowError
from eyeflow.base.reading import read_at_once
from eyeflow.base.reasons import internal
from eyeflow.node.backoff import Backoff
from eyeflow.node.boards.board import GatewayBoard
from eyeflow.node.boards.control import BoardControl
from eyeflow.node.boards.keeping import writes
from eyeflow.node.boards.told import board_facts
from eyeflow.node.cluster.link import CoordinatorLink
from eyeflow.node.cluster.membership import JoinResult, Membership, ask_to_join_board
from eyeflow.node.io.ports import PortStatus
from eyeflow.node.own_key import load_identity
from eyeflow.node.runtime import NodeRuntime

JOIN_LAST_S = 10.0
"""Longest wait before a board tries again to join."""

TOLD_FILE = "told-board-file"
"""Beside the other files of the link: the digest of the board file that the coordinator has."""

_log = logging.getLogger("eyeflow.node")

MakeCoordinatorLink = Callable[[BoardControl, Membership], CoordinatorLink]


class BoardLink:
    """Waits until the board and the cluster are known, joins, and is the board's link from then on.

    `gateway_joined` returns the cluster of the gateway, None before it has joined; `gateway_sign` signs with its key.
    """

    def __init__(
        self,
        board: GatewayBoard,
        gateway_joined: Callable[[], JoinResult | None],
        gateway_sign: Callable[[bytes], bytes],
        membership: Membership,
        make: Callable[[PortStatus], CoordinatorLink],
        control: BoardControl,
        backoff: Backoff,
    ) -> None:
        self.status = PortStatus("coordinator", counters={"dials": 0, "connects": 0, "manifests": 0})
        self._board, self._control, self._membership = board, control, membership
        self._gateway_joined, self._gateway_sign = gateway_joined, gateway_sign
        self._link, self._backoff = make(self.status), backoff

    @property
    def url(self) -> str:
        """The coordinator."""
        return self._link.url

    async def run(self) -> None:
        """Run until cancelled. A board that was never heard has no link: nobody knows what it is."""
        while True:
            try:
                await self._run_once()
            except EyeflowError as error:
                self._show("failed", error.whole)
            except Exception as error:  # a bug here must stop neither the board's line nor the node
                _log.exception("board %s: its link failed in an unforeseen way", self._board.name)
                self._show("failed", internal(error))
            await asyncio.sleep(self._backoff.next_s())

    async def _run_once(self) -> None:
        joined = await asyncio.to_thread(self._gateway_joined)
        if joined is None:
            self._show("connecting", "the gateway has not joined a cluster yet")
            return
        if not self._board.kept.device:
            self._show("connecting", "the board has not answered yet, so nobody knows what it is")
            return
        if not self._board.records.is_open:
            self._show("connecting", f"the audit of the board is not open: {self._board.records.trouble or 'not yet'}")
            return
        before = await asyncio.to_thread(self._membership.joined)
        kept = self._board.kept
        is_known = before is not None and before.coordinator_id == joined.coordinator_id
        if not is_known or await asyncio.to_thread(self._told_file) != _digest(kept.board_text):
            what = (kept.name, self._control.identity.public_key, kept.device, kept.board_text)
            now = await ask_to_join_board(joined, self._gateway_sign, *what)
            if not is_known:
                await asyncio.to_thread(self._membership.join, now)
            await asyncio.to_thread(self._note_file, _digest(kept.board_text))
        self._backoff.reset()
        await self._serve()

    async def _serve(self) -> None:
        """Run the link until what the board can run has changed: the next link tells that in its HELLO."""
        tasks = {asyncio.create_task(self._link.run()), asyncio.create_task(self._follow())}
        try:
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _told_file(self) -> bytes:
        """Return which board file the coordinator was told last."""
        try:
            return read_at_once(self._membership.directory / TOLD_FILE, 64)
        except OSError:
            return b""

    def _note_file(self, digest: bytes) -> None:
        with suppress(OSError):  # then it is told once more
            self._membership.write(self._membership.directory / TOLD_FILE, digest, 0o600)

    async def _follow(self) -> None:
        """Tell the coordinator at once when the board's state has changed; ends when it has other firmware."""
        before = board_facts(self._board.kept)
        while board_facts(self._board.kept) == before:
            await self._board.changed.wait()
            self._board.changed.clear()
            self._link.tell_soon()

    def _show(self, state: str, detail: str) -> None:
        self.status.state, self.status.detail = state, detail


def _digest(text: str) -> bytes:
    return sha256(text.encode()).hexdigest().encode()


def board_link(node: NodeRuntime, board: GatewayBoard, directory: Path) -> BoardLink:
    """Return the link of a board behind `node`; what belongs to it is kept in `directory`. Raises EyeflowError."""
    with writes(directory, then="The node tries again each half minute."):
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    control = BoardControl(board, load_identity(directory, node.machine), node.identity.version)
    membership = Membership(directory, node.machine.write_whole)
    offline = node.config.offline

    def make(status: PortStatus) -> CoordinatorLink:
        return CoordinatorLink(
            control,
            membership,
            status=status,
            now_us=node.clock.now_us,
            random=node.machine.random,
            others=node.config.coordinator.others,
            hands_on=offline.reconcile_on_reconnect,
            catch_up_bytes_per_s=offline.catch_up_bytes_per_s,
            applies_aside=True,
        )

    joined = Membership(node.config.data_dir, node.machine.write_whole).joined
    backoff = Backoff(node.machine.random, last_s=JOIN_LAST_S)
    return BoardLink(board, joined, node.sign, membership, make, control, backoff)
