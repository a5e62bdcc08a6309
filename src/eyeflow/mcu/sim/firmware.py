"""The firmware image that a simulator runs: an ELF file as the linker wrote it."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.reading import Unreadable, read_bytes
from eyeflow.base.reasons import why
from eyeflow.mcu.sim.extra import import_elftools

MACHINE = "EM_ARM"
ELF_BYTES_MAX = 64 * 1024 * 1024
"""Above any firmware with its debug information."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Bytes that flashing writes at an address."""

    address: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Firmware:
    """What a firmware file puts into flash, its function symbols by (mangled) name, and the SHA-256 of the file."""

    segments: tuple[Segment, ...]
    functions: dict[str, int] = field(repr=False)
    digest: str

    def find_functions(self, part: str) -> dict[str, int]:
        """Return the functions whose name contains `part`, with their addresses (Thumb bit cleared)."""
        return {name: address for name, address in self.functions.items() if part in name}


def load_firmware(path: Path) -> Firmware:
    """Read a 32-bit ARM ELF file; raises EyeflowError when it is missing or something else."""
    try:
        data = read_bytes(path, ELF_BYTES_MAX)
    except (OSError, Unreadable) as error:
        raise EyeflowError(
            f"the firmware {path} cannot be read",
            cause=why(error),
            next_step="build it first: eyeflow mcu build --chip STM32F401CC",
            code="firmware_missing",
        ) from error
    return parse_firmware(data, str(path))


def parse_firmware(data: bytes, name: str) -> Firmware:
    """Read an ELF image; raises EyeflowError naming what is wrong with it."""
    elffile, elf_error = import_elftools()
    try:
        elf = elffile(io.BytesIO(data))
        if elf["e_machine"] != MACHINE or elf.elfclass != 32:
            raise _refused(name, f"it is for {elf['e_machine']}, {elf.elfclass} bits")
        segments = tuple(
            Segment(segment["p_paddr"], bytes(segment.data()))
            for segment in elf.iter_segments()
            if segment["p_type"] == "PT_LOAD" and segment["p_filesz"]
        )
        table = elf.get_section_by_name(".symtab")
        symbols = table.iter_symbols() if table is not None else ()
        functions = {s.name: s["st_value"] & ~1 for s in symbols if s["st_info"]["type"] == "STT_FUNC"}
    except elf_error as error:
        raise _refused(name, why(error)) from error
    if not segments:
        raise _refused(name, "nothing in it is loaded into flash")
    return Firmware(segments, functions, hashlib.sha256(data).hexdigest())


def _refused(name: str, cause: str) -> EyeflowError:
    return EyeflowError(
        f"{name} is no firmware for a microcontroller",
        cause=cause,
        next_step="give the ELF file that eyeflow mcu build wrote",
        code="not_firmware",
        exit_code=ExitCode.PROBLEMS,
    )
