"""What goes wrong between a PC and a board, one test for each: the real command says what to do, and nothing is lost.

The board is the real firmware image on a simulated chip, or, where an image cannot show it, the board's own code on this
machine. docs/how-to/when-a-board-does-not-answer.md lists the same cases for users.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from components import lines
from components.boards import F401, PATIENCE, PLAIN_F401, RULE, SIGNER, STRANGER
from components.command import DEADLINE_S, eyeflow
from components.device import Device
from components.rust import damaged_example, rust_example
from components.uart import resample
from eyeflow.board_link.dictionary import DICTIONARIES
from eyeflow.board_link.frames import ANSWER, Receiver
from eyeflow.board_link.messages import Code, Fields, Request, push_begin
from eyeflow.board_link.port import Board, Status
from eyeflow.board_link.session import Ask
from eyeflow.compiler.compile import CompileOptions, compile_rule
from eyeflow.svm.container import attach_signatures, decode, encode
from eyeflow.svm.opcodes import ABI
from eyeflow.svm.program import Profile
from eyeflow.svm.signing import sign_program

DICTIONARY = max(DICTIONARIES)
PROBLEMS, USAGE, ENVIRONMENT = 1, 2, 3
"""The machine that runs the tests may be busy: the board is not to blame."""

NOISE_BYTES, IMAGE_NOISE_BYTES = 1_000_000, 50_000


def status(url: str) -> Status:
    with Board(url, patience=PATIENCE) as board:
        return board.status()


def ids(url: str) -> list[str]:
    return [program.program_id for program in status(url).programs]


def assert_it_still_runs(url: str, data: bytes) -> None:
    """The program is on the board, alone, and is executed."""
    before = status(url)
    deadline_s = time.monotonic() + DEADLINE_S
    while (after := status(url)).counters[0].executions <= before.counters[0].executions:
        assert time.monotonic() < deadline_s, "it is executed no more"
    assert [program.program_id for program in after.programs] == [decode(data).program_id]
    assert after.counters[0].running


GOOD = F401.program()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A board that runs GOOD; each test leaves it so."""
    chip = PLAIN_F401.start()
    try:
        with F401.served(chip) as url:
            with Board(url, patience=PATIENCE) as board:
                board.push(GOOD)
            yield url
    finally:
        chip.close()


def compiled(source: str, *, chip: str = "STM32F401CC", profile: Profile = Profile.MCU) -> bytes:
    """Return a rule unsigned, and without the checks against the limits of a chip."""
    result = compile_rule(source, name="rule.eye", options=CompileOptions(profile, chip))
    assert result.program is not None, result.diagnostics
    return encode(result.program)


def signed(source: str, **options: Any) -> bytes:
    return sign_program(compiled(source, **options), SIGNER)


NEWER = RULE.replace('version "1.2.0"', 'version "1.3.0"')


def changed() -> bytes:
    (key, signature), *_ = decode(signed(NEWER)).signatures
    return attach_signatures(
        decode(compiled(NEWER)).signed_bytes, ((key, signature[:9] + bytes([signature[9] ^ 4]) + signature[10:]),)
    )


def too_big() -> bytes:
    said = "\n".join(f'    log.info("{number:03} {"a text that fills the board " * 4}")' for number in range(90))
    return signed(f'rule big {{\n    version "1.0.0"\n    on every 1s\n{said}\n}}\n')


def without_its_pin() -> bytes:
    return signed('rule pump {\n version "1.0.0"\n pin MOTOR: output\n on every 1s\n gpio.set_pin(MOTOR, HIGH)\n}\n')


