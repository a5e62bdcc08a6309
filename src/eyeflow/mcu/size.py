"""What an ELF file takes of flash and RAM, section by section, and which symbols take most. The home of pyelftools."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from io import BytesIO
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.reading import Unreadable, exit_code, read_bytes
from eyeflow.base.reasons import why
from eyeflow.mcu.chips import Chip
from eyeflow.mcu.demangle import demangle

LARGEST_MAX = 10
ELF_BYTES_MAX = 256 * 1024 * 1024
"""Firmware with its debug information has some megabytes."""
SHF_ALLOC = 2


class Kind(Enum):
    """Which memory something takes: flash, RAM, or both (data that is copied at the start)."""

    FLASH = "flash"
    RAM = "RAM"
    BOTH = "flash and RAM"


@dataclass(frozen=True, slots=True)
class Section:
    """One section and its bytes."""

    name: str
    size_bytes: int
    kind: Kind


@dataclass(frozen=True, slots=True)
class Symbol:
    """One function or variable and its bytes."""

    name: str
    size_bytes: int
    kind: Kind


@dataclass(frozen=True, slots=True)
class Sizes:
    """The use of an image: sections, largest symbols, and the bytes of stack that are set aside."""

    sections: tuple[Section, ...]
    symbols: tuple[Symbol, ...]
    stack_bytes: int

    @property
    def flash_bytes(self) -> int:
        """Bytes of flash: code, constants, and the initial values of data."""
        return sum(section.size_bytes for section in self.sections if section.kind is not Kind.RAM)

    @property
    def static_bytes(self) -> int:
        """Bytes of RAM for data."""
        return sum(section.size_bytes for section in self.sections if section.kind is not Kind.FLASH)

    @property
    def ram_bytes(self) -> int:
        """Bytes of RAM: data and stack."""
        return self.static_bytes + self.stack_bytes

    def largest(self, kind: Kind) -> tuple[Symbol, ...]:
        """Return the largest symbols in flash or RAM."""
        return tuple(symbol for symbol in self.symbols if symbol.kind is kind)[:LARGEST_MAX]


def read_sizes(path: Path, chip: Chip) -> Sizes:
    """Return the use of an ELF file that was built for a chip; raises EyeflowError when it is none."""
    try:
        elf = ELFFile(BytesIO(read_bytes(path, ELF_BYTES_MAX)))
        sections = tuple(_sections(elf, chip))
        symbols = tuple(sorted(_symbols(elf, chip), key=lambda symbol: -symbol.size_bytes))
    except (OSError, Unreadable, ELFError) as error:
        raise EyeflowError(
            f"cannot read the firmware {path}",
            cause=why(error),
            next_step="build it with `eyeflow mcu build`",
            code="firmware",
            exit_code=ExitCode.PROBLEMS if isinstance(error, ELFError) else exit_code(error),
        ) from error
    return Sizes(sections, symbols, chip.memory.stack_bytes)


def _sections(elf: ELFFile, chip: Chip) -> Iterator[Section]:
    for section in elf.iter_sections():
        if section["sh_flags"] & SHF_ALLOC and section["sh_size"]:
            kind = _kind(section["sh_addr"], chip)
            if kind is Kind.RAM and section["sh_type"] != "SHT_NOBITS":
                kind = Kind.BOTH
            yield Section(section.name, section["sh_size"], kind)


def _kind(address: int, chip: Chip) -> Kind:
    memory = chip.memory
    in_ram = memory.ram_start <= address < memory.ram_start + chip.ram_bytes
    return Kind.RAM if in_ram else Kind.FLASH


def _symbols(elf: ELFFile, chip: Chip) -> Iterator[Symbol]:
    for table in elf.iter_sections():
        if not isinstance(table, SymbolTableSection):
            continue
        for symbol in table.iter_symbols():
            if symbol["st_size"] and symbol["st_info"]["type"] in ("STT_FUNC", "STT_OBJECT"):
                yield Symbol(demangle(symbol.name), symbol["st_size"], _kind(symbol["st_value"], chip))


def image_bytes(path: Path) -> tuple[int, bytes]:
    """Return the flash image of an ELF file: its first address and its bytes, gaps filled as erased."""
    with path.open("rb") as file:
        segments = [
            (segment["p_paddr"], segment.data())
            for segment in ELFFile(file).iter_segments()
            if segment["p_type"] == "PT_LOAD" and segment["p_filesz"]
        ]
    start = min(address for address, _ in segments)
    image = bytearray(b"\xff" * (max(address + len(data) for address, data in segments) - start))
    for address, data in segments:
        image[address - start : address - start + len(data)] = data
    return start, bytes(image)
