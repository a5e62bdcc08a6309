"""Flashing against recorded output of probe-rs 0.32; `tests/embassy/test_probe_rs.py` runs the real program."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.mcu import flash
from eyeflow.mcu.chips import Chip, find_chip

CHIP = find_chip("STM32F401CC")
ONE = "The following debug probes were found:\n[0]: STLink V2-1 -- 0483:374b:0669FF50 (ST-LINK)\n"
TWO = ONE + "[1]: J-Link -- 1366:0101:000683 (J-Link)\n"

FAKE = """#!{python}
import json, sys
from pathlib import Path
here = Path(__file__).parent
with (here / "calls").open("a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
answers = json.loads((here / "answers.json").read_text())
text, code = answers.get(sys.argv[1], ["", 0])
sys.stderr.write("\\x1b[33m WARN\\x1b[0m probe_rs::probe::ftdi: error listing FTDI devices\\n")
(sys.stderr if code else sys.stdout).write(text)
sys.exit(code)
"""


def flash_firmware(elf: Path, chip: Chip, *, probe: str | None = None, program: Path | None = None) -> flash.Flashed:
    return flash.write(flash.prepare(elf, chip, probe=probe, program=program), chip)


@pytest.fixture
def elf(tmp_path: Path) -> Path:
    path = tmp_path / "firmware.elf"
    path.write_bytes(b"\x7fELF")
    return path


def fake(directory: Path, **answers: tuple[str, int]) -> Path:
    program = directory / "probe-rs"
    program.write_text(FAKE.format(python=sys.executable))
    program.chmod(0o755)
    (directory / "answers.json").write_text(json.dumps(answers))
    return program


def calls(directory: Path) -> list[list[str]]:
    return [json.loads(line) for line in (directory / "calls").read_text().splitlines()]


def test_flash_downloads_verifies_and_resets(tmp_path: Path, elf: Path) -> None:
    done = flash_firmware(elf, CHIP, program=fake(tmp_path, list=(ONE, 0)))
    assert done.probe == flash.Probe("STLink V2-1", "0483:374b:0669FF50")
    listed, download, reset = calls(tmp_path)
    assert listed == ["list"]
    assert download == [
        "download", "--chip", "STM32F401CCUx", "--probe", "0483:374b:0669FF50",
        "--non-interactive", "--disable-progressbars", "--verify", str(elf),
    ]  # fmt: skip
    assert reset[0] == "reset"
    assert not any("--allow-erase-all" in call for call in calls(tmp_path))


@pytest.mark.parametrize("failure", flash.FAILURES, ids=lambda failure: failure.text)
def test_each_known_failure_has_cause_and_next_step(tmp_path: Path, elf: Path, failure: flash.Failure) -> None:
    said = f"Error: The flashing procedure failed for '{elf}'.\n\nCaused by:\n    0: {failure.text}.\n    1: deeper\n"
    program = fake(tmp_path, list=(ONE, 0), download=(said, 1))
    with pytest.raises(EyeflowError) as caught:
        flash_firmware(elf, CHIP, program=program)
    assert caught.value.code == failure.code
    assert caught.value.message == failure.message
    assert caught.value.cause
    assert caught.value.next_step
    assert "--chip CHIP" not in caught.value.next_step
    assert len(calls(tmp_path)) == 2, "no reset after a failed download"


RECORDED = [
    ("Error: No connected probes were found.\n", 1, "no_probe"),
    ("Error: Failed to open probe\n\nCaused by:\n    Probe not found\n", 1, "probe_gone"),
    ("Error: Probe is already in use\n", 1, "probe_busy"),
    ("Error: The chip 'nRF52840_zz' was not found in the database.\n", 1, "probe_rs_chip"),
    ("Error: Connecting to the chip was unsuccessful.\n\nCaused by:\n    0: An ARM specific error occurred.\n"
     "    1: Target device did not respond to request.\n", 1, "no_target"),
    ("Error: Connecting to the chip was unsuccessful.\n\nCaused by:\n    An operation was not performed because the required "
     "permissions were not given: erase_all.\n", 1, "chip_locked"),
    ("error: invalid value 'x' for '--probe <PROBE>': The format of the selector is invalid. Please use\n", 2, "probe_selector"),
    ("Verification failed: contents do not match\n", 0, "verify"),
]  # fmt: skip


@pytest.mark.parametrize(("said", "code", "expected"), RECORDED)
def test_recorded_output_maps_to_its_code(tmp_path: Path, elf: Path, said: str, code: int, expected: str) -> None:
    program = fake(tmp_path, list=(ONE, 0), download=(said, code))
    with pytest.raises(EyeflowError) as caught:
        flash_firmware(elf, CHIP, program=program)
    assert caught.value.code == expected


def test_an_unknown_failure_shows_the_last_lines_without_colours(tmp_path: Path, elf: Path) -> None:
    program = fake(tmp_path, list=(ONE, 0), download=("Error: \x1b[31mthe moon is full\x1b[0m\n", 1))
    with pytest.raises(EyeflowError, match="could not flash") as caught:
        flash_firmware(elf, CHIP, program=program)
    assert "Error: the moon is full" in caught.value.cause
    assert "\x1b" not in caught.value.cause


def test_a_locked_chip_is_never_erased_but_the_command_is_named(tmp_path: Path, elf: Path) -> None:
    said = "Error: An operation was not performed because the required permissions were not given: erase_all.\n"
    with pytest.raises(EyeflowError) as caught:
        flash_firmware(elf, find_chip("nRF52840"), program=fake(tmp_path, list=(ONE, 0), download=(said, 1)))
    assert "probe-rs erase --chip nRF52840_xxAA --allow-erase-all" in caught.value.next_step
    assert [call[0] for call in calls(tmp_path)] == ["list", "download"]


def test_two_probes_need_a_choice(tmp_path: Path, elf: Path) -> None:
    program = fake(tmp_path, list=(TWO, 0))
    with pytest.raises(EyeflowError) as caught:
        flash_firmware(elf, CHIP, program=program)
    assert caught.value.exit_code is ExitCode.USAGE
    assert "1366:0101:000683" in caught.value.cause
    assert flash_firmware(elf, CHIP, probe="1366:0101", program=program).probe.name == "J-Link"
    with pytest.raises(EyeflowError, match="not plugged in"):
        flash_firmware(elf, CHIP, probe="1366:9999", program=program)


def test_a_prefix_of_two_probes_is_no_choice() -> None:
    probes = [flash.Probe("a", "0483:3748:1"), flash.Probe("b", "0483:3748:2")]
    with pytest.raises(EyeflowError, match="the name of 2 probes"):
        flash.choose_probe(probes, "0483:3748")
    assert flash.choose_probe(probes, "0483:3748:2").name == "b"


def test_an_inaccessible_probe_is_listed_as_such(tmp_path: Path) -> None:
    program = fake(tmp_path, list=(ONE.replace("(ST-LINK)", "(ST-LINK) (inaccessible)"), 0))
    (probe,) = flash.list_probes(program)
    assert not probe.is_accessible
    assert "no permission" in probe.describe()


def test_dry_run_needs_neither_probe_rs_nor_a_probe(elf: Path) -> None:
    download, reset = flash.dry_run(elf, find_chip("RP2040"))
    assert download.startswith("probe-rs download --chip RP2040 --probe VID:PID:SERIAL --non-interactive")
    assert "--verify" in download
    assert reset.startswith("probe-rs reset --chip RP2040")


def test_absent_probe_rs_says_how_to_get_it(tmp_path: Path, elf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CARGO_HOME", str(tmp_path))
    with pytest.raises(EyeflowError) as caught:
        flash_firmware(elf, CHIP)
    assert caught.value.code == "probe_rs_missing"
    assert "cargo install probe-rs-tools --locked" in caught.value.next_step


@pytest.mark.parametrize(
    ("chip", "told"), [("STM32F401CC", "dfu-util -a 0 -s 0x08000000:leave"), ("RP2040", "BOOTSEL"), ("nRF52840", "")]
)
def test_without_a_probe_the_boot_loader_of_the_chip_is_named(
    tmp_path: Path, elf: Path, monkeypatch: pytest.MonkeyPatch, chip: str, told: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CARGO_HOME", str(tmp_path))
    with pytest.raises(EyeflowError) as caught:
        flash_firmware(elf, find_chip(chip))
    assert told in caught.value.next_step
    assert ("without a probe" in caught.value.next_step) == bool(told)


def test_missing_firmware_says_to_build(tmp_path: Path) -> None:
    with pytest.raises(EyeflowError, match="there is no firmware") as caught:
        flash_firmware(tmp_path / "none.elf", CHIP)
    assert "eyeflow mcu build --chip STM32F401CC" in caught.value.next_step
