"""Write docs/chips/*.md from the chip table; `--check` fails when a page is stale."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any

from eyeflow.mcu.chips import ANY, Chip, Peripherals, chips

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "chips"
TABLE = ROOT / "src" / "eyeflow" / "mcu" / "chips.toml"


def page(chip: Chip, raw: dict[str, Any], simulated: bool) -> str:
    """Return the page of a chip; `raw` is its entry in the table, for the ranges of pins as they are written there."""
    board = f"{chip.name.lower()}.toml"
    where = (
        f"It can be [simulated](../how-to/run-without-a-board.md): `eyeflow mcu sim --chip {chip.name}`. " * simulated
    )
    parts = [
        f"# {chip.name}",
        "Generated from `src/eyeflow/mcu/chips.toml` by `tools/gen_chips.py`: do not edit.",
        f"{chip.core}, {_kb(chip.flash_bytes)} of flash, {_kb(chip.ram_bytes)} of RAM. {where}Example board: "
        f"[`examples/boards/{board}`](../../examples/boards/{board}); `eyeflow mcu new --chip {chip.name}` writes it, "
        "with your key in it.",
        raw["about"].strip(),
        "## Budget",
        _budget(chip),
        "## Limits of a program",
        _limits(chip),
        "## Pins",
        f"Those that a board file may use: {', '.join(raw['pins'])}.",
        _rows(["peripheral", "pins"], [*_buses(chip.uart), *_buses(chip.i2c), *_buses(chip.spi)]),
        "Analog channels:",
        _rows(["converter", "pins"], _converters(raw)),
        "" if chip.dac else "There is no DAC.",
        "Reserved:" if chip.reserved else "No pin is reserved.",
        "\n".join(f"* {pin}: {reason}" for pin, reason in chip.reserved.items()),
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def _kb(size_bytes: int) -> str:
    return f"{size_bytes // 1024} KB"


def _budget(chip: Chip) -> str:
    memory, area = chip.memory, chip.programs
    text = "Everything included: executor, link, check of signatures, virtual machine, memory of four programs, stack. "
    text += "`eyeflow mcu build` prints what your board takes of it, and fails over it."
    rows = [
        ("flash", f"{memory.flash_bytes:,} bytes from 0x{memory.flash_start:08X}"),
        ("RAM", f"{memory.ram_bytes:,} bytes, {memory.stack_bytes:,} of them stack"),
        ("programs", f"two banks of {_kb(area.bank_bytes)} at 0x{area.a:08X} and 0x{area.b:08X}"),
    ]
    return f"{text}\n\n{_rows(['memory', 'budget'], rows)}"


def _limits(chip: Chip) -> str:
    one = chip.limits
    rows = [
        ("instructions", f"{one.code_words_max:,}"),
        ("fuel of an execution", f"{one.fuel_max:,}"),
        ("slots (inputs, state, variables)", f"{one.slots_max:,}"),
        ("state", f"{one.state_bytes_max:,} bytes"),
        ("text in one execution", f"{one.scratch_bytes_max:,} bytes"),
        ("stack entries", f"{one.stack_max}"),
        ("actions in one execution", f"{one.actions_max}"),
        ("records that wait for the gateway", f"{chip.records_bytes:,} bytes"),
    ]
    text = f"`eyeflow compile --target {chip.name}` checks all of them. A board runs up to four programs "
    text += "at once, each with up to four triggers (`every`, `gpio`); the board checks these when the program arrives."
    return f"{_rows(['what', 'at most'], rows)}\n\n{text}"


def _buses(peripherals: Peripherals) -> list[tuple[str, str]]:
    return [(name, "; ".join(_signal(*one) for one in signals.items())) for name, signals in peripherals.items()]


def _converters(raw: dict[str, Any]) -> list[tuple[str, str]]:
    return [(name, ", ".join(ranges)) for kind in ("adc", "dac") for name, ranges in raw.get(kind, {}).items()]


def _signal(signal: str, pins: tuple[str, ...]) -> str:
    return f"{signal.upper()} {'any pin' if pins == (ANY,) else ', '.join(pins)}"


def _rows(head: list[str], rows: list[tuple[str, str]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|---|---|", *(f"| {name} | {what} |" for name, what in rows)]
    return "\n".join(lines)


def pages() -> dict[Path, str]:
    """Return all pages by their paths."""
    from eyeflow.mcu.sim.start import CHIPS

    raw = tomllib.loads(TABLE.read_text("utf-8"))
    return {PAGES / f"{name.lower()}.md": page(chip, raw[name], name in CHIPS) for name, chip in chips().items()}


def main() -> int:
    """Write or check the pages."""
    wanted = pages()
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text]
    extra = sorted(set(PAGES.glob("*.md")) - set(wanted))
    if "--check" in sys.argv[1:]:
        for path in [*stale, *extra]:
            sys.stderr.write(f"{path.relative_to(ROOT)} is stale: run make golden\n")
        return 1 if stale or extra else 0
    for path in stale:
        path.write_text(wanted[path], "utf-8")
    for path in extra:
        path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
