"""Events, executions and their records; timers, priorities, and events that rules emit."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from components.node_sim import NODE_KEY, START_US, NodeSim
from eyeflow.node.engine.core import FORGET_US
from eyeflow.node.engine.engine import Engine
from eyeflow.node.engine.intake import HOPS_MAX
from eyeflow.node.engine.rounds import Round
from eyeflow.node.engine.running import EVENTS_MAX
from eyeflow.node.run_key import active
from eyeflow.protocol.audit import verify_chain
from eyeflow.protocol.audit_bodies import (
    ExecutionBody,
    RejectedBody,
)
from unit.node.engine.rules import COUNTER, EMITTER, LISTENER, RELAY, S, rule, run

# --- events, executions, records ---------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_each_event_is_one_execution_and_one_record_or_a_rejection(tmp_path: Path, seed: int) -> None:
    async def test() -> None:
        rng = random.Random(seed)
        sim = await NodeSim.started(tmp_path, COUNTER, RELAY)
        good = bad = 0
        for _ in range(10_000 // 2):
            fits = rng.random() > 0.1
            await sim.send("t", temp=rng.uniform(0, 100) if fits else rng.choice(["hot", "\ud800", None, True, [1]]))
            good, bad = good + fits, bad + (not fits)
            if rng.random() < 0.05:
                await sim.turns()
        await sim.turns()
        executions = sim.bodies(ExecutionBody)
        assert len(executions) == 2 * good, "two rules listen"
        assert sum(body.count for body in sim.bodies(RejectedBody)) == 2 * bad
        assert sim.done == good + bad
        for name in ("counter", "relay"):
            state = sim.rule(name)
            assert (state["executions"], state["rejected"]) == (good, bad)
            assert [b.event_time_us for b in executions if b.rule == name] == sorted(
                b.event_time_us for b in executions if b.rule == name
            )
        assert sim.node.engine.core.rules[active("counter")].instance.state_values() == {"n": good}
        assert verify_chain(sim.store.audit_range(1, 10**6), NODE_KEY.public_key).holds
        await sim.stop()

    run(test())


def test_nothing_is_visible_before_its_commit(tmp_path: Path) -> None:
    """`done` and every action find their execution's record in the store."""

    async def test() -> None:
        sim = await NodeSim.started(tmp_path, COUNTER)
        seen: list[int] = []
        sim.drivers["log"].before = lambda: seen.append(len(sim.bodies(ExecutionBody)))
        for number in range(5):
            await sim.send("t", temp=90.0)
            assert sim.done == number and len(seen) == number
            await sim.turns()
            assert sim.done == number + 1
        assert seen == [1, 2, 3, 4, 5]
        await sim.stop()

    run(test())


