"""Several rules switch at one moment: each event is decided by the old programs of all of them, or by the new ones."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

from components.node_sim import NodeSim, program
from eyeflow.node.cluster.health import switched
from eyeflow.node.control import InstallOutcome, InstallResult, Switch
from eyeflow.node.run_key import candidate
from eyeflow.node.store.types import PASSED, Wish
from eyeflow.protocol.messages import InstalledRule, ManifestEntry
from eyeflow.protocol.slot import Slot

OTHER = 'rule counter {{\n version "{version}.0.0"\n on every 1s\n log.info("tick")\n}}\n'


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


def ok(result: InstallResult) -> None:
    assert result.outcome is InstallOutcome.INSTALLED, result


def chained(version: int) -> tuple[str, str]:
    """Return two rules of a version: the first emits to the second, and both tell their version."""
    first = (
        f'rule dose {{\n version "{version}.0.0"\n record Order {{ number: int }}\n on mqtt "t" as e: Order\n'
        f' log.info("{version} {{e.number}}")\n emit dosed(number: e.number)\n}}\n'
    )
    second = (
        f'rule valve {{\n version "{version}.0.0"\n record Dosed {{ number: int }}\n on event "dosed" as e: Dosed\n'
        f' log.info("{version} {{e.number}}")\n}}\n'
    )
    return first, second


async def switched_among_events(path: Path, groups: Sequence[Sequence[str]]) -> dict[int, set[str]]:
    """Switch these groups of rules one after the other while events come; return the versions that decided each."""
    sim = await NodeSim.started(path)
    for source in chained(1):
        ok(await sim.node.install(program(source), {}, "d1", 1, PASSED))
    for source in chained(2):
        ok(await sim.stage(source, 2))
    number = 0
    for rules in groups:
        for _ in range(5):
            number += 1
            await sim.node.engine.deliver(sim.event("t", {"number": number}))
        switches = [Switch(rule, Wish("d2"), Wish("d1", PASSED)) for rule in rules]
        for result in (await sim.node.switch(switches, 3)).values():
            ok(result)
        number += 1
        await sim.node.engine.deliver(sim.event("t", {"number": number}))
    await sim.turns()
    versions: dict[int, set[str]] = defaultdict(set)
    for _, _, args in sim.drivers["log"].acted:
        version, event = str(args["message"]).split()
        versions[int(event)].add(version)
    assert len(versions) == number and sum(map(len, versions.values())) >= number
    await sim.stop()
    return versions


def test_several_rules_switch_at_one_moment_and_no_event_is_decided_by_a_mix(tmp_path: Path) -> None:
    """Valve first: what dose emits while both run out is still decided by the old valve."""

    async def test() -> None:
        versions = await switched_among_events(tmp_path, [("valve", "dose")])
        assert [versions[number] for number in sorted(versions)] == [{"1"}] * 5 + [{"2"}]

    run(test())


def test_control_one_after_the_other_they_mix(tmp_path: Path) -> None:
    async def test() -> None:
        versions = await switched_among_events(tmp_path, [("valve",), ("dose",)])
        assert any(len(found) > 1 for found in versions.values())

    run(test())


def test_a_switch_of_several_rules_is_all_or_nothing(tmp_path: Path) -> None:
    """One of them has no candidate: the others of its deployment stay, and one of another deployment goes on."""

    async def test() -> None:
        sim = await NodeSim.started(tmp_path, *chained(1), OTHER.format(version=1))
        ok(await sim.stage(chained(2)[0], 2))
        ok(await sim.stage(OTHER.format(version=2), 2))
        switches = [Switch("dose", Wish("d2")), Switch("valve", Wish("d2")), Switch("counter", Wish("d3"))]
        results = await sim.node.switch(switches, 3)
        assert {rule: result.code for rule, result in results.items()} == {
            "dose": "no_candidate",
            "valve": "no_candidate",
            "counter": "",
        }
        assert "valve" in results["dose"].message
        path, clock = sim.config.data_dir, sim.clock
        sim.crash()
        sim = await NodeSim.started(path, clock=clock)
        rules = sim.node.engine.core.rules
        assert {key.rule: rules[key].program.version for key in rules if key.slot is Slot.ACTIVE} == {
            "dose": "1.0.0",
            "valve": "1.0.0",
            "counter": "2.0.0",
        }
        assert candidate("dose") in rules and candidate("counter") not in rules
        await sim.stop()

    run(test())


def entry(rule: str, program_id: str, slot: Slot, deployment: str = "d2") -> ManifestEntry:
    return ManifestEntry(rule, program_id, deployment, slot=slot)


def test_what_a_manifest_wants_switched() -> None:
    """Beside it stays what runs as active program and is wanted as candidate; another candidate is staged later."""
    new, old = "2" * 64, "1" * 64
    runs = frozenset({InstalledRule("dose", new, (), Slot.CANDIDATE), InstalledRule("dose", old, (), Slot.ACTIVE)})
    acts, beside = entry("dose", new, Slot.ACTIVE), entry("dose", old, Slot.CANDIDATE, "d1")
    assert switched([acts, beside], runs) == [Switch("dose", Wish("d2", PASSED), Wish("d1", PASSED))]
    assert switched([acts], runs) == [Switch("dose", Wish("d2", PASSED))]
    assert switched([acts, entry("dose", "3" * 64, Slot.CANDIDATE)], runs) == [Switch("dose", Wish("d2", PASSED))]
    assert switched([entry("dose", old, Slot.ACTIVE)], runs) == []
    assert switched([entry("dose", new, Slot.CANDIDATE)], runs) == []
    assert switched([acts], frozenset({InstalledRule("dose", new, (), Slot.ACTIVE)})) == []
