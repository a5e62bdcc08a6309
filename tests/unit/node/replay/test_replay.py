"""`eyeflow run`: decisions from recordings, in the recording's own time, with every bad row counted and named."""

from __future__ import annotations

import io
import json
import tracemalloc
from collections.abc import Mapping
from datetime import timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eyeflow.base.errors import EyeflowError
from eyeflow.compiler.compile import compile_rule
from eyeflow.node.io.adc.driver import AdcDriver
from eyeflow.node.io.adc.settings import AdcConfig
from eyeflow.node.io.ports import Driver
from eyeflow.node.replay.event_files import EventRows, TimeSource, open_events
from eyeflow.node.replay.reads import parse_read
from eyeflow.node.replay.replay import ActionRecord, Repeats, Replay, ReplayOptions
from eyeflow.svm.verify import Verified, verify

READING = """
    record Reading { temp: float, room: text(8) = "hall" }
    pin RELAY: output
    param limit: float = 80.0
    on event "r" as reading: Reading
    if reading.temp > limit for 2s {
        gpio.set_pin(RELAY, HIGH)
        emit hot(temp: reading.temp)
    } else {
        gpio.set_pin(RELAY, LOW)
    }
"""
POLLING = """
    pin FAN: output
    state n: int = 0
    on every 1s
    n = n + 1
    let level = if adc.read_channel(0) > 50.0 then HIGH else LOW
    gpio.set_pin(FAN, level)
"""


def program(body: str) -> Verified:
    result = compile_rule(f'rule r {{\n    version "1.0.0"\n{body}\n}}\n', name="r.eye")
    assert result.program is not None, [diagnostic.message for diagnostic in result.diagnostics]
    return verify(result.program)


def events(text: str | bytes, times: TimeSource | None = None) -> EventRows:
    data = text.encode() if isinstance(text, str) else text
    return open_events(None, io.BytesIO(data), times)


def replay(
    body: str, text: str | bytes, options: ReplayOptions | None = None, drivers: Mapping[str, Driver] | None = None
) -> tuple[list[ActionRecord], Replay]:
    run = Replay(program(body), events(text), options, drivers)
    return list(run.run()), run


CSV = "timestamp,temp\n" + "".join(
    f"2026-03-01T00:00:0{second}Z,{temp}\n" for second, temp in enumerate([70, 81, 82, 83, 84, 79, 78])
)


def test_the_actions_of_a_recording_with_time_place_and_arguments() -> None:
    actions, run = replay(READING, CSV)
    start = 1_772_323_200_000_000
    assert actions == [
        ActionRecord(start, 1, "r", "gpio.set_pin", {"pin": "RELAY", "level": "LOW"}, 12, 1, False),
        ActionRecord(start + 3_000_000, 4, "r", "gpio.set_pin", {"pin": "RELAY", "level": "HIGH"}, 9, 4, False),
        ActionRecord(start + 3_000_000, 4, "r", "hot", {"temp": 83.0}, 10, 4, True),
        ActionRecord(start + 4_000_000, 5, "r", "hot", {"temp": 84.0}, 10, 5, True),
        ActionRecord(start + 5_000_000, 6, "r", "gpio.set_pin", {"pin": "RELAY", "level": "LOW"}, 12, 6, False),
    ]
    summary = run.summary
    assert (summary.events, summary.executions, summary.actions, summary.emits, summary.repeated) == (7, 7, 3, 2, 4)
    assert summary.duration_us == 6_000_000
    assert json.loads(json.dumps(summary.to_json()))["durationUs"] == 6_000_000


def test_repeated_levels_are_shown_on_request() -> None:
    actions, run = replay(READING, CSV, ReplayOptions(repeats=Repeats.SHOW))
    assert [a.arguments["level"] for a in actions if not a.is_event] == ["LOW"] * 3 + ["HIGH"] * 2 + ["LOW"] * 2
    assert run.summary.repeated == 0


