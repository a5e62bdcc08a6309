"""`on host every 2s`: the real readings of the machine that runs the tests."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psutil
import pytest

from components.waiting import running, until
from eyeflow.node.io.host.driver import HostDriver
from eyeflow.node.io.host.readings import HostReadings
from eyeflow.node.io.host.settings import HostConfig
from eyeflow.node.io.host.source import FIELDS, HostSource
from eyeflow.node.io.ports import IncomingEvent, Subscription
from eyeflow.svm.execution import CapabilityFailure


def collect(config: HostConfig, count: int, *periods_us: int) -> list[IncomingEvent]:
    events: list[IncomingEvent] = []

    async def deliver(event: IncomingEvent) -> None:
        events.append(event)

    async def scenario() -> None:
        source = HostSource(HostReadings(config))
        source.update([Subscription("host", "", period_us) for period_us in periods_us])
        async with running(source.run(deliver)):
            await until(lambda: len(events) >= count)

    asyncio.run(scenario())
    return events


def test_samples_have_every_field_when_a_default_stands_for_an_absent_sensor() -> None:
    for event in collect(HostConfig(temperature_default=21.0), 3, 1000):
        assert set(event.payload) == set(FIELDS)
        assert all(isinstance(value, float) for value in event.payload.values())
        for name in ("cpu_percent", "memory_percent", "disk_percent"):
            value = event.payload[name]
            assert isinstance(value, float)
            assert 0.0 <= value <= 100.0


def test_each_subscription_has_its_own_period() -> None:
    events = collect(HostConfig(), 12, 1_000, 3_600_000_000)
    periods = [event.subscription.period_us for event in events]
    assert periods.count(3_600_000_000) == 1
    assert periods.count(1_000) >= 10


def test_the_set_can_change_while_it_waits() -> None:
    async def scenario() -> None:
        events: list[IncomingEvent] = []

        async def deliver(event: IncomingEvent) -> None:
            events.append(event)

        source = HostSource(HostReadings(HostConfig()))
        source.update([])
        async with running(source.run(deliver)):
            source.update([Subscription("host", "", 3_600_000_000)])
            await until(lambda: len(events) == 1)
            source.update([Subscription("host", "", 7_200_000_000)])
            await until(lambda: len(events) == 2)

    asyncio.run(scenario())


def test_an_absent_sensor_is_a_missing_field_and_a_failed_read(monkeypatch: pytest.MonkeyPatch) -> None:
    # The machines that run the tests differ in their sensors: this one place decides.
    monkeypatch.setattr(psutil, "sensors_temperatures", dict, raising=False)
    assert "temperature_celsius" not in collect(HostConfig(), 1, 1000)[0].payload
    driver = HostDriver(HostReadings(HostConfig()))
    with pytest.raises(CapabilityFailure, match="no temperature sensor"):
        driver.read("host.temperature_celsius", {}, 0)
    assert HostDriver(HostReadings(HostConfig(temperature_default=5.0))).read("host.temperature_celsius", {}, 0) == 5.0


def test_the_driver_reads_the_same(tmp_path: Path) -> None:
    driver = HostDriver(HostReadings(HostConfig(disk_path=tmp_path)))
    for name in ("cpu_percent", "memory_percent", "disk_percent", "load_1min"):
        assert isinstance(driver.read(f"host.{name}", {}, 0), float)
    with pytest.raises(CapabilityFailure, match="not a read"):
        driver.read("host.fan_speed", {}, 0)
    absent = HostDriver(HostReadings(HostConfig(disk_path=tmp_path / "absent")))
    with pytest.raises(CapabilityFailure, match="cannot be measured"):
        absent.read("host.disk_percent", {}, 0)
