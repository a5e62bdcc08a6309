"""`mcu size` on a real ELF file: names of Rust as people write them, a line as wide as the terminal, JSON with all."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from .conftest import Command

FLASH, RAM = 0x0800_0000, 0x2000_0000
LONG = (
    "_RNvXNtNtNtCs1234_16eyeflow_firmware6crypto7ed2551911long_module"
    + "NtB2_40"
    + "A" * 40
    + "NtNtC11eyeflow_svm7signing6Crypto6verify"
)
SYMBOLS = [
    ("_ZN4core3fmt9Formatter3pad17h0123456789abcdefE", FLASH, 300, 2),
    (LONG, FLASH + 0x200, 200, 2),
    ("_RNvMNtCs1234_16eyeflow_firmware7runtimeNtB2_7Runtime6MEMORY", RAM, 96, 1),
    ("memcpy", FLASH + 0x400, 20, 2),
]  # fmt: skip


def elf(path: Path) -> Path:
    """Write an ELF32 file for ARM (System V ABI, chapter 4) with .text, .data, .bss and the symbols above."""
    names = b"\0" + b"".join(name.encode() + b"\0" for name, *_ in SYMBOLS)
    table, at = bytes(16), 1
    for name, address, size_bytes, kind in SYMBOLS:
        table += struct.pack("<IIIBBH", at, address, size_bytes, kind, 0, 1)
        at += len(name) + 1
    parts = [b"\0.text\0.data\0.bss\0.symtab\0.strtab\0.shstrtab\0", names, table, bytes(1024), bytes(32)]
    starts, body = [], bytes(52)
    for part in parts:
        starts.append(len(body))
        body += part + bytes(-len(part) % 4)
    heads = [
        (0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
        (1, 1, 6, FLASH, starts[3], 1024, 0, 0, 4, 0),
        (7, 1, 3, RAM + 96, starts[4], 32, 0, 0, 4, 0),
        (13, 8, 3, RAM, 0, 96, 0, 0, 4, 0),
        (18, 2, 0, 0, starts[2], len(table), 5, 1, 4, 16),
        (26, 3, 0, 0, starts[1], len(names), 0, 0, 1, 0),
        (34, 3, 0, 0, starts[0], len(parts[0]), 0, 0, 1, 0),
    ]
    ident = b"\x7fELF\x01\x01\x01" + bytes(9)
    head = ident + struct.pack(
        "<HHIIIIIHHHHHH", 2, 40, 1, FLASH, 0, len(body), 0x0500_0000, 52, 32, 0, 40, len(heads), 6
    )
    path.write_bytes(head + body[52:] + b"".join(struct.pack("<10I", *one) for one in heads))
    return path


def test_names_are_readable_and_lines_fit_the_terminal(eyeflow: Command, tmp_path: Path) -> None:
    file = elf(tmp_path / "firmware.elf")
    ran = eyeflow("mcu", "size", file, "--chip", "STM32F401CC", env={"COLUMNS": "80"})
    assert ran.code == 0 and max(map(len, ran.out.splitlines())) <= 80, ran.out
    assert "core::fmt::Formatter::pad" in ran.out and "_ZN" not in ran.out and "_R" not in ran.out
    assert "<eyeflow_firmware::runtime::Runtime>::MEMORY" in ran.out
    (cut,) = [line for line in ran.out.splitlines() if "..." in line]
    assert "Crypto>::verify" in cut and "eyeflow_firmware" in cut, "the middle of a name is left out, not its end"


def test_json_has_all_that_the_text_has_and_nothing_is_cut(eyeflow: Command, tmp_path: Path) -> None:
    file = elf(tmp_path / "firmware.elf")
    found = eyeflow("mcu", "size", file, "--chip", "STM32F401CC", "--json", env={"COLUMNS": "80"}).json
    assert (found["flashBytes"], found["ramBytes"] - found["stackBytes"]) == (1056, 128)
    assert (found["flashBudgetBytes"], found["ramBudgetBytes"]) == (65536, 16384)
    assert found["sections"] == [
        {"name": ".text", "bytes": 1024, "kind": "flash"},
        {"name": ".data", "bytes": 32, "kind": "flash and RAM"},
        {"name": ".bss", "bytes": 96, "kind": "RAM"},
    ]
    assert [(one["name"], one["bytes"], one["kind"]) for one in found["symbols"] if one["bytes"] in (300, 96, 20)] == [
        ("core::fmt::Formatter::pad", 300, "flash"),
        ("<eyeflow_firmware::runtime::Runtime>::MEMORY", 96, "RAM"),
        ("memcpy", 20, "flash"),
    ]
    (long,) = [one["name"] for one in found["symbols"] if one["bytes"] == 200]
    assert "A" * 40 in long and "..." not in long


@pytest.mark.parametrize("keep_bytes", [0, 4, 51, 200, 1500])
def test_a_damaged_file_is_a_problem_of_the_input(eyeflow: Command, tmp_path: Path, keep_bytes: int) -> None:
    file = elf(tmp_path / "firmware.elf")
    file.write_bytes(file.read_bytes()[:keep_bytes])
    ran = eyeflow("mcu", "size", file, "--chip", "STM32F401CC")
    assert ran.code == 1 and "firmware.elf" in ran.err and "no ELF file" in ran.err, ran.err
