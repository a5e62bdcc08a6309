"""An unfinished action that ends the node at each start is given up; one that only waits for its driver never is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from components.node_sim import NodeSim
from eyeflow.node.engine import pending
from eyeflow.node.engine.core import FORGET_US
from eyeflow.node.engine.tries import ENDS_MAX
from eyeflow.node.run_key import active
from eyeflow.node.store.store import Store
from eyeflow.node.store.types import Batch, Committed
from eyeflow.protocol.audit_bodies import ActionOutcome, ActionResultBody
from unit.node.engine.rules import S, rule, run

NEVER_S = 10.0**6
ACTIONS = {
    "mqtt.publish": 'mqtt.publish("a", "b")',
    "http.post": 'http.post("http://127.0.0.1/", "b")',
    "log.info": 'log.info("b")',
}


def one_of(capability: str) -> str:
    return rule(capability.partition(".")[0], ACTIONS[capability])


async def started(path: Path, capability: str) -> NodeSim:
    """Start a node whose driver never answers this action: whatever ends the node comes before."""
    sim = await NodeSim.started(path)
    sim.drivers[capability.partition(".")[0]].duration_s[capability] = NEVER_S
    await sim.turns()
    return sim


async def left(path: Path, *sources: str, capability: str) -> None:
    """Decide an action, and end while it is under way."""
    sim = await NodeSim.started(path, *sources)
    sim.drivers[capability.partition(".")[0]].duration_s[capability] = NEVER_S
    await sim.send("t", temp=1.0)
    await sim.turns()
    sim.crash()


async def told_at_starts(path: Path, capability: str, starts: int) -> list[int]:
    """Start and end so often; return how often the driver was told at each start."""
    counts = []
    for _ in range(starts):
        sim = await started(path, capability)
        counts.append(len(sim.drivers[capability.partition(".")[0]].begun))
        sim.crash()
    return counts


async def results(path: Path) -> list[tuple[str, ActionOutcome, int]]:
    sim = await NodeSim.started(path)
    await sim.advance(FORGET_US)
    found = [(one.rule, ActionOutcome(one.result), one.attempts) for one in sim.bodies(ActionResultBody)]
    await sim.stop()
    return found


@pytest.mark.parametrize("capability", ACTIONS)
def test_an_action_that_ends_the_node_at_each_start_is_given_up(tmp_path: Path, capability: str) -> None:
    name = capability.partition(".")[0]

    async def test() -> None:
        await left(tmp_path, one_of(capability), capability=capability)
        assert await told_at_starts(tmp_path, capability, ENDS_MAX + 1) == [1] * ENDS_MAX + [0]
        sim = await NodeSim.started(tmp_path)
        await sim.turns()
        (result,) = sim.bodies(ActionResultBody)
        assert (result.result, result.attempts) == (ActionOutcome.INTERRUPTED, ENDS_MAX)
        assert f"ended {ENDS_MAX} times in a row while this action was under way" in result.error
        shown = sim.node.engine.core.rules[active(name)].evidence
        assert (shown.failed_actions, shown.acted) == (1, 1) and "ended 5 times" in shown.failed[-1].what
        await sim.send("t", temp=2.0)
        await sim.turns()
        assert len(sim.drivers[name].acted) == 1, "the rule goes on"
        await sim.stop()

    run(test())


def test_control_without_the_bound_it_is_begun_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "ENDS_MAX", 10**6)

    async def test() -> None:
        await left(tmp_path, one_of("mqtt.publish"), capability="mqtt.publish")
        assert await told_at_starts(tmp_path, "mqtt.publish", 2 * ENDS_MAX) == [1] * (2 * ENDS_MAX)

    run(test())


async def while_the_broker_is_away(path: Path) -> None:
    sim = NodeSim(path)
    sim.drivers["mqtt"].set_ready(False)
    await sim.node.start()
    await sim.advance(S)
    assert sim.drivers["mqtt"].begun == []
    sim.crash()


async def while_the_broker_goes_away(path: Path) -> None:
    """It is told, and its connection breaks: then it waits again."""
    sim = NodeSim(path)
    sim.drivers["mqtt"].before = lambda: sim.drivers["mqtt"].set_ready(False)
    await sim.node.start()
    await sim.advance(S)
    assert len(sim.drivers["mqtt"].begun) == 1
    sim.crash()


async def in_good_order(path: Path) -> None:
    sim = await started(path, "mqtt.publish")
    assert len(sim.drivers["mqtt"].begun) == 1
    await sim.stop()


async def between_two_attempts(path: Path) -> None:
    """The server says no: that does not end a node."""
    sim = NodeSim(path)
    sim.drivers["mqtt"].failures["mqtt.publish"] = 1
    await sim.node.start()
    await sim.advance(S // 100)
    assert len(sim.drivers["mqtt"].begun) == 1
    sim.crash()


@pytest.mark.parametrize(
    "end", [while_the_broker_is_away, while_the_broker_goes_away, in_good_order, between_two_attempts]
)
def test_ends_that_say_nothing_against_an_action_are_not_counted(
    tmp_path: Path, end: Callable[[Path], Awaitable[None]]
) -> None:
    text = 'mqtt.publish("a", "b") retry 3 backoff 60s'

    async def test() -> None:
        await left(tmp_path, rule("mqtt", text), capability="mqtt.publish")
        for _ in range(ENDS_MAX + 2):
            await end(tmp_path)
        sim = await NodeSim.started(tmp_path)
        await sim.turns()
        assert len(sim.drivers["mqtt"].acted) == 1 and sim.bodies(ActionResultBody) == []
        await sim.stop()

    run(test())


def test_an_innocent_action_is_not_given_up_beside_the_one_that_ends_the_node(tmp_path: Path) -> None:
    """Both are told in the first start. From then on each is told alone, and how the first ended is durable by then."""

    async def test() -> None:
        both = (one_of("http.post"), one_of("mqtt.publish"))
        sim = await NodeSim.started(tmp_path, *both)
        sim.drivers["http"].duration_s["http.post"] = sim.drivers["mqtt"].duration_s["mqtt.publish"] = NEVER_S
        await sim.send("t", temp=1.0)
        await sim.turns()
        sim.crash()
        posted, published = 0, list[int]()
        for _ in range(ENDS_MAX + 1):
            sim = NodeSim(tmp_path)
            sim.drivers["http"].duration_s["http.post"] = 1.0
            sim.drivers["mqtt"].duration_s["mqtt.publish"] = NEVER_S
            await sim.node.start()
            await sim.turns()
            if published:
                await sim.advance(S)
            posted += len(sim.drivers["http"].acted)
            published.append(len(sim.drivers["mqtt"].begun))
            sim.crash()
        assert posted == 1 and published == [1] * ENDS_MAX + [0]
        assert await results(tmp_path) == [("mqtt", ActionOutcome.INTERRUPTED, ENDS_MAX)]

    run(test())


def test_others_of_the_same_line_are_given_up_after_one_end_each(tmp_path: Path) -> None:
    """But not one that its driver answers."""

    async def test() -> None:
        sim = await NodeSim.started(tmp_path, one_of("mqtt.publish"))
        sim.drivers["mqtt"].duration_s["mqtt.publish"] = NEVER_S
        for _ in range(4):
            await sim.send("t", temp=1.0)
        await sim.turns()
        sim.crash()
        assert await told_at_starts(tmp_path, "mqtt.publish", ENDS_MAX + 2) == [1] * (ENDS_MAX + 2)
        sim = await NodeSim.started(tmp_path)
        await sim.turns()
        assert len(sim.drivers["mqtt"].acted) == 1, "the last one"
        assert [one.attempts for one in sim.bodies(ActionResultBody)] == [ENDS_MAX] * 3
        await sim.stop()

    run(test())


@pytest.mark.parametrize(("skips", "follows"), [("", 0), (" else skip", 1)])
def test_what_was_to_follow_it_is_cancelled_as_after_any_failure(tmp_path: Path, skips: str, follows: int) -> None:
    text = f'{ACTIONS["http.post"]}{skips}\n mqtt.publish("a", "b")'

    async def test() -> None:
        await left(tmp_path, rule("both", text), capability="http.post")
        await told_at_starts(tmp_path, "http.post", ENDS_MAX)
        sim = await NodeSim.started(tmp_path)
        await sim.turns()
        assert len(sim.drivers["mqtt"].acted) == follows and sim.drivers["http"].begun == []
        found = [ActionOutcome(one.result) for one in sim.bodies(ActionResultBody)]
        assert found == [ActionOutcome.INTERRUPTED, ActionOutcome.CANCELLED][: 2 - follows]
        shown = sim.node.engine.core.rules[active("both")].evidence
        assert (shown.acted, shown.failed_actions, shown.pending) == (1, 1, 0), "one execution, one failure"
        await sim.stop()

    run(test())


def test_no_driver_is_told_before_that_is_counted_durably(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The power goes before and after the commit of each count: the count is never less than what was told."""

    class PowerCutError(Exception):
        """The power goes."""

    real = Store.commit

    async def test() -> None:
        await left(tmp_path, one_of("mqtt.publish"), capability="mqtt.publish")
        told = 0
        for number in range(2 * ENDS_MAX):

            def commit(self: Store, batch: Batch, cuts: int = number % 3) -> Committed:
                if batch.tried and cuts == 0:
                    raise PowerCutError
                done = real(self, batch)
                if batch.tried and cuts == 1:
                    raise PowerCutError
                return done

            monkeypatch.setattr(Store, "commit", commit)
            sim = await NodeSim.started(tmp_path)
            sim.drivers["mqtt"].duration_s["mqtt.publish"] = NEVER_S
            try:
                await sim.turns()
            except PowerCutError:
                assert sim.drivers["mqtt"].begun == []
            told += len(sim.drivers["mqtt"].begun)
            kept = sim.store.restore().pending
            assert not kept or kept[0].ends >= told
            sim.crash()
        monkeypatch.undo()
        assert 0 < told < ENDS_MAX and [how for _, how, _ in await results(tmp_path)] == [ActionOutcome.INTERRUPTED]

    run(test())
