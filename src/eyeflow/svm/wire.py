"""Reading and writing the little-endian pieces of a `.svm` file, strictly: docs/svm.md, The `.svm` file."""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import TypeVar

from eyeflow.svm.failure import ProgramError
from eyeflow.svm.numbers import NAN_BITS, float_bits, float_from_bits

STR_BYTES_MAX = 255
TEXT_BYTES_MAX = 65_535
E = TypeVar("E", bound=IntEnum)


class Writer:
    """Appends pieces to a growing buffer; raises ProgramError for what its field cannot hold."""

    def __init__(self) -> None:
        self.buffer = bytearray()

    def pack(self, layout: str, *values: int) -> None:
        """Append integers by a struct layout without byte order."""
        try:
            self.buffer += struct.pack("<" + layout, *values)
        except struct.error as error:
            raise ProgramError(f"{values} does not fit its field") from error

    def bits(self, value: float) -> None:
        """Append the canonical bits of a float."""
        self.buffer += struct.pack("<Q", float_bits(value))

    def text(self, value: str, layout: str = "H") -> None:
        """Append a text with its length in front: a u16, or for a `str` a byte (`B`)."""
        raw = Writer()
        raw.utf8(value)
        self.pack(layout, len(raw.buffer))
        self.buffer += raw.buffer

    def utf8(self, value: str) -> None:
        """Append the bytes of a text, without its length."""
        try:
            self.buffer += value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise ProgramError(f"{value!r} is not valid UTF-8") from error

    def name(self, value: str) -> None:
        """Append a `str`."""
        self.text(value, "B")


class Reader:
    """Takes pieces off a buffer; raises ProgramError with section and byte for what an encoder would not write."""

    def __init__(self, data: bytes, *, start: int = 0, end: int | None = None, section: str = "header") -> None:
        self._data = data
        self.position = start
        self.end = len(data) if end is None else end
        self._section = section

    def fail(self, reason: str, at: int | None = None) -> ProgramError:
        """Return the error for a fault at byte `at`, or at the current one."""
        return ProgramError(reason, place=f"byte {self.position if at is None else at} ({self._section})")

    def take(self, size_bytes: int, what: str) -> bytes:
        """Return the next bytes."""
        if size_bytes > self.end - self.position:
            raise self.fail(f"truncated: {what} needs {size_bytes} bytes, {self.end - self.position} are left")
        piece = self._data[self.position : self.position + size_bytes]
        self.position += size_bytes
        return piece

    def unpack(self, layout: str, what: str) -> tuple[int, ...]:
        """Return integers by a struct layout without byte order."""
        full = "<" + layout
        return struct.unpack(full, self.take(struct.calcsize(full), what))

    def number(self, layout: str, what: str) -> int:
        """Return one integer."""
        return self.unpack(layout, what)[0]

    def zeros(self, count: int, what: str) -> None:
        """Take padding."""
        at = self.position
        if any(self.take(count, what)):
            raise self.fail(f"{what}: padding is not zero", at)

    def flag(self, what: str) -> bool:
        """Return a bool: 0 or 1."""
        at, value = self.position, self.number("B", what)
        if value > 1:
            raise self.fail(f"{what} is {value}, neither 0 nor 1", at)
        return value == 1

    def member(self, kind: type[E], what: str) -> E:
        """Return a member of an enum stored in one byte."""
        at, value = self.position, self.number("B", what)
        try:
            return kind(value)
        except ValueError:
            raise self.fail(f"{what} {value} is not known", at) from None

    def bits(self, what: str) -> float:
        """Return a float; of the NaNs only the canonical one is allowed."""
        at, bits = self.position, self.number("Q", what)
        value = float_from_bits(bits)
        if value != value and bits != NAN_BITS:
            raise self.fail(f"{what}: NaN with bits 0x{bits:016X}, only 0x{NAN_BITS:016X} is allowed", at)
        return value

    def text(self, what: str, layout: str = "H") -> str:
        """Return a text with its length in front: a u16, or for a `str` a byte (`B`)."""
        return self.utf8(self.number(layout, what), what)

    def utf8(self, size_bytes: int, what: str) -> str:
        """Return a text of so many bytes."""
        at, raw = self.position, self.take(size_bytes, what)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            raise self.fail(f"{what} is not valid UTF-8", at) from None

    def name(self, what: str) -> str:
        """Return a `str`."""
        return self.text(what, "B")

    def finish(self) -> None:
        """Refuse bytes that are left over."""
        if self.position != self.end:
            raise self.fail(f"{self.end - self.position} bytes are left over")
