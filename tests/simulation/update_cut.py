"""A board whose power fails in each of several updates: its node brings it the program once it is back.

As in `link_loss` it is the very firmware image, and node and coordinator are the real daemons.
"""

from __future__ import annotations

from pathlib import Path

from eyeflow.mcu.sim.chip import Power
from eyeflow.protocol.audit import decode_record, verify_chain
from eyeflow.protocol.audit_bodies import GapBody
from simulation.copies import kept_records
from simulation.link_loss import BOARD, LOOK_S, WITHIN_S, LinkLoss, Wiring, taken
from simulation.loop import pass_time
from simulation.records import promise

DARK_S = 20.0


class UpdateCut(LinkLoss):
    """`cuts` say for each update in which operation of the flash the power fails, 1 is the first one."""

    def __init__(self, seed: int, directory: Path, board: Wiring, cuts: tuple[int, ...]) -> None:
        super().__init__(seed, directory, board, (), kills=False)
        self.cuts, self.numbers = cuts, list[int]()
        """`numbers` are those of all records, in order."""

    async def _tell(self) -> None:
        await self._begin()
        for cut in self.cuts:
            await self._until_quiet()
            await self._lose_power(cut)
            await self._move_door()
        await self._until_quiet()
        self._end_start()
        await self._check_all()
        await self._stop_all()

    def _end_start(self) -> None:
        self.numbers += range(len(self.made.times_us) - self.earlier)
        self.earlier = len(self.made.times_us)

    async def _lose_power(self, cut: int) -> None:
        """Let the power fail in an update, and give it again: the board runs the old or the new program, then the new one."""
        old = self.program_id
        self.chip.cut_power_in(cut)
        await self._deploy()
        await self._until(lambda: self.chip.power is Power.OFF, "the power fails in the update")
        self._end_start()
        await pass_time(DARK_S)
        board = await self._until_state("linkLost")
        there = {one["programId"] for one in board["programs"]}
        promise(there <= {old, self.program_id}, f"the board is said to run {there}")
        self.chip.power_on()
        self.chip.set_pin(self.board.door, len(self.made.times_us) % 2 == 1)  # the world outside is as it was
        await self._until_runs()

    async def _check_all(self) -> None:
        """Each record is there once, in order, and each deployment has succeeded."""
        until_s = self.cluster.loop.time() + WITHIN_S
        while len(taken(kept := await kept_records(self.cluster, BOARD))) < len(self.numbers):
            promise(self.cluster.loop.time() < until_s, "the coordinator never has all records")
            await pass_time(LOOK_S)
        promise(verify_chain(kept).holds, "the chain does not hold")
        promise([one.number for one in taken(kept)] == self.numbers, f"{taken(kept)}, and not {self.numbers}")
        promise(not [one for one in kept if isinstance(decode_record(one).body, GapBody)], "there is a gap")
        listed = await self.cluster.surely("GET", "/api/deployments")
        states = {one["state"] for one in listed["deployments"]}
        promise(states == {"succeeded"}, f"deployments: {states}")
