"""The runner of a rule's tests: every construct of docs/language.md, Tests, passing, failing, and what failing shows."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from eyeflow.compiler.compile import compile_rule
from eyeflow.compiler.testrun import TestOutcome, run_test
from eyeflow.svm.fast import FastMachine
from eyeflow.svm.interpreter import Interpreter
from eyeflow.svm.verify import verify

RELAY = """
    pin RELAY: output
    param limit: float = 80.0 in 20.0..120.0
    state trips: int = 0
    on every 500ms
    let temp = adc.read_channel(0) * 0.1
    if temp > limit for 2s {
        gpio.set_pin(RELAY, HIGH)
        trips = trips + 1
    } else {
        gpio.set_pin(RELAY, LOW)
    }
"""
READING = """
    enum Mode { OFF, HEAT }
    record Reading { temp: float, mode: Mode = OFF }
    state seen: int = 0
    state mode: Mode = OFF
    on event "r" as reading: Reading
    seen = seen + 100 / int(reading.temp)
    mode = reading.mode
    emit got(temp: reading.temp, mode: reading.mode)
    log.info("got {reading.temp:1}")
"""
DOOR = """
    pin DOOR: input
    state edges: int = 0
    state rising: int = 0
    on gpio DOOR changes { edges = edges + 1 }
    on gpio DOOR rises {
        rising = rising + 1
        log.warn("open")
    }
"""
CLOCK = """
    state mornings: int = 0
    state noons: int = 0
    on cron "0 6 * * 1-5" { mornings = mornings + 1 }
    on every 12h { noons = noons + 1 }
