"""Holds code to what a Cortex-M0+ can do: Unicorn's M0 does not refuse all that this core would."""

from __future__ import annotations

from typing import Any

import unicorn

from emulated.core import BareCore, Image, Model

_WIDE_PREFIXES = (0b11101, 0b11110, 0b11111)


def foreign(code: bytes) -> list[str]:
    """Return the instructions of a block that ARMv6-M (ARM DDI 0419, A5) does not have, as hex."""
    halfwords = [int.from_bytes(code[at : at + 2], "little") for at in range(0, len(code), 2)]
    found, position = [], 0
    while position < len(halfwords):
        first = halfwords[position]
        wide = first >> 11 in _WIDE_PREFIXES
        if wide and not _is_wide_of_armv6m(first, halfwords[position + 1]):
            found.append(f"{first:04x} {halfwords[position + 1]:04x}")
        elif not wide and (_is_compare_and_branch(first) or _is_if_then(first)):
            found.append(f"{first:04x}")
        position += 2 if wide else 1
    return found


def _is_wide_of_armv6m(first: int, second: int) -> bool:
    """BL, MSR, MRS, DSB, DMB, ISB and UDF.W: all others are Thumb-2."""
    if first >> 11 != 0b11110 or not second & 0x8000:
        return False
    is_call = second & 0xD000 == 0xD000
    is_system = second & 0xD000 == 0x8000 and first & 0xFFC0 in (0xF380, 0xF3C0)
    return is_call or is_system or (first & 0xFFF0 == 0xF7F0 and second & 0xF000 == 0xA000)


def _is_compare_and_branch(halfword: int) -> bool:
    return halfword & 0xF500 == 0xB100


def _is_if_then(halfword: int) -> bool:
    return halfword & 0xFF00 == 0xBF00 and bool(halfword & 0xF)


class StrictCore(BareCore):
    """A core that notes what a Cortex-M0+ would refuse; much slower than one that does not look."""

    def __init__(self, image: Image) -> None:
        super().__init__(Model.M0_PLUS, image)
        self.refused: set[str] = set()
        self.blocks: set[tuple[int, int]] = set()
        self.accesses = 0
        self._uc.hook_add(unicorn.UC_HOOK_BLOCK, self._look_at_block)
        self._uc.hook_add(unicorn.UC_HOOK_MEM_READ | unicorn.UC_HOOK_MEM_WRITE, self._look_at_access)

    def _look_at_block(self, uc: Any, address: int, size: int, _: Any) -> None:
        if (address, size) not in self.blocks:
            self.blocks.add((address, size))
            self.refused |= {
                f"{text} in {self.image.function_at(address)}" for text in foreign(self.read(address, size))
            }

    def _look_at_access(self, uc: Any, access: int, address: int, size: int, value: int, _: Any) -> None:
        self.accesses += 1
        if address % size:
            self.refused.add(f"{size} bytes at {address:#010x}")