REFUSED: dict[str, tuple[Callable[[], bytes], str, str]] = {
    "unsigned": (lambda: compiled(NEWER), "unsigned", "--sign"),
    "foreign-signed": (lambda: F401.program("1.3.0", STRANGER), "foreign_signature", "Sign it with that key"),
    "changed after signing": (changed, "bad_signature", "from where it was signed"),
    "older": (lambda: F401.program("1.1.0"), "older_program", "Raise `version`"),
    "another chip": (lambda: signed(NEWER, chip="RP2040"), "wrong_chip", "--target STM32F401CC"),
    "a server's": (lambda: signed(NEWER, chip="", profile=Profile.LINUX), "wrong_chip", "--target STM32F401CC"),
    "too big": (too_big, "program_too_big", "Make the rule smaller"),
    "a pin that is not there": (without_its_pin, "incapable_board", "--board board.toml"),
    "no program": (lambda: b"GIF89a", "bad_program", "eyeflow compile"),
    "empty": (lambda: b"", "bad_program", "eyeflow compile"),
    "cut off": (lambda: F401.program("1.3.0")[:-1], "bad_program", "eyeflow compile"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_program_that_is_refused_leaves_the_old_one_running(url: str, tmp_path: Path, case: str) -> None:
    made, code, next_step = REFUSED[case]
    path = tmp_path / "rule.svm"
    path.write_bytes(made())
    ran = eyeflow("mcu", "push", path, "--port", url)
    assert (ran.code, ran.error["code"]) == (PROBLEMS, code), ran.out
    assert next_step in ran.error["next"]
    assert_it_still_runs(url, GOOD)


def test_the_refusals_name_what_the_user_knows(url: str, tmp_path: Path) -> None:
    said = {}
    for case in ("older", "another chip", "a server's", "a pin that is not there", "too big", "no program"):
        path = tmp_path / "rule.svm"
        path.write_bytes(REFUSED[case][0]())
        said[case] = eyeflow("mcu", "push", path, "--port", url).error["message"]
    assert "1.1.0 is older than 1.2.0" in said["older"]
    assert "for RP2040, this board is STM32F401CC" in said["another chip"]
    assert "profile linux" in said["a server's"]
    assert "pin MOTOR" in said["a pin that is not there"]
    assert re.search(r"`big` has 1\d{4} bytes, the board takes \d{4}$", said["too big"])
    assert "rule.svm" in said["no program"]


def test_a_fifth_program_is_refused_and_the_four_run_on(url: str, tmp_path: Path) -> None:
    def named(name: str) -> Path:
        path = tmp_path / f"{name}.svm"
        path.write_bytes(signed(RULE.replace("rule overheat_relay", f"rule {name}")))
        return path

    others = ["second", "third", "fourth"]
    for name in others:
        assert eyeflow("mcu", "push", named(name), "--port", url).code == 0
    before = ids(url)
    ran = eyeflow("mcu", "push", named("fifth"), "--port", url)
    assert (ran.code, ran.error["code"]) == (PROBLEMS, "fifth_program")
    assert "mcu remove" in ran.error["next"]
    assert ids(url) == before and len(before) == 4
    for name in others:
        assert eyeflow("mcu", "remove", name, "--port", url).code == 0
    assert_it_still_runs(url, GOOD)


@pytest.mark.parametrize("name", ["nobody", "x" * 64, "x" * 300, "näme", ""])
def test_a_rule_that_is_not_on_the_board_cannot_be_removed(url: str, name: str) -> None:
    ran = eyeflow("mcu", "remove", name, "--port", url)
    assert (ran.code, ran.error["code"]) == (PROBLEMS, "unknown_rule")
    assert_it_still_runs(url, GOOD)


def answered(board: Board, ask: Ask) -> Fields:
    """Return the board's answer to a request that the commands never make."""

    def conversation() -> Any:
        return Fields((yield ask))

    fields: Fields = board._converse(conversation())
    return fields


@pytest.mark.parametrize(
    ("abi", "dictionary", "code", "own"),
    [(ABI + 1, DICTIONARY, Code.WRONG_ABI, ABI), (ABI, DICTIONARY + 1, Code.OTHER_DICTIONARY, DICTIONARY)],
)
def test_the_image_refuses_another_abi_and_dictionary(
    url: str, abi: int, dictionary: int, code: Code, own: int
) -> None:
    payload = push_begin("ab" * 32, 1 << 50, 900, (500, 2, dictionary), abi, "overheat_relay")
    with Board(url, patience=PATIENCE) as board:
        fields = answered(board, Ask(Request.PUSH_BEGIN, payload, slow=True))
        assert (fields.code(), fields.number("Q")) == (code, own)
    assert_it_still_runs(url, GOOD)


def test_a_port_that_another_command_has(url: str) -> None:
    with Board(url, patience=PATIENCE) as board:
        assert board.ping(b"mine") >= 0
        ran = eyeflow("mcu", "list", "--port", url)
        assert (ran.code, ran.error["code"]) == (ENVIRONMENT, "port_busy")
        assert "another one has it" in ran.error["cause"]
        assert board.ping(b"still mine") >= 0
    assert_it_still_runs(url, GOOD)


def test_a_port_that_vanishes_in_a_push(url: str, tmp_path: Path) -> None:
    """The old program runs on, and the push goes on where it stopped."""
    path = tmp_path / "rule.svm"
    path.write_bytes(signed(RULE.replace("rule overheat_relay", "rule second")))
    with lines.cut_terminal(url, after_bytes=600) as terminal:
        ran = eyeflow("mcu", "push", path, "--port", terminal)
    assert (ran.code, ran.error["code"]) == (ENVIRONMENT, "port_gone")
    assert "goes on where it stopped" in ran.error["next"]
    assert_it_still_runs(url, GOOD)
    ran = eyeflow("mcu", "push", path, "--port", url)
    assert ran.code == 0 and ran.out["resumedFromBytes"] >= 200
    assert eyeflow("mcu", "remove", "second", "--port", url).code == 0


@pytest.mark.parametrize("baud", [9600, 57600, 230400])
def test_a_wrong_baud_rate(url: str, baud: int) -> None:
    def to_board(data: bytes) -> bytes:
        return resample(data, baud, 115200)

    def to_host(data: bytes) -> bytes:
        return resample(data, 115200, baud)

    with lines.changed_line(url, to_board, to_host) as line:
        ran = eyeflow("mcu", "status", "--port", line, "--baud", str(baud))
    assert ran.code == ENVIRONMENT and ran.error["code"] in {"board_silent", "line_garbled"}
    assert f"{baud} baud" in ran.error["cause"] and "--baud" in ran.error["next"]
    assert_it_still_runs(url, GOOD)


def test_the_right_baud_rate_on_the_same_line(url: str) -> None:
    """The control of the one before, and a clock that is off by 2 % does no harm."""

    def off(data: bytes) -> bytes:
        return resample(data, 115200, 117500)

    with lines.changed_line(url, off, off) as line:
        assert eyeflow("mcu", "status", "--port", line).code == 0


def test_noise_on_the_line_of_the_image(url: str) -> None:
    assert len(lines.shout(url, IMAGE_NOISE_BYTES, seed=3)) == 1
    assert_it_still_runs(url, GOOD)
    assert status(url).health.frames_bad > 100


def test_a_board_without_power() -> None:
    chip = PLAIN_F401.start()
    chip.power_cut()
    try:
        with F401.served(chip) as url:
            ran = eyeflow("mcu", "status", "--port", url)
        assert (ran.code, ran.error["code"]) == (ENVIRONMENT, "board_silent")
        assert "has power" in ran.error["next"]
    finally:
        chip.close()


def damaged(file: str, old: str, new: str) -> Path:
    """Return the board's own code on this machine, built with one change."""
    return damaged_example("eyeflow-link", "device", file, old, new)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[Path], str]]:
    """Start a board's code and return its address."""
    started: list[Device] = []

    def begin(binary: Path) -> str:
        device = Device(binary, tmp_path / "flash.img")
        device.start()
        started.append(device)
        return device.url

    yield begin
    for device in started:
        device.stop()


