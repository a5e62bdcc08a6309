"""UF2 files: what an RP2040 takes as a USB disk (https://github.com/microsoft/uf2)."""

from __future__ import annotations

import struct

RP2040_FAMILY = 0xE48BFF56
PAYLOAD_BYTES = 256
BLOCK_BYTES = 512
_MAGIC_START = (0x0A324655, 0x9E5D5157)
_MAGIC_END = 0x0AB16F30
_FAMILY_PRESENT = 0x00002000


def to_uf2(address: int, image: bytes, family: int) -> bytes:
    """Return an image as a UF2 file: blocks of 512 bytes with 256 bytes of the image each, filled up as erased."""
    pieces = [image[start : start + PAYLOAD_BYTES] for start in range(0, len(image), PAYLOAD_BYTES)]
    return b"".join(
        _block(address + index * PAYLOAD_BYTES, piece, index, len(pieces), family) for index, piece in enumerate(pieces)
    )


def _block(address: int, piece: bytes, index: int, count: int, family: int) -> bytes:
    payload = piece.ljust(PAYLOAD_BYTES, b"\xff")
    head = struct.pack("<8I", *_MAGIC_START, _FAMILY_PRESENT, address, PAYLOAD_BYTES, index, count, family)
    return head + payload + bytes(BLOCK_BYTES - 32 - PAYLOAD_BYTES - 4) + struct.pack("<I", _MAGIC_END)
