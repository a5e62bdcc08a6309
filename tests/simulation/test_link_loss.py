"""Hours without the line, on a virtual clock, with the very firmware image: each record of the board comes once.

`make link-loss` runs 1, 6 and 24 hours on both emulated chips, and puts each fault in. Here it is 72 seconds.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pytest import MonkeyPatch

from components.boards import share_compiled_crates
from eyeflow.node.boards import chain, records
from eyeflow.node.boards.bringing import Bringing
from eyeflow.node.boards.chain import Cursor
from eyeflow.node.boards.records import BoardRecords
from simulation.link_loss import PICO, STM32, Away, LinkLoss, Wiring
from simulation.records import BrokenPromise
from simulation.update_cut import UpdateCut

share_compiled_crates()

SEED = 1
HOURS = [float(one) for one in os.environ.get("EYEFLOW_LINK_LOSS_HOURS", "").split()]
SHORT_HOURS = 0.02


def losses(board: Wiring, hours: float) -> tuple[Away, ...]:
    """First more than the ring holds, with a new program that waits; in long runs then as much as fits."""
    return (Away(hours, board.room + 5, brings=True), Away(min(hours, 1.0), board.room))[: 2 if HOURS else 1]


@pytest.mark.parametrize("board", [STM32, PICO] if HOURS else [STM32], ids=lambda board: board.lab.chip)
def test_what_fits_the_ring_comes_once_and_what_does_not_is_a_counted_gap(board: Wiring, tmp_path: Path) -> None:
    for hours in HOURS or [SHORT_HOURS]:
        (tmp_path / str(hours)).mkdir()
        ran = LinkLoss(SEED, tmp_path / str(hours), board, losses(board, hours))
        ran.run()
        print(f"{board.lab.chip}, {hours:g} h: {ran.told}")


CUTS = {STM32: (1, 40, 200), PICO: (1, 2)}
"""Operations of the flash in which power fails: an STM32 writes a word at a time, an RP2040 a page or a sector."""


@pytest.mark.parametrize("board", [STM32, PICO] if HOURS else [STM32], ids=lambda board: board.lab.chip)
def test_a_board_that_loses_its_power_in_an_update_gets_it_once_it_is_back(board: Wiring, tmp_path: Path) -> None:
    UpdateCut(SEED, tmp_path, board, CUTS[board] if HOURS else CUTS[board][1:2]).run()


def forgets_how_far_it_took_records(patch: MonkeyPatch) -> None:
    """Each start of the gateway begins anew with the records of its boards."""
    patch.setattr(records, "unpack_cursor", lambda data: Cursor())


def counts_no_gap(patch: MonkeyPatch) -> None:
    patch.setattr(chain, "_lost", lambda at, count, reason, now_us: [])


def pushes_before_it_takes_records(patch: MonkeyPatch) -> None:
    real, seen = BoardRecords.catch_up, list[Any]()

    async def catch_up(self: BoardRecords, line: Any, *more: Any) -> None:
        if line in seen:
            await real(self, line, *more)
        seen.append(line)

    patch.setattr(BoardRecords, "catch_up", catch_up)


def brings_a_program_once(patch: MonkeyPatch) -> None:
    real, begun = Bringing._bring, list[str]()

    async def bring(self: Bringing, wanted: Any) -> None:
        if wanted.program_id not in begun:
            begun.append(wanted.program_id)
            await real(self, wanted)

    patch.setattr(Bringing, "_bring", bring)


FAULTS = (
    forgets_how_far_it_took_records,
    counts_no_gap,
    pushes_before_it_takes_records,
    brings_a_program_once,
)


@pytest.mark.parametrize("fault", FAULTS if HOURS else FAULTS[:1], ids=lambda fault: fault.__name__)
def test_control_a_fault_is_found(fault: Callable[[MonkeyPatch], None], tmp_path: Path) -> None:
    """Without the fault the first tests run the same."""
    with MonkeyPatch.context() as patch, pytest.raises(BrokenPromise):
        fault(patch)
        story(fault, tmp_path).run()


def story(fault: object, directory: Path) -> LinkLoss:
    """Return the run that shall find a fault."""
    if fault is brings_a_program_once:
        return UpdateCut(SEED, directory, STM32, CUTS[STM32][1:2])
    return LinkLoss(SEED, directory, STM32, losses(STM32, SHORT_HOURS))
