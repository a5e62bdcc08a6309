"""A manifest that wants candidates, on a real node: staged, promoted and dropped as it says."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path

from components.node_sim import NodeSim, program
from eyeflow.node.cluster.link import CoordinatorLink
from eyeflow.node.cluster.membership import Membership
from eyeflow.node.run_key import RunKey, active, candidate
from eyeflow.protocol.messages import ManifestEntry, RuleResult, RuleState, WantedManifest
from eyeflow.protocol.session import Apply
from eyeflow.protocol.slot import Slot
from eyeflow.svm.container import decode


def rule(version: int) -> bytes:
    return program(
        f'rule counter {{\n version "{version}.0.0"\n record Event {{ number: int }}\n state n: int = 0\n'
        f' on mqtt "t" as e: Event\n n = n + {version}\n log.info("v{version}")\n}}\n'
    )


def id_of(version: int) -> str:
    return decode(rule(version)).program_id


class Manifests:
    """The manifests of a coordinator, applied by the link itself; only the connection is left out."""

    def __init__(self, sim: NodeSim, path: Path) -> None:
        self.link = CoordinatorLink(sim.node, Membership(path / "cluster"), lambda signers: None)
        self.version = 0

    async def want(self, *programs: tuple[int, Slot]) -> Sequence[RuleResult]:
        self.version += 1
        entries = tuple(ManifestEntry("counter", id_of(one), f"d{one}", (), slot) for one, slot in programs)
        manifest = WantedManifest("c" * 64, "sim", self.version, 1, entries)
        data = {id_of(one): rule(one) for one, _ in programs}
        return await self.link._apply(Apply(manifest, random.randbytes(32), data, frozenset()))


def test_a_manifest_stages_promotes_and_drops_candidates(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path)
        manifests = Manifests(sim, tmp_path)

        def running() -> dict[RunKey, str]:
            return {key: one.loaded.program_id.hex() for key, one in sim.node.engine.core.rules.items()}

        await manifests.want((1, Slot.ACTIVE))
        results = await manifests.want((1, Slot.ACTIVE), (2, Slot.CANDIDATE))
        assert [(one.slot, one.state) for one in results] == [
            (Slot.ACTIVE, RuleState.INSTALLED),
            (Slot.CANDIDATE, RuleState.INSTALLED),
        ]
        assert running() == {active("counter"): id_of(1), candidate("counter"): id_of(2)}
        await sim.send("t", number=1)
        await sim.turns()
        assert [args["message"] for _, _, args in sim.drivers["log"].acted] == ["v1"], "the candidate only watches"
        (result,) = await manifests.want((2, Slot.ACTIVE))
        assert (result.slot, result.state) == (Slot.ACTIVE, RuleState.INSTALLED)
        assert running() == {active("counter"): id_of(2)}
        assert sim.node.engine.core.rules[active("counter")].instance.state_values() == {"n": 2}, "it was promoted"
        await manifests.want((2, Slot.ACTIVE), (3, Slot.CANDIDATE))
        results = await manifests.want((2, Slot.ACTIVE))
        assert [(one.slot, one.state, one.program_id) for one in results] == [
            (Slot.ACTIVE, RuleState.INSTALLED, id_of(2)),
            (Slot.CANDIDATE, RuleState.REMOVED, ""),
        ]
        assert running() == {active("counter"): id_of(2)}
        await manifests.want()
        assert running() == {} and sim.store.restore().slots == ()
        await sim.stop()

    asyncio.run(test())


def test_a_manifest_that_wants_the_program_before_brings_its_state_back(tmp_path: Path) -> None:
    """For `immediate`, what is installed has passed: so the way back of today's coordinator finds it as `previous`."""

    async def test() -> None:
        sim = await NodeSim.started(tmp_path)
        manifests = Manifests(sim, tmp_path)
        await manifests.want((1, Slot.ACTIVE))
        for version in (1, 50, 1):
            await manifests.want((version, Slot.ACTIVE))
            await sim.send("t", number=version)
            await sim.turns()
        assert sim.node.engine.core.rules[active("counter")].instance.state_values() == {"n": 2}
        assert sim.store.restore().rejected["counter"].row.program_id.hex() == id_of(50)
        await sim.stop()

    asyncio.run(test())
