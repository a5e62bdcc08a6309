"""SPI and I2C masters with nobody on the line: a transfer ends as it does on a board without the device.

Transfers take no time. An SPI read gives ones; an I2C address is not acknowledged (RM0368, 18.6 and 20.5).
"""

from __future__ import annotations

from eyeflow.mcu.sim.bus import Registers

SPI_SR, SPI_DR = 0x08, 0x0C
SPI_RXNE, SPI_TXE = 1 << 0, 1 << 1
SPI_EMPTY_LINE = 0xFFFF

I2C_CR1, I2C_DR, I2C_SR1, I2C_SR2 = 0x00, 0x10, 0x14, 0x18
I2C_START, I2C_STOP = 1 << 8, 1 << 9
I2C_SB, I2C_AF = 1 << 0, 1 << 10
I2C_MSL, I2C_BUSY = 1 << 0, 1 << 1


class Spi(Registers):
    """An SPI master whose MISO line is pulled up."""

    def __init__(self) -> None:
        super().__init__({SPI_SR: SPI_TXE})
        self.readers[SPI_DR] = self._read_data
        self.writers[SPI_DR] = lambda _: self._set_status(SPI_TXE | SPI_RXNE)
        self.writers[SPI_SR] = lambda _: None

    def _read_data(self) -> int:
        self._set_status(SPI_TXE)
        return SPI_EMPTY_LINE

    def _set_status(self, value: int) -> None:
        self.values[SPI_SR] = value


class I2c(Registers):
    """An I2C master on a bus without devices."""

    def __init__(self) -> None:
        super().__init__()
        self.writers.update({I2C_CR1: self._write_control, I2C_DR: self._write_data, I2C_SR1: self._clear})
        self.writers[I2C_SR2] = lambda _: None

    def _write_control(self, value: int) -> None:
        self.values[I2C_CR1] = value & ~(I2C_START | I2C_STOP)
        if value & I2C_STOP or not value & 1:
            self.values[I2C_SR2] = 0
        if value & I2C_START and value & 1:
            self.values[I2C_SR1] = self.get(I2C_SR1) | I2C_SB
            self.values[I2C_SR2] = I2C_MSL | I2C_BUSY

    def _write_data(self, _: int) -> None:
        if self.get(I2C_SR1) & I2C_SB:
            self.values[I2C_SR1] = self.get(I2C_SR1) & ~I2C_SB | I2C_AF

    def _clear(self, value: int) -> None:
        self.values[I2C_SR1] = self.get(I2C_SR1) & (value | 0xFF)