def test_parameters_and_defaults_of_fields() -> None:
    actions, _run = replay(READING, CSV, ReplayOptions(params={"limit": 100.0}))
    assert [a.arguments for a in actions] == [{"pin": "RELAY", "level": "LOW"}]


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + CSV,
        CSV.replace("\n", "\r\n"),
        CSV.replace(",", ";"),
        CSV.replace(",", "\t"),
        CSV.replace("temp\n", '"temp"\n').replace(",82", ',"82"'),
        "\n\n" + CSV,
        CSV + "\n\n",
        CSV.replace("Z,", "+00:00,"),
        CSV.replace("T", " ").replace("Z", ""),
        CSV.replace("2026-03-01T00:00:0", "177232320").replace("Z", ""),
        CSV.replace("2026-03-01T00:00:0", "177232320").replace("Z", "000"),
        CSV.replace("2026-03-01T00:00:0", "177232320").replace("Z", ".0"),
        "".join(
            json.dumps({"timestamp": row.split(",")[0], "temp": float(row.split(",")[1]), "other": [1]}) + "\n"
            for row in CSV.splitlines()[1:]
        ),
        "".join(f'{{"timestamp": {1772323200 + i}, "temp": {t}}}\n' for i, t in enumerate([70, 81, 82, 83, 84, 79, 78])),
        "".join(f'{{"timestamp": {1772323200000 + i * 1000}, "temp": {t}}}\n\n' for i, t in enumerate([70, 81, 82, 83, 84, 79, 78])),
    ],
)  # fmt: skip
def test_every_way_to_write_the_same_recording_gives_the_same_decisions(text: str) -> None:
    actions, run = replay(READING, text)
    assert actions == replay(READING, CSV)[0]
    assert not run.summary.rejected


def test_bad_rows_are_rejected_with_line_and_reason_and_lose_nothing_else() -> None:
    text = (
        "timestamp,temp,room\n2026-03-01T00:00:00Z,70,hall\nsoon,71,hall\n2026-03-01T00:00:02Z,warm,hall\n"
        "2026-03-01T00:00:03Z,72\n2026-03-01T00:00:04Z,,hall\n2026-03-01T00:00:05Z,73,a room with a long name\n"
        '2026-03-01T00:00:06Z,"7"4,hall\n1960-01-01T00:00:00Z,75,hall\n2026-03-01T00:00:07Z,76,"two\nlines"\n'
        "2026-03-01T00:00:08Z,77,hall\n"
    )
    _actions, run = replay(READING, text)
    summary = run.summary
    assert (summary.events, summary.executions, summary.rejected_count) == (10, 2, 8)
    shown = [(example.line, example.reason) for example in summary.rejected_examples]
    assert [line for line, _reason in shown] == [3, 4, 5, 6, 7]
    for (_line, reason), part in zip(shown, ["no time", '"warm"', "2 cells", "nothing", "long name"], strict=True):
        assert part in reason
    assert any("not CSV" in reason for reason in summary.rejected)
    assert sum(summary.rejected.values()) == 8


def test_bad_json_lines_are_rejected() -> None:
    good = '{"timestamp": 1, "temp": 5.0}\n'
    bad = ["not json", "[1]", '{"temp": 1.0}', '{"timestamp": true, "temp": 1.0}', '{"timestamp": 2, "temp": "5"}',
           '{"timestamp": 2, "temp": NaN}', '{"timestamp": 1e400, "temp": 1.0}', "{" * 100_000, '{"timestamp": 2}']  # fmt: skip
    _actions, run = replay(READING, good + "\n".join(bad) + "\n" + good)
    assert (run.summary.executions, run.summary.rejected_count) == (2, len(bad))
    assert [example.line for example in run.summary.rejected_examples] == [2, 3, 4, 5, 6]


def test_reasons_are_grouped_so_that_memory_stays_flat() -> None:
    rows = "".join(f"{i},text{i}\n" for i in range(5000))
    _actions, run = replay(READING, "timestamp,temp\n" + rows)
    assert list(run.summary.rejected.values()) == [5000]


