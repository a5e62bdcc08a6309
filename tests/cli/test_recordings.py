"""`eyeflow run` on recordings as they come from the field: odd times, numbers, separators, quotes, streams."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from .conftest import Command

FIELD = Path(__file__).with_name("field")


def test_milliseconds_since_1970_are_never_dates(eyeflow: Command) -> None:
    ran = eyeflow("run", FIELD / "ms-epoch.eye", "--events", FIELD / "ms-epoch.csv")
    assert ran.code == 0 and "rejected" not in ran.err and "7 executions" in ran.err
    assert ran.out.startswith("2023-11-27T21:59:45.959Z") and ran.out.splitlines()[-1].startswith("2027-01-27")


@pytest.mark.parametrize("name", ["non-finite.csv", "non-finite.jsonl"])
def test_a_number_is_finite_in_every_format(eyeflow: Command, name: str) -> None:
    ran = eyeflow("run", FIELD / "non-finite.eye", "--events", FIELD / name, "--json")
    rows = len((FIELD / name).read_text().splitlines()) - name.endswith("csv")
    assert f'"rejected": {rows}' in ran.out and '"executions": 0' in ran.out


@pytest.mark.parametrize(
    "option", ["x=nan", "x=inf", "x=-Infinity", "x=1e400", "d=1e400", "d=nan", "d=" + "9" * 30 + "d"]
)
def test_a_parameter_is_finite(eyeflow: Command, tmp_path: Path, option: str) -> None:
    rule = tmp_path / "p.eye"
    rule.write_text(
        'rule p {\n    param x: float = 1.0\n    param d: duration = 1s\n    on every 1s\n    if x > 1.0 for d { log.info("{x}") }\n}\n'
    )
    assert eyeflow("keys", "new").code == 0
    for command in (["run", rule, "--events", FIELD / "ms-epoch.csv"], ["deploy", rule, "--all", "--no-wait"]):
        ran = eyeflow(
            *command, "--param", option, env={"EYEFLOW_COORDINATOR": "http://127.0.0.1:9", "EYEFLOW_TOKEN": "x"}
        )
        assert ran.code in (2, 3) and "bug" not in ran.err, ran.err
        assert command[0] == "deploy" or f"--param {option[0]}: expected" in ran.err


def test_a_whole_number_is_exact_or_refused(eyeflow: Command) -> None:
    ran = eyeflow("run", FIELD / "big-int.eye", "--events", FIELD / "big-int.jsonl")
    assert "n=9007199254740993 " in ran.out and "9007199254740992 " not in ran.out
    assert "written without a point" in ran.err and "set_int_max_str_digits" not in ran.err


def test_a_wrong_time_ends_with_its_line_and_the_gap(eyeflow: Command) -> None:
    ran = eyeflow("run", FIELD / "wrong-time.eye", "--events", FIELD / "wrong-time.csv")
    assert ran.code == 1 and "line 4 of" in ran.err and "20513 days after the event before it" in ran.err
    assert "would fire" in ran.err and "split the recording" in ran.err


def test_a_quote_that_is_never_closed_costs_its_own_row(eyeflow: Command) -> None:
    ran = eyeflow("run", FIELD / "csv.eye", "--events", FIELD / "csv-unclosed.csv")
    assert "line 2: not CSV: a quote that is opened here is not closed" in ran.err and "2 executions" in ran.err
    assert '"3.0 n=0 ok"' in ran.out and '"99.0 n=0 ok"' in ran.out


def test_the_separator_is_told_by_the_columns_and_not_by_the_commas(eyeflow: Command) -> None:
    ran = eyeflow("run", FIELD / "csv.eye", "--events", FIELD / "csv-header.csv")
    assert ran.code == 0 and '"1.0 n=0 "' in ran.out, ran.err


CSV = 'timestamp,celsius,note\n2026-03-01 06:00:01,1,"a, b"\n2026-03-01 06:00:02,2,"two\nlines"\n'


@pytest.mark.parametrize(
    "data",
    [
        CSV.encode(),
        b"\xef\xbb\xbf" + CSV.encode(),
        CSV.encode("utf-16"),
        "\ufeff".encode("utf-16-be") + CSV.encode("utf-16-be"),
        gzip.compress(CSV.encode()),
        b"\n \r\n\n" + CSV.encode(),
        CSV.replace("\n", "\r\n").encode(),
        ("sep=,\n" + CSV).encode(),
        ("sep=,\r\n\r\n" + CSV).encode(),
        CSV.replace(",", "\t").replace("a\t", "a,").encode(),
        CSV.replace("timestamp,celsius,note", '"timestamp","celsius","note"').encode(),
    ],
    ids=["plain", "mark", "utf16", "utf16be", "gzip", "blank lines", "crlf", "sep", "sep and a blank line", "tabs", "quoted"],
)  # fmt: skip
def test_every_way_to_write_a_table(eyeflow: Command, tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(data)
    for arguments, stdin in ((["--events", str(path)], b""), (["--events", "-"], data)):
        ran = eyeflow("run", FIELD / "csv.eye", *arguments, stdin=stdin)
        assert ran.code == 0 and "2 executions" in ran.err and "rejected" not in ran.err, ran.err
        assert '"1.0 n=0 a, b"' in ran.out


@pytest.mark.parametrize(
    "data",
    [gzip.compress(CSV.encode(), mtime=0)[:-9], b"\x1f\x8b\x00", b"\x1f\x8b" + bytes(40)],
    ids=["cut off", "no more than its mark", "nothing behind its mark"],
)
def test_damaged_packing_is_one_clear_error(eyeflow: Command, tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.csv.gz"
    path.write_bytes(data)
    ran = eyeflow("run", FIELD / "csv.eye", "--events", path)
    assert ran.code == 1 and "gzip packing is damaged" in ran.err


def test_no_part_of_a_line_that_is_too_long_is_an_event(eyeflow: Command, tmp_path: Path) -> None:
    path = tmp_path / "x"
    tail = '{"timestamp": 2, "celsius": 666}'
    path.write_text(
        '{"timestamp": 1, "celsius": 1}\n{"x": "' + " " * (2**20 - 7) + tail + '\n{"timestamp": 3, "celsius": 3}\n'
    )
    ran = eyeflow("run", FIELD / "csv.eye", "--events", path)
    assert "2 executions" in ran.err and "line 2: a line of more than" in ran.err and "666" not in ran.out


STREAMS = """\
rule two {
    record Light { lux: float }
    record Door { open: bool }
    state seen: int = 0
    on event "light" as light: Light {
        seen = seen + 1
        log.info("light {light.lux} {seen}")
    }
    on mqtt "house/+/door" as door: Door {
        seen = seen + 1
        log.info("door {door.open} {seen}")
    }
}
"""


@pytest.fixture
def streams(tmp_path: Path) -> Path:
    rule = tmp_path / "two.eye"
    rule.write_text(STREAMS)
    (tmp_path / "light.csv").write_text("timestamp,lux\n10,1\n12,2\n14,3\n")
    (tmp_path / "door.csv").write_text("timestamp,open\n10,true\n11,false\n13,maybe\n15,true\n")
    return rule


SAID = ["light 1.0 1", "door true 2", "door false 3", "light 2.0 4", "light 3.0 5", "door true 6"]


def messages(out: str) -> list[str]:
    return [line.split('message: "')[1].split('"')[0] for line in out.splitlines()]


@pytest.mark.parametrize("door", ["door", "house/+/door", "house/hall/door"])
def test_several_recordings_go_to_their_handlers_in_one_order(eyeflow: Command, streams: Path, door: str) -> None:
    ran = eyeflow("run", streams, "--events", "light=light.csv", "--events", f"{door}=door.csv")
    assert messages(ran.out) == SAID, ran.err
    assert "door.csv line 4: field `open`" in ran.err, "of several recordings it says which"
    other = eyeflow("run", streams, "--events", f"{door}=door.csv", "--events", "light=light.csv")
    assert messages(other.out)[:2] == ["door true 1", "light 1.0 2"], "of equal times the first recording comes first"


@pytest.mark.parametrize("column", ["stream", "topic"])
def test_one_recording_of_several_streams(eyeflow: Command, streams: Path, tmp_path: Path, column: str) -> None:
    rows = [
        "10,light,1,",
        "10,house/hall/door,,true",
        "11,door,,false",
        "12,light,2,",
        "13,dor,,true",
        "14,light,3,",
        "15,house/a/door,,true",
    ]
    (tmp_path / "all.csv").write_text(f"timestamp,{column},lux,open\n" + "\n".join(rows) + "\n")
    option = ["--stream", column] if column != "stream" else []
    ran = eyeflow("run", streams, "--events", "all.csv", *option)
    assert messages(ran.out) == SAID, ran.err
    assert f"line 6: field `{column}`: expected a handler (door, light), got `dor`" in ran.err


def test_json_lines_of_several_streams(eyeflow: Command, streams: Path) -> None:
    lines = [
        '{"timestamp": 1, "stream": "light", "lux": 1}',
        '{"timestamp": 2, "stream": "door", "open": true}',
        '{"timestamp": 3, "lux": 1}',
    ]
    ran = eyeflow("run", streams, "--events", "-", stdin="\n".join(lines).encode())
    assert messages(ran.out) == ["light 1.0 1", "door true 2"] and "got nothing" in ran.err
    ran = eyeflow("run", streams, "--events", "-", stdin=lines[2].encode())
    assert ran.code == 2 and "2 handlers" in ran.err and "--events door=FILE" in ran.err


def test_a_recording_for_no_handler_is_refused(eyeflow: Command, streams: Path) -> None:
    ran = eyeflow("run", streams, "--events", "lihgt=light.csv")
    assert ran.code == 2 and "no handler `lihgt`" in ran.err and "Did you mean `light`" in ran.err
    mixed = eyeflow(
        "run", streams, "--events", "light=light.csv", "--events", "door=-", stdin=b'{"timestamp": 1, "open": true}\n'
    )
    assert mixed.code == 1 and "two formats" in mixed.err
    assert eyeflow("run", streams, "--events", "light=absent.csv").code != 0
    nothing = eyeflow("run", streams, "--events", "light=")
    assert nothing.code == 2 and "no file behind `=`" in nothing.err
    twice = eyeflow("run", streams, "--events", "light=-", "--events", "door=-", stdin=b"timestamp,lux\n1,2\n")
    assert twice.code == 2 and "standard input is named twice" in twice.err


@pytest.mark.parametrize("speed", ["nan", "inf", "0", "-1", "1e-300", "1e300", "fast"])
def test_a_speed_is_a_number_within_reason(eyeflow: Command, streams: Path, speed: str) -> None:
    ran = eyeflow("run", streams, "--events", "light=light.csv", "--speed", speed)
    assert ran.code == 2 and "is no speed" in ran.err


def test_times_beyond_the_calendar_are_rejected_rows(eyeflow: Command, streams: Path, tmp_path: Path) -> None:
    (tmp_path / "far.csv").write_text("timestamp,lux\n10,1\n9999-12-31T23:59:59Z,2\n4600000000000000000000,3\n")
    ran = eyeflow("run", streams, "--events", "light=far.csv", "--timezone", "Asia/Tokyo")
    assert ran.code == 0 and "2 events rejected" in ran.err and "outside the times from 1970 to 9899" in ran.err
    ran = eyeflow("run", streams, "--events", "light=light.csv", "--period", "100000000d")
    assert ran.code == 0 and "beyond the year 9899" in ran.err
