"""What compiled rules do: every construct, run on the interpreter and on the fast path."""

from __future__ import annotations

import math

import pytest

from eyeflow.svm.execution import Outcome
from eyeflow.svm.numbers import INT_MAX, INT_MIN
from eyeflow.svm.opcodes import Op, Trap
from generators.running import SECOND_US, Runner, compiled

DECLARED = """
enum Mode { OFF, HEAT, COOL }
record Part { weight: float, count: int = 3, mode: Mode }
param n: int = 3
param x: float = 2.5
param d: duration = 90s
param flag: bool = true
param name: text(20) = "grün"
param mode: Mode = COOL
const LIMIT = 2 * 21
state ints: list(int, 4) = [4, 1, 3]
state floats: list(float, 3)
state times: list(duration, 2) = [1s, 2s]
state part: Part = Part(weight: 1.5, mode: HEAT)
state parts: list(Part, 2) = [Part(weight: 2.5, mode: OFF)]
"""

VALUES = [
    ("int", "n + 4 * 2 - 1", 10),
    ("int", "(n + 4) * -2", -14),
    ("int", "-7 / n", -2),
    ("int", "-7 % n", -1),
    ("int", "n & 6 | 8 ^ 1", 11),
    ("int", "n << 4 >> 1", 24),
    ("int", "abs(-n) + min(n, 2, 9) + max(1, n)", 8),
    ("int", "clamp(n, 5, 9)", 5),
    ("int", "int(x * 2.0) + int(-2.7)", 3),
    ("int", "len(name) + len(ints) + len(floats) + len([1, 2])", 9),
    ("int", "LIMIT + 0x10 + 0b11", 61),
    ("int", "sum(ints) * 100 + min(ints) * 10 + max(ints)", 814),
    ("int", "ints[n - 1]", 3),
    ("int", "parts[0].count + part.count", 6),
    ("int", "if n > 2 then n else 0 - n", 3),
    ("int", "if n > 5 then ints[9 - n] else 7", 7),
    ("int", "int(d / 1s)", 90),
    ("int", "weekday()", 4),
    ("float", "x * 2 + 1 - 0.5", 5.5),
    ("float", "x / 0", math.inf),
    ("float", "-x", -2.5),
    ("float", "floor(x) + ceil(x) * 10.0 + round(x) * 100.0 + sqrt(16.0) * 1000.0", 4332.0),
    ("float", "float(n) / 2.0", 1.5),
    ("float", "in_seconds(d)", 90.0),
    ("float", "d / 1min", 1.5),
    ("float", "mean(ints)", 8 / 3),
    ("float", "sum(floats)", 0.0),
    ("float", "max([x, 1, 3])", 3.0),
    ("float", "clamp(x, 0, 1)", 1.0),
    ("float", "abs(0.0 - x)", 2.5),
    ("float", "parts[len(parts) - 1].weight", 2.5),
    ("duration", "d + 1min30s - 1s", 179 * SECOND_US),
    ("duration", "d * 2 / 4", 45 * SECOND_US),
    ("duration", "2 * d % 100s", 80 * SECOND_US),
    ("duration", "seconds(x)", 2_500_000),
    ("duration", "sum(times) + max(times)", 5 * SECOND_US),
    ("duration", "now()", 0),
    ("duration", "time_of_day()", 0),
    ("bool", "n > 2 and x < 2.6 and not is_nan(x)", True),
    ("bool", "n == 4 or flag and name == \"grün\"", True),
    ("bool", "mode == COOL and mode != HEAT and part.mode == Mode.HEAT", True),
    ("bool", "x != x or is_nan(x / x - x / x * 0.0 / 0.0)", True),
    ("bool", "d >= 90s and d <= 1min30s and d > 1s and not (d < 1s)", True),
    ("bool", "contains(name, \"rü\") and starts_with(name, \"gr\") and not contains(name, \"ru\")", True),
    ("bool", "flag == (n == 3)", True),
    ("Mode", "if flag then mode else HEAT", 2),
    ("text(200)", "\"{n} {x} {x:0} {d} {flag} {mode} {name}\\{\"", "3 2.5 2 90s true COOL grün{"),
    ("text(99)", "name + \"-\" + text(n) + text(-1.0)", "grün-3-1.0"),
    ("text(99)", "truncate(name, 3)", "gr"),
    ("text(99)", "if n == 3 then \"three\" else \"other\"", "three"),
    ("text(99)", "text(parts[0].mode) + text(1h30min)", "OFF90min"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text", "expected"), VALUES, ids=[text for _, text, _ in VALUES])
def test_expression(kind: str, text: str, expected: object) -> None:
    run = Runner(f"{DECLARED}state out: {kind}\non every 1s\nout = {text}")
    assert run.step().trap is None
    assert run.state("out") == expected
    assert type(run.state("out")) is type(expected)


TRAPS = [
    (f"n + {INT_MAX}", Trap.INT_OVERFLOW),
    (f"-(n + {INT_MIN} - n)", Trap.INT_OVERFLOW),
    ("7 / (n - 3)", Trap.DIV_BY_ZERO),
    ("int(x * 1e300)", Trap.CONVERT_RANGE),
    ("ints[n]", Trap.INDEX_RANGE),
    ("ints[n - 4]", Trap.INDEX_RANGE),
    ("1 << (n * 30)", Trap.SHIFT_RANGE),
    ("int(min(floats))", Trap.INDEX_RANGE),
    ("int(mean(floats))", Trap.INDEX_RANGE),
]


@pytest.mark.parametrize(("text", "trap"), TRAPS, ids=[text for text, _ in TRAPS])
def test_trap_changes_nothing(text: str, trap: Trap) -> None:
    run = Runner(f'{DECLARED}state before: int\nstate out: int\non every 1s\nbefore = 1\nlog.info("x")\nout = {text}')
    execution = run.step()
    assert execution.trap is not None and execution.trap.code == trap
    assert (run.state("before"), list(execution.actions)) == (0, [])


STATEMENTS = [
    ("let a = n\nvar b = a\nb = b + 1\nout = b", 4),
    ("if n > 5 {\nout = 1\n} else if n > 2 {\nout = 2\n} else {\nout = 3\n}", 2),
    ("if n > 5 {\nout = 1\n}", 0),
    ("if n > 2 {\n} else {\nout = 1\n}", 0),
    ("match mode {\nOFF => { out = 1 }\nHEAT => { out = 2 }\nCOOL => { out = 3 }\n}", 3),
    ("match mode {\nHEAT, COOL => { out = 1 }\nelse => { out = 2 }\n}", 1),
    ("for i in ints {\nout = out * 10 + i\n}", 413),
    ("for i in -1..3 {\nout = out * 10 + i\n}", -1000 + 10 + 2),
    ("for i in n..n + 2 max 5 {\nout = out * 10 + i\n}", 34),
    ("for i in n..0 max 5 {\nout = 1\n}", 0),
    ("for i in 0..3 {\nfor j in ints {\nif j == 3 {\nout = out + i\n}\n}\n}", 3),
    ("for p in parts {\nout = out + p.count\n}", 3),
    ("for i in [1, n, 5] {\nout = out * 10 + i\n}", 135),
    ("append(ints, 7)\nfor i in ints {\nout = out * 10 + i\n}", 4137),
    ("clear(ints)\nout = len(ints)", 0),
    ("ints[1] = 9\nout = sum(ints)", 16),
    ("append(parts, Part(weight: 2.0, count: 8, mode: COOL))\nout = parts[0].count * 10 + parts[1].count", 38),
    ("parts[0] = part\nparts[0].count = 5\nout = part.count * 10 + parts[0].count", 35),
    ("var l: list(int, 4) = ints\nl[0] = 100\nout = ints[0] * 1000 + l[0]", 4100),
    ("ints = [ints[2], ints[1], ints[0]]\nfor i in ints {\nout = out * 10 + i\n}", 314),
    ("part = Part(part.weight, part.count + 1, mode)\nout = part.count", 4),
    ("let p = if flag then parts[0] else part\nout = p.count", 3),
    ("let l = if flag then [1, 2] else [3]\nfor i in l {\nout = out * 10 + i\n}", 12),
    ("var p = part\np.count = 9\nout = part.count", 3),
    ("for p in parts {\nfor q in parts {\nout = out + p.count * q.count\n}\n}", 9),
]


@pytest.mark.parametrize(("text", "expected"), STATEMENTS, ids=[text for text, _ in STATEMENTS])
def test_statement(text: str, expected: int) -> None:
    run = Runner(f"{DECLARED}state out: int\non every 1s\n{text}")
    assert run.step().trap is None
    assert run.state("out") == expected


def test_lists_trap_when_full_and_loops_above_their_bound() -> None:
    full = Runner(DECLARED + "on every 1s\nappend(times, 1s)").step()
    assert full.trap is not None and full.trap.code == Trap.LIST_FULL
    bound = Runner(DECLARED + "state out: int\non every 1s\nfor i in 0..n max 2 {\nout = i\n}").step()
    assert bound.trap is not None and bound.trap.code == Trap.LOOP_BOUND


# --- time words ----------------------------------------------------------------------------------------------------

EVENTS = 'record E { c: bool, x: float }\non event "e" as e: E\n'


def outputs(body: str, rows: list[tuple[float, bool, float]]) -> list[object]:
    """Feed (seconds, c, x) and return the state `out` after each."""
    run = Runner("state out: " + body)
    found = []
    for seconds, c, x in rows:
        assert run.step(round(seconds * SECOND_US), c, x).trap is None
        found.append(run.state("out"))
    return found


def test_hold_cooldown_and_their_chain() -> None:
    rows = [(t, t != 3, 0.0) for t in range(8)]
    held = outputs(f"bool\n{EVENTS}out = e.c for 2s", rows)
    assert held == [False, False, True, False, False, False, True, True]
    cool = outputs(f"bool\n{EVENTS}out = e.c cooldown 2s", rows)
    assert cool == [True, False, True, False, True, False, True, False]
    both = outputs(f"bool\n{EVENTS}out = e.c and true for 1s cooldown 10s", rows)
    assert both == [False, True, False, False, False, False, False, False]


def test_edges() -> None:
    rows = [(t, c, 0.0) for t, c in enumerate([True, True, False, False, True])]
    assert outputs(f"bool\n{EVENTS}out = e.c rises", rows) == [True, False, False, False, True]
    assert outputs(f"bool\n{EVENTS}out = e.c falls", rows) == [False, False, True, False, False]


@pytest.mark.parametrize(
    ("operator", "values", "expected"),
    [
        (">", [9, 10, 10.5, 9, 8, 7.9, 9, 11], [0, 0, 1, 1, 0, 0, 0, 1]),
        (">=", [9, 10, 9, 8, 7.9, 9, 10], [0, 1, 1, 1, 0, 0, 1]),
        ("<", [11, 10, 9, 11, 12, 11, 9], [0, 0, 1, 1, 0, 0, 1]),
        ("<=", [11, 10, 11, 12, 12.1, 11, 10], [0, 1, 1, 1, 0, 0, 1]),
    ],
)
def test_hysteresis(operator: str, values: list[float], expected: list[int]) -> None:
    rows = [(number, False, float(value)) for number, value in enumerate(values)]
    found = outputs(f"bool\n{EVENTS}out = e.x {operator} 10.0 hysteresis 2.0", rows)
    assert found == [bool(one) for one in expected]


def test_windows() -> None:
    rows = [(t, t % 2 == 0, float(t * t)) for t in range(6)]
    assert outputs(f"float\n{EVENTS}out = mean(e.x, last 3s max 9)", rows) == [0, 0.5, 5 / 3, 14 / 3, 29 / 3, 50 / 3]
    assert outputs(f"float\n{EVENTS}out = max(e.x, last 2)", rows) == [0, 1, 4, 9, 16, 25]
    assert outputs(f"float\n{EVENTS}out = min(e.x, last 2)", rows) == [0, 0, 1, 4, 9, 16]
    assert outputs(f"float\n{EVENTS}out = sum(e.x, last 10s max 3)", rows) == [0, 1, 5, 14, 29, 50]
    assert outputs(f"float\n{EVENTS}out = rate(e.x, last 3)", rows) == [0, 1, 2, 4, 6, 8]
    assert outputs(f"int\n{EVENTS}out = count(e.c, last 4s max 9)", rows) == [1, 1, 2, 2, 2, 2]


def test_window_of_a_period_has_room_for_all_its_samples() -> None:
    program = compiled('on every 500ms\nlog.info("{mean(adc.read_channel(0), last 2200ms)}")')
    assert program.timers[0].capacity == 6


def test_time_words_start_anew_where_nobody_looked() -> None:
    body = f"bool\n{EVENTS}out = false\nif e.x > 0.0 {{\nout = e.c for 2s\n}}"
    rows = [(0, True, 1.0), (1, True, 1.0), (2, True, 1.0), (3, True, 0.0), (4, True, 1.0), (6, True, 1.0)]
    assert outputs(body, rows) == [False, False, True, False, False, True]


def test_time_words_start_anew_in_each_other_arm_of_a_match() -> None:
    body = """
enum Mode { A, B, C }
state out: bool
record E { mode: Mode }
on event "e" as e: E
match e.mode {
    A => { out = true rises }
    B => { out = true rises }
    else => { out = false }
}
"""
    run, found = Runner(body), []
    for mode in (0, 0, 1, 0, 2, 0, 1, 1):
        run.step(0, mode)
        found.append(run.state("out"))
    assert found == [True, False, True, True, False, True, True, False]


def test_the_right_side_with_a_time_word_is_always_evaluated() -> None:
    body = f"bool\n{EVENTS}out = e.x > 0.0 and (e.c for 2s)"
    rows = [(0, True, 0.0), (1, True, 0.0), (2, True, 1.0)]
    assert outputs(body, rows) == [False, False, True]
    chosen = f"bool\n{EVENTS}out = if e.x > 0.0 then e.c for 2s else e.c for 1s"
    assert outputs(chosen, rows) == [False, True, True]


def test_and_or_and_then_evaluate_only_what_they_need() -> None:
    run = Runner("param n: int = 0\nstate out: bool\non every 1s\nout = n != 0 and 7 / n > 1 or n == 0 or 7 / n > 1")
    assert run.step().trap is None
    assert run.state("out") is True
    reads = Runner("param n: int = 0\nstate out: float\non every 1s\nout = if n == 1 then adc.read_channel(0) else 5")
    assert len(reads.step().answers) == 0


# --- the world -----------------------------------------------------------------------------------------------------


def test_failing_reads_do_as_declared() -> None:
    body = "state keep: float = 7.0\nstate out: float\non every 1s\nlet x = adc.read_channel(0){}\nout = x"
    failing = {"adc.read_channel": None}
    assert Runner(body.format("")).step(reads=failing).outcome is Outcome.TRAPPED
    assert Runner(body.format(" else skip")).step(reads=failing).outcome is Outcome.SKIPPED
    for answer, expected in ((" retry 3 else 4", 4.0), (" else keep", 7.0), (" else -1.5", -1.5)):
        run = Runner(body.format(answer))
        assert run.step(reads=failing).outcome is Outcome.OK
        assert run.state("out") == expected
        run.step(reads={"adc.read_channel": 12.0})
        assert run.state("out") == 12.0


def test_sites_carry_what_the_call_declares() -> None:
    program = compiled(
        "enum Label { GOOD, BAD }\npin LAMP: output\npin OTHER: output\non every 1s\n"
        'let l = llm.classify("text", Label, "which?") retry 2 timeout 5s else BAD\n'
        'let c = llm.complete(prompt: "say", max: 50) timeout 1min\n'
        'mqtt.publish("a", "{l} {c}", qos: 0) retry 5 backoff 1s else skip\ngpio.set_pin(OTHER, HIGH)\ngpio.set_pin(LAMP, LOW)'
    )
    classify, complete, publish, other, _ = program.sites
    assert (classify.retries, classify.timeout_us, classify.on_failure.name) == (2, 5 * SECOND_US, "FALLBACK")
    assert classify.result is not None and classify.result.members == ("GOOD", "BAD")
    assert [name for name, _ in classify.args] == ["text", "instruction"]
    assert complete.result is not None and complete.result.size == 50
    assert (publish.retries, publish.backoff_us, publish.on_failure.name) == (5, SECOND_US, "SKIP")
    assert [name for name, _ in publish.args] == ["topic", "payload", "retain", "qos"]
    assert (other.resource, other.level) == ("gpio/{pin}", True)


def test_actions_and_events_come_in_order() -> None:
    run = Runner(
        "pin A: output\npin B: output\non every 1s\nlet t = adc.read_channel(3)\ngpio.set_pin(B, HIGH)\n"
        'emit hot(temp: t, level: HIGH, note: "n{t:1}")\ngpio.set_pin(A, if t > 1.0 then HIGH else LOW)\nmqtt.publish("x", "y")'
    )
    execution = run.step(reads={"adc.read_channel": 2.0})
    assert run.acted(execution) == [
        ("gpio.set_pin", 1, 1), ("hot", 2.0, 1, "n2.0"), ("gpio.set_pin", 0, 1), ("mqtt.publish", "x", "y", False, 1)
    ]  # fmt: skip
    assert run.emitted(execution) == [("hot", 2.0, 1, "n2.0")]


def test_handlers_share_state_and_have_their_own_payload() -> None:
    run = Runner(
        "record H { cpu_percent: float }\nrecord A { v: int }\nrecord B { name: text(8), v: list(int, 3) = [9] }\n"
        'pin DOOR: input\nstate out: int\non event "a" as a: A {\nout = a.v\n}\n'
        'on mqtt "t/#" as b: B key name {\nout = out + sum(b.v)\nlog.info(b.name)\n}\n'
        'on gpio DOOR rises {\nout = 0\n}\non cron "0 6 * * *" {\nout = -1\n}\n'
        "on host every 2s as h: H {\nout = int(h.cpu_percent)\n}\n"
    )
    triggers = run.program.triggers
    assert [(one.source, one.address, one.key) for one in triggers] == [
        ("event", "a", None), ("mqtt", "t/#", 0), ("gpio", "DOOR rises", None), ("", "0 6 * * *", None), ("host", "", None)
    ]  # fmt: skip
    assert triggers[1].fields[1].default == (1, 9, 0, 0)
    run.step(0, 5)
    run.step(1, "x", 2, 10, 20, 0, trigger=1)
    assert run.state("out") == 35
    run.step(2, trigger=2)
    assert run.state("out") == 0
    run.step(3, 42.5, trigger=4)
    assert run.state("out") == 42


def test_local_time() -> None:
    run = Runner("state day: int\nstate time: duration\non every 1s\nday = weekday()\ntime = time_of_day()")
    run.step(1_772_344_800 * SECOND_US, utc_offset_us=3600 * SECOND_US)
    assert (run.state("day"), run.state("time")) == (7, 7 * 3600 * SECOND_US)
    run.step(0, utc_offset_us=-3600 * SECOND_US)
    assert (run.state("day"), run.state("time")) == (3, 23 * 3600 * SECOND_US)


def test_locals_share_slots_and_constants_stand_once() -> None:
    program = compiled(
        "state out: float\non every 1s {\nlet a = adc.read_channel(0)\nout = a * 1234.5\nlet b = adc.read_channel(1)\nout = b * 1234.5\n}\n"
        "on every 2s {\nlet c = adc.read_channel(2)\nout = c + 1234.5\n}"
    )
    assert program.regions.locals == 1
    assert program.constants == (1234.5,)
    assert all(word.opcode != Op.JUMP for word in program.code)


def test_two_enums_with_shared_names_print_right() -> None:
    run = Runner(
        "enum A { X, Y, Z }\nenum B { Z, Y, X }\nparam a: A = Y\nparam b: B = Z\nstate out: text(9)\non every 1s\n"
        'out = "{a} {b} X"'
    )
    run.step()
    assert run.state("out") == "Y Z X"
