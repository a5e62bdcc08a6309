"""The Cortex-M4F core of the simulator: a hand-written program of Thumb code, interrupts, sleep, faults and counts."""

from __future__ import annotations

import struct

import pytest

from eyeflow.mcu.sim.blocks import read_block
from eyeflow.mcu.sim.bus import Bus, Registers
from eyeflow.mcu.sim.core import Core, Memory, Sleep
from eyeflow.mcu.sim.nvic import SYSTICK, Nvic
from eyeflow.mcu.sim.timeline import Timeline

FLASH, RAM = 0x0800_0000, 0x2000_0000
IRQ, SVC, FAULT = 0xFC, 0x10E, 0x114
TASK, WORK_LOOP_INSTRUCTIONS = 0xE4, 32
CODE = bytes.fromhex(
    # reset: FPU on, s0 = 2, s1 = 3, r4 = RAM, clear the counters, enable interrupts 0 and 1, svc
    "18484ff470010160b0ee000af0ee080a4ff00054002525606560a56012480321016007df"
    # work: bl task; wfe; b work
    "00f002f820bffbe7"
    # task: count r2 down from 10; s2 = s0 + s1 to RAM+12; RAM+4 += 1
    "10b50a22013afdd130ee201a84ed031a60680130606010bd"
    # irq: s0 = 31 (the frame must bring it back); RAM+0 += 1; RAM+16 = IPSR
    "b3ee0f0a206801302060eff3058121617047"
    # svc: RAM+8 = 1
    "0120a0607047"
    # fault: SYSRESETREQ to AIRCR; loop for ever
    "034804490160fee788ed00e000e100e00ced00e00400fa05"
)


class Board:
    """The core with one bank of flash, 8 KiB of RAM and a register at the start of the peripherals."""

    def __init__(self, code: bytes = CODE, stack: int = RAM + 0x2000) -> None:
        handlers = [0xB8, FAULT, FAULT, FAULT, FAULT, FAULT, 0, 0, 0, 0, SVC, FAULT, 0, FAULT, IRQ] + [IRQ] * 30
        vectors = struct.pack("<46I", stack, *(FLASH + offset + 1 if offset else 0 for offset in handlers))
        self.timeline = Timeline(16_000_000)
        self.resets = 0
        self.nvic = Nvic(self.timeline, self.request_reset)
        self.bus = Bus()
        self.register = Registers()
        self.bus.attach(0x4000_0000, self.register)
        memories = (Memory(FLASH, 0x4000, writable=False), Memory(RAM, 0x2000, writable=True))
        self.core = Core(self.timeline, self.nvic, self.bus, memories, FLASH)
        self.faults: list[str] = []
        self.core.on_fault = self.faults.append
        self.core.write(FLASH, vectors + code)
        self.core.reset()

    def request_reset(self) -> None:
        self.resets += 1
        self.core.stop()

    def word(self, offset: int) -> int:
        return int.from_bytes(self.core.read(RAM + offset, 4), "little")

    def real(self, offset: int) -> float:
        return float(struct.unpack("<f", self.core.read(RAM + offset, 4))[0])


def test_the_code_lies_where_the_vectors_point() -> None:
    assert CODE[TASK - 0xB8 : TASK - 0xB8 + 2] == bytes.fromhex("10b5")
    assert CODE[SVC - 0xB8 : SVC - 0xB8 + 2] == bytes.fromhex("0120")


def test_it_runs_and_sleeps_until_an_event() -> None:
    board = Board()
    board.core.run(10_000)
    assert board.word(8) == 1, "the supervisor call was taken"
    assert board.word(4) == 2, "the call's return is an event: one more turn, then sleep"
    assert board.real(12) == 5.0
    assert board.core.sleep is Sleep.EVENT
    assert board.timeline.cycles == 10_000
    assert board.faults == []


def test_an_interrupt_wakes_it_and_floats_survive() -> None:
    board = Board()
    board.core.run(1_000)
    turns = board.word(4)
    board.nvic.pend(16)
    board.core.run(2_000)
    assert board.word(0) == 1
    assert board.word(16) == 16, "IPSR names the exception"
    assert board.word(4) > turns
    assert board.real(12) == 5.0, "s0 was clobbered by the handler and restored from the frame"
    assert board.core.stack_pointer == RAM + 0x2000
    assert board.core.in_thread


def test_equal_runs_are_equal_to_the_instruction() -> None:
    def figures() -> tuple[int, int, int]:
        board = Board()
        for cycle in range(500, 20_000, 777):
            board.core.run(cycle)
            board.nvic.pend(16)
        return board.core.counts.all, board.core.counts.thread, board.word(4)

    assert figures() == figures()


def test_thread_instructions_leave_out_handlers() -> None:
    board = Board()
    board.core.run(1_000)
    before = (board.core.counts.all, board.core.counts.thread)
    board.nvic.pend(16)
    board.core.run(2_000)
    handler = (board.core.counts.all - before[0]) - (board.core.counts.thread - before[1])
    assert handler == 7, "the interrupt handler has seven instructions"


def test_a_disabled_interrupt_waits() -> None:
    board = Board()
    board.core.run(1_000)
    board.nvic.pend(16 + 5)
    board.core.run(3_000)
    assert board.word(0) == 0
    board.nvic.write(0xE100, 1 << 5)
    board.core.run(5_000)
    assert board.word(0) == 1


