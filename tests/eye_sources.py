"""Valid rule files for the tests of the compiler's front: the examples and one that uses every construct."""

from __future__ import annotations

import re
from pathlib import Path

from eyeflow.compiler.hardware import Hardware
from eyeflow.svm.program import Direction

ROOT = Path(__file__).parents[1]
EVERY_CONSTRUCT = (ROOT / "tests" / "unit" / "compiler" / "golden" / "every_construct.eye").read_text(encoding="utf-8")
EXAMPLES = {path.stem: path.read_text(encoding="utf-8") for path in sorted((ROOT / "examples").rglob("*.eye"))}
ALL = {"every_construct": EVERY_CONSTRUCT, **EXAMPLES}

BOARD = Hardware(
    "the board press",
    {"adc": 2, "i2c": 1},
    {"RELAY": Direction.OUTPUT, "DOOR": Direction.INPUT},
    elsewhere={"dac": "STM32F407VG has one"},
)
"""What is wired in examples that compile for a board."""

_BLOCK = re.compile(r"^```(eye[^\n]*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def blocks(markdown: str) -> list[tuple[str, str]]:
    """Return the fenced blocks of a page as (words behind the fence, text)."""
    return [(found[1], found[2]) for found in _BLOCK.finditer(markdown)]