def test_a_million_bytes_of_noise(start: Callable[[Path], str]) -> None:
    url = start(rust_example("eyeflow-link", "device"))
    with Board(url, patience=PATIENCE) as board:
        board.push(GOOD)
    assert len(lines.shout(url, NOISE_BYTES, seed=1)) == 1
    assert ids(url) == [decode(GOOD).program_id]


def test_without_the_check_of_frames_noise_is_answered(start: Callable[[Path], str]) -> None:
    """The control of the two tests with noise: the same bytes, and a board whose CRC check is broken."""
    good = "(crc32(content) == u32::from_le_bytes(*crc)).then_some"
    url = start(damaged("link/src/frame.rs", good, "(crc32(content) | 1 != u32::from(crc[0]) & 0).then_some"))
    assert len(lines.shout(url, NOISE_BYTES, seed=1)) > 1


def test_firmware_with_another_dictionary_gets_its_programs_without(
    tmp_path: Path, start: Callable[[Path], str]
) -> None:
    version = "DICTIONARY_VERSION: u16 = {}"
    url = start(damaged("link/src/dictionary.rs", version.format(DICTIONARY), version.format(DICTIONARY + 9)))
    path = tmp_path / "rule.svm"
    path.write_bytes(GOOD)
    ran = eyeflow("mcu", "push", path, "--port", url)
    assert ran.code == 0 and ran.out["encoding"] in {"raw", "compressed"}
    assert ids(url) == [decode(GOOD).program_id]


