"""The node's log tells once when a port is in trouble and once when it is back."""

from __future__ import annotations

import logging

import pytest

from eyeflow.node.io.ports import PortStatus
from eyeflow.node.status.port_log import IDLE, PortLog


def test_trouble_is_told_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "eyeflow.node")
    status = PortStatus("mqtt")
    log = PortLog([status])
    log.look()
    assert caplog.messages == [], "a port that has just begun is not in trouble"
    for attempt in range(3):
        status.detail = f"connection refused; next attempt in {attempt} s"
        log.look()
    assert caplog.messages == ["mqtt: connection refused; next attempt in 0 s"]
    status.state, status.detail = "up", ""
    log.look()
    log.look()
    assert caplog.messages[1:] == ["mqtt: up again"]


def test_a_source_and_a_driver_of_one_status_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    broken = PortStatus("mqtt", state="failed", detail="no such file")
    PortLog([broken, PortStatus("http", state="failed", detail="no such file"), broken]).look()
    assert caplog.messages == ["mqtt: no such file", "http: no such file"]


def test_idle_ports_and_healthy_ones_are_silent(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "eyeflow.node")
    log = PortLog([PortStatus("http", detail=IDLE), PortStatus("gpio", state="up", detail="two pins")])
    log.look()
    assert caplog.messages == []


def test_the_first_rejected_event_is_told(caplog: pytest.LogCaptureFixture) -> None:
    status = PortStatus("mqtt", state="up", detail="plant/1: not a JSON object", counters={"rejected": 0})
    log = PortLog([status])
    log.look()
    for count in (1, 2):
        status.counters["rejected"] = count
        log.look()
    assert caplog.messages == ["mqtt: the first event was rejected: plant/1: not a JSON object"]
