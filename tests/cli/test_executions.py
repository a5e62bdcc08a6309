"""`eyeflow executions` in the store of a node: filters, lines for people and scripts, and following."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from components.node_sim import NodeSim

from .conftest import Command

RULE = """\
rule heat {
 version "1.0.0"
 pin RELAY: output
 state trips: int = 0
 record Event { temp: int }
 on mqtt "t" as e: Event
 if e.temp > 50 {
  trips = trips + 1 / (e.temp - 99)
  gpio.set_pin(RELAY, HIGH)
  log.warn("too hot")
 }
}
"""
QUIET = RULE.replace("rule heat", "rule quiet").replace('log.warn("too hot")', "")


async def filled(data_dir: Path, temps: tuple[int, ...] = (20, 60, 99, 70)) -> None:
    sim = await NodeSim.started(data_dir, RULE, QUIET)
    for temp in temps:
        await sim.send("t", temp=temp)
        await sim.turns()
        await sim.advance(1_000_000)
    await sim.stop()


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.mkdir()
    asyncio.run(filled(path))
    return path


def test_filters_find_what_a_node_recorded(eyeflow: Command, data_dir: Path) -> None:
    every = eyeflow("executions", "--data-dir", data_dir, "--json").lines
    assert [one["inputs"]["temp"] for one in every] == [20, 20, 60, 60, 99, 99, 70, 70]
    assert [one["seq"] for one in every] == sorted(one["seq"] for one in every)

    def temps(*options: str) -> list[int]:
        found = eyeflow("executions", "--data-dir", data_dir, "--json", "--rule", "heat", *options).lines
        assert all(one["rule"] == "heat" for one in found)
        return [one["inputs"]["temp"] for one in found]

    assert temps() == [20, 60, 99, 70] and temps("--limit", "2") == [99, 70]
    assert temps("--outcome", "trapped") == [99] and temps("--outcome", "skipped") == []
    assert temps("--action", "log.warn") == [60, 70] and temps("--action", "log") == []
    second = "2023-11-14T22:13:21Z"
    assert temps("--since", second) == [60, 99, 70] and temps("--until", second) == [20]
    assert temps("--since", "2h") == [], "it was years ago"
    acted = eyeflow("executions", "--data-dir", data_dir, "--json", "--action", "log.warn").lines
    assert {one["rule"] for one in acted} == {"heat"}, "the other rule does not warn"


def test_people_read_a_line_for_each(eyeflow: Command, data_dir: Path) -> None:
    ran = eyeflow("executions", "--data-dir", data_dir, "--rule", "heat", "-n", "2")
    trapped, warned = ran.out.splitlines()
    assert trapped.startswith("sim:") and "trapped: DIV_BY_ZERO at line 8" in trapped
    assert (
        'heat on mqtt t: temp = 70 -> gpio.set_pin(RELAY, HIGH) at line 9 (unchanged), log.warn("too hot") at line 10'
        in warned
    )
    ran = eyeflow("executions", "--data-dir", data_dir, "--rule", "pump")
    assert (ran.code, ran.out) == (0, "") and "no execution fits" in ran.err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--node", "a"), "--node asks the coordinator"),
        (("--since", "yesterday"), "`yesterday` is no time"),
        (("--outcome", "trap"), "'trapped'"),
        (("--limit", "0"), "--limit"),
    ],
)
def test_wrong_use_is_told(eyeflow: Command, data_dir: Path, options: tuple[str, ...], says: str) -> None:
    ran = eyeflow("executions", "--data-dir", data_dir, *options)
    assert ran.code == 2 and says in ran.err


def test_it_follows_a_node_that_runs(data_dir: Path, environment: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "eyeflow", "executions", "--data-dir", str(data_dir), "-n", "1", "-f", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, cwd=tmp_path, text=True) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["inputs"] == {"temp": 70}
        asyncio.run(filled(data_dir, (31, 32)))
        found = [json.loads(process.stdout.readline()) for _ in range(4)]
        assert [one["inputs"]["temp"] for one in found] == [31, 31, 32, 32]
        process.terminate()
        assert process.wait(60) in (143, -15)


def test_a_record_that_is_none_is_told(eyeflow: Command, data_dir: Path) -> None:
    import apsw

    db = apsw.Connection(str(data_dir / "node.db"))
    db.execute("UPDATE audit SET record = x'00' WHERE seq = (SELECT max(seq) FROM audit)")
    db.close()
    ran = eyeflow("executions", "--data-dir", data_dir)
    assert ran.code == 1 and "eyeflow audit verify" in ran.err
