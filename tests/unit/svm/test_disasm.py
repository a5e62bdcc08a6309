"""The listing of a program: names instead of numbers, source lines in between, every program listable."""

from __future__ import annotations

import random
import sys
from dataclasses import replace
from pathlib import Path

from eyeflow.svm import program as p
from eyeflow.svm.disasm import disassemble, instructions
from eyeflow.svm.opcodes import Op, TimerKind
from generators.programs import random_program

CONFORMANCE = str(Path(__file__).parents[2] / "conformance")
if CONFORMANCE not in sys.path:
    sys.path.insert(0, CONFORMANCE)

from assembler import LETTERS, Handler, assemble, list_of  # noqa: E402

LISTING = """\
on event "e0":
   3 | let x = first
      0  LOAD          1         ; e0.f0
      1  LOAD          0         ; p0
      2  ADD_I
   4 | rest
      3  STORE         2         ; s0
      4  PUSH_INT      -1
      5  LOAD_AT       0         ; s1[], length in len(s1)
      6  CALL_ACTION   0         ; log.info(x)
      7  CONST         0         ; "ä\\""
      8  POP
      9  PUSH_BOOL     1
     10  PUSH_INT      5
     11  EVAL          0         ; HOLD
     12  BRANCH        13        ; to 13
     13  LOAD          7         ; local 0
     14  TEXT_F        255
     15  POP
     16  RETURN"""


def listed() -> p.Program:
    code = [(Op.LOAD, 1), (Op.LOAD, 0), (Op.ADD_I,), (Op.STORE, 2), (Op.PUSH_INT, -1), (Op.LOAD_AT, 0), (Op.CALL_ACTION, 0),
            (Op.CONST, 0), (Op.POP,), (Op.PUSH_BOOL, 1), (Op.PUSH_INT, 5), (Op.EVAL, 0), (Op.BRANCH, 13), (Op.LOAD, 7),
            (Op.TEXT_F, 255), (Op.POP,), (Op.RETURN,)]  # fmt: skip
    site = p.Site(p.SiteKind.ACT, "log.info", (("x", LETTERS["I"]),))
    program = assemble([Handler("I", code)], params="I", state=["I", list_of("I", 2)], local="F", constants=['ä"'], sites=[site],
                       timers=[(TimerKind.HOLD, 0)])  # fmt: skip
    return replace(program, source_map=(p.SourcePosition(0, 3, 1), p.SourcePosition(3, 4, 1)))


def test_listing_names_everything_and_shows_the_source() -> None:
    text = "\n".join(disassemble(listed(), ["rule", "", "  let x = first", "  rest"]))
    assert text == LISTING


def test_listing_without_source_has_only_instructions() -> None:
    program = listed()
    lines = disassemble(program)
    assert len(lines) == 1 + len(program.code)
    assert [each.line for each in instructions(program)][2:4] == [3, 4]


def test_code_that_does_not_verify_can_be_listed_too() -> None:
    program = listed()
    wild = tuple(p.Instruction(opcode, 255, 65535) for opcode in range(256))
    assert len(instructions(replace(program, code=wild))) == 256
    assert any("opcode 0xEE" in line for line in disassemble(replace(program, code=wild)))


def test_generated_programs_are_listable() -> None:
    for seed in range(100):
        program = random_program(random.Random(seed))
        assert len(disassemble(program, ["x"] * 5)) >= len(program.code)
