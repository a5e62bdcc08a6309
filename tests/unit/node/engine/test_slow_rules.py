"""Where a rule's actions lag: its surplus events are rejected and recorded, or, with `block`, their source waits."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from components.node_sim import NodeSim
from eyeflow.node.engine.actions import WAITING_MAX
from eyeflow.node.engine.running import EVENTS_MAX

SLOW = """
rule slow {
    version "1.0.0"
    record Reading { temp: float }
    on mqtt "t" as r: Reading
    mqtt.publish("a", "b")
}
"""


@pytest.mark.parametrize("waits", [False, True], ids=["reject", "block"])
def test_surplus_events_of_a_slow_rule(tmp_path: Path, waits: bool) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path, SLOW)
        sim.node.engine.core.intake.waits_for_slow = waits
        sim.drivers["mqtt"].duration_s["mqtt.publish"] = 1.0
        for _ in range(WAITING_MAX):
            await sim.send("t", temp=1.0)
            await sim.turns()
        assert sim.rule("slow")["stalled"]
        for _ in range(EVENTS_MAX):
            await sim.send("t", temp=1.0)
        surplus = asyncio.create_task(sim.send("t", temp=2.0))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert surplus.done() is not waits
        assert sim.rule("slow")["rejected"] == (0 if waits else 1)
        await sim.advance((WAITING_MAX + 2) * 1_000_000)
        await surplus
        assert sim.rule("slow")["rejected"] == (0 if waits else 1)
        await sim.stop()

    asyncio.run(test())
