"""A node judges the actions of a program on trial apart from its decisions: most rules act seldom."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.node_sim import NodeSim, program
from eyeflow.node.store.types import Standing, Terms
from eyeflow.protocol.slot import Slot
from unit.node.engine.test_trials import TRIAL, back, install, run, running, send

PUBLISHER = """
rule counter {
  version "VERSION.0.0"
  record Event { number: int }
  state n: int = 0
  on mqtt "t" as e: Event
  n = n + 1
  if e.number > 100 { mqtt.publish("a", "b") else skip }
}
"""


def publisher(version: int) -> str:
    return PUBLISHER.replace("VERSION", str(version))


@pytest.mark.parametrize(("failed_before", "goes_back"), [(0, True), (30, False)])
def test_actions_that_fail_are_not_hidden_by_executions_that_do_not_act(
    tmp_path: Path, failed_before: int, goes_back: bool
) -> None:
    """Of 1,000 executions 30 act: with all of them 3 % fail, and 5 are allowed. What failed before is no news."""

    async def test() -> None:
        sim = await NodeSim.started(tmp_path)
        await install(sim, publisher(1), 1, None)
        sim.drivers["mqtt"].failures["mqtt.publish"] = failed_before
        await send(sim, *range(10), *[101] * 30)
        assert (await install(sim, publisher(2), 2)).code == ""
        sim.drivers["mqtt"].failures["mqtt.publish"] = 30
        await send(sim, *[1] * 970, *[101] * 30)
        assert await sim.node.trials.look()
        assert running(sim) == ("1.0.0" if goes_back else "2.0.0")
        if goes_back:
            told = back(sim)
            assert told is not None and told.reason.startswith("30 of 30 executions failed in their actions")
        await sim.stop()

    run(test())


@pytest.mark.parametrize(("failed_before", "goes_back"), [(0, True), (30, False)])
def test_a_candidate_that_alone_acts_is_judged_by_what_was_before(
    tmp_path: Path, failed_before: int, goes_back: bool
) -> None:
    """Events without a key are all its own on this node: the active program has no actions to compare with."""

    async def test() -> None:
        sim = await NodeSim.started(tmp_path)
        await install(sim, publisher(1), 1, None)
        sim.drivers["mqtt"].failures["mqtt.publish"] = failed_before
        await send(sim, *[101] * 30)
        terms = Terms(Standing.ON_TRIAL, TRIAL, share=1_000, keyless=True)
        assert (await sim.node.stage(program(publisher(2)), {}, "d2", 2, terms)).code == ""
        assert await sim.node.trials.look()
        sim.drivers["mqtt"].failures["mqtt.publish"] = 30
        await send(sim, *[101] * 30)
        assert await sim.node.trials.look()
        assert (running(sim, Slot.CANDIDATE) == "") is goes_back
        await sim.stop()

    run(test())
