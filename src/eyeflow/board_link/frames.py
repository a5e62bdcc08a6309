"""Frames on the serial line: a delimiter, COBS, a delimiter. docs/serial-link.md, Frames.

COBS: S. Cheshire, M. Baker, Consistent Overhead Byte Stuffing, IEEE/ACM Transactions on Networking 7(2), 1999.
CRC-32 as in Ethernet and zlib (ISO-HDLC).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

PAYLOAD_BYTES_MAX = 128
OVERHEAD_BYTES = 6
"""Type, sequence and CRC."""
FRAME_BYTES_MAX = PAYLOAD_BYTES_MAX + OVERHEAD_BYTES
WIRE_BYTES_MAX = FRAME_BYTES_MAX + 3
DELIMITER = 0
ANSWER = 0x80
"""The bit of the type that everything from the board has."""
_CRC_BYTES = 4
_BLOCK_MAX = 0xFF


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame: its type (`messages.Request`, with ANSWER in an answer, or `messages.Unasked`), number and payload."""

    kind: int
    sequence: int
    payload: bytes = b""


def encode_frame(frame: Frame) -> bytes:
    """Return a frame as it goes over the line; raises ValueError for a payload over PAYLOAD_BYTES_MAX."""
    if len(frame.payload) > PAYLOAD_BYTES_MAX:
        raise ValueError(f"{len(frame.payload)} bytes do not fit a frame of {PAYLOAD_BYTES_MAX}")
    content = bytes([frame.kind, frame.sequence]) + frame.payload
    return b"\0" + cobs(content + zlib.crc32(content).to_bytes(_CRC_BYTES, "little")) + b"\0"


def cobs(content: bytes) -> bytes:
    """Return up to 253 bytes without a zero among them: each zero is replaced by the distance to the next one."""
    return b"".join(bytes([len(block) + 1]) + block for block in content.split(b"\0"))


def uncobs(stuffed: bytes) -> bytes | None:
    """Return what `cobs` was given, or None when these bytes are no output of it."""
    out = bytearray()
    at = 0
    while at < len(stuffed):
        code = stuffed[at]
        block = stuffed[at + 1 : at + code]
        if len(block) != code - 1:
            return None
        out += block
        at += code
        if at < len(stuffed) and code != _BLOCK_MAX:
            out.append(0)
    return bytes(out)


@dataclass(slots=True)
class Receiver:
    """Turns bytes as they arrive into frames; what is no frame is counted and kept for a while."""

    good: int = 0
    bad: int = 0
    received_bytes: int = 0
    stray: bytes = b""
    """The last bytes that were no frame: a boot message, noise, another baud rate."""
    _open: bytearray | None = None

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that these bytes end."""
        self.received_bytes += len(data)
        frames = []
        *whole, rest = data.split(b"\0")
        for stretch in whole:
            frame = self._end(bytes(self._open or b"") + stretch)
            self._open = None
            if frame is not None:
                frames.append(frame)
        self._open = bytearray((self._open or b"") + rest)
        self._forget_overlong()
        return frames

    def _forget_overlong(self) -> None:
        """Keep no more of an endless stretch than can still be told from a frame."""
        if self._open is not None and len(self._open) > 2 * WIRE_BYTES_MAX:
            self._keep(bytes(self._open[-WIRE_BYTES_MAX:]))
            del self._open[WIRE_BYTES_MAX + 1 :]

    def _end(self, stretch: bytes) -> Frame | None:
        if not stretch:
            return None
        content = uncobs(stretch) if len(stretch) < WIRE_BYTES_MAX else None
        frame = None if content is None else check(content)
        if frame is None:
            self.bad += 1
            self._keep(stretch)
            return None
        self.good += 1
        return frame

    @property
    def unframed(self) -> bytes:
        """The last bytes that were no frame, those since the last delimiter included."""
        return (self.stray + bytes(self._open or b""))[-WIRE_BYTES_MAX:]

    def _keep(self, stretch: bytes) -> None:
        self.stray = (self.stray + stretch)[-WIRE_BYTES_MAX:]


def check(content: bytes) -> Frame | None:
    """Return the frame in unstuffed bytes, or None when it is too short or long or its CRC is wrong."""
    if not OVERHEAD_BYTES <= len(content) <= FRAME_BYTES_MAX:
        return None
    body, crc = content[:-_CRC_BYTES], content[-_CRC_BYTES:]
    if zlib.crc32(body) != int.from_bytes(crc, "little"):
        return None
    return Frame(body[0], body[1], body[2:])
