"""A node that judges by itself while the coordinator tells it what to run."""

from __future__ import annotations

from pathlib import Path

from eyeflow.node.control import InstallOutcome
from eyeflow.node.run_key import active
from eyeflow.node.store.types import Standing, Terms
from eyeflow.protocol.messages import InstalledRule
from unit.node.engine.test_trials import BAD, TRIAL, on_trial, run, send


def test_a_program_that_is_taken_back_while_a_manifest_is_carried_out_is_not_confirmed(tmp_path: Path) -> None:
    """The link saw it run when the manifest came: else the last known good would count as what the manifest wants."""

    async def test() -> None:
        sim = await on_trial(tmp_path)
        bad = sim.node.installer.table.row(active("counter"))
        assert bad is not None
        wanted = InstalledRule("counter", bad.program_id.hex())
        await send(sim, *[BAD] * 30)
        assert await sim.node.trials.look()
        result = await sim.node.record_wanted(wanted, "d2", 3, Terms(Standing.ON_TRIAL, TRIAL))
        assert (result.outcome, result.code) == (InstallOutcome.REFUSED, "no_program")
        assert "30 of 30 executions failed" in result.message
        good = sim.node.installer.table.row(active("counter"))
        assert good is not None and (good.deployment, good.standing) == ("d1", Standing.PASSED)
        assert [(one.deployment_id, one.standing.value) for one in sim.node.evidence()] == [
            ("d1", "passed"),
            ("d2", "rolledBack"),
        ]
        await sim.stop()

    run(test())
