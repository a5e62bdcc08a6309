"""Flashing with the real probe-rs, where no debug probe is plugged in.

A selector that no probe has makes these tests safe on a desk with probes, too: there the answer is `probe_gone`.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from components.command import eyeflow
from components.probe_rs import probe_rs, run_probe_rs
from eyeflow.base.errors import ExitCode
from eyeflow.mcu import flash
from eyeflow.mcu.chips import chips, find_chip

NOBODY = "ffff:ffff:none"
ABSENT = {"no_probe", "probe_gone"}
REGION = re.compile(r"^(NVM|RAM): 0x([0-9a-f]+)\.\.0x([0-9a-f]+) ", re.MULTILINE)


@pytest.fixture
def elf(tmp_path: Path) -> Path:
    path = tmp_path / "firmware.elf"
    path.write_bytes(b"\x7fELF")
    return path


def test_flashing_without_a_probe(elf: Path) -> None:
    ran = eyeflow("mcu", "flash", elf, "--chip", "STM32F401CC", "--probe", NOBODY, path=probe_rs().parent)
    assert ran.code == ExitCode.ENVIRONMENT and ran.error["code"] in ABSENT, ran.out
    assert "plug" in ran.error["next"] or "--probe" in ran.error["next"]


@pytest.mark.parametrize("chip", chips())
def test_the_commands_of_each_chip_are_understood_up_to_the_missing_probe(elf: Path, chip: str) -> None:
    commands = flash.flash_commands(elf, find_chip(chip), NOBODY)
    assert [command[1] for command in commands] == ["download", "reset"]
    for command in commands:
        done = run_probe_rs(*command[1:])
        assert done.returncode == 1, done.stderr  # 2: it does not know an option
        assert flash.explain_failure(done.stderr).code in ABSENT, done.stderr


def test_control_an_unknown_option_is_told_apart(elf: Path) -> None:
    (download, _) = flash.flash_commands(elf, find_chip("RP2040"), NOBODY)
    assert run_probe_rs(*download[1:], "--no-such-option").returncode == 2


def test_a_selector_of_another_form_is_explained(elf: Path) -> None:
    (download, _) = flash.flash_commands(elf, find_chip("RP2040"), "my-probe")
    done = run_probe_rs(*download[1:])
    assert done.returncode != 0 and flash.explain_failure(done.stderr).code == "probe_selector", done.stderr


@pytest.mark.parametrize("failure", flash.FAILURES, ids=lambda failure: failure.text)
def test_a_known_failure_is_a_text_of_the_program(failure: flash.Failure) -> None:
    assert failure.text.encode() in program_bytes()


def test_control_another_text_is_not() -> None:
    assert b"No debug probe is connected, says nobody" not in program_bytes()


def program_bytes() -> bytes:
    return probe_rs().read_bytes()


@pytest.mark.parametrize("name", chips())
def test_the_memory_of_a_chip_is_that_of_its_target_description(name: str) -> None:
    """What firmware and programs use lies in flash and RAM that probe-rs knows for the chip's name in its database."""
    chip = find_chip(name)
    done = run_probe_rs("chip", "info", chip.probe)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == chip.probe
    memory, programs = chip.memory, chip.programs
    flash_spans = [(memory.flash_start, memory.flash_bytes)]
    flash_spans += [(bank, programs.bank_bytes) for bank in (programs.a, programs.b)]
    assert all(lies_in(done.stdout, "NVM", *span) for span in flash_spans), done.stdout
    assert lies_in(done.stdout, "RAM", memory.ram_start, memory.stack_bytes + memory.data_bytes), done.stdout


def test_control_memory_that_a_chip_has_not_is_found() -> None:
    text = run_probe_rs("chip", "info", find_chip("STM32F401CC").probe).stdout
    assert not lies_in(text, "NVM", 0x0804_0000, 4) and not lies_in(text, "RAM", 0x2000_FFFF, 2)


def lies_in(text: str, kind: str, start: int, size: int) -> bool:
    """Return whether bytes lie in one region of the kind; those that touch are one."""
    spans = sorted((int(first, 16), int(end, 16)) for found, first, end in REGION.findall(text) if found == kind)
    at = start
    for first, end in spans:
        if first <= at < end:
            at = end
    return at >= start + size
