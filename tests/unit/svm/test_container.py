"""Bytes of a program: messages name byte and section, the id ignores signatures, limits of the fields hold."""

from __future__ import annotations

import hashlib
import random
from dataclasses import replace

import pytest

from eyeflow.base.errors import ExitCode
from eyeflow.svm.container import HEADER_BYTES, PROGRAM_BYTES_MAX, ProgramError, attach_signatures, decode, encode
from eyeflow.svm.program import Program
from generators.programs import random_program

ONE = (b"\x01" * 32, b"\xaa" * 64)
TWO = (b"\x02" * 32, b"\xbb" * 64)


@pytest.fixture
def program() -> Program:
    return random_program(random.Random(11))


def test_header_is_the_one_of_the_page(program: Program) -> None:
    data = encode(program)
    assert data[:4] == b"\x7fSVM"
    assert data[4:8] == bytes([2, 2, program.profile, program.priority])
    assert int.from_bytes(data[8:16], "little") == program.sequence
    assert int.from_bytes(data[16:20], "little") == len(data) - 4
    assert data[HEADER_BYTES : HEADER_BYTES + 5] == b"\x0c\0\0\0\x01"
    assert data[-4:] == bytes(4)


def test_id_is_the_hash_of_the_signed_bytes_whoever_signed(program: Program) -> None:
    plain, signed = decode(encode(program)), decode(encode(program, (TWO, ONE)))
    assert plain.program_id == signed.program_id == hashlib.sha256(plain.signed_bytes).hexdigest()
    assert signed.signatures == (ONE, TWO), "ascending by key, in whatever order they came"
    assert signed.signed_bytes == encode(program)[:-4]


def test_every_field_of_a_program_changes_the_id(program: Program) -> None:
    changed = {
        "version": "9",
        "description": "other",
        "chip": "STM32F401CC",
        "sequence": 5,
        "source_name": "other.eye",
        "source_map": (),
        "rule": "other",
    }
    ids = {decode(encode(replace(program, **{name: value}))).program_id for name, value in changed.items()}
    assert len(ids | {decode(encode(program)).program_id}) == len(changed) + 1


def test_error_names_section_and_byte_and_is_a_problem_of_the_input(program: Program) -> None:
    data = bytearray(encode(program))
    data[HEADER_BYTES + 4] = 7
    with pytest.raises(
        ProgramError, match=r"byte 24 \(header\): section 7 where section 1 \(meta\) must stand"
    ) as caught:
        decode(bytes(data))
    assert caught.value.exit_code is ExitCode.PROBLEMS
    assert caught.value.code == "bad_program"
    assert caught.value.next_step


def test_every_truncation_is_refused(program: Program) -> None:
    data = encode(program, (ONE,))
    for size in range(len(data)):
        with pytest.raises(ProgramError):
            decode(data[:size])


def test_five_signatures_and_huge_files_are_refused(program: Program) -> None:
    five = tuple((bytes([index]) * 32, b"s" * 64) for index in range(5))
    with pytest.raises(ProgramError, match="5 signatures"):
        encode(program, five)
    with pytest.raises(ProgramError, match="more than a program can have"):
        decode(bytes(PROGRAM_BYTES_MAX + 1))
    assert decode(attach_signatures(encode(program)[:-4], five[:4])).signatures == five[:4]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sequence": 2**64}, "does not fit its field"),
        ({"version": "x" * 256}, "does not fit its field"),
        ({"description": "x" * 70_000}, "does not fit its field"),
        ({"version": "\ud800"}, "not valid UTF-8"),
    ],
)
def test_what_no_field_can_hold_is_refused_by_the_encoder(
    program: Program, changes: dict[str, object], reason: str
) -> None:
    with pytest.raises(ProgramError, match=reason):
        encode(replace(program, **changes))  # type: ignore[arg-type]
