"""A read that takes long stops no other rule, keeps the order of its own, and is replayed as it was."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from components.node_sim import NodeSim, program
from eyeflow.node.engine import rule_host
from eyeflow.node.io.adc.driver import AdcDriver
from eyeflow.node.io.adc.settings import AdcConfig
from eyeflow.node.io.host.driver import HostDriver
from eyeflow.node.io.host.readings import HostReadings
from eyeflow.node.io.host.settings import HostConfig
from eyeflow.protocol.audit_bodies import ExecutionBody
from eyeflow.protocol.replays import Replay, ReplayProgram
from eyeflow.svm.container import decode
from unit.node.engine.rules import COUNTER, run

READER = """
rule reader {
    version "1.0.0"
    record Reading { temp: float }
    state sum: float = 0.0
    on mqtt "t" as r: Reading
    let level = adc.read_channel(0) else -1.0
    sum = sum + level
    log.info("{r.temp:0} {level:0}")
}
"""


def said(sim: NodeSim) -> list[str]:
    return [str(args["message"]) for _, _, args in sim.drivers["log"].acted]


async def executed(sim: NodeSim, count: int) -> None:
    """Wait until the rule with the slow read has run so often."""
    while sim.rule("reader")["executions"] != count:
        await sim.node.engine._space.wait()
        sim.node.engine._space.clear()
        await sim.turns()


class Bus:
    """Answers when the test says so; notes how often the other rule had run while it was asked."""

    def __init__(self, sim: NodeSim, wait_s: float) -> None:
        self.sim, self.wait_s = sim, wait_s
        self.asked, self.free = threading.Event(), threading.Event()
        self.answers = 0
        self.others = 0

    def __call__(self, args: object) -> float:
        self.asked.set()
        self.free.wait(self.wait_s)
        self.others = max(self.others, int(str(self.sim.rule("counter")["executions"])))
        self.answers += 1
        return float(self.answers)


@pytest.mark.parametrize("slow", [True, False], ids=["slow", "control"])
def test_other_rules_go_on_while_a_read_takes_long(tmp_path: Path, slow: bool) -> None:
    """The control says of the same driver that it is fast: then the whole node stands still meanwhile."""

    async def test() -> None:
        sim = NodeSim(tmp_path)
        sim.drivers["adc"].slow_reads = ("adc.read_channel",) if slow else ()
        await sim.node.start()
        for source in (READER, COUNTER):
            await sim.install(source)
        bus = sim.drivers["adc"].values["adc.read_channel"] = Bus(sim, 60 if slow else 0.05)
        for number in range(6):
            await sim.send("t", temp=float(number))
        await sim.turns()
        if slow:
            await asyncio.to_thread(bus.asked.wait)
            await sim.turns()
            assert sim.rule("counter")["executions"] == 6 and sim.rule("reader")["executions"] == 0
            assert sim.done == 0, "no event is done before both rules have had it"
            bus.free.set()
            await executed(sim, 6)
            assert bus.others == 6
        else:
            assert bus.others == 0, "nobody ran while it read"
        assert sim.done == 6
        assert said(sim) == [f"{number} {number + 1}" for number in range(6)], "in their order, whoever waits"
        await sim.stop()

    run(test())


def test_what_it_decided_is_replayed_from_its_record(tmp_path: Path) -> None:
    """The control is a program that decides otherwise on the same answers."""

    async def test() -> None:
        sim = NodeSim(tmp_path)
        sim.drivers["adc"].slow_reads = ("adc.read_channel",)
        await sim.node.start()
        await sim.install(READER)
        answers = iter(range(100, 200, 7))
        sim.drivers["adc"].values["adc.read_channel"] = lambda args: float(next(answers))
        for number in range(8):
            await sim.send("t", temp=float(number))
        await executed(sim, 8)
        recorded = [body.answers[0][2] for body in sim.bodies(ExecutionBody)]
        assert recorded == [float(one) for one in range(100, 156, 7)]
        same = READER.replace("1.0.0", "2.0.0")
        for source, differing in ((same, 0), (same.replace("level:0", "level:1"), 8)):
            data = program(source)
            one = ReplayProgram("reader", decode(data).program_id, data)
            (found,) = (await sim.node.replay(Replay(1, 0, 60, (one,)))).results
            assert (found.events, found.differing, found.unanswered) == (8, differing, 0)
        await sim.stop()

    run(test())


def test_a_read_that_never_comes_back_costs_its_rule_the_answer_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rule_host, "SLOW_READ_S_MAX", 0.05)
    hung = threading.Event()

    async def test() -> None:
        sim = NodeSim(tmp_path)
        sim.drivers["adc"].slow_reads = ("adc.read_channel",)
        await sim.node.start()
        await sim.install(READER)
        sim.drivers["adc"].values["adc.read_channel"] = lambda args: float(hung.wait())
        before = threading.active_count()
        for number in range(5):
            await sim.send("t", temp=float(number))
        await executed(sim, 5)
        assert said(sim) == [f"{number} -1" for number in range(5)], "the fallback, each time"
        assert threading.active_count() <= before + 1, "one thread waits for it, however often it is asked"
        assert "the read before it has not come back yet" in str(sim.rule("reader")["last_error"])
        result = await asyncio.wait_for(sim.install(READER.replace("1.0.0", "2.0.0"), 2), 60)
        assert result.code == "", "it can be replaced"
        hung.set()
        await sim.stop()

    run(test())


def test_a_bug_of_a_driver_in_a_slow_read_is_a_failure_of_the_read(tmp_path: Path) -> None:
    async def test() -> None:
        sim = NodeSim(tmp_path)
        sim.drivers["adc"].slow_reads = ("adc.read_channel",)
        await sim.node.start()
        await sim.install(READER)

        def bug(args: object) -> float:
            raise KeyError("a bug")

        sim.drivers["adc"].values["adc.read_channel"] = bug
        await sim.send("t", temp=1.0)
        await executed(sim, 1)
        assert said(sim) == ["1 -1"] and "in the driver" in str(sim.rule("reader")["last_error"])
        await sim.stop()

    run(test())


@pytest.mark.parametrize("late", [True, False], ids=["held", "control"])
def test_a_declared_timeout_of_a_slow_read_holds(tmp_path: Path, late: bool) -> None:
    """The control declares none: an answer that a timeout of 1 us would not wait for is the answer."""
    declared = READER.replace("else -1.0", "timeout 200ms else 0.0")
    hung = threading.Event()

    async def test() -> None:
        sim = NodeSim(tmp_path)
        sim.drivers["adc"].slow_reads = ("adc.read_channel",)
        await sim.node.start()
        await sim.install(declared if late else READER)
        sim.drivers["adc"].values["adc.read_channel"] = lambda args: 7.0 if not late or hung.wait() else -7.0
        await sim.send("t", temp=1.0)
        await executed(sim, 1)
        assert said(sim) == ["1 0" if late else "1 7"]
        if late:
            assert "no answer within 0.2 s" in str(sim.rule("reader")["last_error"])
        hung.set()
        await sim.stop()

    run(test())


def test_a_timeout_of_a_driver_itself_keeps_its_text(tmp_path: Path) -> None:
    async def test() -> None:
        sim = NodeSim(tmp_path)
        sim.drivers["adc"].slow_reads = ("adc.read_channel",)
        await sim.node.start()
        await sim.install(READER)

        def waits(args: object) -> float:
            raise TimeoutError("the bus is held by another master")

        sim.drivers["adc"].values["adc.read_channel"] = waits
        await sim.send("t", temp=1.0)
        await executed(sim, 1)
        assert "the bus is held by another master" in str(sim.rule("reader")["last_error"])
        await sim.stop()

    run(test())


def test_which_reads_are_slow(tmp_path: Path) -> None:
    """Those on a bus, a disk or a network. What the kernel or the configuration has in memory answers at once."""
    assert AdcDriver(AdcConfig(channels={0: tmp_path / "in_voltage0_raw"})).slow_reads == ("adc.read_channel",)
    assert AdcDriver(AdcConfig(values_file=tmp_path / "values.json")).slow_reads == ("adc.read_channel",)
    assert AdcDriver(AdcConfig(channels={0: 850})).slow_reads == ()
    assert set(HostDriver(HostReadings(HostConfig())).slow_reads) == {"host.disk_percent", "host.temperature_celsius"}
