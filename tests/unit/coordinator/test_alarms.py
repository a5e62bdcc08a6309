"""Alarms over the API: what raises them, who takes note of them, and those of certificates that run out."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from eyeflow.base.errors import EyeflowError
from eyeflow.coordinator import alarms
from eyeflow.coordinator.alarms import Alarms, Certificate, read_certificate
from eyeflow.coordinator.store.alarms import AlarmKind
from eyeflow.coordinator.store.sqlite_store import InlineStore
from eyeflow.coordinator.tls import init_tls
from eyeflow.protocol.messages import Health, HealthKind, HealthState, Status

DAY_US = 86_400 * 1_000_000


def listed(api: Any, query: str = "") -> list[dict[str, Any]]:
    return list(api.ask("GET", f"/api/alarms{query}").json()["alarms"])


def failing(full: Any) -> dict[str, Any]:
    """A deployment fails: its deadline passes, and no node answers."""
    for _ in range(3):
        full.clock.pass_s(40 * 86_400)
        full.tick()
    (one,) = listed(full)
    return one


def test_a_failed_deployment_is_an_alarm_until_it_is_repeated(full: Any) -> None:
    assert listed(full) == [] and full.ask("GET", "/api/status").json()["alarms"] == {"open": 0, "new": 0}
    one = failing(full)
    deployment = full.ask("GET", f"/api/deployments/{full.deployment['id']}").json()
    assert deployment["state"] == "failed"
    assert (one["kind"], one["subject"]) == ("deploymentFailed", deployment["id"])
    assert one["evidence"] == deployment["reason"] and one["sinceUs"] == deployment["updatedUs"]
    assert f"eyeflow deployments show {deployment['id']}" in one["nextStep"] and one["open"]
    assert full.ask("GET", f"/api/alarms/{one['id']}").json() == one
    assert full.ask("GET", "/api/status").json()["alarms"] == {"open": 1, "new": 1}
    assert "eyeflow_coordinator_alarms_open 1.0" in full.ask("GET", "/metrics").text


def test_who_takes_note_of_it_is_kept_with_a_note_and_stands_in_the_log(full: Any) -> None:
    one = failing(full)
    path = f"/api/alarms/{one['id']}/acknowledge"
    full.clock.pass_s(5)
    assert full.ask("POST", path, "read", json={}).status_code == 403
    seen = full.ask("POST", path, "deploy", json={"note": "Anna looks at it"})
    assert seen.status_code == 200, seen.text
    assert seen.json() == one | {
        "acknowledgedUs": full.clock(),
        "acknowledgedBy": "deploy",
        "note": "Anna looks at it",
    }
    assert listed(full) == [seen.json()] == listed(full, "?acknowledged=true&open=true&kind=deploymentFailed")
    assert listed(full, "?acknowledged=false") == listed(full, "?open=false") == listed(full, "?kind=storeLost") == []
    assert full.ask("GET", "/api/status").json()["alarms"] == {"open": 1, "new": 0}
    (entry,) = full.look(lambda reading: reading.log_entries(1))
    assert (entry.actor, entry.action, entry.subject) == ("deploy", "acknowledge_alarm", one["id"])
    assert entry.detail == f"deploymentFailed of {one['subject']}: Anna looks at it"
    assert full.ask("POST", path, "admin", json={}).json()["acknowledgedBy"] == "admin", "again, by another one"
    for identity in ("99", "x", "-1", "1" * 40, "1.0", "%C2%B2"):
        for reply in (
            full.ask("GET", f"/api/alarms/{identity}"),
            full.ask("POST", f"/api/alarms/{identity}/acknowledge", json={}),
        ):
            assert (reply.status_code, reply.json()["code"]) == (404, "not_found"), reply.text
    assert full.ask("POST", path, json={"note": "x" * 501}).json()["code"] == "invalid_body"


def test_a_node_that_drops_records_is_an_alarm_until_its_next_start(full: Any) -> None:
    def says(gaps: int, dropped: int) -> None:
        counters = (("dropped_records", dropped), ("gaps", gaps))
        health = (
            Health(HealthKind.PORT, "store", HealthState.RUNNING, "", "", counters),
            Health(HealthKind.PORT, "http", HealthState.RUNNING),
        )
        full.hub.nodes.saw("node-a", Status(1, 2, 3, 0, health), full.clock())
        full.tick()

    full.run(lambda: full.hub.nodes.link_opens("node-a"))
    says(0, 0)
    assert listed(full) == []
    says(1, 30)
    (one,) = listed(full, "?node=node-a")
    assert (one["kind"], one["subject"], one["open"]) == ("recordsLost", "node-a", True)
    assert one["evidence"] == "30 audit records dropped, in 1 gaps, since its last start"
    says(3, 70)
    (newer,) = listed(full)
    assert newer == one | {"evidence": "70 audit records dropped, in 3 gaps, since its last start"}
    says(0, 0)
    (ended,) = listed(full)
    assert not ended["open"] and ended["endedUs"] and ended["nextStep"] == "" and "last start" in ended["ended"]


def test_a_certificate_that_runs_out_is_an_alarm_until_a_newer_one_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = InlineStore(tmp_path / "store.sqlite")
    shown = [Certificate(Path("/tls/server.pem"), 100 * DAY_US), Certificate(Path("/tls/ca.pem"), 3650 * DAY_US)]
    looks = 0

    def find() -> list[Certificate]:
        nonlocal looks
        looks += 1
        return shown

    async def main() -> None:
        watch = Alarms(store)
        await watch.look(DAY_US)
        watch.find = find
        name = f"{socket.gethostname()}:/tls/server.pem"

        async def told() -> list[tuple[str, str, bool]]:
            rows = await store.read(lambda reading: reading.open_alarms())
            return [(one.subject, one.evidence) for one in rows]

        await watch.look(80 * DAY_US)
        assert await told() == []
        await watch.look(88 * DAY_US)
        assert await told() == [(name, "it holds for 12 days more")]
        again = Alarms(store)
        again.find = find
        await again.look(101 * DAY_US)
        assert await told() == [(name, "it has run out")]
        before = looks
        await again.look(101 * DAY_US + alarms.LOOK_S * 1_000_000 - 1)
        assert looks == before, "not at each tick"
        shown[0] = Certificate(Path("/tls/server.pem"), 200 * DAY_US)
        await store.write(lambda writing: writing.raise_alarm(AlarmKind.CERTIFICATE_EXPIRES, "other:/a.pem", "e", 1))
        await again.look(102 * DAY_US)
        assert await told() == [("other:/a.pem", "e")], "that of another coordinator is its own"

    asyncio.run(main())
    store.close()


def test_the_certificates_of_an_own_ca_are_read(tmp_path: Path) -> None:
    tls = init_tls(tmp_path, ["localhost"], 10 * DAY_US)
    until = [read_certificate(path, 2**18).until_us // DAY_US for path in (tls.server_file, tls.ca_file)]
    assert until == [100, 3660]
    with pytest.raises(EyeflowError, match=r"cannot read the certificate .*none\.pem"):
        read_certificate(tmp_path / "none.pem", 2**18)
