"""State, parameters and time words of a board across power cuts, updates and a clock that is set; trials of new programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.boards import F401, LABS, PLAIN_F401, SECOND_US, Lab
from eyeflow.base.errors import EyeflowError
from eyeflow.board_link.port import Patience
from eyeflow.mcu.sim.chip import Power, SimulatedChip
from eyeflow.mcu.sim.simulator import Simulator
from eyeflow.mcu.sim.stm32f4.clocks import ResetCause

COLD, HOT = 100, 900
TURN_US = 5 * SECOND_US
"""Each of the four places is looked at every four seconds."""
NOW_US = 1_790_000_000_000_000
DAY_US = 86_400 * SECOND_US

COUNTER = """
rule counter {
    version "1.0.0"
    pin RELAY: output
    param limit: int = 3 in 1 .. 100
    state hot: int = 0
    on every 100ms
    if (adc.read_channel(0) > 500.0) rises {
        hot = hot + 1
    }
    gpio.set_pin(RELAY, if hot >= limit then HIGH else LOW)
}
"""
OTHER_CODE = COUNTER.replace('"1.0.0"', '"1.1.0"').replace("hot = hot + 1", 'hot = hot + 1\n        log.info("hot")')

each_board = pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.chip)


def rule(condition: str) -> str:
    return f"""