def test_memory_does_not_grow_with_the_number_of_events(tmp_path: Path) -> None:
    verified = program(READING)

    def peak_bytes(count: int) -> int:
        path = tmp_path / "events.csv"
        with path.open("w") as file:
            file.write("timestamp,temp\n")
            file.writelines(f"{i},{60 + i % 40}\n" for i in range(count))
        tracemalloc.start()
        run = Replay(verified, open_events(path))
        for _action in run.run():
            pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert run.summary.events == count
        return peak

    assert peak_bytes(40_000) < 1.2 * peak_bytes(4_000)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("timestamp,tmep\n1,2\n", "has no column `temp`", "Did you mean `tmep`?"),
        ("time,temp\n1,2\n", "has no column `timestamp`", "Did you mean `time`? Add --timestamp time."),
        ("timestamp,x\n1,2\n", "has no column `temp`", "Add a column `temp`"),
        ("timestamp,temp,temp\n1,2,3\n", "two columns named `temp`", "Rename"),
        ("", "has no events", "CSV file with a header"),
        ("\n \n", "has no events", ""),
        (b"timestamp,temp\n1,2\n\xff\xfe,3\n", "is not UTF-8", "iconv"),
        (b"\xff\xfet\x00", "has no column `timestamp`", "with --timestamp COLUMN, or give --period 1s"),
        (b"\xff\xfet\x00\x00", "is not UTF-16", "UTF-8"),
        ("[{}]\n", "is one JSON list", "jq"),
        ("sep=;\n", "has no header", "names of the columns"),
        ("sep=;\n\n \n", "has no header", "names of the columns"),
        ('sep="\ntimestamp"temp\n1"2\n', "has no column `timestamp`", "--timestamp"),
    ],
)
def test_a_recording_that_cannot_be_used_is_one_clear_error(text: str | bytes, message: str, hint: str) -> None:
    with pytest.raises(EyeflowError) as caught:
        replay(READING, text)
    assert message in caught.value.message
    assert hint in caught.value.next_step
    assert caught.value.cause


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.csv", tmp_path):
        with pytest.raises(EyeflowError, match="cannot read the events"):
            open_events(path)


def test_a_stream_of_somebody_else_stays_open_and_a_file_does_not(tmp_path: Path) -> None:
    stream = io.BytesIO(CSV.encode())
    actions = Replay(program(READING), open_events(None, stream)).run()
    next(actions)
    actions.close()  # type: ignore[attr-defined]
    assert not stream.closed
    path = tmp_path / "events.csv"
    path.write_text(CSV)
    stopped = Replay(program(READING), open_events(path)).run()
    next(stopped)
    stopped.close()  # type: ignore[attr-defined]


def test_a_byte_that_is_not_utf8_far_in_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_bytes(b"timestamp,temp\n" + b"1,2\n" * 50_000 + b"1,\xe4\n")
    run = Replay(program(READING), open_events(path))
    with pytest.raises(EyeflowError, match="is not UTF-8") as caught:
        list(run.run())
    assert "at or after line" in caught.value.cause
    assert run.summary.executions > 10_000


def test_times_without_a_column() -> None:
    rows = events("temp\n70\n90\n90\n90\n", TimeSource(period_us=1_000_000, start_us=5_000_000))
    run = Replay(program(READING), rows)
    assert [action.time_us for action in run.run() if not action.is_event] == [5_000_000, 8_000_000]


def test_events_out_of_order_get_the_last_time_and_are_counted() -> None:
    _actions, run = replay(READING, "timestamp,temp\n10,1\n5,1\n20,1\n")
    assert run.summary.out_of_order == 1
    assert run.summary.duration_us == 10_000_000


# --- timers, reads and edges ---


def levels(actions: list[ActionRecord]) -> list[tuple[float, object]]:
    return [(action.time_us / 1e6, action.arguments["level"]) for action in actions]


