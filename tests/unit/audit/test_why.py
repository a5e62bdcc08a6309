"""Why an execution decided so: a real node's records, read in its store and in an archive, and altered ones."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw
import pytest

from components.node_sim import NODE_KEY, NodeSim, program
from eyeflow.audit.why import explain
from eyeflow.base.errors import EyeflowError
from eyeflow.node.replay.store_history import StoreHistory
from eyeflow.node.store.reader import AuditReader
from eyeflow.protocol.audit import decode_record, encode_record
from eyeflow.protocol.audit_bodies import ExecutionBody, InstallBody
from eyeflow.svm.container import decode

S = 1_000_000
ALL = 1 << 62
HEAT = """\
rule heat {
 version "1.0.0"
 pin RELAY: output
 param limit: int = 50
 state trips: int = 0
 record Event { temp: int }
 on mqtt "t" as e: Event
 let outside = adc.read_channel(0)
 if e.temp > limit for 3s {
  trips = trips + 1
  gpio.set_pin(RELAY, HIGH)
  if trips % 3 == 0 { log.warn("trip {trips}, outside {outside}") }
 } else { gpio.set_pin(RELAY, LOW) }
}
"""
TRAPS = (
    HEAT.replace("1.0.0", "2.0.0")
    .replace("trips = trips + 1", "trips = trips + 1 / (trips % 2)")
    .replace("for 3s", "for 1s")
)
PLAIN = """\
rule plain {
 version "1.0.0"
 param limit: int = 50
 record Event { temp: int }
 on mqtt "t" as e: Event
 if e.temp > limit { log.warn("hot: {e.temp}") }
}
"""


async def lived(data_dir: Path) -> None:
    """A node with a rule of two versions, a candidate, a clock that is set, and a restart."""
    source = random.Random(3)
    sim = await NodeSim.started(data_dir, PLAIN)
    assert (await sim.node.install(program(HEAT), {"limit": 45}, "d1", 1)).code == ""
    sim.drivers["gpio"].failures["gpio.set_pin"] = 2
    await fed(sim, source, 25)
    await sim.stage(HEAT.replace("1.0.0", "1.1.0"), 2)
    await fed(sim, source, 20)
    await sim.promote("heat")
    await fed(sim, source, 10)
    assert (await sim.node.install(program(TRAPS), {}, "d3", 3)).code == ""
    await fed(sim, source, 15)
    await sim.stop()
    again = await NodeSim.started(data_dir, clock=sim.clock)
    again.clock.set_us += 3600 * S
    await again.turns()
    await fed(again, source, 15)
    await again.stop()


async def fed(sim: NodeSim, source: random.Random, count: int) -> None:
    for _ in range(count):
        sim.drivers["adc"].values["adc.read_channel"] = source.randrange(100)
        await sim.send("t", temp=source.choice((20, 47, 52, 90)))
        await sim.turns()
        await sim.advance(source.randrange(1, 4) * S // 2)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("node")
    asyncio.run(lived(path))
    return path


PROGRAMS = {
    bytes.fromhex(decode(data).program_id): data
    for data in map(program, (HEAT, HEAT.replace("1.0.0", "1.1.0"), TRAPS, PLAIN))
}


class Whole(StoreHistory):
    """With all programs that ever ran, as the coordinator has them: a node keeps those of its slots only."""

    def program(self, program_id: bytes) -> bytes | None:
        return PROGRAMS.get(program_id)


@pytest.fixture
def history(data_dir: Path) -> Iterator[StoreHistory]:
    with AuditReader(data_dir) as reader:
        yield Whole(reader, lambda key: "ci")


def executions(history: StoreHistory, rule: str) -> list[tuple[int, ExecutionBody]]:
    records = [decode_record(data) for data in history._reader.records()]
    return [(one.seq, one.body) for one in records if isinstance(one.body, ExecutionBody) and one.body.rule == rule]


class Altered:
    """The history of a node, with some records in place of others."""

    def __init__(self, history: StoreHistory, others: dict[int, bytes], without: set[int]) -> None:
        self._history, self._others, self._without = history, others, without

    def __getattr__(self, name: str) -> Any:
        return getattr(self._history, name)

    def record(self, seq: int) -> bytes | None:
        return self._others.get(seq, self._history.record(seq))

    def of_rule(self, rule: str, after_seq: int, until_seq: int) -> Iterator[bytes]:
        for data in self._history.of_rule(rule, after_seq, until_seq):
            seq = decode_record(data).seq
            if seq not in self._without:
                yield self._others.get(seq, data)

    def install(self, rule: str, program_id: bytes, until_seq: int) -> bytes | None:
        found = self._history.install(rule, program_id, until_seq)
        return None if found is None or decode_record(found).seq in self._without else found

    def holes(self, after_seq: int, until_seq: int) -> list[int]:
        return sorted(seq + 1 for seq in self._without if seq < until_seq)


def test_every_execution_of_a_node_decides_the_same_again(history: StoreHistory) -> None:
    kinds = set()
    for seq, body in executions(history, "heat")[::3]:
        found = explain(history, seq, ALL)
        assert found["again"]["verdict"] == "same", (seq, found["again"], found["memory"])
        assert found["memory"]["found"] == "known" and found["memory"]["unlike"] == 0
        kinds |= {body.slot, "trap" if body.trap else "", found["program"]["version"]}
    assert {"active", "candidate", "trap", "1.0.0", "1.1.0", "2.0.0"} <= kinds, "all that the node did is among them"


def test_it_tells_all_that_went_in_and_came_out(history: StoreHistory) -> None:
    runs = executions(history, "heat")
    found = next(
        found
        for seq, body in runs
        if any(site for site, _, _ in body.actions if site) and len(body.actions) == 2
        for found in [explain(history, seq, ALL)]
    )
    assert found["stateBefore"]["trips"] + 1 == found["stateAfter"]["trips"] == 3
    assert found["program"]["params"] == {"limit": 45} and found["program"]["paramsKnown"]
    assert found["program"]["deployment"] == "d1" and found["program"]["signers"][0]["name"] == "ci"
    assert found["program"]["signers"][0]["holds"]
    (first, second) = found["path"]
    assert (first["line"], first["taken"], second["line"], second["taken"]) == (9, True, 12, True)
    assert first["compared"][0].endswith("> 45 is true") and first["compared"][1] == "true for 3s is true"
    assert second["compared"] == ["0 == 0 is true"]
    chain = found["chain"]
    assert chain["prevFits"] and chain["nextFits"] and not chain["cosigned"] and chain["checkpoint"] > 0


def test_it_tells_what_became_of_actions(history: StoreHistory) -> None:
    ends = [one for seq, _ in executions(history, "heat")[:4] for one in explain(history, seq, ALL)["actions"]]
    failed = [one for one in ends if one["result"] == "failed"]
    assert failed and failed[0]["resultSeq"] > 0 and "failed in the simulation" in failed[0]["error"]
    assert [one for one in ends if one["disposition"] == "repeated" and one["result"] == ""]


def test_control_an_altered_record_decides_otherwise_and_where_is_told(history: StoreHistory) -> None:
    for rule, seq, body in (
        (rule, *next(one for one in executions(history, rule) if one[1].actions and one[1].slot == "active"))
        for rule in ("heat", "plain")
    ):
        data = history.record(seq)
        assert data is not None
        record = decode_record(data)
        others = [replace(body, actions=()), replace(body, trap=(1, 0), outcome=2, actions=())]
        if rule == "plain":
            others += [replace(body, inputs=(20,)), replace(body, actions=((0, ("cold",), 0),))]
        for other in others:
            forged = encode_record(replace(record, body=other), NODE_KEY)
            found = explain(Altered(history, {seq: forged}, set()), seq, ALL)
            assert found["again"]["verdict"] == "differs", (rule, found["again"])
            assert found["again"]["why"] and found["again"]["recorded"] != found["again"]["decided"]
            assert found["chain"]["nextFits"] is False, "and the next record says that it is another one"


def test_what_is_gone_is_said_and_what_can_be_said_still_is(history: StoreHistory) -> None:
    runs = [one for one in executions(history, "heat") if one[1].slot == "active"]
    seq, _ = runs[20]
    gone = set(range(1, runs[14][0]))
    found = explain(Altered(history, {}, gone), seq, ALL)
    assert found["memory"]["found"] == "warm" and "gone" in found["memory"]["note"]
    assert not found["program"]["paramsKnown"]
    assert found["again"]["verdict"] in ("same", "unknown"), "no memory is known, so nothing is said to differ"
    verdicts = {
        explain(Altered(history, {}, set(range(1, seq))), seq, ALL)["again"]["verdict"] for seq, _ in runs[15:24]
    }
    assert "unknown" in verdicts and "differs" not in verdicts
    one_hole = explain(Altered(history, {}, {runs[5][0]}), seq, ALL)
    assert one_hole["memory"]["found"] == "warm", "a hole in the middle is one, too"


def test_a_program_that_keeps_nothing_needs_no_history(history: StoreHistory) -> None:
    runs = executions(history, "plain")
    seq, _ = next(one for one in runs[10:] if one[1].actions)
    install = next(decode_record(data).seq for data in history._reader.records() if _installs(data, "plain"))
    gone = set(range(1, seq)) - {install}
    found = explain(Altered(history, {}, gone), seq, ALL)
    assert (found["memory"]["found"], found["again"]["verdict"]) == ("none", "same")
    assert found["stateBefore"] == {} and found["path"][0]["compared"][0].endswith("> 50 is true")
    cut = explain(history, seq, 1)
    assert cut["again"]["verdict"] == "same"


def _installs(data: bytes, rule: str) -> bool:
    body = decode_record(data).body
    return isinstance(body, InstallBody) and body.rule == rule


def test_a_program_that_a_node_has_forgotten_is_said(data_dir: Path) -> None:
    with AuditReader(data_dir) as reader:
        history = StoreHistory(reader, lambda key: "")
        seq, _ = executions(history, "heat")[3]
        found = explain(history, seq, ALL)
        last = explain(history, executions(history, "heat")[-1][0], ALL)
    assert last["again"]["verdict"] in ("same", "unknown") and last["memory"]["found"] == "warm"
    assert found["again"]["verdict"] == "unknown" and "is not here any more" in found["again"]["why"]
    assert found["execution"]["actions"] and found["stateBefore"] is None and found["path"] == []


def test_what_is_no_execution_is_told(history: StoreHistory) -> None:
    for seq, says in ((1, "is no execution: start"), (10**6, "is not here")):
        with pytest.raises(EyeflowError, match=says) as error:
            explain(history, seq, ALL)
        assert error.value.code == "execution_not_found"


def test_nothing_is_written(data_dir: Path, history: StoreHistory) -> None:
    before = apsw.Connection(str(data_dir / "node.db")).execute("SELECT count(*), max(seq) FROM audit").fetchall()
    explain(history, executions(history, "heat")[-1][0], ALL)
    after = apsw.Connection(str(data_dir / "node.db")).execute("SELECT count(*), max(seq) FROM audit").fetchall()
    assert before == after
