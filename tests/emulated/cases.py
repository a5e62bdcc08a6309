"""Runs cases of the host runner (embassy/svm/examples/runner.rs) on an emulated core: the same case in, the same result out.

`embassy/emulated/src/conformance/wire.rs` says how a case and its result look in memory.
"""

from __future__ import annotations

import struct
from typing import Any

from emulated.core import HEAP_BASE, RAM_BASE, RAM_SIZE, ROOT, BareCore, Image, Model, build, load

Case = dict[str, Any]
Result = dict[str, Any]

MANIFEST = ROOT / "embassy" / "emulated" / "Cargo.toml"
AREA_BYTES = (RAM_BASE + RAM_SIZE - HEAP_BASE - 64) // 4 & ~7
"""Case, result, words and bytes get as much each."""
OUTCOMES = {"o": "ok", "s": "skipped", "t": "trapped", "p": "pending"}
STAGES = {"d": "decode", "v": "verify", "a": "accepted"}


def conformance_image(model: Model) -> Image:
    """Build what runs cases."""
    return load(build(MANIFEST, "conformance", model))


class CaseRunner:
    """One emulated core that runs cases."""

    def __init__(self, core: BareCore) -> None:
        self.core = core
        self._areas = [HEAP_BASE + 64 + number * AREA_BYTES for number in range(4)]
        words = (AREA_BYTES, AREA_BYTES, AREA_BYTES // 8, AREA_BYTES)
        self._capacities = words

    def result(self, case: Case) -> Result:
        """Return what the SVM makes of a case; raises CoreError when it panics or accesses what is not its own."""
        return read_result(self.run(case))

    def run(self, case: Case) -> bytes:
        """Return the result of a case as bytes."""
        data = write_case(case)
        assert len(data) <= AREA_BYTES
        sizes = (len(data), *self._capacities[1:])
        pairs = [number for pair in zip(self._areas, sizes, strict=True) for number in pair]
        self.core.write(HEAP_BASE, struct.pack("<8I", *pairs))
        self.core.write(self._areas[0], data)
        size = self.core.call("run_case", HEAP_BASE)
        return self.core.read(self._areas[1], size)


def write_case(case: Case) -> bytes:
    """Return a case as bytes."""
    program, steps = bytes.fromhex(case["program"]), case.get("steps", ())
    parts = [struct.pack("<I", len(program)), program, struct.pack("<H", len(steps))]
    if steps:
        parts += [_values(case["params"]), _values(case["start"])]
    for step in steps:
        parts.append(struct.pack("<Hqq", step["trigger"], step["time_us"], step["utc_offset_us"]))
        parts += [_values(step["inputs"]), _values(step["answers"])]
    return b"".join(parts)


def _values(texts: list[str | None]) -> bytes:
    return struct.pack("<H", len(texts)) + b"".join(_value(text) for text in texts)


def _value(text: str | None) -> bytes:
    if text is None:
        return b"x"
    letter, rest = text[0], text[1:]
    if letter == "t":
        data = bytes.fromhex(rest)
        return struct.pack("<cH", b"t", len(data)) + data
    if letter == "f":
        return b"f" + int(rest, 16).to_bytes(8, "little")
    return struct.pack("<cq" if letter == "i" else "<cB", letter.encode(), int(rest))


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def unpack(self, layout: str) -> tuple[Any, ...]:
        values = struct.unpack_from("<" + layout, self.data, self.at)
        self.at += struct.calcsize("<" + layout)
        return values

    def letter(self) -> str:
        return str(self.unpack("c")[0], "ascii")

    def values(self) -> list[str]:
        return [self.value() for _ in range(self.unpack("H")[0])]

    def value(self) -> str:
        letter = self.letter()
        if letter == "t":
            (size,) = self.unpack("H")
            return "t" + self.unpack(f"{size}s")[0].hex()
        if letter == "f":
            return f"f{self.unpack('Q')[0]:016x}"
        return letter + str(self.unpack("q" if letter == "i" else "B")[0])


def read_result(data: bytes) -> Result:
    """Return a result as the host runner writes it; raises struct.error or KeyError for bytes that are none."""
    reader = _Reader(data)
    stage = STAGES[reader.letter()]
    if stage != "accepted":
        return {"stage": stage, "why": reader.unpack("B")[0]}
    needs, initial = list(reader.unpack("4I")), reader.values()
    steps = [_step(reader) for _ in range(reader.unpack("H")[0])]
    assert reader.at == len(data), "bytes are left over"
    return {"stage": stage, "needs": needs, "initial": initial, "steps": steps}


def _step(reader: _Reader) -> Result:
    calls: dict[str, list[Any]] = {"?": [], "!": []}
    while (kind := reader.letter()) != "\0":
        calls[kind].append([reader.unpack("H")[0], reader.values()])
    outcome, (trap, pc, fuel) = OUTCOMES[reader.letter()], reader.unpack("BHI")
    return {
        "outcome": outcome,
        "trap": trap,
        "pc": pc,
        "fuel": fuel,
        "actions": calls["!"],
        "state": reader.values(),
        "asked": calls["?"],
    }
