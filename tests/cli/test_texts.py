"""What the texts of commands promise: values as a rule writes them, the same numbers as JSON, an answer for nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from eyeflow.base.word import Word, literal

from .conftest import Command

MESSAGES = """\
rule messages {
    version "1.0.0"

    enum Mode {
        ECO
        FULL
    }

    pin LAMP: output

    record Reading {
        text: text(16)
        full: bool
    }

    on event "in" as reading: Reading

    gpio.set_pin(LAMP, if reading.full then HIGH else LOW)
    emit out(text: reading.text, mode: if reading.full then Mode.FULL else Mode.ECO, wait: 90s)

    test "full" {
        send { text: "x", full: true }
        expect gpio.set_pin(LAMP, HIGH)
    }
}
"""


@pytest.mark.parametrize("text", ["HIGH", "10s", "plain", "two words", "1"])
def test_texts_stand_in_quotes_and_names_do_not(eyeflow: Command, tmp_path: Path, text: str) -> None:
    rule = tmp_path / "messages.eye"
    rule.write_text(MESSAGES)
    events = tmp_path / "in.csv"
    events.write_text(f"timestamp,text,full\n2026-01-01 00:00:00,{text},true\n")
    ran = eyeflow("run", rule, "--events", events)
    assert ran.code == 0, ran.err
    assert "gpio.set_pin(pin: LAMP, level: HIGH)" in ran.out
    assert f'(text: "{text}", mode: FULL, wait: 90s)' in ran.out
    asked = [line for line in eyeflow("run", rule, "--events", events, "--json").out.splitlines() if '"emit"' in line]
    assert f'"text": "{text}", "mode": "FULL"' in asked[0]


def test_a_literal_of_a_word_is_bare_and_of_a_text_is_not() -> None:
    assert [literal(Word("HIGH")), literal("HIGH"), literal(1.5), literal(True)] == ["HIGH", '"HIGH"', "1.5", "true"]


def test_a_name_that_no_test_has_is_said(eyeflow: Command, rule: Path) -> None:
    assert eyeflow("test", rule, "-k", "dark").code == 0
    ran = eyeflow("test", rule, "-k", "nomatch")
    assert ran.code == 2 and "no test has `nomatch` in its name" in ran.err
    assert eyeflow("test", rule, "-k", "nomatch", "--json").json["error"]["code"] == "usage"


BRANCHES = """\
rule branches {
    version "1.0.0"
    on every 1s
    let a = adc.read_channel(0)
    if a > 1.0 { log.info("1") }
    if a > 2.0 { log.info("2") }
    if a > 3.0 { log.info("3") }
    test "some" {
        given adc.read_channel(0) = 1.5
        after 1s expect log.info("1")
        given adc.read_channel(0) = 0.5
        after 2s expect no log.info("1")
    }
}
"""


def test_a_share_is_the_same_in_text_and_json(eyeflow: Command, tmp_path: Path) -> None:
    """4 of 6 arms are 66.666...: nowhere rounded up, so that 100.0 means all."""
    rule = tmp_path / "branches.eye"
    rule.write_text(BRANCHES)
    shown = eyeflow("test", rule, "--cov")
    assert shown.code == 0, shown.out + shown.err
    assert "66.6 % of 6 branch arms" in shown.out and "branch coverage 66.6 %" in shown.out
    assert "4 of 6 arms, 66.6 %" in shown.out
    found = eyeflow("test", rule, "--cov", "--json").json
    assert (found["branchPercent"], found["rules"][0]["coverage"]["percent"]) == (66.6, 66.6)
    assert eyeflow("test", rule, "--cov-min", "66.6").code == 0
    assert eyeflow("test", rule, "--cov-min", "66.7").code == 1


@pytest.mark.parametrize("valid", ["0s", "500ms", "1000d", "5", "-1s"])
@pytest.mark.parametrize("command", [("coordinator", "join-token"), ("tokens", "new", "ci")])
def test_a_wrong_time_is_wrong_usage_and_asks_no_coordinator(
    eyeflow: Command, command: tuple[str, ...], valid: str
) -> None:
    if (command[0], valid) == ("tokens", "1000d"):
        valid = "10000d"
    ran = eyeflow(*command, "--valid", valid)
    assert ran.code == 2 and ran.err.startswith("error: --valid"), ran.err