def test_timers_fire_in_event_time_with_the_reads_of_their_moment() -> None:
    actions, run = replay(POLLING, "timestamp,adc.read_channel(0)\n10,40\n13.5,60\n15,40\n")
    assert levels(actions) == [(10.0, "LOW"), (14.0, "HIGH"), (15.0, "LOW")]
    assert (run.summary.events, run.summary.executions) == (3, 6)
    assert [action.event for action in actions] == [1, 2, 3]


@pytest.mark.parametrize("read", ["adc.read_channel(0)=value", " adc.read_channel( 0 ) = value "])
def test_reads_from_a_named_column(read: str) -> None:
    actions, _run = replay(POLLING, "timestamp,value\n1,40\n2,60\n", ReplayOptions(reads=[parse_read(read)]))
    assert levels(actions) == [(1.0, "LOW"), (2.0, "HIGH")]


def test_reads_from_a_constant_a_json_field_and_a_driver() -> None:
    constant = ReplayOptions(reads=[parse_read("adc.read_channel(0)=99.5")])
    assert levels(replay(POLLING, "timestamp,x\n1,0\n", constant)[0]) == [(1.0, "HIGH")]
    lines = '{"timestamp": 1, "v": 99}\n{"timestamp": 2}\n{"timestamp": 3, "v": 1}\n'
    field = ReplayOptions(reads=[parse_read("adc.read_channel(0)=v")])
    assert levels(replay(POLLING, lines, field)[0]) == [(1.0, "HIGH"), (3.0, "LOW")]
    driver = AdcDriver(AdcConfig({0: 99}))
    assert levels(replay(POLLING, "timestamp,x\n1,0\n", drivers={"adc": driver})[0]) == [(1.0, "HIGH")]


def test_an_empty_cell_makes_the_read_fail() -> None:
    actions, run = replay(POLLING, "timestamp,adc.read_channel(0)\n1,60\n2,\n3,fails\n4,40\n")
    assert levels(actions) == [(1.0, "HIGH"), (4.0, "LOW")]
    assert run.summary.traps == {("CAPABILITY_FAILED", 8): 2}
    assert run.summary.failed_reads == {"adc.read_channel(0)": 2}


def test_text_in_a_read_column_is_a_rejected_event_and_the_last_value_stays() -> None:
    actions, run = replay(POLLING, "timestamp,adc.read_channel(0)\n1,60\n2,warm\n3,60\n")
    assert levels(actions) == [(1.0, "HIGH")]
    assert run.summary.rejected_count == 1
    assert "adc.read_channel(0)" in run.summary.rejected_examples[0].reason


@pytest.mark.parametrize(
    ("reads", "code"),
    [
        ((), "read_unanswered"),
        (("adc.read_chanel(0)=value",), "bad_read"),
        (("adc.read_channel(0)=vlaue",), "bad_read"),
        (("adc.read_channel(x)=value",), "bad_read"),
        (("adc.read_channel()=value",), "bad_read"),
    ],
)
def test_a_read_without_an_answer_stops_before_the_first_event(reads: tuple[str, ...], code: str) -> None:
    with pytest.raises(EyeflowError) as caught:
        replay(POLLING, "timestamp,value\n1,40\n", ReplayOptions(reads=[parse_read(read) for read in reads]))
    assert caught.value.code == code
    assert caught.value.next_step


@pytest.mark.parametrize("text", ["", "x", "adc.read_channel(0)", "adc.read_channel(0)=", "read(0)=x", "=x"])
def test_a_mapping_that_is_none(text: str) -> None:
    with pytest.raises(EyeflowError, match="does not say what answers"):
        parse_read(text)


def test_pin_columns_make_edges_and_answer_reads() -> None:
    body = """
    pin DOOR: input
    pin LAMP: output
    on gpio DOOR changes
    gpio.set_pin(LAMP, gpio.read_pin(DOOR))
    """
    actions, run = replay(body, "timestamp,gpio.read_pin(DOOR)\n1,LOW\n2,HIGH\n3,HIGH\n4,LOW\n")
    assert levels(actions) == [(2.0, "HIGH"), (4.0, "LOW")]
    assert run.summary.executions == 2


