"""Messages: the recorded conversation with the board's own code, and a text for every refusal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from eyeflow.base.errors import ExitCode
from eyeflow.board_link.messages import (
    CallPiece,
    Code,
    Counters,
    Fields,
    Health,
    Hello,
    Installed,
    LogLine,
    MalformedAnswerError,
    Request,
    Reset,
    Telemetry,
    Unasked,
    read_unasked,
)
from eyeflow.board_link.refusals import REASONS, refusal

STEPS = json.loads((Path(__file__).parents[2] / "vectors/serial_link/session.json").read_text("utf-8"))["steps"]
REPOSITORY = Path(__file__).parents[3]


def answer(name: str) -> Fields:
    step = next(step for step in STEPS if step["name"] == name)
    fields = Fields(bytes.fromhex(step["answer"]))
    assert fields.code() == Code.OK
    return fields


HELLO = Hello(
    protocol=1, dictionary=2, places=4, program_bytes_max=7320, abi=1, keyed_mac=False, delegates_llm=True,
    device="0102030405060708", key="a0a1a2a3a4a5a6a7", boot=99, chip="STM32F401CC", firmware="0.1.0",
)  # fmt: skip


def test_hello() -> None:
    assert Hello.read(answer("hello")) == HELLO


def test_a_program_in_its_place() -> None:
    found = Installed.read(1, answer("the fan in place 1"))
    assert (found.rule, found.version, found.sequence, found.size_bytes) == ("fan", "1.2.0", 1, 212)
    assert (found.good, found.has_previous) == (False, False)
    assert len(found.program_id) == 64


def test_counters_and_health() -> None:
    assert Counters.read(answer("counters of place 1")) == Counters(True, 1, 258, 100_000, 3, 2, 1, 93)
    health = Health.read(answer("health"))
    assert (health.ram_bytes, health.scan_us_max, health.uptime_ms, health.generation) == (65536, 120, 1500, 1)
    assert 0 < health.flash_used_bytes < health.flash_bytes
    assert (health.reset_cause, health.stack_bytes, health.stack_used_bytes) == (Reset.WATCHDOG, 4096, 1800)


def test_the_shorter_answer_of_older_firmware_is_read_and_an_unknown_reset_is_told_so() -> None:
    raw = answer("health").payload[1:]
    old = Health.read(Fields(raw[:44]))
    assert (old.uptime_ms, old.reset_cause, old.stack_bytes, old.stack_used_bytes) == (1500, Reset.UNKNOWN, 0, 0)
    newer = Health.read(Fields(raw[:44] + b"\x99" + raw[45:]))
    assert (newer.reset_cause, newer.stack_used_bytes) == (Reset.UNKNOWN, 1800)
    with pytest.raises(MalformedAnswerError):
        Health.read(Fields(raw[:47]))


def test_a_staged_program_and_the_one_before() -> None:
    running, staged = (Installed.read(0, answer(name)) for name in ("the pump in place 0", "the newer pump waits"))
    assert (running.has_staged, running.sequence, staged.has_staged, staged.sequence) == (False, 3, True, 4)
    before = Installed.read(0, answer("the pump before it"))
    assert before.program_id == running.program_id


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("nothing in place 0", Code.UNKNOWN),
        ("the pump is there already", Code.ALREADY),
        ("data of the pump again", Code.OFFSET),
        ("an unknown parameter", Code.UNKNOWN),
        ("a value out of range", Code.BAD_VALUE),
        ("remove it again", Code.UNKNOWN),
        ("an older pump", Code.OLDER),
        ("data without a transfer", Code.NO_TRANSFER),
        ("end without a transfer", Code.NO_TRANSFER),
        ("a request that nobody knows", Code.NOT_SUPPORTED),
        ("a malformed request", Code.MALFORMED),
    ],
)
def test_codes(name: str, code: Code) -> None:
    step = next(step for step in STEPS if step["name"] == name)
    assert Fields(bytes.fromhex(step["answer"])).code() == code


def test_short_and_unknown_answers_are_malformed() -> None:
    for raw in (b"", b"\xee"):
        with pytest.raises(MalformedAnswerError):
            Fields(raw).code()
    with pytest.raises(MalformedAnswerError):
        Hello.read(Fields(b"\x01\x01\x00"))


@pytest.mark.parametrize(
    ("kind", "payload", "expected"),
    [
        (Unasked.LOG, b"\x02relay \xff", LogLine(2, "relay \ufffd")),
        (
            Unasked.LLM_REQUEST,
            b"\x07\x01\x02\x00\x00\x00\x06\x00\x03\x04hot?",
            CallPiece(Unasked.LLM_REQUEST, 7, 1, 2, 0, 6, b"\x03\x04hot?"),
        ),
        (Unasked.TELEMETRY, b"\x01\x02", Telemetry(b"\x01\x02")),
        (Unasked.LOG, b"", None),
        (Unasked.LLM_REQUEST, b"\x07", None),
        (0xDD, b"x", None),
        (Request.HELLO | 0x80, b"\x00", None),
    ],
)
def test_what_is_said_unasked(kind: int, payload: bytes, expected: object) -> None:
    assert read_unasked(kind, payload) == expected


REFUSALS = [code for code in Code if code not in {Code.OK, Code.ALREADY, Code.WAIT, Code.OFFSET}]


@pytest.mark.parametrize("code", REFUSALS, ids=lambda code: code.name)
def test_every_refusal_says_what_why_and_what_to_do(code: Code) -> None:
    error = refusal(code, HELLO, rule="pump", size=9000, mine="1.1.0", theirs="1.2.0", abi=2, number=3, why=21, at=7)
    assert error.message and error.cause and error.next_step
    assert "{" not in error.message + error.next_step
    assert "?" not in error.message
    assert code.name in error.cause
    assert error.exit_code in {ExitCode.PROBLEMS, ExitCode.ENVIRONMENT}


def test_refusals_have_stable_words_of_their_own() -> None:
    words = [refusal(code, HELLO).code for code in REFUSALS if code not in {Code.MALFORMED, Code.NOT_SUPPORTED}]
    assert len(set(words)) == len(words)


def test_the_numbers_are_those_of_the_firmware() -> None:
    """Codes, requests and the verifier's reasons stand in Rust too; a new one on one side only fails here."""
    source = (REPOSITORY / "embassy/link/src/message.rs").read_text("utf-8")
    for member in (*Code, *Request, *Unasked):
        camel = "".join(word.capitalize() for word in member.name.split("_"))
        assert any(f"{camel} = {form}," in source for form in (f"{member:#04x}", f"0x{member:02X}", f"{member}")), camel
    reasons = (REPOSITORY / "embassy/svm/src/refusal.rs").read_text("utf-8")
    for number in REASONS:
        assert f" = {number}," in reasons


def test_what_a_board_says_does_not_steer_the_terminal() -> None:
    said = read_unasked(Unasked.LOG, b"\x01hot\x1b[2J\x07 \xe2\x80\xae\xc2\x9b1m\nend\xff")
    assert said == LogLine(1, "hot\ufffd[2J\ufffd \ufffd\ufffd1m end\ufffd")
    assert Fields(b"\x05a\x1b[0m").text() == "a\ufffd[0m"
