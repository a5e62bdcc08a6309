"""A small firmware for the simulated STM32F401CC, written by hand in Thumb code, and an ELF file around it.

It polls USART1 (115200 baud) and answers each byte: `a` starts ADC1 and answers with the upper 8 of 12 bits, `w` programs
one word of the last flash sector and answers with what it reads back, any other byte comes back; all but `a` toggle PA5,
and `!` then asks for a system reset.
"""

from __future__ import annotations

import struct

from eyeflow.mcu.sim.firmware import Firmware, Segment

BASE = 0x0800_0000
LAST_SECTOR = 0x0802_0000
SERVE = 0x2E
CODE = bytes.fromhex(
    "001000201100000879000008790000081b481c4901601c4a8b21916042f20c01d1601a4b0121996000f001f8fce71468a406"
    "20d55568612d07d1154999601c68a407fcd5dd6c2d0914e0446984f020044461212d10d0772d0cd10e4e0e4971600e497160"
    "40f2012131610d494ff05a340c600d68556070470a480b490160fee700000240000400a8001001400020014001000040003c"
    "024023016745ab89efcd000002080ced00e00400fa05"
)

FIRMWARE = Firmware(
    (Segment(BASE, CODE),), {"_ZN4echo5serve17h0E": BASE + SERVE, "_ZN4echo4loop17h0E": BASE}, "by hand"
)


def elf_file(code: bytes = CODE, address: int = BASE, machine: int = 40) -> bytes:
    """Return a 32-bit little-endian ELF file with one loaded segment; machine 40 is ARM."""
    identity = b"\x7fELF\x01\x01\x01" + bytes(9)
    header = struct.pack("<HHIIIIIHHHHHH", 2, machine, 1, address + 0x11, 52, 0, 0, 52, 32, 1, 40, 0, 0)
    segment = struct.pack("<8I", 1, 84, address, address, len(code), len(code), 5, 4)
    return identity + header + segment + code
