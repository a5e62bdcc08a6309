from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from hypothesis import given, seed, settings
from hypothesis import strategies as st

from components.node_sim import NodeSim
from eyeflow.node.cluster.health import candidates_of, foreign_of, health_of, installed_of, refusal_of, unwanted_of
from eyeflow.node.control import HeldProgram
from eyeflow.protocol.audit import record_hash
from eyeflow.protocol.collecting import KeptHead
from eyeflow.protocol.messages import HealthKind, HealthState, InstalledRule, ManifestEntry, Status
from eyeflow.protocol.slot import Slot
from eyeflow.protocol.versions import VERSIONS

ID = "ab" * 32
RULE = """
rule r {
    version "1.0.0"
    on every 1s
    log.info("x")
}
"""


def row(rule: str, **more: Any) -> dict[str, Any]:
    return {
        "rule": rule,
        "state": "running",
        "program_id": ID,
        "params": {"b": 1, "a": 2.5},
        "manifest_version": 3,
        **more,
    }


def held(rule: str, slot: Slot = Slot.ACTIVE, version: int = 3, refusal: str = "") -> HeldProgram:
    return HeldProgram(rule, slot, ID, (("a", 2.5), ("b", 1)), version, refusal)


def entry(rule: str, slot: Slot = Slot.ACTIVE) -> ManifestEntry:
    return ManifestEntry(rule, ID, "d", (), slot)


def test_what_runs_is_told_with_its_slot_and_parameters() -> None:
    found = (held("pump"), held("pump", Slot.CANDIDATE), held("relay", refusal="why"))
    assert installed_of(found, 3) == {
        InstalledRule("pump", ID, (("a", 2.5), ("b", 1)), slot) for slot in (Slot.ACTIVE, Slot.CANDIDATE)
    }
    assert refusal_of(found, "relay", Slot.ACTIVE) == "why" and refusal_of(found, "gone", Slot.ACTIVE)
    state: dict[str, object] = {
        "rules": [
            row("pump"),
            row("pump", slot="candidate"),
            {"rule": "relay", "state": "refused", "last_error": "why"},
        ]
    }
    rule, beside, refused = health_of(state)
    assert (rule.state, rule.counters, rule.slot, beside.slot) == (
        HealthState.RUNNING, (), Slot.ACTIVE, Slot.CANDIDATE,
    )  # fmt: skip
    assert (refused.state, refused.detail) == (HealthState.FAILED, "why")


def test_rules_of_a_newer_foreign_manifest_do_not_count_as_installed() -> None:
    found = (held("pump"), held("relay", version=9))
    assert foreign_of(found, 3) == {"relay"}
    assert {one.rule for one in installed_of(found, 3)} == {"pump"}


def test_what_a_manifest_does_not_want_goes() -> None:
    found = (held("a"), held("b"), held("b", Slot.CANDIDATE), held("c"), held("d", Slot.CANDIDATE), held("e"))
    wanted = [entry("b"), entry("c", Slot.CANDIDATE), entry("d", Slot.CANDIDATE), entry("e")]
    assert unwanted_of(found, wanted) == {"a", "c"}, "c is held as active and wanted as candidate only"
    assert candidates_of(found, wanted) == ["b"]


def test_ports_and_counters_are_told() -> None:
    port = {"name": "mqtt", "state": "up", "detail": "", "counters": {"received": 7}}
    state: dict[str, object] = {"sources": [port], "drivers": [{**port, "state": "failed"}]}
    assert [(one.kind, one.name, one.state, one.counters) for one in health_of(state)] == [
        (HealthKind.PORT, "mqtt", HealthState.RUNNING, (("received", 7),)),
        (HealthKind.PORT, "mqtt", HealthState.FAILED, (("received", 7),)),
    ]


def test_the_coordinator_hears_how_full_a_buffer_is_and_how_far_it_has_been_handed_on(tmp_path: Path) -> None:
    async def told() -> tuple[dict[str, int], int]:
        sim = await NodeSim.started(tmp_path)
        (record,) = sim.store.audit_range(1, 1)
        await sim.node.note_kept("coordinator", KeptHead(sim.store.epoch, 1, record_hash(record)))
        await sim.install(RULE)
        (store,) = [one for one in health_of(sim.node.status()) if one.name == "store"]
        return dict(store.counters), sim.store.head[0]

    counters, last_seq = asyncio.run(told())
    assert counters["buffer_records"] == last_seq > 1
    assert counters["behind_coordinator"] == last_seq - 1
    assert counters["buffer_size_bytes"] >= counters["buffer_used_bytes"] > 0


texts = st.text(max_size=2000)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
rows = st.fixed_dictionaries(
    {}, optional={"rule": texts, "name": texts, "state": values, "detail": values, "counters": values}
)


@seed(11)
@settings(max_examples=200, deadline=None)
@given(st.lists(rows, max_size=4), values)
def test_any_status_makes_a_message_that_can_be_sent(found: list[dict[str, Any]], audit: Any) -> None:
    state: dict[str, object] = {"rules": found, "sources": found, "audit": audit}
    status = Status(1, 1, 1, 1, health_of(state))
    for version in VERSIONS.values():
        assert version.decode(version.encode(status)) == status
