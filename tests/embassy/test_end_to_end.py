"""The whole path without hardware: build, boot, push over serial, decide on a recording, update, lose power, come back.

The firmware is the very image that would be flashed, the program the very file that `eyeflow run` replays on the PC, and
the decisions must fall on the same readings. The RP2040 runs on a simulator that others wrote.
"""

from __future__ import annotations

import csv
from itertools import accumulate
from pathlib import Path

import pytest

from components.boards import PLAIN_F401, PLAIN_LABS, PLAIN_PICO, SECOND_US, STRANGER, Lab
from components.rust import ROOT
from eyeflow.base.errors import EyeflowError
from eyeflow.board_link.messages import Reset
from eyeflow.board_link.port import Patience
from eyeflow.mcu.board import Direction, Level, parse_board
from eyeflow.mcu.sim.chip import Power, SimulatedChip
from eyeflow.mcu.sim.events import ChipReset
from eyeflow.node.replay.event_files import TimeSource, open_events
from eyeflow.node.replay.replay import Replay, ReplayOptions
from eyeflow.svm.container import decode
from eyeflow.svm.verify import verify

RECORDING = ROOT / "examples/overheat_relay/recording.csv"
COLD, HOT = 300, 900
CUTS = (1, 2, 3, 5, 8, 13)
"""Flash operations of an update in which the power fails; the exhaustive cuts are in the tests of the slots."""

each_board = pytest.mark.parametrize("lab", PLAIN_LABS, ids=lambda lab: lab.chip)


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


