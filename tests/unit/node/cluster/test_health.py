from __future__ import annotations

from typing import Any

from hypothesis import given, seed, settings
from hypothesis import strategies as st

from eyeflow.node.cluster.health import foreign_of, health_of, installed_of, next_seq_of, rules_of
from eyeflow.protocol.messages import HealthKind, HealthState, InstalledRule, Status
from eyeflow.protocol.versions import VERSIONS

ID = "ab" * 32


def row(rule: str, **more: Any) -> dict[str, Any]:
    return {
        "rule": rule,
        "state": "running",
        "program_id": ID,
        "params": {"b": 1, "a": 2.5},
        "manifest_version": 3,
        **more,
    }


def test_what_runs_is_told_with_its_parameters() -> None:
    state: dict[str, object] = {"rules": [row("pump"), {"rule": "relay", "state": "refused", "last_error": "why"}]}
    assert installed_of(state, 3) == {InstalledRule("pump", ID, (("a", 2.5), ("b", 1)))}
    assert rules_of(state) == {"pump", "relay"}
    rule, refused = health_of(state)
    assert (rule.state, rule.counters) == (HealthState.RUNNING, ())
    assert (refused.state, refused.detail) == (HealthState.FAILED, "why")


def test_rules_of_a_newer_foreign_manifest_do_not_count_as_installed() -> None:
    state: dict[str, object] = {"rules": [row("pump"), row("relay", manifest_version=9)]}
    assert foreign_of(state, 3) == {"relay"}
    assert {one.rule for one in installed_of(state, 3)} == {"pump"}


def test_ports_and_counters_are_told() -> None:
    port = {"name": "mqtt", "state": "up", "detail": "", "counters": {"received": 7}}
    state: dict[str, object] = {"sources": [port], "drivers": [{**port, "state": "failed"}], "audit": {"next_seq": 9}}
    assert [(one.kind, one.name, one.state, one.counters) for one in health_of(state)] == [
        (HealthKind.PORT, "mqtt", HealthState.RUNNING, (("received", 7),)),
        (HealthKind.PORT, "mqtt", HealthState.FAILED, (("received", 7),)),
    ]
    assert next_seq_of(state) == 9
    assert next_seq_of({}) == 0


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
    status = Status(1, 1, next_seq_of(state) % 2**62, 1, health_of(state))
    for version in VERSIONS.values():
        assert version.decode(version.encode(status)) == status
