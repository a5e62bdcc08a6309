from __future__ import annotations

from pathlib import Path

import pytest

from eyeflow.base.errors import EyeflowError
from eyeflow.mcu.board import Direction, Level, load_board, parse_board
from eyeflow.mcu.problems import BoardError

BOARDS = sorted((Path(__file__).parents[3] / "examples" / "boards").glob("*.toml"))

GOOD = """
chip = "STM32F401CC"
name = "boiler"
[link]
uart = "USART1"
tx = "PA9"
rx = "PA10"
[pins]
RELAY = { pin = "PA5", direction = "output", safe = "high", on_link_loss = "safe" }
DOOR = { pin = "pb0", direction = "input", pull = "up" }
[adc]
channels = ["PA0", "PA1"]
"""


def problems(source: str) -> list[tuple[str, str]]:
    with pytest.raises(BoardError) as caught:
        parse_board(source)
    return [(str(problem), problem.next_step) for problem in caught.value.problems]


def test_a_good_board_is_read() -> None:
    board = parse_board(GOOD)
    relay, door = board.pins
    assert (relay.pin, relay.direction, relay.safe) == ("PA5", Direction.OUTPUT, Level.HIGH)
    assert (door.pin, door.direction) == ("PB0", Direction.INPUT)
    assert board.adc == ("PA0", "PA1")
    assert board.link.baud == 115_200


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_the_example_boards_are_good(path: Path) -> None:
    assert load_board(path).chip.name.casefold() == path.stem


@pytest.mark.parametrize(
    ("old", "new", "problem", "step"),
    [
        ('"PA5"', '"PA9"', "pins.RELAY: PA9 is already USART1 TX", "use another pin for one of them"),
        ('"PA5"', '"pb0"', "pins.DOOR: PB0 is already RELAY", "use another pin for one of them"),
        ('"PA5"', '"PA13"', "pins.RELAY: PA13 cannot be used: it is SWDIO, the debug probe's line", "use another pin"),
        ('"PA5"', '"PA55"', "pins.RELAY: STM32F401CC has no pin PA55", "did you mean PA5?"),
        ('"PA9"', '"PA8"', "link.tx: PA8 cannot be USART1 TX", "use PA9 or PB6"),
        ("USART1", "USART3", "link: STM32F401CC has no UART named USART3", "did you mean USART"),
        ('"PA0"', '"PB3"', "adc.channels: PB3 is no ADC pin", "use one of PA0, PA1"),
        ("on_link_loss", "on_link_lost", "pins.RELAY.on_link_lost: is not known", "did you mean on_link_loss?"),
        ('"high"', '"hihg"', "pins.RELAY.safe: 'hihg' is none of low, high", "did you mean 'high'?"),
        ("RELAY", "relay", "pins.relay: 'relay' is no pin name", "use capitals"),
        ('tx = "PA9"\n', "", "link.tx: is missing", "write tx = a text in quotes"),
    ],
)
def test_a_mistake_is_named_with_what_to_do(old: str, new: str, problem: str, step: str) -> None:
    found = problems(GOOD.replace(old, new, 1))
    assert any(text == problem and advice.startswith(step) for text, advice in found), found


def test_a_chip_without_a_dac_names_those_that_have_one() -> None:
    (found,) = problems(GOOD + '[dac]\nchannels = ["PA4"]\n')
    assert found[0] == "dac.channels: STM32F401CC has no DAC; STM32F407VG and STM32H743ZI have"


def test_two_users_of_one_peripheral_are_told_apart() -> None:
    second = '[uart.0]\nperipheral = "USART1"\ntx = "PB6"\nrx = "PB7"\n'
    assert problems(GOOD + second)[0] == ("uart.0: USART1 is already used by [link]", "use USART2 or USART6")


def test_all_problems_are_found_in_one_run() -> None:
    wrong = GOOD.replace('"PA5"', '"PA9"').replace('"PA0"', '"PC13"') + "[scann]\nx = 1\n"
    assert len(problems(wrong)) == 3


@pytest.mark.parametrize("signer", ["abc", "zz" * 32, "AB" * 31])
def test_a_key_that_is_none_is_refused(signer: str) -> None:
    (found,) = problems(GOOD + f'[trust]\nsigners = ["{signer}"]\n')
    assert "is no public key" in found[0]


@pytest.mark.parametrize("signer", ["00" * 32, "01" + "00" * 31, "ff" * 32])
def test_a_key_that_anybody_can_sign_with_is_refused(signer: str) -> None:
    (found,) = problems(GOOD + f'[trust]\nsigners = ["{signer}"]\n')
    assert "protects nothing" in found[0]


def test_bad_toml_and_a_missing_file_say_so(tmp_path: Path) -> None:
    assert problems("chip = \n")[0][0].startswith("TOML:")
    with pytest.raises(EyeflowError, match="cannot read the board file"):
        load_board(tmp_path / "none.toml")
    with pytest.raises(EyeflowError) as caught:
        parse_board(GOOD.replace("STM32F401CC", "STM32F401C"))
    assert caught.value.next_step == "did you mean STM32F401CC?"
