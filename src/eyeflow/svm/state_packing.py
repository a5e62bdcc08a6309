"""The state of a program as bytes, made by one call of `struct` for each run of slots between two texts.

A node packs the state of a rule after every event that may have changed it: a call for each slot was a large part of
what such an event cost.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from eyeflow.svm.layout import state_slots
from eyeflow.svm.numbers import NAN
from eyeflow.svm.program import MemorySlot, Program, Value, ValueType
from eyeflow.svm.wire import Writer
from eyeflow.svm.wire_types import write_value

STATE_FORMAT = 1
HEAD = struct.Struct("<BqH")
"""Format, time of the last event, number of slots."""
_FORMATS = {ValueType.BOOL: "BB", ValueType.INT: "Bq", ValueType.FLOAT: "Bd"}


class _Run:
    """Slots without texts, which have a length that is known: `pack` makes type and value of each."""

    def __init__(self, slots: Sequence[MemorySlot], start: int) -> None:
        self._start, self._stop = start, start + len(slots)
        self._struct = struct.Struct("<" + "".join(_FORMATS[slot.type] for slot in slots))
        self._typed: list[Value] = [part for slot in slots for part in (int(slot.type), 0)]
        self._floats = [2 * at + 1 for at, slot in enumerate(slots) if slot.type is ValueType.FLOAT]

    def pack(self, state: Sequence[Value]) -> bytes:
        typed = self._typed
        typed[1::2] = state[self._start : self._stop]
        for place in self._floats:
            if typed[place] != typed[place]:
                typed[place] = NAN  # every NaN leaves the SVM as the one NaN
        return self._struct.pack(*typed)


class _Text:
    """One slot with a text."""

    def __init__(self, slot: MemorySlot, start: int) -> None:
        self._slot, self._start = slot, start

    def pack(self, state: Sequence[Value]) -> bytes:
        out = Writer()
        out.pack("B", self._slot.type)
        write_value(out, self._slot, state[self._start])
        return bytes(out.buffer)


class StatePacker:
    """Packs the state of one program; for one thread at a time."""

    def __init__(self, program: Program) -> None:
        slots = state_slots(program)
        self._count = len(slots)
        self._parts: list[_Run | _Text] = []
        start = 0
        for at, slot in enumerate((*slots, MemorySlot(ValueType.TEXT))):
            if slot.type is ValueType.TEXT:
                if start < at:
                    self._parts.append(_Run(slots[start:at], start))
                if at < len(slots):
                    self._parts.append(_Text(slot, at))
                start = at + 1

    def pack(self, last_time_us: int, state: Sequence[Value]) -> bytes:
        """Return clock and state in their one encoding: format, time, count, then type and value of each slot."""
        head = HEAD.pack(STATE_FORMAT, last_time_us, self._count)
        return head + b"".join([part.pack(state) for part in self._parts])
