"""One rule at a time commands a resource: who gets it, and when, on a virtual clock."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from components.node_sim import START_US as START_US_OF_SIM
from components.node_sim import NodeSim, SimClock
from eyeflow.node.engine.arbiter import Arbiter, ResourceBusy
from eyeflow.node.run_key import active
from eyeflow.protocol.audit_bodies import ActionResultBody
from eyeflow.svm.program import Priority

S = 1_000_000
STEPS = 20


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


async def settle() -> None:
    for _ in range(STEPS):
        await asyncio.sleep(0)


@pytest.mark.parametrize("order", list(permutations(["a", "b", "c", "free"])), ids=" ".join)
@pytest.mark.parametrize("late", [Priority.CRITICAL, Priority.NORMAL])
def test_whoever_comes_in_the_moment_in_which_a_resource_gets_free_is_not_forgotten(
    order: tuple[str, ...], late: Priority
) -> None:
    """`free`: the holder lets go. All in one step of the loop, in any order."""
    clock = SimClock()
    arbiter = Arbiter(clock, 1 * S, 60 * S)
    acted: dict[str, int] = {}

    async def use(name: str) -> None:
        async with arbiter.lease("pump", active(name), late if name == "c" else Priority.NORMAL):
            acted[name] = clock.time_us

    async def test() -> None:
        holder = arbiter.lease("pump", active("holder"), Priority.NORMAL)
        await holder.__aenter__()
        begun_us = clock.time_us
        tasks = []
        for name in order:  # each task takes its first step in the next step of the loop, in this order
            step = holder.__aexit__(None, None, None) if name == "free" else use(name)
            tasks.append(asyncio.ensure_future(step))
        for _ in range(8):
            await settle()
            clock.move(clock.time_us + S // 2)
        await settle()
        assert sorted(acted) == ["a", "b", "c"], "each waits for the leases before its own, and no longer"
        assert max(acted.values()) - begun_us <= 3 * S
        assert late is Priority.NORMAL or acted["c"] == begun_us
        await asyncio.gather(*tasks)

    run(test())


def test_who_is_not_first_sleeps_while_the_first_one_is_about_to_take_it() -> None:
    """Its timer fired before that of the first: looking again each microsecond kept a core busy."""
    clock, naps, order = SimClock(), list[float](), list[str]()
    sleep = clock.sleep

    async def counted(duration_s: float) -> None:
        naps.append(duration_s)
        await sleep(duration_s)

    clock.sleep = counted  # type: ignore[method-assign]
    arbiter = Arbiter(clock, 1 * S, 60 * S)

    async def use(name: str, priority: Priority) -> None:
        async with arbiter.lease("pump", active(name), priority):
            order.append(name)

    async def test() -> None:
        tasks = []
        for name, priority in [("holder", Priority.HIGH), ("behind", Priority.NORMAL), ("first", Priority.HIGH)]:
            tasks.append(asyncio.ensure_future(use(name, priority)))
            await settle()
        for _ in range(6):
            clock.move(clock.time_us + S // 2)
            await settle()
        await asyncio.gather(*tasks)
        assert order == ["holder", "first", "behind"]
        assert min(naps) >= 0.5, naps

    run(test())


def two(first: str, second: str) -> list[str]:
    def one(name: str, priority: str, level: str) -> str:
        return (
            f'rule {name} {{\n version "1.0.0"\n priority {priority}\n pin RELAY: output\n record Reading {{ temp: float }}\n'
            f' on mqtt "{name}" as r: Reading\n gpio.set_pin(RELAY, {level})\n}}\n'
        )

    return [one("a", first, "HIGH"), one("b", second, "LOW")]


def test_another_rule_waits_for_the_lease(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path, *two("normal", "normal"))
        await sim.send("a", temp=1.0)
        await sim.turns()
        await sim.send("b", temp=1.0)
        await sim.advance(3 * S)
        assert [((at - START_US_OF_SIM) // S, args["level"]) for at, _, args in sim.drivers["gpio"].acted] == [
            (0, "HIGH"),
            (1, "LOW"),
        ]
        shown = sim.node.status()["resources"]
        assert isinstance(shown, dict) and shown["gpio/RELAY"]["conflicts"] == 1
        assert shown["gpio/RELAY"]["last_loser"] == "b"
        await sim.stop()

    run(test())


def test_a_higher_priority_takes_the_resource_at_once(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path, *two("normal", "critical"))
        await sim.send("a", temp=1.0)
        await sim.turns()
        await sim.send("b", temp=1.0)
        await sim.turns()
        assert [args["level"] for _, _, args in sim.drivers["gpio"].acted] == ["HIGH", "LOW"]
        await sim.stop()

    run(test())


def test_whoever_waits_too_long_fails(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path, *two("normal", "normal"))
        sim.drivers["gpio"].duration_s["gpio.set_pin"] = 20.0
        await sim.send("a", temp=1.0)
        await sim.turns()
        await sim.send("b", temp=1.0)
        await sim.advance(30 * S)
        assert [args["level"] for _, _, args in sim.drivers["gpio"].acted] == ["HIGH"]
        (result,) = sim.bodies(ActionResultBody)
        assert result.rule == "b" and "gpio/RELAY is commanded by a; b waited 5s" in result.error
        await sim.stop()

    run(test())


def test_waiting_rules_go_by_priority_then_arrival() -> None:
    clock = SimClock()
    order: list[str] = []

    async def use(arbiter: Arbiter, name: str, priority: Priority) -> None:
        async with arbiter.lease("pump", active(name), priority):
            order.append(name)
            await clock.sleep(1.0)

    async def test() -> None:
        arbiter = Arbiter(clock, 2 * S, 60 * S)
        names = [("holder", 2), ("low", 3), ("first", 2), ("second", 2), ("urgent", 0)]
        tasks = []
        for name, priority in names:
            tasks.append(asyncio.ensure_future(use(arbiter, name, Priority(priority))))
            await asyncio.sleep(0)
        for _ in range(40):
            for _ in range(10):
                await asyncio.sleep(0)
            clock.move(clock.time_us + S // 2)
        await asyncio.gather(*tasks)

    run(test())
    assert order == ["holder", "urgent", "first", "second", "low"]


def test_a_holder_may_act_again_during_its_lease() -> None:
    clock = SimClock()

    async def test() -> None:
        arbiter = Arbiter(clock, 10 * S, S)
        for _ in range(3):
            async with arbiter.lease("pump", active("a"), Priority.NORMAL):
                clock.move(clock.time_us + S)
        waiting = asyncio.ensure_future(arbiter.lease("pump", active("b"), Priority.NORMAL).__aenter__())
        await asyncio.sleep(0)
        async with arbiter.lease("pump", active("a"), Priority.NORMAL):
            pass
        clock.move(clock.time_us + 2 * S)
        with pytest.raises(ResourceBusy):
            await waiting

    run(test())


def test_a_clock_that_is_set_back_makes_no_wait_and_no_lease_longer() -> None:
    clock = SimClock()
    arbiter = Arbiter(clock, 1 * S, 5 * S)
    ended: list[str] = []

    async def act(rule: str, duration_s: float) -> None:
        try:
            async with arbiter.lease("gpio/RELAY", active(rule), Priority.NORMAL):
                await clock.sleep(duration_s)
            ended.append(rule)
        except ResourceBusy:
            ended.append(f"{rule} waited too long")

    async def pass_s(seconds: int) -> None:
        for _ in range(seconds):
            clock.move(clock.time_us + S)
            for _ in range(20):
                await asyncio.sleep(0)

    async def test() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(act("slow", 60.0))
            await asyncio.sleep(0)
            group.create_task(act("waiting", 0.0))
            await pass_s(1)
            clock.set_us = -3600 * S
            await pass_s(12)
            assert ended == ["waiting waited too long"]
            await pass_s(60)
            group.create_task(act("next", 0.0))
            clock.set_us = -7200 * S
            await pass_s(2)
            assert ended[1:] == ["slow", "next"], "the lease of `slow` is not an hour longer"

    run(test())


def test_the_status_tells_who_holds_a_resource_who_waits_and_who_lost() -> None:
    clock = SimClock()

    def told(holder: str, waiting: list[str], conflicts: int, loser: str) -> dict[str, object]:
        return {"pump": {"holder": holder, "waiting": waiting, "conflicts": conflicts, "last_loser": loser}}

    async def test() -> None:
        arbiter = Arbiter(clock, 30 * S, 5 * S)
        async with arbiter.lease("pump", active("a"), Priority.NORMAL):
            assert arbiter.as_dict() == told("a", [], 0, "")
        assert arbiter.as_dict() == told("a", [], 0, ""), "its lease lasts"
        for count in (1, 2):
            waiting = asyncio.ensure_future(arbiter.lease("pump", active("b"), Priority.NORMAL).__aenter__())
            await settle()
            assert arbiter.as_dict() == told("a", ["b"], count, "b")
            clock.move(clock.time_us + 5 * S)
            with pytest.raises(ResourceBusy, match="pump is commanded by a; b waited 5s for it"):
                await waiting
        clock.move(clock.time_us + 30 * S)
        assert arbiter.as_dict() == told("", [], 2, "b")

    run(test())
