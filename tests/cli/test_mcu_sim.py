"""What is typed into `eyeflow mcu sim` does what it says, or is answered with the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from eyeflow.cli.mcu_sim import _obey, _simulated
from eyeflow.mcu.board import Board, parse_board

BOARDS = Path(__file__).parents[2] / "examples" / "boards"
TEXT = (BOARDS / "stm32f401cc.toml").read_text("utf-8")


class Chip:
    """Notes what is done to it."""

    def __init__(self) -> None:
        self.done: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self.done.append((name, *arguments))


class Server:
    """Does at once what is posted."""

    def __init__(self) -> None:
        self.chip = Chip()

    def post(self, command: Any) -> None:
        command(self.chip)


def typed(line: str, board: Board) -> list[tuple[Any, ...]]:
    server = Server()
    _obey(server, board, line.split())  # type: ignore[arg-type]
    return server.chip.done


@pytest.mark.parametrize(
    ("line", "done"),
    [
        ("adc 0 850", ("set_adc", 3, 850)),
        ("ADC 1 4095", ("set_adc", 0, 4095)),
        ("DOOR high", ("set_pin", "PB0", True)),
        ("door LOW", ("set_pin", "PB0", False)),
        ("DOOR free", ("set_pin", "PB0", None)),
        ("pb5 high", ("set_pin", "PB5", True)),
        ("cut", ("power_cut",)),
        ("on", ("power_on",)),
        ("reset", ("reset",)),
    ],
)
def test_a_line_does_what_it_says(line: str, done: tuple[Any, ...]) -> None:
    board = parse_board(TEXT.replace('["PA0", "PA1"]', '["PA3", "PA0"]'))
    assert typed(line, board) == [done], "analog channels are those of the board file"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("adc 2 850", "2 analog channels"),
        ("adc x 850", "2 analog channels"),
        ("adc 0 4096", "0 to 4095"),
        ("adc 0 -1", "0 to 4095"),
        ("adc 0", "type"),
        ("RELAY high", "is an output"),
        ("DOR high", "did you mean DOOR"),
        ("PZ99 high", "no pin PZ99"),
        ("DOOR maybe", "type"),
        ("explode", "`adc 0 850`"),
    ],
)
def test_what_cannot_be_done_has_a_reason_and_does_nothing(line: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        typed(line, parse_board(TEXT))


def test_pins_of_the_rp2040_have_the_simulators_names() -> None:
    assert [_simulated(pin) for pin in ("GP2", "PA5", "P0.13")] == ["GPIO2", "PA5", "P0.13"]
    board = parse_board((BOARDS / "rp2040.toml").read_text("utf-8"))
    assert typed("DOOR low", board)[0][0] == "set_pin"
