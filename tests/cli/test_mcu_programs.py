"""What was pushed is kept, so that `mcu status` and `mcu log` can say where in a rule something happened."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from eyeflow.base.errors import EyeflowError
from eyeflow.board_link.records import BoardExecution
from eyeflow.cli import mcu_board, mcu_log, mcu_programs
from eyeflow.compiler.compile import compile_rule
from eyeflow.mcu.board import parse_board
from eyeflow.svm.container import decode, encode
from eyeflow.svm.opcodes import Trap

BOARDS = Path(__file__).parents[2] / "examples" / "boards"
RULE = """rule divide {
    version "1.0.0"

    state divisor: int = 0
    state quotient: int = 0

    on every 1s

    quotient = 10 / divisor
}
"""
DIVISION_LINE = 9


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "eyeflow" / "pushed"


def program() -> tuple[bytes, str, int]:
    """Return a program, its id, and the instruction that stems from its last line."""
    result = compile_rule(RULE, name="divide.eye")
    assert result.program is not None
    data = encode(result.program)
    pc = next(place.pc for place in result.program.source_map if place.line == DIVISION_LINE)
    return data, decode(data).program_id, pc


def execution(program_key: str, **facts: object) -> BoardExecution:
    known: dict[str, object] = {
        "place": 0, "outcome": "ok", "trap": 0, "pc": 0, "trigger": 0, "fuel": 9, "time_us": 1_500_000,
        "program_key": program_key, "actions": (1).to_bytes(4, "little"),
    }  # fmt: skip
    return BoardExecution(**(known | facts))  # type: ignore[arg-type]


def test_an_instruction_of_a_pushed_program_has_a_line() -> None:
    data, program_id, pc = program()
    assert mcu_programs.where(program_id, pc) == f"instruction {pc}", "nothing was pushed yet"
    mcu_programs.remember(data, program_id)
    assert mcu_programs.where(program_id, pc) == f"line {DIVISION_LINE} of divide.eye"
    assert mcu_programs.where(program_id[:16], pc) == f"line {DIVISION_LINE} of divide.eye", "as a record names it"


def test_a_damaged_or_unwritable_cache_costs_only_the_line(cache: Path) -> None:
    data, program_id, pc = program()
    mcu_programs.remember(data, program_id)
    next(cache.glob("*.svm")).write_bytes(b"damaged")
    assert mcu_programs.where(program_id, pc) == f"instruction {pc}"
    for path in cache.glob("*"):
        path.unlink()
    cache.rmdir()
    cache.write_text("a file where the folder should be")
    mcu_programs.remember(data, program_id)
    assert mcu_programs.where(program_id, pc) == f"instruction {pc}"


def test_the_oldest_programs_make_room(cache: Path) -> None:
    data, program_id, _pc = program()
    mcu_programs.remember(data, program_id)
    os.utime(cache / f"{program_id}.svm", (1, 1))
    for number in range(mcu_programs.KEPT_MAX):
        (cache / f"{number:064x}.svm").write_bytes(b"")
    mcu_programs.remember(data, "f" * 64)
    assert not (cache / f"{program_id}.svm").exists()
    assert len(list(cache.glob("*.svm"))) == mcu_programs.KEPT_MAX


def test_a_record_is_shown_with_rule_trap_line_and_outputs() -> None:
    data, program_id, pc = program()
    mcu_programs.remember(data, program_id)
    rules = {program_id[:16]: "divide"}
    board = parse_board((BOARDS / "stm32f401cc.toml").read_text())
    trapped = execution(program_id[:16], outcome="trapped", trap=int(Trap.DIV_BY_ZERO), pc=pc)
    shown = mcu_log._record_line(7, trapped, rules, mcu_log._outputs(board))
    assert shown == "     7         1.500 s  divide  trapped: DIV_BY_ZERO at line 9 of divide.eye  RELAY HIGH  LED LOW"
    stranger = execution("ab" * 8, time_us=1_790_000_000_000_000, trap=250, actions=bytes(4) + b"\x01")
    shown = mcu_log._record_line(8, stranger, rules, [])
    assert shown == f"     8  2026-09-21T14:13:20.000Z  program {'ab' * 8}  ok: trap 250 at instruction 0"
    kept = execution("ab" * 8, time_us=1_790_000_000_000_000, actions=bytes(5))
    shown = mcu_log._record_line(9, kept, rules, [])
    assert shown == f"     9  about 2026-09-21T14:13:20.000Z  program {'ab' * 8}  ok", "nobody told the time since"


def test_parameters_go_by_their_places_and_types() -> None:
    rule = RULE.replace(
        "    state divisor", "    param a: int = 1\n    param b: float = 2.0 in 0.0..9.0\n\n    state divisor", 1
    )
    result = compile_rule(rule.replace("10 / divisor", "a + int(b)"), name="divide.eye")
    assert result.program is not None, result.diagnostics
    data = encode(result.program)
    assert mcu_board._params(data, ["b=3.5", "a=4"]) == {1: 3.5, 0: 4}
    with pytest.raises(EyeflowError, match="no parameter c"):
        mcu_board._params(data, ["c=1"])
    with pytest.raises(EyeflowError, match="a"):
        mcu_board._params(data, ["a=high"])
