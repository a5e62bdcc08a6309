"""Of the two programs of a rule one acts on each event: by the event's key, whatever becomes of the slots meanwhile."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter, defaultdict
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from components.node_sim import NodeSim, program
from eyeflow.evidence.route import route
from eyeflow.node.control import InstallOutcome, InstallResult
from eyeflow.node.engine.actions import ActionRunner
from eyeflow.node.engine.running import EVENTS_MAX
from eyeflow.node.run_key import active, candidate, previous
from eyeflow.node.store.types import PASSED, Standing, Terms, Wish
from eyeflow.protocol.audit_bodies import Disposition, ExecutionBody, SlotBody, SlotChange
from eyeflow.protocol.messages import Trial
from eyeflow.protocol.slot import Slot

S = 1_000_000
SEEDS = range(200 if os.environ.get("EYEFLOW_FUZZ") == "full" else 25)
TRIAL = Trial(60, 20, 500, 3, True)


def counter(version: int, body: str = 'log.info("v{v} {e.number}")', step: int = 1) -> str:
    text = body.replace("{v}", str(version))
    return (
        f'rule counter {{\n version "{version}.0.0"\n record Event {{ number: int }}\n state n: int = 0\n'
        f' on mqtt "t" as e: Event\n n = n + {step}\n {text}\n}}\n'
    )


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


def ok(result: InstallResult) -> None:
    assert result.outcome is not InstallOutcome.REFUSED, result


async def send(sim: NodeSim, number: int, key: str | None = None) -> None:
    await sim.node.engine.deliver(sim.event("t", {"number": number}, key))


def said(sim: NodeSim) -> list[str]:
    return [str(args["message"]) for _, _, args in sim.drivers["log"].acted]


def memory(sim: NodeSim, slot: Slot = Slot.ACTIVE) -> object:
    key = active("counter") if slot is Slot.ACTIVE else candidate("counter")
    return sim.node.engine.core.rules[key].instance.state_values()["n"]


async def beside(path: Path, terms: Terms, first: str = counter(1), second: str = counter(2)) -> NodeSim:
    path.mkdir(exist_ok=True)
    sim = await NodeSim.started(path)
    ok(await sim.node.install(program(first), {}, "d1", 1, PASSED))
    ok(await sim.stage(second, 2, terms))
    return sim


def test_the_key_decides_who_acts(tmp_path: Path) -> None:
    keys = [f"plant/{number}/temp" for number in range(200)]

    async def test() -> None:
        sim = await beside(tmp_path, Terms(share=3_000))
        for number, key in enumerate(keys):
            await send(sim, number, key)
        await sim.turns()
        expected = [f"v{2 if route('counter', key) < 3_000 else 1} {number}" for number, key in enumerate(keys)]
        assert sorted(said(sim)) == sorted(expected) and 30 < sum(text.startswith("v2") for text in said(sim)) < 90
        assert (memory(sim), memory(sim, Slot.CANDIDATE)) == (200, 200), "both see all"
        assert sim.done == 200
        for slot, version in (("active", "v1"), ("candidate", "v2")):
            withheld = sim.rule("counter", slot)["withheld"]
            assert withheld == 200 - sum(text.startswith(version) for text in said(sim))
        await sim.stop()

    run(test())


@pytest.mark.parametrize(("terms", "who"), [(Terms(share=10_000), "v1"), (Terms(keyless=True), "v2")])
def test_events_without_a_key_go_to_the_program_of_the_node(tmp_path: Path, terms: Terms, who: str) -> None:
    async def test() -> None:
        sim = await beside(tmp_path, terms)
        await send(sim, 1)
        await sim.turns()
        assert said(sim) == [f"{who} 1"]
        await sim.stop()

    run(test())


@pytest.mark.parametrize("keyless", [False, True])
def test_timers_have_no_key_and_both_fire_together(tmp_path: Path, keyless: bool) -> None:
    def ticking(version: int) -> str:
        return f'rule counter {{\n version "{version}.0.0"\n state n: int = 0\n on every 1s\n n = n + 1\n log.info("v{version}")\n}}\n'

    async def test() -> None:
        sim = await NodeSim.started(tmp_path, ticking(1))
        await sim.advance(S // 3)
        before = len(said(sim))
        ok(await sim.stage(ticking(2), 2, Terms(share=10_000, keyless=keyless)))
        await sim.advance(10 * S)
        assert said(sim)[before:] == ["v2" if keyless else "v1"] * 10
        ticks = [(body.event_time_us, body.slot) for body in sim.bodies(ExecutionBody)[before:]]
        times = defaultdict(set)
        for time_us, slot in ticks:
            times[time_us].add(slot)
        assert all(slots == {"active", "candidate"} for slots in times.values()), "at the same times"
        await sim.stop()

    run(test())


def test_a_candidate_without_timers_leaves_those_of_the_active_program_to_it(tmp_path: Path) -> None:
    async def test() -> None:
        ticking = 'rule counter {\n version "1.0.0"\n on every 1s\n log.info("tick")\n}\n'
        sim = await beside(tmp_path, Terms(keyless=True), first=ticking)
        await sim.advance(3 * S)
        assert set(said(sim)) == {"tick"} and len(said(sim)) >= 3
        await sim.stop()

    run(test())


def test_what_the_candidate_cannot_take_the_active_program_acts_on(tmp_path: Path) -> None:
    """Its schema is another, it listens to something else, or it has no room."""
    strict = counter(2).replace("number: int", "number: int\n  more: int")
    elsewhere = counter(2).replace('mqtt "t"', 'mqtt "u"')

    async def test() -> None:
        for number, second in enumerate((strict, elsewhere, counter(2))):
            sim = await beside(tmp_path / str(number), Terms(share=10_000, keyless=True), second=second)
            if number == 2:
                rule = sim.node.engine.core.rules[candidate("counter")]
                rule.stalled = True
                for one in range(EVENTS_MAX):
                    await send(sim, one, "k")
                await sim.turns()
                event = sim.event("t", {"number": 9999}, "k")._replace(can_wait=False)
                await sim.node.engine.deliver(event)
                rule.stalled = False
                await sim.turns()
                assert said(sim).count("v1 9999") == 1 and said(sim).count("v2 9999") == 0
            else:
                await send(sim, 1, "k")
                await sim.turns()
                assert said(sim) == ["v1 1"]
            await sim.stop()

    run(test())


def test_a_retained_message_that_is_for_the_candidate_alone_is_acted_on_by_nobody_again(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await beside(tmp_path, Terms(share=10_000, keyless=True))
        event = sim.event("t", {"number": 1}, "k")._replace(only=frozenset({candidate("counter")}))
        await sim.node.engine.deliver(event)
        await sim.turns()
        assert said(sim) == [] and memory(sim, Slot.CANDIDATE) == 1 and sim.done == 1
        await sim.stop()

    run(test())


def test_a_source_waits_for_a_candidate_only_with_what_it_acts_on(tmp_path: Path) -> None:
    keys = [f"k{number}" for number in range(50)]
    mine = next(key for key in keys if route("counter", key) < 5_000)
    other = next(key for key in keys if route("counter", key) >= 5_000)

    async def test() -> None:
        sim = await beside(tmp_path, Terms(share=5_000))
        rule = sim.node.engine.core.rules[candidate("counter")]
        rule.stalled = True
        for number in range(EVENTS_MAX):
            await send(sim, number, mine)
        await sim.turns()
        assert sim.done == 0, "nothing is acknowledged before the one that acts on it has recorded it"
        await asyncio.wait_for(send(sim, 5000, other), 60)
        waiting = asyncio.ensure_future(send(sim, 5001, mine))
        await sim.turns()
        assert not waiting.done() and sim.done == 1
        rule.stalled = False
        await sim.turns()
        await waiting
        await sim.turns()
        assert sim.done == EVENTS_MAX + 2
        await sim.stop()

    run(test())


def test_an_emitted_event_keeps_the_key_of_what_it_came_from_also_over_a_crash(tmp_path: Path) -> None:
    def emitter() -> str:
        return (
            'rule emitter {\n version "1.0.0"\n record Event { number: int }\n on mqtt "t" as e: Event\n'
            " emit seen(number: e.number)\n}\n"
        )

    def listener(version: int) -> str:
        return counter(version).replace('mqtt "t"', 'event "seen"')

    keys = [f"k{number}" for number in range(20)]

    async def test() -> None:
        sim = await beside(tmp_path, Terms(share=5_000), listener(1), listener(2))
        ok(await sim.install(emitter()))
        for number, key in enumerate(keys):
            await send(sim, number, key)
        await sim.node.engine.turn()
        path, clock = sim.config.data_dir, sim.clock
        sim.crash()
        sim = await NodeSim.started(path, clock=clock)
        await sim.turns()
        expected = [f"v{2 if route('counter', key) < 5_000 else 1} {number}" for number, key in enumerate(keys)]
        assert sorted(said(sim)) == sorted(expected)
        await sim.stop()

    run(test())


def test_both_share_the_lease_of_their_rule(tmp_path: Path) -> None:
    body = "gpio.set_pin(P, HIGH)\n gpio.set_pin(P, LOW)"
    first, second = (counter(v, body).replace("record", "pin P: output\n record", 1) for v in (1, 2))

    async def test() -> None:
        sim = await beside(tmp_path, Terms(share=5_000), first, second)
        for number in range(20):
            await send(sim, number, f"k{number}")
        await sim.turns()
        assert len(sim.drivers["gpio"].acted) == 40, "no time had to pass"
        await sim.stop()

    run(test())


async def swapped(sim: NodeSim, version: int, trial: Trial | None = None) -> None:
    """Let both change places; the new active program is wanted by deployment `version`, the old one as it was."""
    old = sim.node.installer.table.row(active("counter"))
    assert old is not None
    terms = Terms(Standing.PASSED if trial is None else Standing.ON_TRIAL, trial)
    ok(await sim.swap("counter", version, Wish(f"d{version}", terms), Wish(old.deployment, PASSED)))


@pytest.mark.parametrize("crash", [False, True])
def test_a_swap_is_one_pointer_and_both_keep_their_state(tmp_path: Path, crash: bool) -> None:
    async def test() -> None:
        sim = await beside(tmp_path, Terms(), counter(1), counter(2, step=10))
        await send(sim, 1)
        await sim.turns()
        assert (memory(sim), memory(sim, Slot.CANDIDATE)) == (1, 10)
        await swapped(sim, 2, TRIAL)
        await send(sim, 2)
        await sim.turns()
        assert (memory(sim), memory(sim, Slot.CANDIDATE)) == (20, 2) and said(sim) == ["v1 1", "v2 2"]
        if crash:
            path, clock = sim.config.data_dir, sim.clock
            sim.crash()
            sim = await NodeSim.started(path, clock=clock)
        assert (memory(sim), memory(sim, Slot.CANDIDATE)) == (20, 2)
        table = sim.node.installer.table
        assert table.row(previous("counter")).deployment == "d1"  # type: ignore[union-attr]
        assert {one.slot.value: one.standing.value for one in sim.node.evidence()} == {
            "active": "trial",
            "candidate": "passed",
        }
        await swapped(sim, 1)
        await send(sim, 3)
        await sim.turns()
        assert (memory(sim), memory(sim, Slot.CANDIDATE)) == (3, 30) and said(sim)[-1] == "v1 3"
        assert table.row(previous("counter")) is None or crash
        changes = [body.change for body in sim.bodies(SlotBody)]
        assert changes == [SlotChange.SWAPPED] * 2
        await sim.stop()

    run(test())


def test_the_warm_program_goes_on_when_the_new_one_fails_its_trial(tmp_path: Path) -> None:
    """It has seen all events, so its state is of now, not of when it was replaced."""
    bad = counter(2, "n = n + 0 / (e.number - 7)")

    async def test() -> None:
        sim = await beside(tmp_path, Terms(), counter(1), bad)
        await swapped(sim, 2, TRIAL)
        for number in [7] * 30:
            await send(sim, number)
        await sim.turns()
        assert await sim.node.trials.look()
        assert memory(sim) == 30 and candidate("counter") not in sim.node.engine.core.rules
        failed = sim.node.installer.table.rejected("counter")
        assert failed is not None and failed.taken_back and failed.row.deployment == "d2"
        path, clock = sim.config.data_dir, sim.clock
        sim.crash()
        sim = await NodeSim.started(path, clock=clock)
        assert memory(sim) == 30 and sim.node.installer.table.rejected("counter") == failed
        await send(sim, 8)
        await sim.turns()
        assert said(sim)[-1] == "v1 8"
        await sim.stop()

    run(test())


def test_a_swap_leaves_each_program_its_timers(tmp_path: Path) -> None:
    def ticking(version: int, every: str) -> str:
        return f'rule counter {{\n version "{version}.0.0"\n state n: int = 0\n on every {every}\n n = n + 1\n}}\n'

    async def test() -> None:
        sim = await beside(tmp_path, Terms(), ticking(1, "1s"), ticking(2, "250ms"))
        await sim.advance(2 * S)
        before = (memory(sim), memory(sim, Slot.CANDIDATE))
        await swapped(sim, 2)
        await sim.advance(2 * S)
        assert (memory(sim, Slot.CANDIDATE), memory(sim)) == (before[0] + 2, before[1] + 8)  # type: ignore[operator]
        await sim.stop()

    run(test())


@pytest.mark.parametrize("missing", [Slot.ACTIVE, Slot.CANDIDATE])
def test_a_swap_takes_two(tmp_path: Path, missing: Slot) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path)
        if missing is Slot.ACTIVE:
            ok(await sim.stage(counter(2), 2))
        else:
            ok(await sim.install(counter(1)))
        refused = await sim.swap("counter", 3, Wish("d3"), Wish("d4"))
        assert refused.code == ("no_program" if missing is Slot.ACTIVE else "no_candidate")
        await sim.stop()

    run(test())


class Story:
    """A random life of one rule: events with and without keys, and every change that its slots know."""

    def __init__(self, sim: NodeSim, rng: random.Random) -> None:
        self.sim, self.rng, self.number, self.version = sim, rng, 0, 2
        self.done: set[int] = set()
        self.keys: dict[int, str | None] = {}

    async def event(self) -> None:
        self.number += 1
        number, key = self.number, self.rng.choice([None, *(f"k{one}" for one in range(8))])
        self.keys[number] = key
        event = self.sim.event("t", {"number": number}, key)
        await self.sim.node.engine.deliver(event._replace(done=lambda: self.done.add(number)))

    def terms(self) -> Terms:
        return Terms(share=self.rng.choice([0, 1_000, 5_000, 10_000]), keyless=self.rng.random() < 0.5)

    async def change(self) -> None:
        node, rng = self.sim.node, self.rng
        self.version += 1
        verb = rng.choice(
            ["stage", "stage", "share", "share", "promote", "swap", "drop", "back", "take back", "install"]
        )
        by = (f"d{self.version}", self.version)
        if verb == "stage":
            await node.stage(program(counter(rng.randint(1, 4))), {}, *by, self.terms())
        elif verb == "share":
            await self.sim.want_again(candidate("counter"), *by, self.terms())
        elif verb == "promote":
            await self.sim.promote("counter", rng.choice([PASSED, Terms()]))
        elif verb == "swap":
            await self.sim.swap(
                "counter", self.version, Wish(by[0], Terms(Standing.ON_TRIAL, TRIAL)), Wish("old", self.terms())
            )
        elif verb == "drop":
            await node.drop_candidate("counter", rng.choice(["", "bad"]))
        elif verb == "back":
            await node.roll_back("counter", "bad")
        elif verb == "take back":
            row = node.installer.table.row(candidate("counter"))
            if row is not None:
                await node.installer.take_back(replace(row, trial=TRIAL), "bad")
        else:
            await node.install(program(counter(rng.randint(1, 4))), {}, *by, PASSED)

    async def step(self) -> None:
        dice, core = self.rng.random(), self.sim.node.engine.core
        if dice < 0.6:
            await self.event()
        elif dice < 0.75:
            await self.change()
        elif dice < 0.85:
            await self.sim.node.engine.turn()
        elif dice < 0.9:
            await self.sim.advance(self.rng.randrange(S))
        else:
            for rule in core.rules.values():
                rule.stalled = self.rng.random() < 0.4
        if self.rng.random() < 0.1:
            self.sim.drivers["log"].duration_s["log.info"] = self.rng.choice([0.0, 0.05, 0.3])

    async def rest(self) -> None:
        for rule in self.sim.node.engine.core.rules.values():
            rule.stalled = False
        await self.sim.advance(600 * S)

    async def crash(self) -> None:
        path, clock = self.sim.config.data_dir, self.sim.clock
        self.sim.crash()
        self.sim = await NodeSim.started(path, clock=clock)

    def sent(self) -> Counter[int]:
        """How often each event was acted on."""
        bodies = self.sim.bodies(ExecutionBody)
        acted = (body for body in bodies if any(how == Disposition.SENT for _, _, how in body.actions))
        return Counter(int(body.inputs[0]) for body in acted)


async def lived(path: Path, seed: int, *, crashes: bool) -> Story:
    rng = random.Random(seed)
    path.mkdir(exist_ok=True)
    sim = await NodeSim.started(path)
    ok(await sim.node.install(program(counter(1)), {}, "d1", 1, PASSED))
    story = Story(sim, rng)
    for _ in range(120):
        await story.step()
        if crashes and rng.random() < 0.04:
            await story.crash()
    await story.rest()
    return story


@pytest.mark.parametrize("seed", SEEDS)
def test_each_event_is_acted_on_by_one_program(tmp_path: Path, seed: int) -> None:
    async def test() -> None:
        story = await lived(tmp_path, seed, crashes=False)
        sim = story.sim
        assert story.sent() == Counter(range(1, story.number + 1)), "not by both, not by none"
        assert story.done == set(range(1, story.number + 1))
        numbers = [int(text.split()[1]) for text in said(sim)]
        assert sorted(numbers) == list(range(1, story.number + 1))
        for key in {*story.keys.values()} - {None}:
            mine = [number for number in numbers if story.keys[number] == key]
            assert mine == sorted(mine), f"actions on {key} in the order of its events"
        await sim.stop()

    run(test())


@pytest.mark.parametrize("seed", SEEDS)
def test_over_crashes_no_event_is_acted_on_twice_and_what_was_acknowledged_once(tmp_path: Path, seed: int) -> None:
    async def test() -> None:
        story = await lived(tmp_path, 1000 + seed, crashes=True)
        sent = story.sent()
        assert max(sent.values(), default=0) <= 1
        assert story.done <= sent.keys()
        await story.sim.stop()

    run(test())


@pytest.mark.parametrize("what", ["nobody", "overtaken"])
def test_control_the_story_notices_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """A candidate drops what it was to act on; actions of one program overtake those of the other."""
    if what == "nobody":
        monkeypatch.setattr("eyeflow.node.engine.engine.Engine.run_out", _no_run_out)
    else:
        monkeypatch.setattr(ActionRunner, "_waits_for_other", lambda self, key: False)

    async def fails(seed: int) -> bool:
        story = await lived(tmp_path / str(seed), seed, crashes=False)
        numbers = [int(text.split()[1]) for text in said(story.sim)]
        ordered = all(
            mine == sorted(mine)
            for key in {*story.keys.values()} - {None}
            for mine in [[number for number in numbers if story.keys[number] == key]]
        )
        return story.sent() != Counter(range(1, story.number + 1)) or not ordered

    async def test() -> None:
        assert any([await fails(seed) for seed in range(25)])

    run(test())


async def _no_run_out(self: Any, key: Any, count: int) -> None:
    return None
