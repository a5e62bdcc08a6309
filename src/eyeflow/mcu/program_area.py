"""How much of the flash for programs one program may take: what `embassy/slots` and `embassy/state` reserve."""

from __future__ import annotations

from dataclasses import dataclass

PLACES = 4
BANK_HEADER_BYTES, HEADER_BYTES, COMMIT_BYTES = 16, 32, 8
PREFIX_BYTES = 32 + 1 + 63
MARKS_RESERVED, FLOORS_MAX = 8, 8
RECORD_HEAD_BYTES, RECORD_WORD_BYTES = 12, 14
PARAM_BYTES = 64
"""Memory for the parameters of a program, beside its state."""


@dataclass(frozen=True, slots=True)
class ProgramArea:
    """The two flash banks for programs: addresses, bytes of a bank, of an erase sector of each, programmed at once."""

    a: int
    b: int
    bank_bytes: int
    sector_a_bytes: int
    sector_b_bytes: int
    unit_bytes: int

    def program_bytes_max(self, data_bytes: int) -> int:
        """Return the longest program that always finds room, when `data_bytes` may be kept for each rule."""
        headers = 2 * self._up(BANK_HEADER_BYTES)
        marks = (MARKS_RESERVED + FLOORS_MAX) * self._up(HEADER_BYTES)
        data = self._up(HEADER_BYTES) + self._up(data_bytes) + self._up(COMMIT_BYTES)
        fixed = headers + marks + (PLACES + 1) * data
        each = max(self.bank_bytes - fixed, 0) // (2 * PLACES)
        own = self._up(HEADER_BYTES + PREFIX_BYTES) + self._up(COMMIT_BYTES)
        return max(each - own, 0) // self.unit_bytes * self.unit_bytes

    def _up(self, count: int) -> int:
        return -(-count // self.unit_bytes) * self.unit_bytes


def record_bytes_max(state_bytes_max: int) -> int:
    """Return the longest record of state and parameters of a program with so much state."""
    return RECORD_HEAD_BYTES + (state_bytes_max + PARAM_BYTES) // 8 * RECORD_WORD_BYTES
