"""`eyeflow why` on the store of a node: what people read, and what scripts get from the exit code."""

from __future__ import annotations

import asyncio
from pathlib import Path

import apsw
import pytest

from components.node_sim import NODE_KEY, NodeSim
from eyeflow.protocol.audit import decode_record, encode_record
from eyeflow.protocol.audit_bodies import ExecutionBody

from .conftest import Command

RULE = """\
rule valve {
    version "1.0.0"

    pin VALVE: output
    param dry: float = 30.0
    state openings: int = 0

    record Soil {
        moisture: float
    }

    on mqtt "field/soil" as soil: Soil

    if soil.moisture < dry for 2s {
        openings = openings + 1
        gpio.set_pin(VALVE, HIGH)
    } else {
        gpio.set_pin(VALVE, LOW)
    }
}
"""


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.mkdir()

    async def live() -> None:
        sim = await NodeSim.started(path, RULE)
        for moisture in (50.0, 28.5, 28.0, 27.5):
            await sim.send("field/soil", moisture=moisture)
            await sim.turns()
            await sim.advance(1_000_000)
        await sim.stop()

    asyncio.run(live())
    return path


def test_people_read_why(eyeflow: Command, data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "test.eye").write_text(RULE)
    (opened,) = [
        one
        for one in eyeflow("executions", "--data-dir", data_dir, "--json").lines
        if one["actions"][0]["arguments"]["level"] == "HIGH"
    ]
    ran = eyeflow("why", opened["id"], "--data-dir", data_dir, "--source", "test.eye")
    assert ran.code == 0 and "runs what came before again" in ran.err, ran.err
    for line in (
        "went in   moisture = 27.5",
        "state     openings = 0 -> 1",
        "way       line 14  if soil.moisture < dry for 2s {  yes: 27.5 < 30.0 is true; true for 2s is true",
        "decided   gpio.set_pin(VALVE, HIGH) at line 16: done",
        "with dry = 30.0",
        "the coordinator has not signed so far",
        "again     decides the same",
        "its memory: the records go back to where the program began; 3 earlier executions ran again",
    ):
        assert line in ran.out, ran.out
    assert "does not compile to this program" not in ran.err
    (tmp_path / "test.eye").write_text(RULE.replace("30.0", "31.0"))
    ran = eyeflow("why", str(opened["seq"]), "--data-dir", data_dir, "--source", "test.eye", "--json")
    assert ran.json["execution"]["id"] == opened["id"] and "its lines may be others" in ran.err


def test_the_exit_code_tells_whether_it_decides_the_same(eyeflow: Command, data_dir: Path) -> None:
    db = apsw.Connection(str(data_dir / "node.db"))
    seq, data = db.execute("SELECT seq, record FROM audit ORDER BY seq DESC LIMIT 1 OFFSET 1").get
    record = decode_record(data)
    while not isinstance(record.body, ExecutionBody):
        seq, data = db.execute("SELECT seq, record FROM audit WHERE seq < ? ORDER BY seq DESC LIMIT 1", (seq,)).get
        record = decode_record(data)
    from dataclasses import replace

    forged = encode_record(replace(record, body=replace(record.body, actions=())), NODE_KEY)
    db.execute("UPDATE audit SET record = ? WHERE seq = ?", (forged, seq))
    ran = eyeflow("why", str(seq), "--data-dir", data_dir)
    assert ran.code == 1 and "decides OTHERWISE" in ran.out and "now: gpio.set_pin(VALVE, HIGH)" in ran.out
    assert "the next one does NOT fit" in ran.out
    db.execute("DELETE FROM programs")
    ran = eyeflow("why", str(seq), "--data-dir", data_dir)
    assert ran.code == 3 and "cannot be told" in ran.out
    db.close()


def test_a_program_that_the_store_has_no_more_comes_from_a_file(eyeflow: Command, data_dir: Path) -> None:
    """Compiled once more from its text: nobody kept the file."""
    db = apsw.Connection(str(data_dir / "node.db"))
    db.execute("DELETE FROM programs")
    db.close()
    asked = ("why", "6", "--data-dir", data_dir, "--json")
    assert eyeflow(*asked).json["again"]["verdict"] == "unknown", "the control"
    for name, text in (("test", RULE), ("other", RULE.replace("30.0", "31.0"))):
        Path(data_dir, f"{name}.eye").write_text(text)
        assert eyeflow("compile", data_dir / f"{name}.eye", "-o", data_dir / f"{name}.svm").code == 0
    ran = eyeflow(*asked, "--program", data_dir / "other.svm", "--program", data_dir / "test.svm")
    assert (ran.code, ran.json["again"]["verdict"], ran.json["memory"]["found"]) == (0, "same", "known"), ran.err
    ran = eyeflow(*asked, "--program", data_dir / "other.svm")
    assert ran.code == 2 and "other.svm is " in ran.json["error"]["cause"], ran.out
    ran = eyeflow("why", "sim:1:6", "--program", data_dir / "test.svm")
    assert ran.code == 2 and "--program goes with a store" in ran.err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("valve",), 2, "is no id of an execution"),
        (("other:1:2",), 1, "it is the store of sim"),
        (("999",), 1, "is not here"),
        (("1",), 1, "is no execution: start"),
        (("5", "--source", "nowhere.eye"), 3, "nowhere.eye"),
        (("5", "--program", "nowhere.svm"), 3, "nowhere.svm"),
    ],
)
def test_wrong_use_is_told(eyeflow: Command, data_dir: Path, arguments: tuple[str, ...], code: int, says: str) -> None:
    ran = eyeflow("why", *arguments, "--data-dir", data_dir)
    assert ran.code == code and says in ran.err, (ran.code, ran.err)
    assert "runs what came before" not in ran.err, "nothing does"
