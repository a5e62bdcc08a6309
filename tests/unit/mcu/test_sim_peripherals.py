"""The peripherals of the simulated STM32F4, register by register, without a core."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from eyeflow.mcu.sim.bus import Registers
from eyeflow.mcu.sim.nvic import Nvic
from eyeflow.mcu.sim.stm32f4 import analog, buses, clocks, flash, gpio, timer, usart, watchdog
from eyeflow.mcu.sim.timeline import NEVER, Timeline

HZ = 16_000_000
KIB = 1024


def pass_time(timeline: Timeline, cycles: int) -> None:
    end = timeline.cycles + cycles
    while timeline.deadline <= end:
        timeline.cycles = max(timeline.deadline, timeline.cycles)
        timeline.run_due()
    timeline.cycles = end


def make() -> tuple[Timeline, Nvic]:
    timeline = Timeline(HZ)
    return timeline, Nvic(timeline, lambda: None)


def test_clock_ready_bits_follow_their_switches() -> None:
    timeline = Timeline(HZ)
    rcc = clocks.Rcc(timeline, 25_000_000)
    rcc.write(clocks.CR, 1 << 16 | 1 << 24 | 1)
    assert rcc.read(clocks.CR) & (1 << 17 | 1 << 25 | 1 << 1) == 1 << 17 | 1 << 25 | 1 << 1
    rcc.write(clocks.CFGR, 2)
    assert rcc.read(clocks.CFGR) >> 2 & 3 == 2


def test_pll_and_prescalers_give_the_core_clock() -> None:
    timeline = Timeline(HZ)
    rcc = clocks.Rcc(timeline, 25_000_000)
    rcc.write(clocks.PLLCFGR, 25 | 336 << 6 | 1 << 16 | 1 << 22)
    rcc.write(clocks.CFGR, 2 | 4 << 10)
    assert timeline.clock_hz == 84_000_000
    assert rcc.bus_divider(1) == 2
    assert rcc.timer_divider(1) == 1
    assert rcc.bus_divider(2) == 1
    rcc.write(clocks.CFGR, 2 | 8 << 4)
    assert timeline.clock_hz == 42_000_000


def test_the_cause_of_a_reset_stays_until_it_is_cleared() -> None:
    rcc = clocks.Rcc(Timeline(HZ), 25_000_000)
    rcc.set_cause(clocks.ResetCause.POWER)
    rcc.set_cause(clocks.ResetCause.WATCHDOG)
    rcc.reset()
    assert rcc.read(clocks.CSR) >> 26 == 0b1011
    rcc.write(clocks.CSR, 1 << 24)
    assert rcc.read(clocks.CSR) >> 26 == 0


def start_timer() -> tuple[Timeline, Nvic, timer.Timer]:
    timeline, nvic = make()
    counter = timer.Timer(nvic, timeline, 30, lambda: 1)
    nvic.write(0xE100, 1 << 30)
    counter.write(timer.PSC, 487)
    counter.write(timer.CR1, 1 << 2)
    counter.write(timer.EGR, 1)
    counter.write(timer.CCR1, 0x8000)
    counter.write(timer.DIER, 0b111)
    counter.write(timer.CR1, 1)
    return timeline, nvic, counter


def test_timer_flags_half_and_full_turns() -> None:
    timeline, nvic, counter = start_timer()
    assert counter.read(timer.SR) == 0, "URS: an update by software raises no flag"
    pass_time(timeline, 488 * 0x8000)
    assert counter.read(timer.SR) & 0b11 == 0b10
    assert nvic.candidate() == 46
    counter.write(timer.SR, ~0b10 & 0xFFFF)
    assert 46 not in nvic.lines
    pass_time(timeline, 488 * 0x8000)
    assert counter.read(timer.SR) & 0b11 == 0b01
    assert counter.read(timer.CNT) == 0


@given(target=st.integers(1, 0xFFFF), start=st.integers(0, 0xFFFF))
def test_timer_alarm_comes_at_its_count(target: int, start: int) -> None:
    timeline, _, counter = start_timer()
    pass_time(timeline, 488 * start)
    counter.write(timer.SR, 0)
    counter.write(timer.CCR1 + 4, target)
    ahead = (target - start) % 0x10000 or 0x10000
    pass_time(timeline, 488 * ahead - 1)
    assert not counter.read(timer.SR) & 0b100
    pass_time(timeline, 1)
    assert counter.read(timer.SR) & 0b100
    assert counter.read(timer.CNT) == target


def start_usart() -> tuple[Timeline, Nvic, usart.Usart, bytearray]:
    timeline, nvic = make()
    port = usart.Usart(nvic, timeline, 37, lambda: 1)
    sent = bytearray()
    port.on_byte = sent.append
    port.write(usart.BRR, 139)
    port.write(usart.CR1, 1 << 13 | 1 << 3 | 1 << 2 | usart.RXNE | usart.IDLE)
    return timeline, nvic, port, sent


FRAME = 1390


def test_usart_receives_at_the_baud_rate_and_falls_idle_once() -> None:
    timeline, nvic, port, _ = start_usart()
    port.feed(b"ab")
    pass_time(timeline, FRAME - 1)
    assert not port.read(usart.SR) & usart.RXNE
    pass_time(timeline, 1)
    assert port.read(usart.SR) & usart.RXNE
    assert 53 in nvic.lines
    assert port.read(usart.DR) == ord("a")
    assert 53 not in nvic.lines
    pass_time(timeline, FRAME)
    assert port.read(usart.DR) == ord("b")
    assert not port.read(usart.SR) & usart.IDLE
    pass_time(timeline, FRAME)
    assert port.read(usart.SR) & usart.IDLE
    port.read(usart.DR)
    pass_time(timeline, 20 * FRAME)
    assert not port.read(usart.SR) & usart.IDLE


def test_usart_overrun_loses_the_newer_byte() -> None:
    timeline, _, port, _ = start_usart()
    port.feed(b"abc")
    pass_time(timeline, 2 * FRAME)
    assert port.read(usart.SR) & usart.ORE
    assert port.read(usart.DR) == ord("a")
    assert port.overruns == 1
    pass_time(timeline, FRAME)
    assert port.read(usart.DR) == ord("c")


def test_usart_sends_with_one_byte_of_buffer() -> None:
    timeline, _, port, sent = start_usart()
    port.write(usart.DR, ord("x"))
    assert port.read(usart.SR) & usart.TXE
    port.write(usart.DR, ord("y"))
    assert not port.read(usart.SR) & usart.TXE
    pass_time(timeline, FRAME)
    assert sent == b"x"
    assert port.read(usart.SR) & (usart.TXE | usart.TC) == usart.TXE
    pass_time(timeline, FRAME)
    assert sent == b"xy"
    assert port.read(usart.SR) & usart.TC


def test_bytes_wait_on_the_line_until_the_receiver_is_on() -> None:
    timeline, nvic = make()
    port = usart.Usart(nvic, timeline, 37, lambda: 1)
    port.feed(b"a")
    assert timeline.deadline == NEVER
    port.write(usart.BRR, 139)
    port.write(usart.CR1, 1 << 13 | 1 << 2)
    pass_time(timeline, FRAME)
    assert port.read(usart.DR) == ord("a")


def make_flash() -> tuple[flash.FlashController, bytearray, list[int]]:
    array, stalls = bytearray(b"\xff" * (64 * KIB + 64 * KIB)), []

    def write(address: int, data: bytes) -> None:
        array[address - flash.FLASH_BASE : address - flash.FLASH_BASE + len(data)] = data

    def read(address: int, size: int) -> bytes:
        return bytes(array[address - flash.FLASH_BASE : address - flash.FLASH_BASE + size])

    return flash.FlashController((16 * KIB,) * 4 + (64 * KIB,), flash.Cells(read, write), stalls.append), array, stalls


def unlock(controller: flash.FlashController) -> None:
    for key in flash.KEYS:
        controller.write(flash.KEYR, key)


PROGRAM_WORDS = 2 << 8 | 1


def test_flash_is_locked_until_both_keys_come_in_order() -> None:
    controller, array, _ = make_flash()
    controller.write(flash.CR, PROGRAM_WORDS)
    controller.program(flash.FLASH_BASE, 4, 0)
    assert array[:4] == b"\xff" * 4
    assert controller.read(flash.SR) & 1 << 7
    controller.write(flash.KEYR, flash.KEYS[1])
    controller.write(flash.KEYR, flash.KEYS[1])
    assert controller.read(flash.CR) >> 31
    unlock(controller)
    assert not controller.read(flash.CR) >> 31


@given(values=st.lists(st.integers(0, 0xFFFF_FFFF), min_size=1, max_size=6))
def test_programming_only_clears_bits(values: list[int]) -> None:
    controller, array, _ = make_flash()
    unlock(controller)
    controller.write(flash.CR, PROGRAM_WORDS)
    expected = 0xFFFF_FFFF
    for value in values:
        controller.program(flash.FLASH_BASE + 8, 4, value)
        expected &= value
        assert int.from_bytes(array[8:12], "little") == expected
    assert array[:8] == b"\xff" * 8


def test_erase_takes_one_sector_and_its_time() -> None:
    controller, array, stalls = make_flash()
    array[:] = bytes(len(array))
    unlock(controller)
    controller.write(flash.CR, 1 << 1 | 2 << 3)
    controller.write(flash.CR, 1 << 1 | 2 << 3 | 1 << 16)
    assert array == bytes(32 * KIB) + b"\xff" * 16 * KIB + bytes(80 * KIB)
    assert stalls == [flash.ERASE_NS[16 * KIB]]


def test_wrong_width_and_alignment_set_their_flags() -> None:
    controller, array, _ = make_flash()
    unlock(controller)
    controller.write(flash.CR, PROGRAM_WORDS)
    controller.program(flash.FLASH_BASE, 1, 0)
    assert controller.read(flash.SR) & 1 << 6
    controller.program(flash.FLASH_BASE + 2, 4, 0)
    assert controller.read(flash.SR) & 1 << 5
    controller.write(flash.SR, controller.read(flash.SR))
    assert controller.read(flash.SR) == 0
    assert array[:8] == b"\xff" * 8


def test_power_fails_within_the_chosen_operation() -> None:
    controller, array, _ = make_flash()
    cuts: list[int] = []
    controller.on_power_cut = lambda: cuts.append(controller.operations)
    unlock(controller)
    controller.write(flash.CR, PROGRAM_WORDS)
    controller.cut_power_in(2)
    controller.program(flash.FLASH_BASE, 4, 0)
    assert cuts == []
    controller.program(flash.FLASH_BASE + 4, 4, 0)
    assert cuts == [2]
    assert array[4:8] == b"\xaa" * 4, "half of the bits were cleared"


def test_a_pin_is_driven_by_firmware_world_or_pull() -> None:
    changes: list[tuple[str, int, bool]] = []
    port = gpio.Port("C", lambda *change: changes.append(change), {})
    port.write(gpio.PUPDR, 1 << 26)
    assert port.read(gpio.IDR) >> 13 & 1
    port.drive(13, False)
    assert not port.level(13)
    port.write(gpio.MODER, 1 << 26)
    port.write(gpio.BSRR, 1 << 13)
    assert port.level(13), "the firmware's output wins over the world"
    port.write(gpio.BSRR, 1 << 29)
    assert changes == [("C", 13, True), ("C", 13, False), ("C", 13, True), ("C", 13, False)]
    port.write(gpio.OTYPER, 1 << 13)
    port.write(gpio.BSRR, 1 << 13)
    assert not port.level(13), "an open drain lets the world pull it low"


def test_edges_reach_the_line_of_the_chosen_port_only() -> None:
    _, nvic = make()
    selection = Registers()
    exti = gpio.Exti(nvic, selection)
    selection.write(0x08, 1)  # line 0 from port B
    exti.write(exti.RTSR, 1)
    exti.write(exti.IMR, 1)
    exti.edge("A", 0, True)
    exti.edge("B", 0, False)
    assert exti.read(exti.PR) == 0
    exti.edge("B", 0, True)
    assert exti.read(exti.PR) == 1
    assert 22 in nvic.lines
    exti.write(exti.PR, 1)
    assert 22 not in nvic.lines


def test_adc_converts_the_chosen_channel_after_its_time() -> None:
    timeline, nvic = make()
    adc = analog.Adc(nvic, timeline, lambda: 1)
    adc.sample = lambda channel: 1000 + channel
    adc.write(analog.SQR3, 7)
    adc.write(analog.SMPR2, 4 << 21)
    adc.write(analog.CR2, 1)
    adc.write(analog.CR2, 1 | 1 << 30)
    assert adc.read(analog.SR) & analog.STRT
    assert not adc.read(analog.SR) & analog.EOC
    pass_time(timeline, (84 + 12) * 2)
    assert adc.read(analog.SR) & analog.EOC
    assert adc.read(analog.DR) == 1007
    assert not adc.read(analog.SR) & analog.EOC


def test_adc_clamps_what_the_world_gives() -> None:
    timeline, nvic = make()
    adc = analog.Adc(nvic, timeline, lambda: 1)
    for given_value, expected in ((-5, 0), (9999, 4095)):
        adc.sample = lambda channel, value=given_value: value  # type: ignore[misc]
        adc.write(analog.CR2, 1 | 1 << 30)
        pass_time(timeline, 1000)
        assert adc.read(analog.DR) == expected


def test_watchdog_bites_unless_it_is_fed() -> None:
    timeline, _ = make()
    bites: list[int] = []
    dog = watchdog.Watchdog(timeline, lambda: bites.append(timeline.cycles))
    for offset, value in ((watchdog.KR, 0x5555), (watchdog.PR, 3), (watchdog.RLR, 999), (watchdog.KR, 0xCCCC)):
        dog.write(offset, value)
    timeout = HZ  # 1000 * 32 / 32 kHz
    pass_time(timeline, timeout - 1)
    dog.write(watchdog.KR, 0xAAAA)
    pass_time(timeline, timeout - 1)
    assert bites == []
    pass_time(timeline, 1)
    assert bites == [2 * timeout - 1]


def test_watchdog_settings_need_the_key() -> None:
    dog = watchdog.Watchdog(make()[0], lambda: None)
    dog.write(watchdog.RLR, 5)
    assert dog.read(watchdog.RLR) == 0xFFF


def test_an_i2c_address_is_not_acknowledged_without_a_device() -> None:
    i2c = buses.I2c()
    i2c.write(buses.I2C_CR1, 1)
    i2c.write(buses.I2C_CR1, 1 | buses.I2C_START)
    assert i2c.read(buses.I2C_SR1) == buses.I2C_SB
    assert not i2c.read(buses.I2C_CR1) & buses.I2C_START
    assert i2c.read(buses.I2C_SR2) & buses.I2C_MSL
    i2c.write(buses.I2C_DR, 0x76 << 1)
    assert i2c.read(buses.I2C_SR1) == buses.I2C_AF
    i2c.write(buses.I2C_SR1, 0xFFFF & ~buses.I2C_AF)
    i2c.write(buses.I2C_CR1, 1 | buses.I2C_STOP)
    assert (i2c.read(buses.I2C_SR1), i2c.read(buses.I2C_SR2)) == (0, 0)


def test_spi_reads_ones_without_a_device() -> None:
    spi = buses.Spi()
    assert spi.read(buses.SPI_SR) == buses.SPI_TXE
    spi.write(buses.SPI_DR, 0x9F)
    assert spi.read(buses.SPI_SR) & buses.SPI_RXNE
    assert spi.read(buses.SPI_DR) & 0xFF == 0xFF
    assert not spi.read(buses.SPI_SR) & buses.SPI_RXNE