def switches_on_the_board(lab: Lab, chip: SimulatedChip) -> list[tuple[int, bool]]:
    """Feed the recording through the ADC, one reading a second, and return at which reading the relay switches.

    The program looks twice a second. Readings change half way between two looks, so that each is seen twice, as on the PC.
    """
    chip.set_adc(0, HOT)
    look_us = lab.wait_for(chip, True)
    chip.set_adc(0, COLD)
    chip.run(lab.wait_for(chip, False) + SECOND_US)
    start_us = look_us + (chip.time_us - look_us) // 500_000 * 500_000 + 750_000
    for number, counts in enumerate(readings()):
        chip.adc.record(start_us + number * SECOND_US, 0, counts)
    chip.take_events()
    chip.run(start_us + len(readings()) * SECOND_US)
    return [((time_us - start_us) // SECOND_US, level) for time_us, level in lab.levels(chip)]


@each_board
def test_the_board_decides_as_the_pc_on_the_same_readings(lab: Lab, tmp_path: Path) -> None:
    chip, data = lab.start(), lab.program()
    with lab.link(chip) as board:
        assert board.hello.chip == lab.chip
        assert not board.push(data).already
        assert board.push(data).already, "the same program again is success at once"
    on_pc, on_board = switches_on_the_pc(data, tmp_path), switches_on_the_board(lab, chip)
    assert len(on_pc) >= 2, "the recording must make the relay switch"
    assert on_board == on_pc
    assert chip.serial_overruns(lab.link_port) == 0
    chip.close()


@each_board
def test_an_update_while_it_runs_takes_over_and_an_older_one_is_refused(lab: Lab) -> None:
    chip = lab.start()
    with lab.link(chip) as board:
        board.push(lab.program())
    chip.set_adc(0, HOT)
    lab.wait_for(chip, True)
    with lab.link(chip) as board:
        pushed = board.push(lab.program("1.3.0", limit="100.0"))
        assert [one.program_id for one in board.list()] == [pushed.program_id]
        with pytest.raises(EyeflowError, match=r"(?i)older"):
            board.push(lab.program("1.2.9"))
        with pytest.raises(EyeflowError):
            board.push(lab.program("2.0.0", key=STRANGER))
        assert [one.program_id for one in board.list()] == [pushed.program_id]
    chip.run(chip.time_us + 5 * SECOND_US)
    assert chip.pin(lab.relay) is False, "90 degrees are below the new limit"
    chip.close()


@each_board
def test_a_staged_program_takes_over_between_two_scans_and_is_taken_back(lab: Lab) -> None:
    chip, old, new = lab.start(), lab.program(), lab.program("1.3.0", limit="100.0")
    with lab.link(chip) as board:
        assert board.status().health.reset_cause in (Reset.POWER, Reset.PIN, Reset.UNKNOWN)  # as the simulator says
        board.push(old)
    chip.set_adc(0, HOT)
    lab.wait_for(chip, True)
    with lab.link(chip) as board:
        before = board.status()
        staged = board.stage(new)
        status = board.status()
        assert [one.version for one in status.programs] == ["1.2.0"] and status.staged[
            0
        ].program_id == staged.program_id
        assert status.counters[0].executions >= before.counters[0].executions, (
            "the running program was not started anew"
        )
        assert 0 < status.health.stack_used_bytes < status.health.stack_bytes
    chip.run(chip.time_us + 5 * SECOND_US)
    assert lab.levels(chip) == [], "a staged program drives nothing"
    with lab.link(chip) as board:
        board.switch(staged.program_id)
        (running,) = board.list()
        assert (running.version, running.has_previous, running.has_staged) == ("1.3.0", True, False)
    chip.run(chip.time_us + 5 * SECOND_US)
    assert chip.pin(lab.relay) is False, "90 degrees are below the new limit"
    with lab.link(chip) as board:
        board.back(decode(old).program_id)
        assert [one.version for one in board.list()] == ["1.2.0"]
        with pytest.raises(EyeflowError, match="as the one before the running one"):
            board.back(staged.program_id)
    chip.run(chip.time_us + 5 * SECOND_US)
    assert chip.pin(lab.relay) is True, "the old limit holds again"
    chip.close()


def _update_cut_short(lab: Lab, image: Path, cut: int, new: bytes) -> bytes:
    """Let the power fail in an update, and return the id of the program before it."""
    chip = lab.start(flash_image=image)
    with lab.link(chip) as board:
        board.push(lab.program())
        was = board.list()[0].program_id
    chip.cut_power_in(cut)
    with pytest.raises(EyeflowError), lab.link(chip, Patience(0.3, 1.5, 2, 2)) as board:
        board.push(new)
    assert chip.power is Power.OFF
    chip.close()
    return was


@pytest.mark.parametrize(("lab", "cut"), [*((PLAIN_F401, cut) for cut in CUTS), (PLAIN_PICO, 2)])
def test_power_that_fails_in_an_update_leaves_the_old_or_the_new_program(lab: Lab, cut: int, tmp_path: Path) -> None:
    new = lab.program("1.3.0", limit="100.0")
    was = _update_cut_short(lab, tmp_path / "flash.bin", cut, new)
    again = lab.start(flash_image=tmp_path / "flash.bin")
    assert ChipReset in {type(event) for event in again.take_events()}
    with lab.link(again) as board:
        (found,) = board.list()
        assert found.program_id in (was, decode(new).program_id)
        board.push(new)
        assert [one.program_id for one in board.list()] == [decode(new).program_id]
    again.set_adc(0, 1100)
    lab.wait_for(again, True)
    again.close()


@each_board
def test_records_say_what_the_board_did(lab: Lab) -> None:
    chip = lab.start()
    with lab.link(chip) as board:
        pushed = board.push(lab.program())
        before = len(board.records().records)
    chip.set_adc(0, HOT)
    lab.wait_for(chip, True)
    with lab.link(chip) as board:
        record = board.records().records[before]
    run = record.execution
    assert run is not None and run.program_key == pushed.program_id[:16]
    assert (run.place, run.outcome, run.trap, run.trigger) == (pushed.place, "ok", 0, 0)
    assert 0 < run.fuel < 1000 and 0 < run.time_us <= chip.time_us
    outputs = [pin for pin in parse_board(lab.board_text).pins if pin.direction is Direction.OUTPUT]
    levels = [pin.name == "RELAY" or pin.safe is Level.HIGH for pin in outputs]
    assert run.actions[:4] == sum(high << bit for bit, high in enumerate(levels)).to_bytes(4, "little")
    chip.close()


@each_board
def test_power_lost_and_back_runs_the_program_again(lab: Lab) -> None:
    chip = lab.start()
    with lab.link(chip) as board:
        board.push(lab.program())
    chip.set_adc(0, HOT)
    lab.wait_for(chip, True)
    chip.power_cut()
    chip.power_on()
    chip.take_events()
    assert chip.pin(lab.relay) is False, "the safe state at boot"
    lab.wait_for(chip, True)
    chip.close()


@each_board
def test_equal_runs_of_the_firmware_are_equal_to_the_instruction(lab: Lab) -> None:
    def run() -> int:
        chip = lab.start()
        chip.run(SECOND_US)
        count = chip.instruction_count
        chip.close()
        return count

    assert run() == run()
