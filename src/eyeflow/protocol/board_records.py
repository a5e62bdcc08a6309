"""What a board records by itself, and the chain that it makes of it: docs/serial-link.md, Records."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from enum import StrEnum

EXECUTION = 1
"""The first byte of the record of an execution; others are the firmware's own."""
NO_EXECUTION = -1
"""Stands for the outcome of a record that is of no execution."""
_HEAD = struct.Struct("<4BHHIQ8s")
_ACTIONS = struct.Struct("<IB")
_OUTCOMES = range(3)
NUMBER_MAX = 0xFFFF_FFFF
"""Numbers of records begin again behind this one."""


class BoardBreak(StrEnum):
    """Why the records of a board do not go on where they ended."""

    STARTED = "started"
    """The board started: what it had not handed over by then is lost with its memory."""
    MISSING = "missing"
    """Some are missing: its ring was full, or somebody else took them."""
    BROKEN = "broken"
    """They do not fit the hashes that the board tells, or that it told before."""


class BoardLoss(StrEnum):
    """Why records of a board are not in its audit: the reasons of gaps that only boards have."""

    FULL = "board_full"
    """Its ring was full, and the oldest made room."""
    TAKEN = "board_taken"
    """Somebody else acknowledged them: with `eyeflow mcu log --forget`, say."""
    RESTART = "board_restart"
    """The gateway had seen that they are there, and the board started before they were in the audit."""


@dataclass(frozen=True, slots=True)
class BoardExecution:
    """The record of an execution: of the program in `place`, whose id begins with the bytes `program_key`.

    `outcome` is that of `svm.execution`, `trap` 0 for none; `pc` is the instruction at which it ended. `levels` has
    a bit for each output after it. `is_clock_told`: a host had told the board the time.
    """

    place: int
    outcome: int
    trap: int
    pc: int
    trigger: int
    fuel: int
    time_us: int
    program_key: bytes
    levels: int
    is_clock_told: bool


def read_execution(data: bytes) -> BoardExecution | None:
    """Return the execution in a record, None when it holds something else."""
    if len(data) < _HEAD.size + _ACTIONS.size or data[0] != EXECUTION or data[2] not in _OUTCOMES:
        return None
    _, place, outcome, trap, pc, trigger, fuel, time_us, key = _HEAD.unpack_from(data)
    levels, told = _ACTIONS.unpack_from(data, _HEAD.size)
    return BoardExecution(place, outcome, trap, pc, trigger, fuel, time_us, key, levels, bool(told))


def first_chain(device: str, boot: int) -> bytes:
    """Return the hash before the first record of a start; `device` is the number of the chip, in hex."""
    return hashlib.sha256(bytes.fromhex(device) + struct.pack("<I", boot)).digest()


def next_chain(before: bytes, number: int, data: bytes) -> bytes:
    """Return the hash after a record: SHA-256 of the hash before it, its number and its bytes."""
    return hashlib.sha256(before + struct.pack("<I", number) + data).digest()