def test_control_acknowledging_before_the_commit_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check above must be able to fail: with the order turned around, it does."""

    async def record_too_late(self: Engine, round_: Round) -> None:
        for dispatch in self.core.settle(round_, self.disk._writer.store.head[0] + 1, self.clock.now_us()):
            self.actions.submit(dispatch)
            await asyncio.sleep(0)
        await self.disk.commit(round_.batch, len(round_.executed))

    monkeypatch.setattr(Engine, "_record", record_too_late)

    async def test() -> None:
        sim = await NodeSim.started(tmp_path, COUNTER)
        seen: list[int] = []
        sim.drivers["log"].before = lambda: seen.append(len(sim.bodies(ExecutionBody)))
        await sim.send("t", temp=90.0)
        await sim.turns()
        assert seen == [0]
        await sim.stop()

    run(test())


def test_an_event_nobody_listens_to_any_more_is_rejected_and_done(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path, COUNTER)
        await sim.send("other", temp=1.0)
        await sim.turns()
        (rejected,) = sim.bodies(RejectedBody)
        assert (rejected.rule, rejected.address, rejected.count, sim.done) == ("", "other", 1, 1)
        await sim.stop()

    run(test())


def test_a_source_waits_while_a_queue_is_full(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path, COUNTER)
        for _ in range(EVENTS_MAX):
            await sim.send("t", temp=1.0)
        waiting = asyncio.ensure_future(sim.send("t", temp=1.0))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not waiting.done()
        await sim.turns()
        assert waiting.done() and sim.done == EVENTS_MAX + 1
        await sim.stop()

    run(test())


def test_a_trap_changes_nothing_and_is_counted(tmp_path: Path) -> None:
    source = rule("t", 'n = n + 1\n let x = 10 / (n - 2)\n log.info("{x}")', head="state n: int = 0")

    async def test() -> None:
        sim = await NodeSim.started(tmp_path, source)
        for _ in range(3):
            await sim.send("t", temp=1.0)
        await sim.turns()
        first, second, third = sim.bodies(ExecutionBody)
        assert first.outcome == 0 and second.outcome == third.outcome == 2
        assert second.trap is not None and not second.actions
        state = sim.rule("t")
        assert state["traps"] == {"DIV_BY_ZERO": 2} and "DIV_BY_ZERO" in str(state["last_error"])
        assert sim.node.engine.core.rules[active("t")].instance.state_values() == {"n": 1}
        await sim.stop()

    run(test())


# --- timers ------------------------------------------------------------------------------------------------------


def test_timers_fire_at_the_start_and_each_period(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path, rule("tick", 'log.info("x")', on="every 500ms"))
        await sim.advance(2 * S)
        times = [body.event_time_us - START_US for body in sim.bodies(ExecutionBody)]
        assert times == [0, 500_000, 1_000_000, 1_500_000, 2_000_000]
        await sim.stop()

    run(test())


def test_a_timer_that_was_not_looked_at_fires_once_and_counts_what_it_missed(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path, rule("tick", 'log.info("x")', on="every 500ms"))
        await sim.turns()
        sim.clock.move(START_US + 10 * S + 100)
        await sim.turns()
        assert [b.event_time_us - START_US for b in sim.bodies(ExecutionBody)] == [0, 10 * S]
        assert sim.rule("tick")["missed"] == 19
        await sim.stop()

    run(test())


def test_a_clock_that_is_set_back_does_not_stop_timers(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path, rule("tick", 'log.info("x")', on="every 1s"))
        await sim.advance(3 * S)
        before = len(sim.bodies(ExecutionBody))
        sim.clock.set_us -= 3600 * S
        await sim.advance(3 * S)
        times = [body.event_time_us for body in sim.bodies(ExecutionBody)]
        assert len(times) == before + 3, "and keeps their pace"
        assert times[before] == times[before - 1] + 1 * S - 3600 * S
        await sim.stop()

    run(test())


def test_cron_follows_the_local_time(tmp_path: Path) -> None:
    async def test() -> None:
        source = rule("daily", 'log.info("x")', on='cron "0 6 * * *"')
        sim = await NodeSim.started(tmp_path, source, zone="Europe/Berlin")
        await sim.advance(86_400 * S)
        (body,) = sim.bodies(ExecutionBody)
        assert body.event_time_us % (86_400 * S) == 5 * 3600 * S, "06:00 in Berlin is 05:00 UTC in winter"
        assert body.utc_offset_us == 3600 * S
        await sim.stop()

    run(test())


# --- priorities --------------------------------------------------------------------------------------------------


def test_critical_rules_go_first_and_background_rules_are_not_starved(tmp_path: Path) -> None:
    names = {"critical": "a", "high": "b", "normal": "c", "low": "d", "background": "e"}
    sources = [
        rule(name, 'log.info("x")', priority=level, on=f'mqtt "{level}" as r: Reading') for level, name in names.items()
    ]

    async def test() -> None:
        sim = await NodeSim.started(tmp_path, *sources)
        for _ in range(EVENTS_MAX):
            for level in names:
                await sim.send(level, temp=1.0)
        await sim.node.engine.turn()
        first = [body.rule for body in sim.bodies(ExecutionBody)]
        assert first == sorted(first), "the most urgent level first"
        assert {name: first.count(name) for name in "abcde"} == {"a": 224, "b": 8, "c": 8, "d": 8, "e": 8}
        await sim.turns()
        assert sim.done == EVENTS_MAX * 5
        await sim.stop()

    run(test())


def test_rules_of_one_level_take_turns(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(
            tmp_path, *(rule(n, 'log.info("x")', on=f'mqtt "{n}" as r: Reading') for n in ("busy", "calm"))
        )
        for _ in range(EVENTS_MAX):
            await sim.send("busy", temp=1.0)
        await sim.send("calm", temp=1.0)
        await sim.node.engine.turn()
        assert "calm" in [body.rule for body in sim.bodies(ExecutionBody)][:2]
        await sim.stop()

    run(test())


# --- the local bus -----------------------------------------------------------------------------------------------


def test_emitted_events_reach_the_rules_that_listen(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path, EMITTER, LISTENER)
        await sim.send("t", temp=21.5)
        await sim.turns()
        assert [args for _, _, args in sim.drivers["log"].acted] == [{"message": "boiler 21.5"}]
        assert sim.node.engine.core.rules[active("listener")].instance.state_values() == {
            "seen": "ON",
            "wait": 1_500_000,
        }
        await sim.advance(FORGET_US)
        assert sim.store.restore().pending == ()
        await sim.stop()

    run(test())


def test_rules_that_emit_to_each_other_stop(tmp_path: Path) -> None:
    ping = rule("ping", "emit pong(temp: r.temp)", on='event "ping" as r: Reading')
    pong = rule("pong", "emit ping(temp: r.temp)", on='event "pong" as r: Reading')
    start = rule("start", "emit ping(temp: r.temp)")

    async def test() -> None:
        sim = await NodeSim.started(tmp_path, ping, pong, start)
        await sim.send("t", temp=1.0)
        await sim.turns()
        assert len(sim.bodies(ExecutionBody)) == 1 + HOPS_MAX
        (rejected,) = sim.bodies(RejectedBody)
        assert f"more than {HOPS_MAX} rules" in rejected.reason
        assert sim.store.restore().pending == ()
        await sim.stop()

    run(test())
