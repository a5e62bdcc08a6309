"""Looks at a block of Thumb code once, so that virtual time is exact without a hook per instruction."""

from __future__ import annotations

from dataclasses import dataclass

SEV = 0xBF40
WFE = 0xBF20
WFI = 0xBF30
BRANCH_TO_SELF = 0xE7FE
_WIDE_PREFIXES = (0b11101, 0b11110, 0b11111)


@dataclass(frozen=True, slots=True)
class Block:
    """How many instructions a block holds, whether one of them is SEV, and whether it is a loop without a body."""

    count: int
    sends_event: bool
    spins: bool


def read_block(code: bytes) -> Block:
    """Decode the lengths of Thumb-2 instructions (ARM DDI 0403E, A5.1)."""
    position, count, sends_event, first = 0, 0, False, int.from_bytes(code[:2], "little")
    while position + 1 < len(code):
        halfword = code[position] | code[position + 1] << 8
        sends_event = sends_event or halfword == SEV
        position += 4 if halfword >> 11 in _WIDE_PREFIXES else 2
        count += 1
    return Block(count, sends_event, first == BRANCH_TO_SELF)
