"""A Cortex-M4F core: Unicorn runs the instructions; exceptions, sleep and counting are done here.

Unicorn's own exception model for M-profile cores is not usable, so entry and return follow ARM DDI 0403E B1.5 step by
step: eight words (26 with floating-point context) are stacked, IPSR and EXC_RETURN are set, and the return unstacks.
Exceptions are taken between blocks of code, which real cores also do at times of their own choosing.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from eyeflow.base.reasons import why
from eyeflow.mcu.sim.blocks import WFE, WFI, Block, read_block
from eyeflow.mcu.sim.bus import Bus
from eyeflow.mcu.sim.extra import import_unicorn
from eyeflow.mcu.sim.nvic import HARD_FAULT, SVCALL, Nvic
from eyeflow.mcu.sim.timeline import Timeline

PERIPHERALS_BASE, PERIPHERALS_SIZE = 0x4000_0000, 0x0010_0000
SYSTEM_BASE, SYSTEM_SIZE = 0xE000_0000, 0x0010_0000
PRIORITY_REGISTERS = (range(0xE400, 0xE500), range(0xED18, 0xED24))
VTOR = 0xED08
END = 0xFFFF_FFFE
"""Where emulation is told to end: no code ever gets there."""

EXCEPTION_RETURN = 0xFFFF_FFE0
FRAME_BYTES = 32
FLOAT_FRAME_BYTES = 72
XPSR_ALIGNED = 1 << 9
XPSR_THUMB = 1 << 24
CONTROL_FLOAT_ACTIVE = 1 << 2
MASK_32 = 0xFFFF_FFFF

_INTERRUPT_SVC = 2
_INTERRUPT_EXCEPTION_EXIT = 8


class Sleep(Enum):
    """Whether the core waits, and for what."""

    AWAKE = "awake"
    EVENT = "waits for an event"
    INTERRUPT = "waits for an interrupt"
    LOCKED = "locked up by a fault within a fault"


@dataclass(slots=True)
class Counts:
    """Instructions executed since the simulator started: all of them, and those outside exception handlers."""

    all: int = 0
    thread: int = 0


@dataclass(frozen=True, slots=True)
class Memory:
    """A range of memory; code may write to it or only a peripheral may."""

    base: int
    size: int
    writable: bool


class Core:
    """The core with its memories and bus. `run(until)` runs to a cycle or until `stop()`."""

    def __init__(self, timeline: Timeline, nvic: Nvic, bus: Bus, memories: tuple[Memory, ...], vectors: int) -> None:
        self.timeline, self.nvic, self.bus, self.vectors = timeline, nvic, bus, vectors
        self.counts = Counts()
        self.sleep = Sleep.AWAKE
        self.stall_cycles = 0
        self.on_fault: Callable[[str], None] = lambda text: None
        self.on_protected_write: Callable[[int, int, int], None] = lambda address, size, value: None
        self.marks: dict[int, Callable[[], None]] = {}
        self._blocks: dict[tuple[int, int], Block] = {}
        self._stale, self._code_start, self._code_end = False, MASK_32, 0
        self._event = False
        self._attention = False
        self._stopped = False
        self._first_block = True
        self._stop_at = 0
        self._interrupt: int | None = None
        self._fault_text = ""
        nvic.on_pending = self.interrupt_soon
        self._open(memories)

    def _open(self, memories: tuple[Memory, ...]) -> None:
        self._unicorn, arm = import_unicorn()
        unicorn = self._unicorn
        uc = self._uc = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        uc.ctl_set_cpu_model(arm.UC_CPU_ARM_CORTEX_M4)
        for memory in memories:
            access = unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC
            uc.mem_map(memory.base, memory.size, access | (unicorn.UC_PROT_WRITE if memory.writable else 0))
        uc.mmio_map(PERIPHERALS_BASE, PERIPHERALS_SIZE, self._bus_read, None, self._bus_write, None)
        uc.mmio_map(SYSTEM_BASE, SYSTEM_SIZE, self._system_read, None, self._system_write, None)
        uc.hook_add(unicorn.UC_HOOK_BLOCK, self._on_block)
        uc.hook_add(unicorn.UC_HOOK_INTR, self._on_interrupt)
        uc.hook_add(unicorn.UC_HOOK_MEM_WRITE_PROT, self._on_protected_write)
        invalid = unicorn.UC_HOOK_MEM_INVALID & ~unicorn.UC_HOOK_MEM_WRITE_PROT
        uc.hook_add(invalid, self._on_invalid)
        self._name_registers(arm)

    def _name_registers(self, arm: Any) -> None:
        low = [arm.UC_ARM_REG_R0 + number for number in range(4)]
        self._frame = [*low, arm.UC_ARM_REG_R12, arm.UC_ARM_REG_LR]
        self._floats = [arm.UC_ARM_REG_D0 + number for number in range(8)]
        self._all = [arm.UC_ARM_REG_R0 + number for number in range(13)] + [arm.UC_ARM_REG_LR]
        self._sp, self._lr, self._pc = arm.UC_ARM_REG_SP, arm.UC_ARM_REG_LR, arm.UC_ARM_REG_PC
        self._xpsr, self._ipsr, self._control = arm.UC_ARM_REG_XPSR, arm.UC_ARM_REG_IPSR, arm.UC_ARM_REG_CONTROL
        self._primask, self._basepri = arm.UC_ARM_REG_PRIMASK, arm.UC_ARM_REG_BASEPRI
        self._faultmask, self._fpscr = arm.UC_ARM_REG_FAULTMASK, arm.UC_ARM_REG_FPSCR

    # What the chip and its peripherals use.

    def read(self, address: int, size: int) -> bytes:
        """Return bytes of memory."""
        return bytes(self._uc.mem_read(address, size))

    def write(self, address: int, data: bytes) -> None:
        """Write memory, flash too: for peripherals and loaders, not for code."""
        self._uc.mem_write(address, data)

    def forget_code(self, start: int, size: int) -> None:
        """Forget what is known of code before the next block, if any of it lies in memory that has changed."""
        if start < self._code_end and start + size > self._code_start:
            self._stale = True

    def reset(self) -> None:
        """Start from the vector table as a reset does; memory keeps its contents."""
        for register in (*self._all, self._control, self._primask, self._basepri, self._faultmask, self._fpscr):
            self._uc.reg_write(register, 0)
        stack, entry = struct.unpack("<II", self.read(self.vectors, 8))
        self._uc.reg_write(self._lr, MASK_32)
        self._uc.reg_write(self._xpsr, XPSR_THUMB)
        self._uc.reg_write(self._sp, stack & ~3)
        self._uc.reg_write(self._pc, entry | 1)
        self.sleep, self._event, self._interrupt, self.stall_cycles = Sleep.AWAKE, False, None, 0

    def stop(self) -> None:
        """End `run` at the next boundary of a block."""
        self._stopped = True
        self.interrupt_soon()

    def interrupt_soon(self) -> None:
        """Look at the pending exceptions before the next block."""
        self._attention = True

    @property
    def pc(self) -> int:
        """The program counter."""
        return int(self._uc.reg_read(self._pc))

    @property
    def stack_pointer(self) -> int:
        """The main stack pointer."""
        return int(self._uc.reg_read(self._sp))

    @property
    def return_address(self) -> int:
        """The link register without its Thumb bit: where a function just entered returns to."""
        return int(self._uc.reg_read(self._lr)) & ~1

    @property
    def in_thread(self) -> bool:
        """Whether no exception handler runs."""
        return not self.nvic.active

    # The run loop.

    def run(self, until: int) -> None:
        """Run until a cycle (a block may end a few cycles later) or `stop()`."""
        timeline = self.timeline
        self._stopped = False
        while timeline.cycles < until and not self._stopped:
            timeline.run_due()
            if self._stopped:
                break
            if self.stall_cycles:
                self._pass_stall(until)
                continue
            self._take_exception()
            if self.sleep is Sleep.AWAKE:
                self._execute(min(timeline.deadline, until))
            else:
                timeline.cycles = max(timeline.cycles, min(timeline.deadline, until))
        timeline.run_due()

    def _pass_stall(self, until: int) -> None:
        """Let time pass in which the core can fetch nothing because flash is busy."""
        passed = min(self.stall_cycles, max(min(self.timeline.deadline, until) - self.timeline.cycles, 0))
        self.timeline.cycles += passed
        self.stall_cycles -= passed

    def _take_exception(self) -> None:
        self._attention = False
        number = self.nvic.candidate()
        if number is None or self.sleep is Sleep.LOCKED:
            return
        masked = self._is_masked(number)
        if self.sleep is Sleep.INTERRUPT or (self.sleep is Sleep.EVENT and not masked):
            self.sleep = Sleep.AWAKE
        if masked:
            self._attention = True  # look again after each block: nothing tells when the mask is lifted
        else:
            self._enter(number)

    def _is_masked(self, number: int) -> bool:
        if self._uc.reg_read(self._primask) & 1:
            return True
        base = self._uc.reg_read(self._basepri) & 0xF0
        return bool(base and self.nvic.priority(number) >= base)

    def _execute(self, stop_at: int) -> None:
        self._first_block, self._stop_at, self._interrupt, self._fault_text = True, stop_at, None, ""
        if self._stale:
            self._forget_now()
        try:
            self._uc.emu_start(self.pc | 1, END)
        except self._unicorn.UcError as error:
            self._after_error(error)
            return
        if self._interrupt is not None:
            self._after_interrupt(self._interrupt)
        elif not self._attention and self._halfword_before(self.pc) == WFI:
            self.sleep = Sleep.INTERRUPT

    def _forget_now(self) -> None:
        self._blocks.clear()
        self._uc.ctl_flush_tb()
        self._stale, self._code_start, self._code_end = False, MASK_32, 0

    def _after_error(self, error: Exception) -> None:
        pc = self.pc
        if pc >= EXCEPTION_RETURN and self.nvic.active:
            self._leave(pc)
        elif not self._fault_text and self._halfword_before(pc) == WFE:
            self.sleep = Sleep.AWAKE if self._event else Sleep.EVENT
            self._event = False
        else:
            self._fault(self._fault_text or f"{why(error)} at {pc:#010x}")

    def _after_interrupt(self, kind: int) -> None:
        if kind == _INTERRUPT_EXCEPTION_EXIT and self.nvic.active:
            self._leave(self.pc)
        elif kind == _INTERRUPT_SVC:
            self._enter(SVCALL)
        else:
            self._fault(f"undefined instruction or breakpoint at {self.pc:#010x}")

    def _halfword_before(self, pc: int) -> int:
        try:
            return int.from_bytes(self._uc.mem_read((pc & ~1) - 2, 2), "little")
        except self._unicorn.UcError:
            return 0

    # Exceptions.

    def _fault(self, text: str) -> None:
        self.on_fault(text)
        if HARD_FAULT in self.nvic.active:
            self.sleep = Sleep.LOCKED
        else:
            self._enter(HARD_FAULT)

    def _enter(self, number: int) -> None:
        uc = self._uc
        control = uc.reg_read(self._control)
        has_floats = bool(control & CONTROL_FLOAT_ACTIVE)
        stack = uc.reg_read(self._sp)
        aligned = XPSR_ALIGNED if stack & 4 else 0
        stack = (stack & ~7) - (FRAME_BYTES + FLOAT_FRAME_BYTES * has_floats)
        words = [uc.reg_read(register) & MASK_32 for register in self._frame]
        words += [self.pc & ~1, (uc.reg_read(self._xpsr) & ~XPSR_ALIGNED & MASK_32) | XPSR_THUMB | aligned]
        frame = struct.pack("<8I", *words)
        if has_floats:
            values = [uc.reg_read(register) for register in self._floats]
            frame += struct.pack("<8QII", *values, uc.reg_read(self._fpscr) & MASK_32, 0)
            uc.reg_write(self._control, control & ~CONTROL_FLOAT_ACTIVE)
        returns = 0xFFFF_FFE1 | (0 if has_floats else 0x10) | (0x8 if self.in_thread else 0)
        self._branch_to_handler(number, stack, frame, returns)

    def _branch_to_handler(self, number: int, stack: int, frame: bytes, returns: int) -> None:
        uc = self._uc
        try:
            uc.mem_write(stack, frame)
            handler = int.from_bytes(uc.mem_read(self._vector(number), 4), "little")
        except self._unicorn.UcError:
            self.on_fault(f"no memory to stack an exception at {stack:#010x}")
            self.sleep = Sleep.LOCKED
            return
        self.nvic.enter(number)
        uc.reg_write(self._sp, stack)
        uc.reg_write(self._lr, returns)
        uc.reg_write(self._xpsr, XPSR_THUMB | number)
        uc.reg_write(self._pc, handler | 1)
        self._event, self.sleep = True, Sleep.AWAKE

    def _vector(self, number: int) -> int:
        """Return where the vector of an exception lies; VTOR 0, as after reset, is the alias of flash."""
        return (self.nvic.get(VTOR) or self.vectors) + 4 * number

    def _leave(self, returns: int) -> None:
        uc = self._uc
        self.nvic.leave()
        stack = uc.reg_read(self._sp)
        words = struct.unpack("<8I", self.read(stack, FRAME_BYTES))
        stack += FRAME_BYTES
        control = uc.reg_read(self._control) & ~CONTROL_FLOAT_ACTIVE
        if not returns & 0x10:
            *values, status, _ = struct.unpack("<8QII", self.read(stack, FLOAT_FRAME_BYTES))
            for register, value in zip(self._floats, values, strict=True):
                uc.reg_write(register, value)
            uc.reg_write(self._fpscr, status)
            stack += FLOAT_FRAME_BYTES
            control |= CONTROL_FLOAT_ACTIVE
        for register, word in zip(self._frame, words, strict=False):
            uc.reg_write(register, word)
        uc.reg_write(self._xpsr, words[7] & ~XPSR_ALIGNED)
        uc.reg_write(self._control, control)
        uc.reg_write(self._sp, stack + (4 if words[7] & XPSR_ALIGNED else 0))
        uc.reg_write(self._pc, words[6] | 1)
        self._event = True

    # What Unicorn calls.

    def _on_block(self, uc: Any, address: int, size: int, _: Any) -> None:
        if not self._first_block and (self._attention or self.timeline.cycles >= self._stop_at):
            self._attention = True
            uc.emu_stop()
            return
        self._first_block = False
        block = self._blocks.get((address, size))
        if block is None:
            block = self._learn(address, size)
        mark = self.marks.get(address)
        if mark is not None:
            mark()
        count = max(self._stop_at - self.timeline.cycles, 1) if block.spins else block.count
        self.timeline.cycles += count
        self.counts.all += count
        if not self.nvic.active:
            self.counts.thread += count
        if block.sends_event:
            self._event = True

    def _learn(self, address: int, size: int) -> Block:
        block = self._blocks[address, size] = read_block(self.read(address, size))
        self._code_start, self._code_end = min(self._code_start, address), max(self._code_end, address + size)
        return block

    def _on_interrupt(self, uc: Any, kind: int, _: Any) -> None:
        self._interrupt = kind
        uc.emu_stop()

    def _on_invalid(self, uc: Any, access: int, address: int, size: int, value: int, _: Any) -> bool:
        self._fault_text = f"access to {address:#010x}, where there is no memory, near {self.pc:#010x}"
        if address >= EXCEPTION_RETURN:
            self._fault_text = ""
        return False

    def _on_protected_write(self, uc: Any, access: int, address: int, size: int, value: int, _: Any) -> bool:
        self.on_protected_write(address, size, value & ((1 << (8 * size)) - 1))
        self._attention = True
        return True

    def _bus_read(self, uc: Any, offset: int, size: int, _: Any) -> int:
        return self.bus.read(PERIPHERALS_BASE + offset, size)

    def _bus_write(self, uc: Any, offset: int, size: int, value: int, _: Any) -> None:
        self.bus.write(PERIPHERALS_BASE + offset, value)
        self._attention = True

    def _system_read(self, uc: Any, offset: int, size: int, _: Any) -> int:
        return self.nvic.read(offset & ~3) >> (8 * (offset & 3))

    def _system_write(self, uc: Any, offset: int, size: int, value: int, _: Any) -> None:
        if size == 1 and any(offset in registers for registers in PRIORITY_REGISTERS):
            self.nvic.write_byte(offset, value)
        else:
            self.nvic.write(offset & ~3, value << (8 * (offset & 3)))
        self._attention = True
