"""What a crash left of both programs of a rule is performed in the order in which it was decided."""

from __future__ import annotations

from pathlib import Path

from components.node_sim import NodeSim, program
from eyeflow.node.run_key import candidate
from eyeflow.node.store.types import PASSED, Terms
from unit.node.engine.rules import run


def sender(version: int) -> str:
    return (
        f'rule sender {{\n version "{version}.0.0"\n record Event {{ number: int }}\n'
        f' on mqtt "t" as e: Event\n mqtt.publish("v{version}", "{{e.number}}")\n}}\n'
    )


async def send(sim: NodeSim, number: int) -> None:
    await sim.node.engine.deliver(sim.event("t", {"number": number}))
    await sim.turns()


async def crashed(path: Path) -> None:
    """The active program acts on 1 and 2, the candidate on 3, and the broker never answers."""
    sim = await NodeSim.started(path)
    sim.drivers["mqtt"].duration_s["mqtt.publish"] = 3600.0
    await sim.node.install(program(sender(1)), {}, "d1", 1, PASSED)
    await send(sim, 1)
    await send(sim, 2)
    await sim.stage(sender(2), 2, Terms(share=10_000, keyless=True))
    await send(sim, 3)
    assert not sim.drivers["mqtt"].acted
    sim.crash()


async def started_again(path: Path) -> NodeSim:
    """Each message takes a second now."""
    sim = NodeSim(path)
    sim.drivers["mqtt"].duration_s["mqtt.publish"] = 1.0
    await sim.node.start()
    await sim.turns()
    return sim


async def topics_after(sim: NodeSim, seconds: int) -> list[str]:
    await sim.advance(seconds * 1_000_000)
    await sim.stop()
    return [str(args["topic"]) for _, _, args in sim.drivers["mqtt"].acted]


def test_a_resumed_candidate_does_not_overtake_the_active_program(tmp_path: Path) -> None:
    async def test() -> None:
        await crashed(tmp_path)
        assert await topics_after(await started_again(tmp_path), 10) == ["v1", "v1", "v2"]

    run(test())


def test_a_program_that_goes_takes_only_its_own_resumed_actions_along(tmp_path: Path) -> None:
    async def test() -> None:
        await crashed(tmp_path)
        sim = await started_again(tmp_path)
        sim.node.engine.actions.cancel(candidate("sender"), "it went")
        assert await topics_after(sim, 10) == ["v1", "v1"]

    run(test())