rule timed {{
    version "1.0.0"
    pin RELAY: output
    on every 100ms
    let hot = adc.read_channel(0) > 500.0
    gpio.set_pin(RELAY, if {condition} then HIGH else LOW)
}}
"""


def run_for(chip: SimulatedChip, duration_us: int) -> None:
    chip.run(chip.time_us + duration_us)


def get_hot(chip: SimulatedChip, times: int) -> None:
    """Let the reading rise so many times."""
    for _ in range(times):
        for counts in (COLD, HOT, COLD):
            chip.set_adc(0, counts)
            run_for(chip, 300_000)


def power_cycle(chip: SimulatedChip) -> None:
    chip.power_cut()
    chip.power_on()


@each_board
def test_state_survives_a_power_cut(lab: Lab) -> None:
    chip = lab.start()
    with lab.link(chip) as board:
        board.push(lab.compile(COUNTER))
    get_hot(chip, 2)
    run_for(chip, TURN_US)
    power_cycle(chip)
    run_for(chip, SECOND_US)
    assert chip.pin(lab.relay) is False, "two times are not three"
    get_hot(chip, 1)
    assert chip.pin(lab.relay) is True, "the third time since the first start"
    chip.close()


def test_what_changed_since_the_last_write_is_lost_and_nothing_else() -> None:
    chip = PLAIN_F401.start()
    with F401.link(chip) as board:
        board.push(F401.compile(COUNTER))
    get_hot(chip, 1)
    run_for(chip, TURN_US)
    get_hot(chip, 5)
    run_for(chip, TURN_US)
    assert chip.pin(F401.relay) is True
    power_cycle(chip)
    run_for(chip, SECOND_US)
    assert chip.pin(F401.relay) is False, "the next write was a minute away"
    get_hot(chip, 2)
    assert chip.pin(F401.relay) is True, "the first time was written at once"
    chip.close()


@each_board
def test_a_parameter_is_kept_before_it_is_answered(lab: Lab) -> None:
    chip = lab.start()
    with lab.link(chip) as board:
        board.push(lab.compile(COUNTER))
    get_hot(chip, 1)
    with lab.link(chip) as board:
        board.set_param("counter", 0, 1)
    power_cycle(chip)
    run_for(chip, SECOND_US)
    assert chip.pin(lab.relay) is True
    with lab.link(chip) as board, pytest.raises(EyeflowError):
        board.set_param("counter", 0, 0)
    chip.close()


def test_a_new_version_takes_over_state_and_parameters() -> None:
    chip = PLAIN_F401.start()
    with F401.link(chip) as board:
        board.push(F401.compile(COUNTER))
        board.set_param("counter", 0, 4)
    get_hot(chip, 3)
    with F401.link(chip) as board:
        board.push(F401.compile(OTHER_CODE))
    power_cycle(chip)
    run_for(chip, SECOND_US)
    assert chip.pin(F401.relay) is False
    get_hot(chip, 1)
    assert chip.pin(F401.relay) is True, "three times before, one now, of four"
    chip.close()


def test_a_removed_rule_leaves_nothing_to_the_next_of_its_name() -> None:
    chip = F401.start()
    with F401.link(chip) as board:
        board.push(F401.compile(COUNTER))
    get_hot(chip, 3)
    run_for(chip, TURN_US)
    with F401.link(chip) as board:
        board.remove("counter")
        board.push(F401.compile(COUNTER))
    get_hot(chip, 2)
    assert chip.pin(F401.relay) is False
    get_hot(chip, 1)
    assert chip.pin(F401.relay) is True
    chip.close()


@pytest.mark.parametrize("cut", [1, 4, 9, 20, 33])
def test_power_that_fails_while_state_is_written_leaves_the_state_before(cut: int, tmp_path: Path) -> None:
    image = tmp_path / "flash.bin"
    chip = F401.start(flash_image=image)
    with F401.link(chip) as board:
        board.push(F401.compile(COUNTER))
    get_hot(chip, 2)
    run_for(chip, 2 * TURN_US)
    chip.cut_power_in(cut)
    get_hot(chip, 1)
    run_for(chip, TURN_US)
    written = chip.power is Power.ON
    chip.close()
    again = F401.start(flash_image=image)
    run_for(again, SECOND_US)
    assert again.pin(F401.relay) is written
    get_hot(again, 0 if written else 1)
    assert again.pin(F401.relay) is True
    with F401.link(again) as board:
        assert board.status().counters[0].running
    again.close()


def test_flash_is_written_once_in_an_interval_however_often_state_changes() -> None:
    chip = F401.start()
    assert isinstance(chip, Simulator)
    with F401.link(chip) as board:
        board.push(F401.compile(COUNTER.replace("if (adc", "hot = hot + 1\n    if (adc")))
    run_for(chip, 2 * TURN_US)
    before = chip.flash_operations
    run_for(chip, 4 * SECOND_US)
    once = chip.flash_operations - before
    run_for(chip, 8 * SECOND_US)
    assert 10 < once < 50, "header, a few values and the commit, four bytes at a time"
    assert chip.flash_operations - before == 3 * once
    chip.close()


def test_a_program_that_changes_no_state_writes_no_flash() -> None:
    chip = F401.start()
    assert isinstance(chip, Simulator)
    with F401.link(chip) as board:
        board.push(F401.compile(rule("mean(adc.read_channel(1), last 2s) > 10.0")))
    run_for(chip, 12 * SECOND_US)
    before = chip.flash_operations
    run_for(chip, 12 * SECOND_US)
    assert chip.flash_operations == before, "windows fill again after a restart"
    chip.close()


HELD_US = range(2_000_000 - 20_000, 2_300_000)
"""What a hold of 2 s may take. A turn has the time at which it was due, and may read a little later: the reading may
have changed between."""


def held_us(chip: SimulatedChip) -> int:
    """Return how long the reading is hot until the relay goes on."""
    chip.set_adc(0, COLD)
    F401.wait_for(chip, False) if chip.pin(F401.relay) else run_for(chip, SECOND_US)
    chip.set_adc(0, HOT)
    since_us = chip.time_us
    return F401.wait_for(chip, True, within_us=60 * SECOND_US) - since_us


def test_a_hold_goes_on_after_a_restart_without_a_host_that_tells_the_time() -> None:
    chip = F401.start()
    with F401.link(chip) as board:
        board.push(F401.compile(rule("hot for 2s")))
        board.set_time(NOW_US)
    assert held_us(chip) in HELD_US
    run_for(chip, TURN_US)
    power_cycle(chip)
    assert held_us(chip) in HELD_US
    chip.close()


@pytest.mark.parametrize("step_us", [DAY_US, -DAY_US], ids=["forward", "back"])
def test_a_clock_that_is_set_moves_no_hold(step_us: int) -> None:
    chip = F401.start()
    with F401.link(chip) as board:
        board.push(F401.compile(rule("hot for 30s")))
        board.set_time(NOW_US)
    chip.set_adc(0, HOT)
    since_us = chip.time_us
    with F401.link(chip) as board:
        board.set_time(NOW_US + step_us)
    run_for(chip, since_us + 29 * SECOND_US - chip.time_us)
    assert chip.pin(F401.relay) is False, "a day went by only on the host's clock"
    assert F401.wait_for(chip, True) - since_us < 30_300_000
    chip.close()


def test_a_cooldown_goes_on_across_a_restart_and_counts_the_time_that_the_host_tells() -> None:
    counting = rule("n > 1").replace("    on every", "    state n: int = 0\n    on every")
    counting = counting.replace("    gpio", "    if true cooldown 60s {\n        n = n + 1\n    }\n    gpio")
    chip = F401.start()
    with F401.link(chip) as board:
        board.set_time(NOW_US)
        board.push(F401.compile(counting.replace("let hot = adc.read_channel(0) > 500.0", "")))
    run_for(chip, TURN_US)
    power_cycle(chip)
    run_for(chip, 30 * SECOND_US)
    assert chip.pin(F401.relay) is False, "passed before the cut, less than a minute ago"
    with F401.link(chip) as board:
        board.set_time(NOW_US + 300 * SECOND_US)
    run_for(chip, SECOND_US)
    assert chip.pin(F401.relay) is True, "the board was off for four minutes of the minute"
    chip.close()


def on_probation(chip: SimulatedChip) -> None:
    """A program that has proved itself, and a newer one that has not yet."""
    with F401.link(chip) as board:
        board.push(F401.compile(COUNTER))
    run_for(chip, 12 * SECOND_US)
    with F401.link(chip) as board:
        board.push(F401.compile(OTHER_CODE))
        assert board.list()[0].version == "1.1.0"
        assert not board.list()[0].good


def version(chip: SimulatedChip) -> str:
    with F401.link(chip, Patience(5.0, 20.0, 3, 2)) as board:
        return board.list()[0].version


def test_power_cycles_are_no_trials() -> None:
    chip = F401.start()
    on_probation(chip)
    for _ in range(6):
        power_cycle(chip)
        run_for(chip, SECOND_US)
    chip.reset()
    assert version(chip) == "1.1.0"
    chip.close()


def test_a_program_under_which_the_watchdog_bites_is_given_up() -> None:
    chip = F401.start()
    assert isinstance(chip, Simulator)
    on_probation(chip)
    for _ in range(4):
        # Nothing that a program can do stops the scan: the bite has to come from outside.
        chip._restart(ResetCause.WATCHDOG)
        run_for(chip, SECOND_US)
    assert version(chip) == "1.0.0"
    chip.close()
