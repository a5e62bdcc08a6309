"""What a node takes up again after a stop and after a crash."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from components.node_sim import NODE_KEY, START_US, NodeSim, SimClock
from eyeflow.node.engine import core as core_module
from eyeflow.node.engine import rounds as rounds_module
from eyeflow.node.engine.core import FORGET_US, Core
from eyeflow.node.engine.intake import HOPS_MAX
from eyeflow.node.run_key import active
from eyeflow.node.store import programs
from eyeflow.node.store.types import PendingRow
from eyeflow.protocol.audit import verify_chain
from eyeflow.protocol.audit_bodies import (
    ActionOutcome,
    ActionResultBody,
    Disposition,
    ExecutionBody,
    StartBody,
)
from unit.node.engine.rules import COUNTER, EMITTER, LISTENER, RELAY, S, rule, run


def test_a_restarted_node_goes_on_where_it_was(tmp_path: Path) -> None:
    async def first() -> int:
        sim = await NodeSim.started(tmp_path, COUNTER)
        for _ in range(7):
            await sim.send("t", temp=1.0)
        await sim.turns()
        sim.crash()
        return sim.store.epoch

    async def second(epoch: int) -> None:
        sim = await NodeSim.started(tmp_path)
        assert sim.store.epoch == epoch
        assert sim.bodies(StartBody)[-1].clean is False
        await sim.send("t", temp=1.0)
        await sim.turns()
        assert sim.node.engine.core.rules[active("counter")].instance.state_values() == {"n": 8}
        assert verify_chain(sim.store.audit_range(1, 10**6), NODE_KEY.public_key).holds
        await sim.stop()

    async def third() -> None:
        sim = await NodeSim.started(tmp_path)
        assert sim.bodies(StartBody)[-1].clean is True
        await sim.stop()

    epoch = asyncio.run(first())
    run(second(epoch))
    run(third())


def test_unfinished_actions_are_settled_after_a_crash(tmp_path: Path) -> None:
    """A message is sent again, a pin is not: nobody knows how long ago that was decided."""
    both = rule("both", 'mqtt.publish("a", "b")\n gpio.set_pin(RELAY, HIGH)', head="pin RELAY: output")

    async def first() -> None:
        sim = await NodeSim.started(tmp_path, both)
        sim.drivers["mqtt"].duration_s["mqtt.publish"] = 3600.0
        await sim.send("t", temp=1.0)
        await sim.turns()
        assert sim.done == 1 and not sim.drivers["mqtt"].acted
        sim.crash()

    async def second() -> None:
        sim = await NodeSim.started(tmp_path)
        await sim.turns()
        assert [c for _, c, _ in sim.drivers["mqtt"].acted] == ["mqtt.publish"]
        assert sim.drivers["gpio"].acted == []
        (result,) = sim.bodies(ActionResultBody)
        assert (result.index, result.result) == (1, ActionOutcome.INTERRUPTED)
        assert sim.store.record(result.execution_seq) is not None
        await sim.advance(FORGET_US)
        assert sim.store.restore().pending == ()
        await sim.stop()

    run(first())
    run(second())


@pytest.mark.parametrize("control", [False, True], ids=["kept", "control"])
def test_a_message_is_sent_again_although_two_deployments_replaced_its_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, control: bool
) -> None:
    """The broker is away for long: meanwhile other programs have taken both slots. The control keeps no program."""
    if control:
        forgetful = "DELETE FROM programs WHERE program_id NOT IN (SELECT program_id FROM slots)"
        monkeypatch.setattr(programs, "_FORGET_PROGRAMS", forgetful)

    def version(number: int) -> str:
        return rule("told", f'mqtt.publish("told", "{number}")').replace("1.0.0", f"{number}.0.0")

    async def life(*versions: int, event: bool = False) -> NodeSim:
        sim = await NodeSim.started(tmp_path)
        sim.drivers["mqtt"].duration_s["mqtt.publish"] = 3600.0
        for number in versions:
            assert (await sim.install(version(number), version=number)).code == ""
            if event:
                await sim.send("t", temp=1.0)
            await sim.turns()
        return sim

    async def scenario() -> None:
        sim = await life(1, event=True)
        assert sim.done == 1 and not sim.drivers["mqtt"].acted
        sim.crash()
        (await life(2, 3)).crash()
        sim = await NodeSim.started(tmp_path)
        await sim.turns()
        assert [args["payload"] for _, _, args in sim.drivers["mqtt"].acted] == ([] if control else ["1"])
        assert [body.result for body in sim.bodies(ActionResultBody)] == [ActionOutcome.INTERRUPTED] * control
        await sim.advance(FORGET_US)
        assert (await sim.install(version(4), version=4)).code == ""
        assert sim.store.restore().pending == () and sim.store.restore().pending_programs == {}
        await sim.stop()

    run(scenario())


def test_an_emitted_event_survives_a_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def first() -> None:
        sim = await NodeSim.started(tmp_path, EMITTER, LISTENER)
        await sim.send("t", temp=21.5)
        await sim.node.engine.turn()
        assert len(sim.bodies(ExecutionBody)) == 1
        sim.crash()

    async def second() -> None:
        sim = await NodeSim.started(tmp_path)
        await sim.turns()
        assert [body.rule for body in sim.bodies(ExecutionBody)] == ["emitter", "listener"]
        await sim.advance(FORGET_US)
        assert sim.store.restore().pending == ()
        await sim.stop()

    run(first())
    run(second())


@pytest.mark.parametrize("control", [False, True], ids=["kept", "control"])
def test_an_emitted_event_that_is_resumed_keeps_its_time_and_its_hops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, control: bool
) -> None:
    """Rules that emit to each other end also where each step is followed by a crash. The control forgets both."""
    ping = rule("ping", "emit pong(temp: r.temp)", on='event "ping" as r: Reading')
    pong = rule("pong", "emit ping(temp: r.temp)", on='event "pong" as r: Reading')
    start = rule("start", "emit ping(temp: r.temp)")
    if control:
        monkeypatch.setattr(rounds_module, "PendingRow", lambda *values: PendingRow(*values[:6]))

    async def life(number: int) -> tuple[int, set[int]]:
        sim = NodeSim(tmp_path, clock=SimClock(START_US + number * 3600 * S))
        await sim.node.start()
        if number == 0:
            for source in (ping, pong, start):
                await sim.install(source)
            await sim.send("t", temp=1.0)
        await sim.node.engine.turn()
        bodies = sim.bodies(ExecutionBody)
        sim.crash()
        return len(bodies), {body.event_time_us for body in bodies}

    results = [asyncio.run(life(number)) for number in range(HOPS_MAX + 4)]
    executions, times = results[-1]
    assert (executions == 1 + HOPS_MAX) is not control
    assert (times == {START_US}) is not control


@pytest.mark.parametrize("control", [False, True], ids=["together", "control"])
def test_ended_actions_are_forgotten_with_the_next_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, control: bool
) -> None:
    """One commit for each event, not a second one for the end of its action, as the control has it."""
    if control:
        monkeypatch.setattr(core_module, "FORGET_US", 0)

    async def test() -> None:
        sim = await NodeSim.started(tmp_path, COUNTER)
        before = sim.store.counters.commits
        for _ in range(10):
            await sim.send("t", temp=90.0)
            await sim.turns()
        assert len(sim.drivers["log"].acted) == 10
        assert sim.store.counters.commits - before == (20 if control else 10)
        await sim.advance(FORGET_US)
        assert sim.store.restore().pending == (), "without another event it takes no longer than that"
        await sim.stop()

    run(test())


def test_repeated_levels_are_recorded_and_not_sent_again(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path, RELAY)
        for temp in (90.0, 91.0, 92.0, 10.0, 9.0, 95.0):
            await sim.send("t", temp=temp)
        await sim.turns()
        assert [args["level"] for _, _, args in sim.drivers["gpio"].acted] == ["HIGH", "LOW", "HIGH"]
        dispositions = [body.actions[0][2] for body in sim.bodies(ExecutionBody)]
        sent, again = Disposition.SENT, Disposition.REPEATED
        assert dispositions == [sent, again, again, sent, again, sent]
        assert isinstance(sim.node.engine.core, Core) and sim.rule("relay")["repeated"] == 3
        await sim.stop()

    run(test())
