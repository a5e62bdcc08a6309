"""The flash controller with the behaviour of real cells: erased is all ones, programming only clears bits.

Times are the typical ones of the STM32F401xC data sheet (32-bit parallelism); while flash is busy the core
stands still, as it does on a chip with one bank. Every operation can be the one in which the power fails.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from eyeflow.mcu.sim.bus import Registers

KEYR, SR, CR = 0x04, 0x0C, 0x10
FLASH_BASE = 0x0800_0000
ERASED = 0xFF
KEYS = (0x4567_0123, 0xCDEF_89AB)
_PG, _SER, _MER, _STRT, _LOCK = 1 << 0, 1 << 1, 1 << 2, 1 << 16, 1 << 31
_EOP, _PGAERR, _PGPERR, _PGSERR = 1 << 0, 1 << 5, 1 << 6, 1 << 7

PROGRAM_NS = 16_000
ERASE_NS = {16 * 1024: 250_000_000, 64 * 1024: 550_000_000, 128 * 1024: 1_000_000_000}


@dataclass(frozen=True, slots=True)
class Cells:
    """How the controller reaches the array: reads and writes without any rule."""

    read: Callable[[int, int], bytes]
    write: Callable[[int, bytes], None]


class FlashController(Registers):
    """Unlock, sector erase, program. `stall` makes the core wait; `on_power_cut` is called when the power fails."""

    def __init__(self, sectors: tuple[int, ...], cells: Cells, stall: Callable[[int], None]) -> None:
        super().__init__({CR: _LOCK})
        self._sectors, self._cells, self._stall = sectors, cells, stall
        self.on_power_cut: Callable[[], None] = lambda: None
        self.operations = 0
        self.cut_at: int | None = None
        self._keys = 0
        self.readers.update({KEYR: lambda: 0})
        self.writers.update({KEYR: self._write_key, SR: self._write_status, CR: self._write_control})

    def reset(self) -> None:
        """Lock."""
        super().reset()
        self._keys = 0

    def cut_power_in(self, operations: int) -> None:
        """Let the power fail within the n-th operation from now (1 is the next): it is then half done."""
        self.cut_at = self.operations + operations

    def _write_key(self, key: int) -> None:
        self._keys = self._keys + 1 if key == KEYS[self._keys] else 0
        if self._keys == len(KEYS):
            self.values[CR] = self.get(CR) & ~_LOCK
            self._keys = 0

    def _write_status(self, value: int) -> None:
        self.values[SR] = self.get(SR) & ~value

    def _write_control(self, value: int) -> None:
        if self.get(CR) & _LOCK:
            return
        self.values[CR] = value & ~_STRT
        if value & _STRT and value & _SER:
            self._erase(value >> 3 & 0xF)
        elif value & _STRT and value & _MER:
            for sector in range(len(self._sectors)):
                self._erase(sector)

    def _erase(self, sector: int) -> None:
        if sector >= len(self._sectors):
            self.values[SR] = self.get(SR) | _PGSERR
            return
        size = self._sectors[sector]
        cut = self._begin(ERASE_NS[size])
        start = FLASH_BASE + sum(self._sectors[:sector])
        self._cells.write(start, bytes([ERASED]) * (size // 2 if cut else size))
        self._end(cut)

    def program(self, address: int, size: int, value: int) -> None:
        """Take a store of the core into flash: it programs when that is allowed, else it sets an error flag."""
        error = self._program_error(address, size)
        if error:
            self.values[SR] = self.get(SR) | error
            return
        cut = self._begin(PROGRAM_NS)
        old = int.from_bytes(self._cells.read(address, size), "little")
        wanted = old & value
        if cut:
            wanted |= old & 0xAAAA_AAAA
        self._cells.write(address, wanted.to_bytes(size, "little"))
        self._end(cut)

    def _program_error(self, address: int, size: int) -> int:
        if not self.get(CR) & _PG or self.get(CR) & _LOCK:
            return _PGSERR
        if 1 << (self.get(CR) >> 8 & 3) != size:
            return _PGPERR
        return _PGAERR if address % size else 0

    def _begin(self, duration_ns: int) -> bool:
        self.operations += 1
        self._stall(duration_ns)
        return self.operations == self.cut_at

    def _end(self, cut: bool) -> None:
        if cut:
            self.cut_at = None
            self.on_power_cut()
        elif self.get(CR) >> 24 & 1:
            self.values[SR] = self.get(SR) | _EOP
