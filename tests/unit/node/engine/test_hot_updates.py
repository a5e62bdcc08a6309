"""A node that gets one new version after the other needs no more memory for it. `EYEFLOW_FUZZ=full`: 10,000 of them."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import psutil
import pytest

from components.node_sim import NodeSim
from eyeflow.node.engine.core import Core
from eyeflow.node.run_key import active, candidate
from eyeflow.node.store.types import Standing, Terms
from unit.node.engine.rules import COUNTER, run

FULL = os.environ.get("EYEFLOW_FUZZ") == "full"
WARM_UP = 60
UPDATES = 10_000 if FULL else 240
EACH_MAX = 0.25
"""Objects that are there more for each update. What keeps anything of an update keeps several."""
MEMORY_BYTES_MAX = 24 * 1024 * 1024
"""By how much the process may grow over 10,000 updates: SQLite's cache, and what the allocator splits."""


async def update(sim: NodeSim, version: int) -> None:
    """Bring a new version: at once, or as a candidate that is promoted; events come before and after."""
    source = COUNTER.replace("1.0.0", f"1.{version // 60_000}.{version % 60_000}")
    if version % 4:
        assert (await sim.install(source, version)).code == ""
    else:
        assert (await sim.stage(source, version)).code == ""
        await sim.send("t", temp=90.0)
        await sim.turns()
        assert (await sim.promote("counter", Terms(Standing.PASSED))).code == ""
    await sim.send("t", temp=90.0)
    await sim.turns()
    for driver in sim.drivers.values():  # what the test itself notes
        for noted in (driver.acted, driver.begun, driver.attempts):
            noted.clear()  # type: ignore[attr-defined]


def held() -> int:
    gc.collect()
    return len(gc.get_objects())


async def grown(path: Path, warm_up: int, updates: int) -> tuple[float, int]:
    """Return objects that stay for each update, and by how many bytes the process grew."""
    sim = await NodeSim.started(path, COUNTER)
    for version in range(2, warm_up):
        await update(sim, version)
    before, memory = held(), psutil.Process().memory_info().rss
    for version in range(warm_up, warm_up + updates):
        await update(sim, version)
    each = (held() - before) / updates
    grew = psutil.Process().memory_info().rss - memory
    assert sim.rule("counter")["version"] == f"1.0.{warm_up + updates - 1}"
    assert candidate("counter") not in sim.node.engine.core.rules and active("counter") in sim.node.engine.core.rules
    await sim.stop()
    return each, grew


def test_memory_is_flat_over_hot_updates(tmp_path: Path) -> None:
    async def test() -> None:
        each, grew = await grown(tmp_path, WARM_UP, UPDATES)
        assert each < EACH_MAX
        if FULL:
            print(f"{UPDATES} updates: {each * UPDATES:.0f} objects and {grew / 1e6:.1f} MB more")
            assert grew < MEMORY_BYTES_MAX

    run(test())


def test_control_a_node_that_keeps_old_programs_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, put = list[object](), Core.put

    def keeps(self: Core, rule: object, *rest: object) -> None:
        kept.append(rule)
        put(self, rule, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Core, "put", keeps)

    async def test() -> None:
        each, _ = await grown(tmp_path, 10, 30)
        assert each > 10 * EACH_MAX

    run(test())
