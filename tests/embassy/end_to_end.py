"""The whole path without hardware: build, boot, push over serial, decide on a recording, update, lose power, come back.

The firmware is the very image that would be flashed, the program the very file that `eyeflow run` replays on the PC, and
the decisions must fall on the same readings.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from threading import Thread

import pytest

from eyeflow.base.errors import EyeflowError
from eyeflow.compiler.compile import CompileOptions, compile_rule
from eyeflow.mcu.board import load_board
from eyeflow.mcu.build import build_firmware
from eyeflow.mcu.chips import find_chip
from eyeflow.mcu.link.port import Board, Patience
from eyeflow.mcu.project import render_project
from eyeflow.mcu.sim.chip import Power
from eyeflow.mcu.sim.endpoints import TcpEndpoint
from eyeflow.mcu.sim.events import ChipReset, CoreFault, PinChanged
from eyeflow.mcu.sim.serve import SimServer
from eyeflow.mcu.sim.simulator import Simulator
from eyeflow.node.replay.event_files import TimeSource, open_events
from eyeflow.node.replay.replay import Replay, ReplayOptions
from eyeflow.svm.container import decode, encode
from eyeflow.svm.program import Profile
from eyeflow.svm.signing import public_key_of, sign_program
from eyeflow.svm.verify import verify

ROOT = Path(__file__).resolve().parents[2]
RULE = (ROOT / "examples/overheat_relay/overheat_relay.eye").read_text("utf-8")
RECORDING = ROOT / "examples/overheat_relay/recording.csv"
BOARD = (ROOT / "examples/boards/stm32f401cc.toml").read_text("utf-8")
RELAY = "PA5"
SIGNER, STRANGER = bytes(range(32)), bytes(range(1, 33))
"""Private keys of the tests: of no use anywhere else."""

SECOND_US = 1_000_000
PATIENCE = Patience(answer_s=5.0, slow_answer_s=20.0, tries=3, slow_tries=2)
"""The machine that runs the tests may be busy: the board is not to blame."""

COLD, HOT = 300, 900
CUTS = (1, 2, 3, 5, 8, 13, 40)
"""Flash operations of an update in which the power fails; the exhaustive cuts are in the tests of the slots."""


@pytest.fixture(scope="module")
def elf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("firmware")
    board_file = directory / "board.toml"
    board_file.write_text(f'{BOARD}\n[trust]\nsigners = ["{public_key_of(SIGNER).hex()}"]\n', "utf-8")
    board = load_board(board_file)
    project = render_project(board, board_file.read_text("utf-8"), directory / "project")
    return build_firmware(project, lambda *_: None).elf


def program(version: str = "1.2.0", key: bytes = SIGNER, limit: str = "80.0") -> bytes:
    source = RULE.replace('version "1.2.0"', f'version "{version}"').replace("= 80.0 in", f"= {limit} in")
    options = CompileOptions(Profile.MCU, "STM32F401CC", find_chip("STM32F401CC").limits)
    result = compile_rule(source, name="overheat_relay.eye", options=options)
    assert result.program is not None, result.diagnostics
    return sign_program(encode(result.program), key)


@contextmanager
def link(chip: Simulator, patience: Patience = PATIENCE) -> Iterator[Board]:
    """The board's serial line, while the chip runs in real time in a thread; afterwards it stands still."""
    server = SimServer(chip, TcpEndpoint(), link_port=1)
    failures: list[BaseException] = []

    def serve() -> None:
        try:
            events.extend(server.events())
        except BaseException as error:
            failures.append(error)

    events: list[object] = []
    thread = Thread(target=serve)
    thread.start()
    try:
        with Board(server.url, patience=patience) as board:
            yield board
    finally:
        server.stop()
        thread.join()
        server.endpoint.close()
        assert not failures, failures
        assert not [event for event in events if isinstance(event, CoreFault)], events


def levels(chip: Simulator) -> list[tuple[int, bool]]:
    return [(e.time_us, e.level) for e in chip.take_events() if isinstance(e, PinChanged) and e.pin == RELAY]


def wait_for(chip: Simulator, level: bool, within_us: int = 10 * SECOND_US) -> int:
    """Run until the relay has a level and return when that was."""
    end_us = chip.time_us + within_us
    while chip.pin(RELAY) is not level and chip.time_us < end_us:
        chip.run_for(10_000)
    changes = levels(chip)
    assert changes and changes[-1][1] is level, f"the relay did not go {'on' if level else 'off'}"
    return changes[-1][0]


def readings() -> list[int]:
    """Return the recording, one reading a second; where the probe's answer is missing the last one stands."""
    with RECORDING.open(newline="") as file:
        cells = [row["adc.read_channel(0)"] for row in csv.DictReader(file)]
    return list(accumulate((int(cell or -1) for cell in cells), lambda last, now: now if now >= 0 else last))


