from __future__ import annotations

import struct

from eyeflow.mcu.uf2 import BLOCK_BYTES, RP2040_FAMILY, to_uf2


def test_blocks_carry_the_image_in_order() -> None:
    image = bytes(range(256)) * 2 + b"end"
    data = to_uf2(0x1000_0000, image, RP2040_FAMILY)
    assert len(data) == 3 * BLOCK_BYTES
    carried = b""
    for index in range(3):
        block = data[index * BLOCK_BYTES : (index + 1) * BLOCK_BYTES]
        first, second, flags, address, size, number, count, family = struct.unpack("<8I", block[:32])
        assert (first, second, struct.unpack("<I", block[-4:])[0]) == (0x0A324655, 0x9E5D5157, 0x0AB16F30)
        assert (flags, size, number, count, family) == (0x2000, 256, index, 3, 0xE48BFF56)
        assert address == 0x1000_0000 + 256 * index
        carried += block[32 : 32 + size]
    assert carried == image.ljust(768, b"\xff")
