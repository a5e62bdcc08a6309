"""The compiler as a whole: options, limits of chips, profiles, phases."""

from __future__ import annotations

from pathlib import Path

import pytest

import golden
from eyeflow.compiler.compile import PHASES, CompileOptions, compile_rule, emit_phase
from eyeflow.compiler.hardware import Hardware
from eyeflow.compiler.limits import ChipLimits
from eyeflow.svm.container import decode, encode
from eyeflow.svm.program import Priority, Profile
from eyeflow.svm.verify import verify
from generators.running import wrapped

HERE = Path(__file__).parent
OVERHEAT = """rule overheat_relay {
    version "1.2.0"
    priority high
    description "Switches the relay on when the machine stays hot"

    pin   RELAY: output
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

    test "trips only when it stays hot" {
        given adc.read_channel(0) = 850
        after 1s   expect no gpio.set_pin(RELAY, HIGH)
        after 2s   expect gpio.set_pin(RELAY, HIGH)
        expect trips == 1
    }
}
"""


@pytest.mark.parametrize("phase", PHASES)
def test_phases_print(phase: str) -> None:
    text, diagnostics = emit_phase(OVERHEAT, phase, name="overheat_relay.eye")
    assert diagnostics == ()
    assert text is not None
    golden.check(HERE / "golden" / "phases" / f"overheat_relay.{phase}.txt", text)


def test_phases_go_as_far_as_they_can() -> None:
    broken = OVERHEAT.replace("limit for", "limt for")
    assert emit_phase(broken, "ast", name="x")[0] is not None
    for phase in ("typed", "ir", "asm"):
        text, diagnostics = emit_phase(broken, phase, name="x")
        assert text is None
        assert [found.code for found in diagnostics] == ["EF0203"]


def test_the_header_comes_from_the_rule_and_the_options() -> None:
    program = compile_rule(OVERHEAT, name="overheat_relay.eye").program
    assert program is not None
    verify(program)
    assert (program.rule, program.version, program.priority) == ("overheat_relay", "1.2.0", Priority.HIGH)
    assert (program.profile, program.chip, program.sequence) == (Profile.LINUX, "", 1 << 40 | 2 << 20)
    assert program.source_name == "overheat_relay.eye"
    chosen = CompileOptions(profile=Profile.MCU, chip="STM32F401CC", sequence=7)
    on_chip = compile_rule(OVERHEAT, name="x", options=chosen).program
    assert on_chip is not None
    assert (on_chip.profile, on_chip.chip, on_chip.sequence) == (Profile.MCU, "STM32F401CC", 7)


LIMITS = {
    "fuel_max": "fuel in one execution",
    "stack_max": "entries on the stack",
    "state_bytes_max": "bytes of state",
    "actions_max": "actions in one execution",
    "slots_max": "slots of memory",
    "scratch_bytes_max": "bytes of text in one execution",
    "code_words_max": "instructions",
}


@pytest.mark.parametrize("name", LIMITS)
def test_a_chips_limit_is_named_with_both_numbers_and_the_costliest_place(name: str) -> None:
    source = wrapped('state n: int\non every 1s\nn = n + 1\nlog.info("n is {n}")')
    limits = ChipLimits(**{name: 0})
    options = CompileOptions(profile=Profile.MCU, chip="RP2040", chip_limits=limits)
    result = compile_rule(source, name="x", options=options)
    assert result.program is None
    (found,) = result.diagnostics
    assert found.code == "EF0504"
    assert found.message.startswith(f"RP2040 allows 0 {LIMITS[name]}, this rule needs ")
    assert found.label.startswith("this alone takes ")
    assert 0 < found.span.start < found.span.end <= len(source)
    roomy = CompileOptions(profile=Profile.MCU, chip="RP2040", chip_limits=ChipLimits(**{name: 100_000}))
    assert compile_rule(source, name="x", options=roomy).program is not None


def test_a_language_model_on_mcu_needs_a_board_that_delegates() -> None:
    source = wrapped('enum Label { A, B }\non every 1s\nlet l = llm.classify("t", Label, "i") else A\nlog.info("{l}")')
    refused = compile_rule(source, name="x", options=CompileOptions(profile=Profile.MCU))
    assert [found.code for found in refused.diagnostics] == ["EF0402"]
    allowed = CompileOptions(profile=Profile.MCU, hardware=Hardware("b", {}, delegates_llm=True))
    assert compile_rule(source, name="x", options=allowed).program is not None


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ('record R { a: float }\non mqtt "t" as r: R\nlog.info("{r.a}")', "EF0408"),
        ('on every 1s\nmqtt.publish("a", "b")', "EF0402"),
        ('state t: text(300)\non every 1s\nt = ""', "EF0501"),
        ("state t: text(200)\non every 1s\nlog.info(t + t)", "EF0501"),
        ("state l: list(int, 600)\non every 1s\nappend(l, 1)", "EF0503"),
    ],
)
def test_mcu_refuses_what_it_has_not(body: str, code: str) -> None:
    result = compile_rule(wrapped(body), name="x", options=CompileOptions(profile=Profile.MCU))
    assert [found.code for found in result.diagnostics] == [code]
    assert compile_rule(wrapped(body), name="x").program is not None


def test_deep_nesting_is_a_diagnostic() -> None:
    for source in (
        wrapped('on every 1s\nlog.info("{' + "(" * 10_000 + "1" + ")" * 10_000 + '}")'),
        wrapped("on every 1s\n" + "if true {\n" * 3_000 + "}\n" * 3_000),
        wrapped("state n: int\non every 1s\nn = " + "-" * 5_000 + "n"),
        wrapped("state n: int\non every 1s\nn = " + "n + " * 9_000 + "n"),
        wrapped("state b: bool\non every 1s\nb = " + "b rises " * 5_000),
        wrapped("on every 1s\n" + "if adc.read_channel(0) > 1.0 {\n} else " * 3_000 + "{\n}"),
    ):
        result = compile_rule(source, name="x")
        assert result.program is None
        assert result.diagnostics


def test_declarations_may_stand_in_any_order() -> None:
    body = """
const WIDTH = HALF * 2.0
const HALF = 1.5
record Outer { inner: Inner, mode: Mode }
record Inner { x: float }
enum Mode { OFF, ON }
state outer: Outer
on every 1s
outer.inner.x = WIDTH
log.info("{outer.inner.x} {outer.mode}")
"""
    result = compile_rule(wrapped(body), name="x")
    assert result.diagnostics == ()


def test_long_names_end_in_a_diagnostic_or_fit_the_file() -> None:
    name = "n" * 300
    body = f'record {name} {{ a: float }}\non event "e" as {name[:200]}: {name}\nemit {name[:100]}({name[:90]}: 1)'
    found = compile_rule(wrapped(body), name="x").diagnostics
    assert [one.code for one in found] == ["EF0229"] * 4
    program = compile_rule(OVERHEAT, name="/very/long/é" * 40 + "/overheat.eye").program
    assert program is not None
    assert program.source_name.endswith("/overheat.eye")
    assert decode(encode(program)).program == program


def test_a_source_full_of_mistakes_gives_a_hundred_of_them() -> None:
    body = "on every 1s\n" + "".join(f"let x{number} = unknown_{number}\n" for number in range(5_000))
    assert len(compile_rule(wrapped(body), name="x").diagnostics) == 100


def test_a_large_rule_is_refused_for_its_size_alone() -> None:
    body = "state n: int\non every 1s\n" + "n = n + 1\n" * 20_000
    (found,) = compile_rule(wrapped(body), name="x").diagnostics
    assert found.code == "EF0503"
