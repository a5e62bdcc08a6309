"""A manifest that wants candidates, on a real node: staged, promoted and dropped as it says."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from components.node_sim import NodeSim, program
from eyeflow.node.cluster.link import CoordinatorLink
from eyeflow.node.cluster.membership import JoinResult, Membership
from eyeflow.node.run_key import RunKey, active, candidate
from eyeflow.node.store.types import Batch, Committed, StorageError
from eyeflow.protocol.audit_bodies import SlotBody, SlotChange
from eyeflow.protocol.messages import EvidenceStanding, ManifestEntry, RuleResult, RuleState, Trial, WantedManifest
from eyeflow.protocol.node_facts import facts_in
from eyeflow.protocol.opening import Hello
from eyeflow.protocol.outputs import Apply, Send
from eyeflow.protocol.slot import Slot
from eyeflow.svm.container import decode
from eyeflow.svm.opcodes import ABI


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
        self.sim, self.version, self.events = sim, self.link._membership.accepted().version, 0

    async def want(
        self, *programs: tuple[int, Slot], deployment: str = "", trial: Trial | None = None
    ) -> Sequence[RuleResult]:
        """Each program is wanted by a deployment of its own number, or all by `deployment`, and on this trial."""
        self.version += 1
        wanted = ((one, deployment or f"d{one}", slot) for one, slot in programs)
        entries = tuple(ManifestEntry("counter", id_of(one), by, (), slot, trial=trial) for one, by, slot in wanted)
        manifest = WantedManifest("c" * 64, "sim", self.version, 1, entries)
        data = {id_of(one): rule(one) for one, _ in programs}
        return await self.apply(Apply(manifest, random.randbytes(32), data, frozenset()))

    async def apply(self, output: Apply) -> Sequence[RuleResult]:
        await self.link._accept(output)
        return await self.link._apply(output)

    async def active(self, number: int, deployment: str) -> RuleResult:
        """Want one program, and let an event run on it."""
        (result,) = await self.want((number, Slot.ACTIVE), deployment=deployment)
        self.events += 1
        await self.sim.send("t", number=self.events)
        await self.sim.turns()
        return result

    @property
    def standing(self) -> EvidenceStanding:
        """How the active program stands, as the coordinator is told."""
        (told,) = (one for one in self.sim.node.evidence() if one.slot is Slot.ACTIVE)
        return told.standing

    @property
    def memory(self) -> object:
        return self.sim.node.engine.core.rules[active("counter")].instance.state_values()["n"]


def test_a_node_tells_what_it_is_and_may_do(tmp_path: Path) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path)
        signed = JoinResult("http://127.0.0.1:1", "sim", "c" * 64, bytes(32), ())
        (send,) = CoordinatorLink(sim.node, Membership(tmp_path / "cluster"))._session(signed).start()
        assert isinstance(send, Send)
        assert isinstance(send.message, Hello)
        facts = facts_in(send.message)
        assert facts is not None
        assert (facts.profile, facts.abi, facts.grants) == ("linux", ABI, tuple(sorted(sim.node.config.grants)))
        assert facts.drivers == tuple(sorted(sim.node.world.drivers))
        assert facts.sources is not None
        assert {"mqtt", "gpio"} <= set(facts.sources)
        assert facts.memory_bytes > 1 << 20
        await sim.stop()

    asyncio.run(test())


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


TRIAL = Trial(60, 20, 500, 3, True)


@pytest.mark.parametrize("crash", [False, True])
def test_a_program_is_on_trial_until_its_manifest_says_that_it_passed(tmp_path: Path, crash: bool) -> None:
    async def test() -> None:
        manifests = Manifests(await NodeSim.started(tmp_path), tmp_path)
        await manifests.want((1, Slot.ACTIVE))
        assert manifests.standing is EvidenceStanding.PASSED
        await manifests.want((2, Slot.ACTIVE), trial=TRIAL)
        if crash:
            manifests = await crashed(manifests, tmp_path)
        row = manifests.sim.node.installer.table.row(active("counter"))
        assert (manifests.standing, row and row.trial) == (EvidenceStanding.TRIAL, TRIAL)
        assert manifests.sim.rule("counter")["trial"] == {
            "observe_s": 60,
            "samples_min": 20,
            "failures_max": 500,
            "starts_max": 3,
            "rollback": True,
            "judges": 1,
        }
        longer = replace(TRIAL, observe_s=90)
        await manifests.want((2, Slot.ACTIVE), trial=longer)
        row = manifests.sim.node.installer.table.row(active("counter"))
        assert (manifests.standing, row and row.trial) == (EvidenceStanding.TRIAL, longer), "other terms"
        await manifests.want((2, Slot.ACTIVE))
        if crash:
            manifests = await crashed(manifests, tmp_path)
        assert manifests.standing is EvidenceStanding.PASSED and manifests.sim.rule("counter")["trial"] is None
        assert [(one.change, one.program.hex()) for one in manifests.sim.bodies(SlotBody)] == [
            (SlotChange.PASSED, id_of(2))
        ]
        await manifests.want((2, Slot.ACTIVE), trial=TRIAL, deployment="again")
        assert manifests.standing is EvidenceStanding.PASSED, "what passed once is the way back from what comes"
        await manifests.sim.stop()

    asyncio.run(test())


def test_a_candidate_is_promoted_on_the_terms_of_the_manifest_that_wants_it(tmp_path: Path) -> None:
    """What was staged without a trial has not passed as the active program."""

    async def test() -> None:
        manifests = Manifests(await NodeSim.started(tmp_path), tmp_path)
        await manifests.want((1, Slot.ACTIVE))
        await manifests.want((1, Slot.ACTIVE), (2, Slot.CANDIDATE))
        await manifests.want((2, Slot.ACTIVE), trial=TRIAL)
        assert manifests.standing is EvidenceStanding.TRIAL
        await manifests.want((2, Slot.ACTIVE))
        assert manifests.standing is EvidenceStanding.PASSED
        await manifests.sim.stop()

    asyncio.run(test())


def test_what_the_node_took_back_stays_so_until_its_manifest_wants_something_else(tmp_path: Path) -> None:
    def taken_back(manifests: Manifests) -> list[str]:
        return [one.deployment_id for one in manifests.sim.node.evidence() if one.standing.value == "rolledBack"]

    async def test() -> None:
        manifests = Manifests(await NodeSim.started(tmp_path), tmp_path)
        await manifests.active(1, "first")
        await manifests.want((2, Slot.ACTIVE), trial=TRIAL, deployment="bad")
        row = manifests.sim.node.installer.table.row(active("counter"))
        assert row is not None
        await manifests.sim.node.installer.take_back(row, "20 of 20 executions failed")
        for _ in range(2):
            (refused,) = await manifests.want((2, Slot.ACTIVE), trial=TRIAL, deployment="bad")
            assert refused.state is RuleState.REFUSED and "20 of 20" in refused.reason
            assert taken_back(manifests) == ["bad"] and manifests.memory == 1
            manifests = await crashed(manifests, tmp_path)
        assert (await manifests.active(1, "first")).state is RuleState.INSTALLED
        assert taken_back(manifests) == [], "it was told otherwise"
        await manifests.active(2, "another")
        row = manifests.sim.node.installer.table.row(active("counter"))
        assert row is not None and row.program_id.hex() == id_of(2), "a new deployment is tried"
        await manifests.sim.stop()

    asyncio.run(test())


@pytest.mark.parametrize("crash", [False, True])
def test_a_manifest_that_wants_both_in_the_place_of_the_other_swaps_them(tmp_path: Path, crash: bool) -> None:
    """Both keep their state, and nothing is fetched or staged anew."""

    async def test() -> None:
        manifests = Manifests(await NodeSim.started(tmp_path), tmp_path)
        await manifests.active(1, "first")
        await manifests.want((1, Slot.ACTIVE), (50, Slot.CANDIDATE), deployment="new")
        for number in range(3):
            await manifests.sim.send("t", number=number)
        await manifests.sim.turns()
        results = await manifests.want((50, Slot.ACTIVE), (1, Slot.CANDIDATE), deployment="new", trial=TRIAL)
        assert [(one.slot, one.state) for one in results] == [
            (Slot.ACTIVE, RuleState.INSTALLED),
            (Slot.CANDIDATE, RuleState.INSTALLED),
        ]
        if crash:
            manifests = await crashed(manifests, tmp_path)
        rules = manifests.sim.node.engine.core.rules
        assert manifests.memory == 1 + 3 * 50
        assert rules[candidate("counter")].instance.state_values()["n"] == 1 + 3
        assert [one.change for one in manifests.sim.bodies(SlotBody)] == [SlotChange.SWAPPED]
        await manifests.want((50, Slot.ACTIVE), (1, Slot.CANDIDATE), deployment="new", trial=TRIAL)
        await manifests.want((1, Slot.ACTIVE), (50, Slot.CANDIDATE), deployment="new")
        assert manifests.memory == 4, "back at once"
        await manifests.want((1, Slot.ACTIVE), deployment="first")
        assert manifests.memory == 4 and candidate("counter") not in manifests.sim.node.engine.core.rules
        await manifests.sim.stop()

    asyncio.run(test())


def test_a_swap_that_the_disk_refuses_changes_nothing_and_is_said(tmp_path: Path) -> None:
    async def test() -> None:
        manifests = Manifests(await NodeSim.started(tmp_path), tmp_path)
        await manifests.active(1, "first")
        await manifests.want((1, Slot.ACTIVE), (2, Slot.CANDIDATE))
        commit = manifests.sim.store.commit

        def refuse(batch: Batch) -> Committed:
            raise StorageError("the disk failed", cause="in the test", next_step="", full=False)

        manifests.sim.store.commit = refuse  # type: ignore[method-assign]
        results = await manifests.want((2, Slot.ACTIVE), (1, Slot.CANDIDATE))
        assert [one.state for one in results] == [RuleState.REFUSED] * 2
        assert all(one.reason.startswith("storage") for one in results)
        manifests.sim.store.commit = commit  # type: ignore[method-assign]
        await manifests.sim.advance(60_000_000)
        rows = manifests.sim.node.installer.table
        assert {key.slot: row.program_id.hex() for key in rows.keys_of("counter") if (row := rows.row(key))} == {
            Slot.ACTIVE: id_of(1),
            Slot.CANDIDATE: id_of(2),
        }
        await manifests.sim.stop()

    asyncio.run(test())


def test_the_share_of_a_candidate_follows_its_manifest(tmp_path: Path) -> None:
    async def test() -> None:
        manifests = Manifests(await NodeSim.started(tmp_path), tmp_path)
        await manifests.active(1, "first")
        for share, keyless in ((1_000, False), (10_000, True), (0, False)):
            manifests.version += 1
            entries = (
                ManifestEntry("counter", id_of(1), "first", (), Slot.ACTIVE),
                ManifestEntry("counter", id_of(2), "new", (), Slot.CANDIDATE, share, keyless, TRIAL),
            )
            manifest = WantedManifest("c" * 64, "sim", manifests.version, 1, entries)
            data = {id_of(one): rule(one) for one in (1, 2)}
            results = await manifests.apply(Apply(manifest, random.randbytes(32), data, frozenset()))
            assert {one.state for one in results} == {RuleState.INSTALLED}
            shown = manifests.sim.rule("counter", "candidate")
            assert (shown["share"], shown["keyless"]) == (share, keyless)
            assert shown["actuation"] == ("perform" if share else "withhold")
            manifests = await crashed(manifests, tmp_path)
            shown = manifests.sim.rule("counter", "candidate")
            assert (shown["share"], shown["keyless"]) == (share, keyless)
        await manifests.sim.stop()

    asyncio.run(test())


async def crashed(manifests: Manifests, path: Path) -> Manifests:
    """The same node after a crash, and the link that it has then."""
    manifests.sim.crash()
    return Manifests(await NodeSim.started(path, clock=manifests.sim.clock), path)


WANTED = {
    "another deployment": (["first", "second"], "second"),
    "three of them": (["first", "second", "third"], "third"),
    "the one that failed elsewhere": (["first", "second"], "first"),
    "back and forth": (["first", "second", "first"], "first"),
}


@pytest.mark.parametrize("crash", [False, True])
@pytest.mark.parametrize(("deployments", "back"), list(WANTED.values()), ids=list(WANTED))
def test_the_way_back_is_known_to_a_program_that_ran_already_when_it_was_wanted(
    tmp_path: Path, deployments: list[str], back: str, crash: bool
) -> None:
    """Else the program goes on with the memory of the failed one, and that one is not set aside."""

    async def test() -> None:
        manifests = Manifests(await NodeSim.started(tmp_path), tmp_path)
        for deployment in deployments:
            assert (await manifests.active(1, deployment)).state is RuleState.INSTALLED
        if crash:
            manifests = await crashed(manifests, tmp_path)
        good = manifests.memory
        await manifests.active(50, "bad")
        if crash:
            manifests = await crashed(manifests, tmp_path)
        result = await manifests.active(1, back)
        assert (result.state, result.program_id) == (RuleState.INSTALLED, id_of(1))
        assert manifests.memory == len(deployments) + 1 == int(str(good)) + 1
        assert manifests.sim.store.restore().rejected["counter"].row.program_id.hex() == id_of(50)
        (refused,) = await manifests.want((50, Slot.ACTIVE), deployment="bad")
        assert refused.state is RuleState.REFUSED and refused.reason.startswith("rejected")
        await manifests.sim.stop()

    asyncio.run(test())


def test_a_program_that_failed_is_tried_by_no_deployment_that_wanted_it(tmp_path: Path) -> None:
    async def test() -> None:
        manifests = Manifests(await NodeSim.started(tmp_path), tmp_path)
        await manifests.active(1, "first")
        await manifests.active(50, "bad")
        await manifests.active(50, "again")
        await manifests.sim.node.roll_back("counter", "it counts too fast")
        for deployment in ("again", "bad"):
            (refused,) = await manifests.want((50, Slot.ACTIVE), deployment=deployment)
            assert refused.reason.startswith("rejected"), refused
        assert (await manifests.active(50, "new")).state is RuleState.INSTALLED
        await manifests.sim.stop()

    asyncio.run(test())


def test_a_candidate_that_others_want_than_staged_it_is_known_once_it_is_active(tmp_path: Path) -> None:
    async def test() -> None:
        manifests = Manifests(await NodeSim.started(tmp_path), tmp_path)
        await manifests.active(1, "first")
        for deployment in ("staged", "wanted"):
            await manifests.want((1, Slot.ACTIVE), (2, Slot.CANDIDATE), deployment=deployment)
        await manifests.active(2, "promoted")
        row = manifests.sim.node.installer.table.row(active("counter"))
        assert row is not None and row.deployments == ("promoted", "wanted", "staged")
        assert row.manifest_version == manifests.version
        await manifests.sim.node.record_pass("counter", id_of(2))
        await manifests.active(50, "bad")
        await manifests.active(2, "wanted")
        assert manifests.memory == 1 + 2 + 2
        await manifests.sim.stop()

    asyncio.run(test())


def test_a_disk_that_does_not_keep_who_wants_a_program_refuses(tmp_path: Path) -> None:
    """As with any other install: what the coordinator hears is durable."""

    async def test() -> None:
        manifests = Manifests(await NodeSim.started(tmp_path), tmp_path)
        await manifests.active(1, "first")
        commit = manifests.sim.store.commit

        def refuse(batch: Batch) -> Committed:
            raise StorageError("the disk failed", cause="in the test", next_step="", full=False)

        manifests.sim.store.commit = refuse  # type: ignore[method-assign]
        (refused,) = await manifests.want((1, Slot.ACTIVE), deployment="second")
        assert refused.state is RuleState.REFUSED and refused.reason.startswith("storage")
        manifests.sim.store.commit = commit  # type: ignore[method-assign]
        await manifests.sim.advance(60_000_000)
        assert (await manifests.active(1, "second")).state is RuleState.INSTALLED
        row = manifests.sim.store.restore().slots[0]
        assert row.deployments == ("second", "first")
        await manifests.sim.stop()

    asyncio.run(test())