def test_a_masked_interrupt_is_taken_right_after_the_mask_is_lifted() -> None:
    masked = bytes.fromhex("72b6") + bytes.fromhex("0022" * 20) + bytes.fromhex("62b6") + bytes.fromhex("0130fde7")
    board = Board(masked)  # cpsid i; 20 x movs r2, #0; cpsie i; then count r0 for ever
    board.core.write(FLASH + IRQ, bytes.fromhex("fee7"))  # the handler only stays
    board.core.run(2)
    board.nvic.write(0xE100, 1)
    board.nvic.pend(16)
    board.core.run(20)
    assert board.nvic.active == [], "masked"
    board.core.run(10_000)
    assert board.nvic.active == [16]
    assert board.timeline.cycles == board.core.counts.all
    assert board.core.counts.thread < 40, "no long run between the end of the mask and the handler"


def test_priorities_decide_and_preempt() -> None:
    board = Board()
    board.nvic.write_byte(0xE400, 0x80)
    board.nvic.write_byte(0xE401, 0x40)
    board.core.run(1_000)
    board.nvic.pend(16)
    board.nvic.pend(17)
    assert board.nvic.candidate() == 17
    board.nvic.enter(17)
    assert board.nvic.candidate() is None, "a less urgent one does not interrupt a more urgent one"
    board.nvic.leave()
    assert board.nvic.candidate() == 16


def test_a_line_that_stays_high_pends_again() -> None:
    board = Board()
    board.nvic.write(0xE100, 1)
    board.nvic.set_line(0, True)
    board.nvic.enter(16)
    assert board.nvic.candidate() is None
    board.nvic.leave()
    assert board.nvic.candidate() == 16
    board.nvic.set_line(0, False)
    board.nvic.write(0xE280, 1)
    assert board.nvic.candidate() is None


def test_systick_counts_and_interrupts() -> None:
    board = Board()
    board.core.run(1_000)
    board.nvic.write(0xE014, 999)
    board.nvic.write(0xE018, 0)
    board.nvic.write(0xE010, 7)
    board.core.run(6_500)
    assert board.word(0) == 5
    assert board.word(16) == SYSTICK
    assert board.nvic.read(0xE018) == 999 - (board.timeline.cycles - 1_000) % 1_000


def test_a_wild_jump_faults_and_the_handler_may_reset() -> None:
    board = Board(bytes.fromhex("4ff0405000687047") + CODE[8:])  # mov.w r0, #0x30000000; ldr r0, [r0]; bx lr
    board.core.run(1_000)
    assert "0x30000000" in board.faults[0]
    assert board.resets == 1


def test_a_fault_within_a_fault_locks_the_core() -> None:
    broken = bytearray(CODE)
    broken[FAULT - 0xB8 : FAULT - 0xB8 + 2] = bytes.fromhex("00de")  # udf
    broken[:2] = bytes.fromhex("00de")
    board = Board(bytes(broken))
    board.core.run(1_000)
    assert board.core.sleep is Sleep.LOCKED
    assert len(board.faults) == 2
    assert board.timeline.cycles == 1_000, "time goes on, so that a watchdog can bite"


def test_a_stack_outside_memory_locks_the_core_at_the_first_exception() -> None:
    board = Board(stack=0x1000_0000)
    board.core.run(1_000)
    assert board.core.sleep is Sleep.LOCKED
    assert any("no memory to stack" in text for text in board.faults)


def test_an_empty_loop_passes_time_at_once_and_counts_it() -> None:
    board = Board(bytes.fromhex("fee7") + CODE[2:])
    board.core.run(50_000_000)
    assert board.core.counts.all == 50_000_000
    assert board.timeline.time_us == 50_000_000 // 16


def test_an_access_to_no_peripheral_is_noted_once() -> None:
    bus = Bus()
    assert bus.read(0x4000_1234, 4) == 0
    bus.write(0x4000_1238, 1)
    assert list(bus.unmodelled) == [0x4000_1000]


@pytest.mark.parametrize(
    ("code", "count", "sends", "spins"),
    [
        ("2de9f04700bf", 2, False, False),
        ("40bf7047", 2, True, False),
        ("fee7", 1, False, True),
        ("00f002f8", 1, False, False),
    ],
)
def test_blocks_are_counted_by_the_length_of_their_instructions(
    code: str, count: int, sends: bool, spins: bool
) -> None:
    block = read_block(bytes.fromhex(code))
    assert (block.count, block.sends_event, block.spins) == (count, sends, spins)


def test_time_keeps_its_past_when_the_clock_changes() -> None:
    timeline = Timeline(16_000_000)
    timeline.cycles = 16_000
    timeline.set_clock(84_000_000)
    assert timeline.time_us == 1_000
    timeline.cycles += 84_000
    assert timeline.time_us == 2_000
    assert timeline.cycle_at_us(3_000) == timeline.cycles + 84_000


def test_alarms_fire_in_order_and_can_be_stopped() -> None:
    timeline, fired = Timeline(1_000_000), []
    first, second, third = (timeline.alarm(lambda name=name: fired.append(name)) for name in "abc")  # type: ignore[misc]
    second.set(20)
    first.set(10)
    third.set(15)
    third.stop()
    second.set(30)
    timeline.cycles = 25
    timeline.run_due()
    assert fired == ["a"]
    assert timeline.deadline == 30
    timeline.cycles = 30
    timeline.run_due()
    assert fired == ["a", "b"]
