"""What a chip, or a board with its board file, offers to rules: what the compiler checks them against."""

from __future__ import annotations

from eyeflow.compiler.hardware import CHANNEL_KINDS, Hardware
from eyeflow.mcu.board import Board, Direction
from eyeflow.mcu.chips import Chip, chips
from eyeflow.svm import program as svm

DIRECTIONS = {Direction.INPUT: svm.Direction.INPUT, Direction.OUTPUT: svm.Direction.OUTPUT}


def chip_hardware(chip: Chip) -> Hardware:
    """Return what any board with this chip can have at most: one serial port is the link's."""
    channels = {kind: _most(chip, kind) for kind in CHANNEL_KINDS}
    return Hardware(
        chip.name, channels, sends_events=True, elsewhere=_elsewhere(channels), remedy="choose another chip"
    )


def board_hardware(board: Board) -> Hardware:
    """Return what a board has."""
    kinds = {"adc": board.adc, "dac": board.dac, "i2c": board.i2c, "spi": board.spi, "uart": board.uart}
    most = {kind: _most(board.chip, kind) for kind in CHANNEL_KINDS}
    return Hardware(
        name=f"the board {board.name}",
        channels={kind: len(found) for kind, found in kinds.items()},
        pins={pin.name: DIRECTIONS[pin.direction] for pin in board.pins},
        delegates_llm=board.llm_delegated,
        sends_events=board.sends_events,
        elsewhere=_elsewhere(most),
    )


def _most(chip: Chip, kind: str) -> int:
    if kind in ("adc", "dac"):
        return sum(len(pins) for pins in getattr(chip, kind).values())
    return len(getattr(chip, kind)) - (kind == "uart")


def _elsewhere(channels: dict[str, int]) -> dict[str, str]:
    """Return which chips have what this one lacks, by kind."""
    lacking = [kind for kind, count in channels.items() if not count]
    having = {kind: [chip.name for chip in chips().values() if _most(chip, kind)] for kind in lacking}
    return {kind: f"{' and '.join(names)} {'have' if len(names) > 1 else 'has'} one" for kind, names in having.items()}
