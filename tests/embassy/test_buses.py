"""What rules do over buses, on the real firmware of a simulated chip: nobody is on the lines, but the lines move."""

from __future__ import annotations

from dataclasses import dataclass

from components.boards import F401, SECOND_US
from eyeflow.mcu.sim.chip import SimulatedChip
from eyeflow.mcu.sim.events import PinChanged

PORT = 2
"""The simulator's number of USART2."""


@dataclass
class Ran:
    """What happened while a rule ran."""

    selects: list[tuple[str, bool]]
    sent: bytes
    relay: bool


def ran(body: str, typed: bytes = b"") -> Ran:
    """Push a rule of which `body` runs each 100 ms, let it run, and return what happened."""
    chip = F401.start()
    source = f'rule bus {{\nversion "1.0.0"\npin RELAY: output\non every 100ms\n{body}\n}}'
    with F401.link(chip) as board:
        board.push(F401.compile(source, "bus.eye"))
    chip.take_events()
    chip.serial_read(PORT)
    chip.serial_write(PORT, typed)
    chip.run(chip.time_us + SECOND_US)
    result = Ran(_selects(chip), chip.serial_read(PORT), chip.pin(F401.relay))
    chip.close()
    return result


def _selects(chip: SimulatedChip) -> list[tuple[str, bool]]:
    events = [event for event in chip.take_events() if isinstance(event, PinChanged)]
    return [(event.pin, event.level) for event in events if event.pin in ("PB12", "PA8")]


def test_an_exchange_selects_its_device_and_reads_as_many_bytes_as_it_sends() -> None:
    # Nobody drives MISO: three bytes of ones.
    body = "gpio.set_pin(RELAY, if spi.exchange(0, 1, 98304, 3) == 16777215 then HIGH else LOW)"
    found = ran(body)
    assert found.relay
    assert found.selects[:4] == [("PA8", False), ("PA8", True)] * 2
    assert {pin for pin, _ in found.selects} == {"PA8"}, "the other device is never selected"


IMPOSSIBLE = ("(0, 2, 1, 3)", "(0, -1, 1, 3)", "(0, 0, 1, 0)", "(0, 0, 1, 8)", "(0, 0, 256, 1)", "(0, 0, -1, 7)")
"""No such device, one below 0, no bytes, too many, a value that does not fit, a negative one."""


def test_an_exchange_that_cannot_be_fails_and_selects_nobody() -> None:
    calls = "\n".join(
        f"let got{number} = spi.exchange{call} else -7\nif got{number} == -7 {{ failed = failed + 1 }}"
        for number, call in enumerate(IMPOSSIBLE)
    )
    wanted = f"gpio.set_pin(RELAY, if failed == {len(IMPOSSIBLE)} then HIGH else LOW)"
    found = ran(f"var failed = 0\n{calls}\n{wanted}")
    assert found.relay, "each has its declared fallback"
    assert found.selects == []


def test_bytes_go_out_and_come_in_over_a_serial_port() -> None:
    body = """uart.write_byte(0, 255)
uart.write_text(0, "ok")
uart.write_byte(0, 256) else skip
let got = uart.read_byte(0)
if got == 200 { gpio.set_pin(RELAY, HIGH) }"""
    found = ran(body, b"\x01\xc8")
    assert found.relay
    assert b"\xffok\xffok\xff" in found.sent
    assert set(found.sent) == set(b"\xffok"), "what does not fit a byte is not sent"


def test_a_device_that_does_not_answer_on_i2c_is_a_failure() -> None:
    body = """let got = i2c.read_word(0, 72, 0) else -1
i2c.write_word(0, 72, 1, 24736) else skip
gpio.set_pin(RELAY, if got == -1 then HIGH else LOW)"""
    assert ran(body).relay


def test_what_follows_an_action_that_failed_is_cancelled_unless_the_rule_says_skip() -> None:
    body = """i2c.write_word(0, 72, 1, 24736)
    gpio.set_pin(RELAY, HIGH)"""
    assert not ran(body).relay
    assert ran(body.replace("24736)", "24736) retry 2 else skip")).relay
