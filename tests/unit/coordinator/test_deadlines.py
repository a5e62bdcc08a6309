"""Deadlines of deployments when somebody sets the coordinator's clock: they are spans of time, not readings of it."""

from __future__ import annotations

from typing import Any

import pytest

from eyeflow.base.clock import STEP_US_MIN
from eyeflow.base.errors import EyeflowError

DEADLINE_S = 100
YEAR_S = 365 * 86_400


@pytest.fixture
def deployed(full: Any) -> Any:
    body = {"all": True, "deadlineS": DEADLINE_S}
    full.deployment_id = full.ask("POST", "/api/rules/overheat/deploy", json=body).json()["id"]
    return full


def state(api: Any) -> str:
    return str(api.ask("GET", f"/api/deployments/{api.deployment_id}").json()["state"])


@pytest.mark.parametrize("step_s", [YEAR_S, -YEAR_S, DEADLINE_S, -2])
def test_a_clock_that_is_set_neither_ends_a_deployment_nor_keeps_it_open(deployed: Any, step_s: int) -> None:
    deployed.clock.pass_s(DEADLINE_S - 10)
    deployed.clock.set_by_s(step_s)
    deployed.tick()
    deployed.clock.pass_s(9)
    deployed.tick()
    assert state(deployed) == "installing"
    deployed.clock.pass_s(1)
    deployed.tick()
    assert state(deployed) == "failed"


def test_a_node_has_its_whole_time_to_answer(deployed: Any) -> None:
    """The control is the node that does not answer at all: it counts as silent after that time."""
    deployed.run(lambda: deployed.hub.deployments.sent("node-a", 99, deployed.hub.clock()))
    deployed.clock.set_by_s(YEAR_S)
    deployed.tick()
    deployed.clock.pass_s(59)
    deployed.tick()
    assert state(deployed) == "installing"
    deployed.clock.pass_s(1)
    deployed.tick()
    shown = deployed.ask("GET", f"/api/deployments/{deployed.deployment_id}").json()
    assert (shown["state"], "no answer within 60 s" in shown["reason"]) == ("rollingBack", True)


def test_what_comes_before_the_next_tick_reads_the_time_that_the_deadlines_are_kept_in(deployed: Any) -> None:
    deployed.clock.set_by_s(YEAR_S)
    deployed.run(lambda: deployed.hub.deployments.sent("node-a", 99, deployed.hub.clock()))
    deployed.tick()
    deployed.clock.pass_s(59)
    deployed.tick()
    assert state(deployed) == "installing"


def test_a_step_that_the_store_did_not_keep_is_made_at_the_next_tick(
    deployed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object) -> None:
        raise EyeflowError("the disk is full", cause="", next_step="", code="storage")

    deployed.clock.set_by_s(YEAR_S)
    with monkeypatch.context() as patch:
        patch.setattr(deployed.hub.deployments, "clock_was_set", fails)
        deployed.tick()
    deployed.tick()
    assert state(deployed) == "installing"
    deployed.clock.pass_s(DEADLINE_S)
    deployed.tick()
    assert state(deployed) == "failed"


def test_a_slewed_clock_moves_nothing_and_a_setting_is_in_the_log(deployed: Any) -> None:
    deployed.clock.now_us += STEP_US_MIN - 1
    deployed.tick()
    assert not [one for one in log(deployed) if one.action == "clock set"]
    deployed.clock.set_by_s(-30)
    deployed.tick()
    assert [one.detail for one in log(deployed) if one.action == "clock set"] == [
        "by -30.0 s: the deadlines of deployments were moved along"
    ]


def test_the_uptime_is_time_that_passed(api: Any) -> None:
    api.clock.pass_s(7)
    api.clock.set_by_s(-YEAR_S)
    assert "uptime_seconds 7" in api.ask("GET", "/metrics").text


def log(api: Any) -> list[Any]:
    return list(api.run(lambda: api.hub.store.read(lambda reading: reading.log_entries(100))))