def test_local_time_follows_the_zone() -> None:
    body = """
    on cron "0 6 * * *" { log.info("{time_of_day()}") }
    """
    text = "timestamp\n2026-03-01T00:00:00Z\n2026-03-02T00:00:00Z\n"
    for hours, utc_hour in ((0, 6), (2, 4)):
        actions, _run = replay(body, text, ReplayOptions(zone=timezone(timedelta(hours=hours))))
        assert [(action.time_us // 3_600_000_000 % 24, action.arguments["message"]) for action in actions] == [
            (utc_hour, "6h")
        ]


def test_which_handler_gets_the_rows() -> None:
    body = """
    record A { a: float }
    record B { b: float, c: float = 0.0 }
    on event "a" as one: A { log.info("a") }
    on event "b" as two: B { log.info("b") }
    """
    assert [a.arguments["message"] for a in replay(body, "timestamp,b\n1,2\n")[0]] == ["b"]
    both = "timestamp,a,b\n1,2,3\n"
    assert [a.arguments["message"] for a in replay(body, both, ReplayOptions(trigger="one"))[0]] == ["a"]
    with pytest.raises(EyeflowError, match="2 handlers"):
        replay(body, both)
    with pytest.raises(EyeflowError, match="no handler whose event is called `x`"):
        replay(body, both, ReplayOptions(trigger="x"))


def test_traps_and_skips_are_counted() -> None:
    body = """
    record R { x: int }
    on event "e" as r: R
    log.info("{100 / r.x}")
    """
    actions, run = replay(body, "timestamp,x\n1,5\n2,0\n3,0\n")
    assert len(actions) == 1
    assert run.summary.traps == {("DIV_BY_ZERO", 6): 2}
    assert run.summary.to_json()["traps"] == [{"trap": "DIV_BY_ZERO", "line": 6, "count": 2}]


def test_speed_paces_by_event_time_and_can_be_cancelled() -> None:
    class StopError(Exception):
        pass

    waits: list[float] = []

    def pause(wait_s: float) -> None:
        waits.append(wait_s)
        if len(waits) == 3:
            raise StopError

    text = "timestamp,temp\n" + "".join(f"{second * 3600},1\n" for second in range(10))
    run = Replay(program(READING), events(text), ReplayOptions(speed=60.0), pause=pause)
    with pytest.raises(StopError):
        list(run.run())
    # Nothing really waits here, so each pause is counted from the beginning.
    assert [round(wait_s / 60) for wait_s in waits] == [1, 2, 3]
    assert run.summary.executions == 3


def test_the_same_recording_gives_the_same_decisions_twice() -> None:
    assert replay(READING, CSV)[0] == replay(READING, CSV)[0]


def held(limit: float, hold_us: int, samples: list[tuple[int, float]]) -> list[tuple[int, str]]:
    """The decisions of READING, written down a second time and in another way."""
    since: int | None = None
    last, changes = "", []
    for time_us, temp in samples:
        since = (time_us if since is None else since) if temp > limit else None
        level = "HIGH" if since is not None and time_us - since >= hold_us else "LOW"
        if level != last:
            changes.append((time_us, level))
        last = level
    return changes


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3_000_000), st.floats(75, 85, allow_nan=False)), min_size=1, max_size=40))
def test_a_replay_decides_as_a_model_of_the_rule_does(steps: list[tuple[int, float]]) -> None:
    samples, now_us = [], 1_772_323_200_000_000
    for step_us, temp in steps:
        now_us += step_us
        samples.append((now_us, temp))
    rows = "".join(f"{time_us},{temp!r}\n" for time_us, temp in samples)
    actions = [action for action in Replay(VERIFIED, events("timestamp,temp\n" + rows)).run() if not action.is_event]
    assert [(a.time_us, a.arguments["level"]) for a in actions] == held(80.0, 2_000_000, samples)


VERIFIED = program(READING)
