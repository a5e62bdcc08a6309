"""`eyeflow mcu` from the command line: what needs neither a board nor a build."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from components.waiting import wait_until

from .conftest import DEADLINE_S, Command

PROBLEMS, USAGE, ENVIRONMENT = 1, 2, 3
CHIPS = ["STM32F401CC", "STM32F407VG", "STM32H743ZI", "nRF52840", "RP2040"]


def test_the_chips_are_listed(eyeflow: Command) -> None:
    assert [chip["name"] for chip in eyeflow("mcu", "chips", "--json").json] == CHIPS
    assert all(name in eyeflow("mcu", "chips").out for name in CHIPS)


@pytest.mark.parametrize("chip", CHIPS)
def test_a_new_board_file_is_right_as_it_is(eyeflow: Command, tmp_path: Path, chip: str) -> None:
    board = tmp_path / "board.toml"
    assert eyeflow("mcu", "new", "--chip", chip, "--out", board).code == 0
    assert eyeflow("mcu", "new", "--chip", chip, "--out", board).code == USAGE
    planned = eyeflow("mcu", "flash", "--board", board, "--dry-run", "--json")
    assert planned.code == 0 and "download" in planned.json["commands"][0]
    assert "--allow-erase-all" not in planned.out


def test_an_unknown_chip_has_a_near_name(eyeflow: Command) -> None:
    ran = eyeflow("mcu", "build", "--chip", "STM32F401CD")
    assert ran.code == USAGE and "did you mean STM32F401CC" in ran.err


def test_a_board_file_with_conflicts_says_all_of_them(eyeflow: Command, tmp_path: Path) -> None:
    board = tmp_path / "board.toml"
    assert eyeflow("mcu", "new", "--chip", "STM32F401CC", "--out", board).code == 0
    board.write_text(board.read_text().replace('pin = "PA5"', 'pin = "PA9"').replace('pin = "PC13"', 'pin = "PZ1"'))
    ran = eyeflow("mcu", "build", "--board", board)
    assert ran.code != 0 and "PA9" in ran.err and "USART1" in ran.err and "PZ1" in ran.err


def test_a_port_that_is_not_there(eyeflow: Command) -> None:
    assert eyeflow("mcu", "status").code == USAGE
    ran = eyeflow("mcu", "status", "--port", "/dev/ttyNOTHING")
    assert ran.code == ENVIRONMENT and "cannot be opened" in ran.err and "try:" in ran.err
    nobody = eyeflow("mcu", "list", "--port", "socket://127.0.0.1:9", "--json")
    assert nobody.code == ENVIRONMENT and nobody.json["error"]["message"]


def test_nothing_was_built_yet(eyeflow: Command) -> None:
    ran = eyeflow("mcu", "size", "--chip", "RP2040")
    assert ran.code == ENVIRONMENT and "eyeflow mcu build" in ran.err


def test_a_new_board_file_trusts_the_users_own_key(eyeflow: Command, tmp_path: Path) -> None:
    warned = eyeflow("mcu", "new", "--chip", "RP2040", "--out", "none.toml")
    assert "warning" in warned.err and "eyeflow keys new" in warned.err
    own = eyeflow("keys", "new", "--json").json["publicKey"]
    other = eyeflow("keys", "new", "ci", "--json").json["publicKey"]
    made = eyeflow("mcu", "new", "--chip", "rp2040", "--json")
    assert made.json == {"board": "board.toml", "chip": "RP2040", "name": "pico", "signers": [own]}
    assert own in (tmp_path / "board.toml").read_text()
    both = eyeflow("mcu", "new", "--chip", "RP2040", "--signer", "ci", "--signer", own, "--force", "--json")
    assert both.json["signers"] == [other, own]
    unknown = eyeflow("mcu", "new", "--chip", "RP2040", "--signer", "nobody", "--force")
    assert unknown.code == PROBLEMS and "nobody" in unknown.err


def test_without_a_board_file_the_chips_are_named(eyeflow: Command) -> None:
    for command in ("build", "flash", "size", "sim"):
        ran = eyeflow("mcu", command)
        assert ran.code == USAGE and "mcu new --chip" in ran.err and "RP2040" in ran.err
    assert "RP2040" in eyeflow("mcu", "new").err


def test_each_board_has_a_project_of_its_own(eyeflow: Command) -> None:
    eyeflow("mcu", "new", "--chip", "RP2040", "--out", "cellar.toml")
    eyeflow("mcu", "new", "--chip", "STM32F401CC")
    shown = [
        eyeflow("mcu", "flash", "--dry-run", "--json", *more).json["commands"][0].split()[-1]
        for more in ((), ("--board", "cellar.toml"), ("--chip", "nRF52840"), ("--out", "there"))
    ]
    assert shown == [
        f"{folder}/firmware.elf" for folder in ("firmware", "firmware-cellar", "firmware-nrf52840", "there")
    ]


def test_commands_for_a_board_that_was_not_built_name_the_very_build(eyeflow: Command) -> None:
    eyeflow("mcu", "new", "--chip", "RP2040", "--out", "cellar.toml")
    ran = eyeflow("mcu", "sim", "--board", "cellar.toml", "--json")
    assert ran.code == ENVIRONMENT and ran.json["error"]["next"] == "eyeflow mcu build --board cellar.toml"


def test_a_recording_for_a_channel_that_the_board_lacks(eyeflow: Command, tmp_path: Path) -> None:
    eyeflow("mcu", "new", "--chip", "STM32F401CC")
    (tmp_path / "r.csv").write_text("time,channel,value\n0,7,1\n")
    ran = eyeflow("mcu", "sim", "--adc", "r.csv")
    assert ran.code == PROBLEMS and "channel 7" in ran.err and "has 2" in ran.err


def fake_rust(root: Path) -> Path:
    """A Rust with a target, whose cargo notes its process and then compiles for ever; returns the note."""
    note, programs = root / "cargo.pid", root / "bin"
    (root / "lib/rustlib/thumbv7em-none-eabihf/lib").mkdir(parents=True)
    (root / "lib/rustlib/thumbv7em-none-eabihf/lib/libcore-1.rlib").touch()
    programs.mkdir()
    about = "release: 1.96.0\\nhost: x86_64-unknown-linux-gnu\\n"
    scripts = {
        "rustc": f'if [ "$1" = -vV ]; then printf "{about}"; else echo {root}; fi',
        "cargo": f'if [ "$1" = build ]; then echo $$ > {note}.part; mv {note}.part {note}; exec sleep 600; fi',
        "rust-lld": "",
    }
    for name, script in scripts.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    return note


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_who_ends_a_build_ends_cargo_too(
    eyeflow: Command, environment: dict[str, str], tmp_path: Path, sent: signal.Signals, code: int
) -> None:
    eyeflow("mcu", "new", "--chip", "STM32F401CC")
    note = fake_rust(tmp_path / "rust")
    path = f"{tmp_path / 'rust/bin'}:{environment['PATH']}"
    building = subprocess.Popen(
        [sys.executable, "-m", "eyeflow", "mcu", "build"], cwd=tmp_path, env=environment | {"PATH": path},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    try:
        wait_until(note.exists, "cargo builds", DEADLINE_S)
        cargo = psutil.Process(int(note.read_text()))
        assert is_running(cargo), "the control: cargo would go on"
        building.send_signal(sent)
        assert building.wait(DEADLINE_S) == code
        wait_until(lambda: not is_running(cargo), "cargo ends", DEADLINE_S)
    finally:
        building.kill()
        building.wait()


def is_running(process: psutil.Process) -> bool:
    """Say whether it runs. Another process may have got its number since."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_no_port_names_those_of_the_machine_and_the_simulator(eyeflow: Command) -> None:
    for command in (["push", "a.svm"], ["list"], ["remove", "a"], ["log"], ["monitor"]):
        ran = eyeflow("mcu", *command)
        assert ran.code == USAGE and "serial ports of this machine" in ran.err and "socket://127.0.0.1:7701" in ran.err
