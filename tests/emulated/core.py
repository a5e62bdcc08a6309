"""A bare emulated Cortex-M core: calls functions of an image and counts the instructions they take.

Unicorn runs the code. There are no peripherals, no interrupts and no clock, so a count is the same in every run. The
instructions of a block are counted when it is entered; blocks end at every branch, so the count is exact. What an IT
instruction skips is counted, too: it takes its cycle.
"""

from __future__ import annotations

import bisect
import json
import os
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import unicorn
from elftools.elf.elffile import ELFFile
from unicorn import arm_const as arm

from eyeflow.mcu.sim.blocks import read_block
from eyeflow.mcu.toolchain import find_toolchain

ROOT = Path(__file__).resolve().parents[2]
CODE_BASE, CODE_SIZE = 0x0800_0000, 0x0010_0000
RAM_BASE, RAM_SIZE = 0x2000_0000, 0x0040_0000
STACK_SIZE = 0x0004_0000
STACK_TOP = RAM_BASE + STACK_SIZE
HEAP_BASE = STACK_TOP
STACK_PAINT = 0xA5
CALL_US_MAX = 120_000_000
"""A call that takes longer never ends."""


class Model(Enum):
    """A core: the target that code is compiled for, and what Unicorn calls the core (it has no M0+; the M0 is ARMv6-M too)."""

    M4F = ("thumbv7em-none-eabihf", arm.UC_CPU_ARM_CORTEX_M4)
    M0_PLUS = ("thumbv6m-none-eabi", arm.UC_CPU_ARM_CORTEX_M0)

    @property
    def target(self) -> str:
        """The target triple."""
        return self.value[0]


@dataclass(frozen=True, slots=True)
class Image:
    """Code at its addresses, and its functions: starts in order, with their (mangled) names."""

    segments: tuple[tuple[int, bytes], ...]
    starts: tuple[int, ...]
    names: tuple[str, ...]
    addresses: dict[str, int] = field(repr=False)

    def function_at(self, address: int) -> str:
        """Return the name of the function that an address lies in."""
        index = bisect.bisect_right(self.starts, address) - 1
        return self.names[index] if index >= 0 else "?"


def build(manifest: Path, binary: str, model: Model, *options: str) -> Path:
    """Return the ELF file of a binary built for a core, with the toolchain that builds firmware.

    `options` are further ones of cargo.
    """
    toolchain = find_toolchain(model.target)
    command = [toolchain.cargo, "build", "--release", "--locked", *toolchain.arguments, "--message-format", "json"]
    command += ["--manifest-path", manifest, "--target", model.target, "--bin", binary, *options]
    environment = {**os.environ, **toolchain.environment}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{binary} does not build for {model.target}:\n{done.stderr}")
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    (found,) = [message["executable"] for message in messages if message.get("executable")]
    return Path(found)


def load(path: Path) -> Image:
    """Read an ELF file."""
    with path.open("rb") as stream:
        elf = ELFFile(stream)
        loaded = [segment for segment in elf.iter_segments() if segment["p_type"] == "PT_LOAD" and segment["p_filesz"]]
        segments = tuple((segment["p_paddr"], bytes(segment.data())) for segment in loaded)
        symbols = list(elf.get_section_by_name(".symtab").iter_symbols())
    functions = sorted((s["st_value"] & ~1, s.name) for s in symbols if s["st_info"]["type"] == "STT_FUNC")
    starts, names = zip(*functions, strict=True)
    return Image(segments, starts, names, {name: start for start, name in functions})


class CoreError(Exception):
    """The code did what a core cannot do, or panicked."""


@dataclass(slots=True)
class Counts:
    """Instructions executed, in all and by the function they belong to (callees not included), and calls of functions."""

    all: int = 0
    by_function: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class _Block:
    count: int
    function: str
    is_entry: bool


class BareCore:
    """One core with an image in flash and RAM. `counting` says whether instructions are counted, which is slower."""

    def __init__(self, model: Model, image: Image, *, counting: bool = False) -> None:
        self.model, self.image = model, image
        self.counts = Counts()
        self._blocks: dict[tuple[int, int], _Block] = {}
        self._uc = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        self._uc.ctl_set_cpu_model(model.value[1])
        self._uc.mem_map(CODE_BASE, CODE_SIZE, unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC)
        self._uc.mem_map(RAM_BASE, RAM_SIZE, unicorn.UC_PROT_READ | unicorn.UC_PROT_WRITE)
        for address, data in image.segments:
            self._uc.mem_write(address, data)
        if counting:
            self._uc.hook_add(unicorn.UC_HOOK_BLOCK, self._on_block)

    def read(self, address: int, size: int) -> bytes:
        """Return bytes of memory."""
        return bytes(self._uc.mem_read(address, size))

    def write(self, address: int, data: bytes) -> None:
        """Write memory, flash too."""
        self._uc.mem_write(address, data)

    def call(self, function: str, *arguments: int) -> int:
        """Call a function by the C convention with at most four words; raises CoreError where it does not return."""
        uc = self._uc
        for register, word in zip(range(arm.UC_ARM_REG_R0, arm.UC_ARM_REG_R0 + 4), arguments, strict=False):
            uc.reg_write(register, word)
        uc.reg_write(arm.UC_ARM_REG_SP, STACK_TOP)
        uc.reg_write(arm.UC_ARM_REG_LR, CODE_BASE | 1)
        try:
            uc.emu_start(self.image.addresses[function] | 1, CODE_BASE, timeout=CALL_US_MAX)
        except unicorn.UcError as error:
            raise CoreError(f"{error} in {self._where()}") from error
        if uc.reg_read(arm.UC_ARM_REG_PC) != CODE_BASE:
            raise CoreError(f"it did not return from {self._where()}")
        result: int = uc.reg_read(arm.UC_ARM_REG_R0)
        return result

    def paint_stack(self) -> None:
        """Fill the stack with what `stack_used` looks for."""
        self.write(STACK_TOP - STACK_SIZE, bytes([STACK_PAINT]) * STACK_SIZE)

    def stack_used(self) -> int:
        """Return how many bytes of stack were written to since `paint_stack`."""
        stack = self.read(STACK_TOP - STACK_SIZE, STACK_SIZE)
        return len(stack.lstrip(bytes([STACK_PAINT])))

    def _where(self) -> str:
        pc = self._uc.reg_read(arm.UC_ARM_REG_PC)
        return f"{self.image.function_at(pc)} at {pc:#010x}"

    def _on_block(self, uc: Any, address: int, size: int, _: Any) -> None:
        block = self._blocks.get((address, size))
        if block is None:
            function = self.image.function_at(address)
            is_entry = self.image.addresses.get(function) == address
            block = _Block(read_block(self.read(address, size)).count, function, is_entry)
            self._blocks[address, size] = block
        counts = self.counts
        counts.all += block.count
        counts.by_function[block.function] += block.count
        counts.calls[block.function] += block.is_entry
