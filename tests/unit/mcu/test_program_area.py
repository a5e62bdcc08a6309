"""The compiler knows how long a program may be on a board: the same numbers as `embassy/slots/tests/store.rs`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from eyeflow.compiler.compile import CompileOptions, compile_rule
from eyeflow.compiler.limits import SIGNATURE_BYTES
from eyeflow.mcu.chips import chips, find_chip
from eyeflow.mcu.program_area import ProgramArea, record_bytes_max
from eyeflow.svm.container import encode
from eyeflow.svm.program import Profile
from eyeflow.svm.signing import sign_program

LINK_PAGE = Path(__file__).resolve().parents[3] / "docs" / "serial-link.md"
TESTED_DATA_BYTES = 1024
SOURCE = """
rule long {
    version "1.0.0"
    on every 1s
    log.info("TEXT")
}
"""


@pytest.mark.parametrize(
    ("bank", "unit", "longest"),
    [(65536, 4, 7320), (131072, 32, 15456), (65536, 256, 6144), (32768, 256, 2048), (32768, 4, 3224)],
)
def test_the_longest_program_is_that_of_the_store(bank: int, unit: int, longest: int) -> None:
    assert ProgramArea(0, bank, bank, bank, bank, unit).program_bytes_max(TESTED_DATA_BYTES) == longest


def test_the_page_has_the_numbers_of_each_chip() -> None:
    text = LINK_PAGE.read_text("utf-8")
    for chip in chips().values():
        area, record = chip.programs, record_bytes_max(chip.limits.state_bytes_max or 0)
        row = f"| {area.bank_bytes // 1024} KB | {area.unit_bytes} | {record:,} bytes | {area.program_bytes_max(record):,} bytes |"
        assert re.search(rf"(?m)^\| .*{chip.name}.*{re.escape(row)}$", text), (chip.name, row)


def test_a_program_that_no_bank_takes_is_refused_when_it_is_compiled() -> None:
    chip = find_chip("RP2040")
    options = CompileOptions(Profile.MCU, chip.name, chip.limits)
    lines = "\n    ".join(f'log.info("{number} {"x" * 60}")' for number in range(9))
    result = compile_rule(SOURCE.replace('log.info("TEXT")', lines), name="long.eye", options=options)
    assert result.program is not None
    lines = "\n    ".join(f'if temp > {number}.0 {{ hot = "{number} {"x" * 240}" }}' for number in range(28))
    long = SOURCE.replace("    on every", '    state hot: text(250) = ""\n    on every')
    long = long.replace('log.info("TEXT")', "let temp = adc.read_channel(0)\n    " + lines)
    result = compile_rule(long, name="long.eye", options=options)
    assert result.program is None
    assert "RP2040 allows 6144 bytes of a signed program" in result.diagnostics[0].message


def test_a_signature_takes_what_is_reserved_for_it() -> None:
    result = compile_rule(SOURCE, name="long.eye")
    assert result.program is not None
    data = encode(result.program)
    assert len(sign_program(data, bytes(range(32)))) - len(data) == SIGNATURE_BYTES