def switches_on_the_pc(data: bytes, directory: Path) -> list[tuple[int, bool]]:
    """Return at which reading `eyeflow run` switches the relay, and to what, with this very file."""
    recording = directory / "recording.csv"
    rows = "".join(f"{second},{counts}\n" for second, counts in enumerate(readings(), 1_700_000_000))
    recording.write_text("timestamp,adc.read_channel(0)\n" + rows, "utf-8")
    events = open_events(recording, times=TimeSource("timestamp", 0))
    replay = Replay(verify(decode(data).program), events, ReplayOptions())
    records = [record for record in replay.run() if record.action == "gpio.set_pin"]
    events.close()
    start_us = replay.summary.first_us
    found = [((r.time_us - start_us) // SECOND_US, r.arguments["level"] in (True, "HIGH")) for r in records]
    return [change for place, change in enumerate(found) if place or change[1]]


def switches_on_the_board(chip: Simulator) -> list[tuple[int, bool]]:
    """Feed the recording through the ADC, one reading a second, and return at which reading the relay switches.

    The program looks twice a second. Readings change half way between two looks, so that each is seen twice, as on the PC.
    """
    chip.set_adc(0, HOT)
    look_us = wait_for(chip, True)
    chip.set_adc(0, COLD)
    chip.run(wait_for(chip, False) + SECOND_US)
    start_us = look_us + (chip.time_us - look_us) // 500_000 * 500_000 + 750_000
    for number, counts in enumerate(readings()):
        chip.adc.record(start_us + number * SECOND_US, 0, counts)
    chip.take_events()
    chip.run(start_us + len(readings()) * SECOND_US)
    return [((time_us - start_us) // SECOND_US, level) for time_us, level in levels(chip)]


def test_the_board_decides_as_the_pc_on_the_same_readings(elf: Path, tmp_path: Path) -> None:
    chip, data = Simulator(elf), program()
    with link(chip) as board:
        assert board.hello.chip == "STM32F401CC"
        assert not board.push(data).already
        assert board.push(data).already, "the same program again is success at once"
    on_pc, on_board = switches_on_the_pc(data, tmp_path), switches_on_the_board(chip)
    assert len(on_pc) >= 2, "the recording must make the relay switch"
    assert on_board == on_pc
    assert chip.serial_overruns(1) == 0
    chip.close()


def test_an_update_while_it_runs_takes_over_and_an_older_one_is_refused(elf: Path) -> None:
    chip = Simulator(elf)
    with link(chip) as board:
        board.push(program())
    chip.set_adc(0, HOT)
    wait_for(chip, True)
    with link(chip) as board:
        pushed = board.push(program("1.3.0", limit="100.0"))
        assert [one.program_id for one in board.list()] == [pushed.program_id]
        with pytest.raises(EyeflowError, match=r"(?i)older"):
            board.push(program("1.2.9"))
        with pytest.raises(EyeflowError):
            board.push(program("2.0.0", key=STRANGER))
        assert [one.program_id for one in board.list()] == [pushed.program_id]
    chip.run_for(5 * SECOND_US)
    assert chip.pin(RELAY) is False, "90 degrees are below the new limit"
    chip.close()


@pytest.mark.parametrize("cut", CUTS)
def test_power_that_fails_in_an_update_leaves_the_old_or_the_new_program(elf: Path, tmp_path: Path, cut: int) -> None:
    old, new = program(), program("1.3.0", limit="100.0")
    chip = Simulator(elf, flash_image=tmp_path / "flash.bin")
    with link(chip) as board:
        board.push(old)
        was = board.list()[0].program_id
    chip.cut_power_in(cut)
    with pytest.raises(EyeflowError), link(chip, Patience(0.3, 1.5, 2, 2)) as board:
        board.push(new)
    assert chip.power is Power.OFF
    chip.close()
    again = Simulator(elf, flash_image=tmp_path / "flash.bin")
    assert ChipReset in {type(event) for event in again.take_events()}
    with link(again) as board:
        (found,) = board.list()
        assert found.program_id in (was, decode(new).program_id)
        board.push(new)
        assert [one.program_id for one in board.list()] == [decode(new).program_id]
    again.set_adc(0, 1100)
    wait_for(again, True)
    again.close()


def test_power_lost_and_back_runs_the_program_again(elf: Path) -> None:
    chip = Simulator(elf)
    with link(chip) as board:
        board.push(program())
    chip.set_adc(0, HOT)
    wait_for(chip, True)
    chip.power_cut()
    chip.power_on()
    chip.take_events()
    assert chip.pin(RELAY) is False, "the safe state at boot"
    wait_for(chip, True)
    chip.close()


def test_equal_runs_of_the_firmware_are_equal_to_the_instruction(elf: Path) -> None:
    def run() -> int:
        chip = Simulator(elf)
        chip.run(2 * SECOND_US)
        count = chip.instruction_count
        chip.close()
        return count

    assert run() == run()