"""


def outcome(rule: str, steps: str) -> TestOutcome:
    source = f'rule r {{\n    version "1.0.0"\n{rule}\n    test "t" {{\n{steps}\n    }}\n}}\n'
    result = compile_rule(source, name="r.eye")
    assert result.program is not None, [diagnostic.message for diagnostic in result.diagnostics]
    verified = verify(result.program)
    outcomes = [run_test(result.tests[0], verified, machine(verified)) for machine in (Interpreter, FastMachine)]
    assert outcomes[0] == outcomes[1], "both machines play a test alike"
    return outcomes[0]


def lines(of: TestOutcome) -> str:
    return "\n".join("\n".join([f"{f.where.text}: {f.message}", *f.details]) for f in of.failures)


PASSING = [
    (RELAY, "given adc.read_channel(0) = 850\nafter 1s expect no gpio.set_pin(RELAY, HIGH)\nafter 2s expect trips == 1"),
    (RELAY, "given adc.read_channel(0) = 850\nat 2s expect 1 times gpio.set_pin(RELAY, HIGH)\nexpect 4 times gpio.set_pin(RELAY, LOW)"),
    (RELAY, "given adc.read_channel(0) = 850\ngiven limit = 90.0\nafter 1h expect no gpio.set_pin(RELAY, HIGH)"),
    (RELAY, "given adc.read_channel(0) = 850\nafter 0s expect 1 times gpio.set_pin()\nafter 499ms expect no actions"),
    (RELAY, "given adc.read_channel(0) = 850\nafter 1s expect 3 times gpio.set_pin()\nat 1s expect 3 times gpio.set_pin()"),
    (RELAY, "given adc.read_channel(0) fails\nafter 1s expect trap\nexpect no actions\nexpect trips == 0"),
    (RELAY, "given adc.read_channel(0) fails\nafter 1s expect no actions"),
    (READING, "send { temp: 81.5 }\nexpect emit got(temp: 81.5)\nexpect no emit got(mode: HEAT)\nexpect log.info(\"got 81.5\")"),
    (READING, "send reading { temp: 2.0, mode: HEAT }\nexpect emit got(mode: HEAT)\nexpect mode == HEAT and seen == 50"),
    (READING, "send { temp: 1.0 }\nsend { temp: 1.0 }\nexpect 1 times log.info()\nexpect seen == 200"),
    (READING, "send { temp: 0.0 }\nexpect trap\nexpect no actions\nexpect seen == 0"),
    (READING, "expect no actions\nexpect seen == 0"),
    (DOOR, "given gpio.read_pin(DOOR) = HIGH\nexpect edges == 0\ngiven gpio.read_pin(DOOR) = LOW\nexpect edges == 1"),
    (DOOR, "after 1s given gpio.read_pin(DOOR) = HIGH\nexpect log.warn(\"open\")\nexpect edges == 1 and rising == 1"),
    (DOOR, "after 1s given gpio.read_pin(DOOR) = HIGH\ngiven gpio.read_pin(DOOR) = HIGH\nexpect edges == 1"),
    (DOOR, "after 1s given gpio.read_pin(DOOR) = HIGH\ngiven gpio.read_pin(DOOR) fails\nexpect edges == 1"),
    (CLOCK, "after 2d expect mornings == 2\nexpect noons == 5"),
    (CLOCK, 'given time "2026-03-06 05:59"\nafter 1min expect mornings == 1\nafter 3d expect mornings == 1\nafter 4d expect mornings == 2'),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "steps"), PASSING)
def test_what_holds_passes(rule: str, steps: str) -> None:
    result = outcome(rule, steps)
    assert result.passed, lines(result)


FAILING: list[tuple[str, str, Sequence[str]]] = [
    (
        RELAY,
        "given adc.read_channel(0) = 750\nafter 2s expect gpio.set_pin(RELAY, HIGH)",
        [
            "expected `gpio.set_pin(RELAY, HIGH)` after 0s until 2s",
            "asked for instead: gpio.set_pin(RELAY, LOW) at 0s, 500ms, ... 2s (5 times) (line 13)",
            "state: trips = 0",
        ],
    ),
    (
        RELAY,
        "given adc.read_channel(0) = 850\nafter 2s expect no gpio.set_pin(RELAY, HIGH)",
        ["expected no `gpio.set_pin(RELAY, HIGH)`", "it was asked for: gpio.set_pin(RELAY, HIGH) at 2s (line 10)"],
    ),
    (
        RELAY,
        "given adc.read_channel(0) = 850\nafter 3s expect 2 times gpio.set_pin(RELAY, HIGH)",
        ["expected 2 times `gpio.set_pin(RELAY, HIGH)`", "at 2s, 2500ms, 3s (line 10)"],
    ),
    (RELAY, "given adc.read_channel(0) = 850\nafter 1s expect no actions", ["expected no actions", "asked for: gpio.set_pin"]),
    (RELAY, "given adc.read_channel(0) = 850\nafter 1s expect trips == 1", ["expected `trips == 1` at 1s", "`trips` is 0"]),
    (RELAY, "given adc.read_channel(0) = 850\nafter 1s expect trap", ["expected a trap after 0s until 1s, and none happened"]),
    (
        RELAY,
        "after 1s expect no actions",
        [
            "after 1s",
            "the rule read `adc.read_channel(0)` at 0s, and the test does not say what it answers",
            "Add `given adc.read_channel(0) = ...`",
        ],
    ),
    (
        RELAY,
        "given adc.read_channel(1) = 5\nafter 1s expect no actions",
        ["the rule read `adc.read_channel(0)`", "Given so far: adc.read_channel(1)."],
    ),
    (READING, "expect log.info()", ["expected `log.info()` at 0s", "no action was asked for", "no handler ran in this time"]),
    (READING, "send { temp: 1.0 }\nexpect emit got(mode: HEAT)", ["emitted instead: emit got(temp: 1.0, mode: OFF) at 0s"]),
    (READING, "send { temp: 1.0 }\nexpect no emit got()", ["expected no `emit got`", "it was emitted: emit got(temp: 1.0"]),
    (READING, "send { temp: 1.0 }\nexpect log.info(\"got 2.0\")", ["asked for instead: log.info(\"got 1.0\") at 0s (line 12)"]),
    (READING, "send { temp: 1.0 }\nexpect mode == HEAT", ["`mode` is OFF", "state: seen = 100, mode = OFF"]),
    (
        READING,
        "after 1s send { temp: 0.0 }\nafter 2s expect no actions",
        ["send { temp: 0.0 }", "the rule trapped at 1s, in line 9: DIV_BY_ZERO", "Write `expect trap`"],
    ),
    (READING, "send { temp: 0.0 }\nexpect 100 / seen == 1", ["its evaluation trapped: DIV_BY_ZERO"]),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "steps", "shown"), FAILING)
def test_what_does_not_hold_shows_what_happened_instead(rule: str, steps: str, shown: Sequence[str]) -> None:
    result = outcome(rule, steps)
    assert not result.passed
    for text in shown:
        assert text in lines(result), lines(result)


def test_several_failures_are_shown_in_one_run_and_a_missing_given_ends_the_test() -> None:
    assert len(outcome(READING, "expect log.info()\nexpect seen == 1\nexpect seen == 0").failures) == 2
    assert len(outcome(RELAY, "after 1s expect gpio.set_pin()\nafter 2s expect trips == 9").failures) == 1


def test_an_endless_test_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eyeflow.compiler.testrun.TIMER_FIRINGS_MAX", 100)
    shown = lines(outcome(RELAY, "given adc.read_channel(0) = 1\nafter 1h expect trips == 0"))
    assert "more than 100 times" in shown
    assert "longer period" in shown


def test_the_outcome_counts_executions_and_time() -> None:
    result = outcome(RELAY, "given adc.read_channel(0) = 1\nafter 10s expect trips == 0")
    assert (result.name, result.executions, result.time_us) == ("t", 21, 10_000_000)
