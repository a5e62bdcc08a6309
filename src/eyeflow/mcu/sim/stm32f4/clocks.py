"""RCC and PWR: the clock tree, ready bits that follow their switches, and the cause of the last reset."""

from __future__ import annotations

from enum import IntFlag
from functools import partial

from eyeflow.mcu.sim.bus import Registers
from eyeflow.mcu.sim.timeline import Timeline

HSI_HZ = 16_000_000
LSI_HZ = 32_000

CR, PLLCFGR, CFGR, CSR = 0x00, 0x04, 0x08, 0x74
_READY_BITS = ((0, 1), (16, 17), (24, 25), (26, 27))
"""Switches of RCC_CR (HSI, HSE, PLL, PLLI2S) and the ready bit of each."""


class ResetCause(IntFlag):
    """The flags of RCC_CSR that say why the chip started."""

    PIN = 1 << 26
    POWER = 1 << 27 | 1 << 25
    SOFTWARE = 1 << 28
    WATCHDOG = 1 << 29


class Rcc(Registers):
    """Reset and clock control. Oscillators are ready at once; the core's clock follows SW, PLL and HPRE."""

    def __init__(self, timeline: Timeline, hse_hz: int) -> None:
        super().__init__({CR: 0x83, PLLCFGR: 0x2400_3010})
        self._timeline = timeline
        self._hse_hz = hse_hz
        self._cause = ResetCause(0)
        self.readers.update({CR: self._read_cr, CFGR: self._read_cfgr, CSR: self._read_csr, 0x70: self._read_bdcr})
        for offset in (CR, PLLCFGR, CFGR):
            self.writers[offset] = partial(self._write_clock, offset)
        self.writers[CSR] = self._write_csr

    def reset(self) -> None:
        """Run from HSI again; the cause of the reset stays until the firmware clears it."""
        super().reset()
        self._timeline.set_clock(HSI_HZ)

    def set_cause(self, cause: ResetCause) -> None:
        """Add the cause of a reset; power-on forgets the older ones."""
        kept = ResetCause(0) if cause & ResetCause.POWER == ResetCause.POWER else self._cause
        self._cause = kept | cause | ResetCause.PIN

    def _read_cr(self) -> int:
        value = self.get(CR)
        for switch, ready in _READY_BITS:
            value |= (value >> switch & 1) << ready
        return value

    def _read_cfgr(self) -> int:
        value = self.get(CFGR)
        return value & ~0xC | (value & 3) << 2

    def _read_csr(self) -> int:
        value = self.get(CSR) & 1
        return value | value << 1 | int(self._cause)

    def _read_bdcr(self) -> int:
        value = self.get(0x70)
        return value | (value & 1) << 1

    def _write_csr(self, value: int) -> None:
        if value >> 24 & 1:
            self._cause = ResetCause(0)
        self.values[CSR] = value & 1

    def _write_clock(self, offset: int, value: int) -> None:
        self.values[offset] = value & ~0x0202_0002 if offset == CR else value
        self._timeline.set_clock(self.core_hz)

    @property
    def core_hz(self) -> int:
        """HCLK: SYSCLK divided by HPRE (RM0368 6.3.3)."""
        source = self.get(CFGR) & 3
        system_hz = {0: HSI_HZ, 1: self._hse_hz}.get(source, 0) or self._pll_hz()
        prescaler = self.get(CFGR) >> 4 & 0xF
        return max(system_hz // (1, 2, 4, 8, 16, 64, 128, 256, 512)[max(prescaler - 7, 0)], 1)

    def _pll_hz(self) -> int:
        pll = self.get(PLLCFGR)
        source_hz = self._hse_hz if pll >> 22 & 1 else HSI_HZ
        return source_hz * (pll >> 6 & 0x1FF) // max(pll & 0x3F, 1) // (2 * (pll >> 16 & 3) + 2)

    def bus_divider(self, bus: int) -> int:
        """Return HCLK / PCLK of APB1 or APB2."""
        prescaler = self.get(CFGR) >> (10 if bus == 1 else 13) & 7
        return (1, 2, 4, 8, 16)[max(prescaler - 3, 0)]

    def timer_divider(self, bus: int) -> int:
        """Return HCLK / timer clock: timers run at twice PCLK where that is divided."""
        divider = self.bus_divider(bus)
        return divider if divider == 1 else divider // 2


class Pwr(Registers):
    """Power control: the regulator is always ready."""

    def __init__(self) -> None:
        super().__init__({0x00: 0x8000})
        self.readers[0x04] = lambda: self.get(0x04) | 1 << 14