def test_firmware_with_another_abi(tmp_path: Path, start: Callable[[Path], str]) -> None:
    version = "ABI: u8 = {}"
    url = start(damaged("svm/src/isa.rs", version.format(ABI), version.format(ABI + 1)))
    path = tmp_path / "rule.svm"
    path.write_bytes(GOOD)
    ran = eyeflow("mcu", "push", path, "--port", url)
    assert (ran.code, ran.error["code"]) == (PROBLEMS, "wrong_abi")
    assert f"ABI {ABI}" in ran.error["message"] and f"ABI {ABI + 1}" in ran.error["message"]
    assert "mcu build" in ran.error["next"]


def test_an_answer_that_is_lost_makes_no_failure_of_a_removal(start: Callable[[Path], str]) -> None:
    """The request is sent again, and the rule is gone by then: that is what was asked for."""
    url, silent = start(rust_example("eyeflow-link", "device")), [1]
    with Board(url, patience=PATIENCE) as board:
        board.push(GOOD)

    def once(data: bytes) -> bytes:
        removed = any(frame.kind == Request.REMOVE | ANSWER for frame in Receiver().feed(data))
        return b"" if removed and silent and silent.pop() else data

    with lines.changed_line(url, bytes, once) as line, Board(line, patience=PATIENCE) as board:
        board.remove("overheat_relay")
        assert board.list() == ()
    assert not silent, "the answer was lost"


def test_a_capability_that_the_chip_lacks_is_found_when_the_rule_is_compiled(tmp_path: Path) -> None:
    rule = tmp_path / "rule.eye"
    rule.write_text('rule r {\n version "1.0.0"\n on every 1s\n dac.write_channel(1, 5)\n}\n')
    ran = eyeflow("compile", rule, "--target", "STM32F401CC", "-o", tmp_path / "r.svm")
    assert ran.code == PROBLEMS and "EF0409" in json.dumps(ran.out) and "STM32F407VG" in json.dumps(ran.out)
    assert not (tmp_path / "r.svm").exists()


@pytest.mark.parametrize(
    ("name", "guess"), [("STM32F401C", "STM32F401CC"), ("stm32f407", "STM32F407VG"), ("RP2O40", "RP2040")]
)
def test_an_unknown_chip(tmp_path: Path, name: str, guess: str) -> None:
    for command in (("build",), ("flash", "x.elf"), ("sim", "x.elf")):
        ran = eyeflow("mcu", *command, "--chip", name)
        assert (ran.code, ran.error["code"]) == (USAGE, "unknown_chip")
        assert guess in ran.error["next"]


PROBE = "The following debug probes were found:\n[0]: STLink V2-1 -- 0483:374b:0669FF50 (ST-LINK)\n"
DOWNLOADS = {
    "wrong_chip": (PROBE, "Error: Connecting to the chip was unsuccessful.\n", "probe-rs info"),
    "chip_locked": (
        PROBE,
        "Error: An operation was not performed because the required permissions were not given: erase_all.\n",
        "--allow-erase-all",
    ),
    "probe_busy": (
        PROBE,
        "Error: Failed to open probe\n\nCaused by:\n    Probe is already in use\n",
        "end that program",
    ),
}


@pytest.mark.parametrize("code", DOWNLOADS)
def test_flashing_that_fails(tmp_path: Path, code: str) -> None:
    """What probe-rs 0.32 says, replayed by a program of its name; `test_probe_rs.py` runs it for real, without a probe."""
    listed, failed, next_step = DOWNLOADS[code]
    probe_rs, elf = tmp_path / "probe-rs", tmp_path / "firmware.elf"
    probe_rs.write_text(
        f"#!{sys.executable}\nimport sys\nif sys.argv[1] == 'list':\n    print({listed!r})\n"
        f"else:\n    sys.exit({failed!r})\n"
    )
    probe_rs.chmod(0o755)
    elf.write_bytes(b"\x7fELF")
    ran = eyeflow("mcu", "flash", elf, "--chip", "STM32F401CC", path=tmp_path)
    assert (ran.code, ran.error["code"]) == (ENVIRONMENT, code), ran.out
    assert next_step in ran.error["next"]
