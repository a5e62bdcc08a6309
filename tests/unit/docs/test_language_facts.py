"""What docs/language.md says of values that print and of local time, run."""

from __future__ import annotations

import io
import json
from zoneinfo import ZoneInfo

from eyeflow.compiler.compile import compile_rule
from eyeflow.node.replay.event_files import open_events
from eyeflow.node.replay.replay import Replay, ReplayOptions
from eyeflow.svm.verify import verify

HEAD = 'rule r {\n version "1.0.0"\n enum Mode { OFF, HEAT }\n record R { x: float, mode: Mode = HEAT }\n on event "e" as r: R\n'


def said(text: str, *rows: tuple[str, float], zone: str = "UTC") -> list[str]:
    result = compile_rule(f'{HEAD} log.info("{text}")\n}}\n', name="r.eye")
    assert result.program is not None, result.diagnostics
    lines = "".join(json.dumps({"timestamp": time, "x": x}) + "\n" for time, x in rows)
    options = ReplayOptions(zone=ZoneInfo(zone))
    replay = Replay(verify(result.program), open_events(None, io.BytesIO(lines.encode())), options)
    return [str(record.arguments["message"]) for record in replay.run()]


def test_every_type_prints_as_the_page_says() -> None:
    text = "{r.x == 10.0} {int(-r.x) + 3} {r.x} {r.x / 3.0} {r.x:2} {r.x * 1e300} {r.x / 0.0} {r.mode}"
    assert said(text, ("2026-03-01T00:00:00Z", 10.0)) == ["true -7 10.0 3.333333 10.00 >9.2e12 inf HEAT"]
    sizes = [("2026-03-01T00:00:00Z", x) for x in (9.3e12, -9.3e12, 9.3e18)]
    assert said("{r.x} {r.x:0}", *sizes) == [">9.2e12 9300000000000", "->9.2e12 -9300000000000", ">9.2e12 >9.2e18"]
    spans = "{seconds(r.x * 9.0)} {seconds(r.x * 0.15)} {seconds(r.x * 540.0)} {seconds(r.x * 0.0)}"
    assert said(spans, ("2026-03-01T00:00:00Z", 10.0)) == ["90s 1500ms 90min 0s"]


def test_the_time_of_day_follows_the_clock_on_the_wall() -> None:
    """Berlin: 02:00 to 03:00 is left out on 2026-03-29, and comes twice on 2026-10-25."""
    spring = [("2026-03-29T00:59:00Z", 1.0), ("2026-03-29T01:00:00Z", 1.0)]
    assert said("{time_of_day()}", *spring, zone="Europe/Berlin") == ["119min", "3h"]
    autumn = [("2026-10-25T00:30:00Z", 1.0), ("2026-10-25T01:30:00Z", 1.0)]
    assert said("{time_of_day()}", *autumn, zone="Europe/Berlin") == ["150min", "150min"]
