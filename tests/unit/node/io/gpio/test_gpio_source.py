"""Pins: the simulated backend, its file, edges as events, and the driver; libgpiod's absence is said clearly."""

from __future__ import annotations

import asyncio
import builtins
import json
from pathlib import Path
from typing import Any

import pytest

from components.waiting import running, until
from eyeflow.base.errors import EyeflowError
from eyeflow.node.io.gpio.backends import PinError, SimulatedGpio, open_gpio
from eyeflow.node.io.gpio.driver import GpioDriver
from eyeflow.node.io.gpio.settings import GpioConfig
from eyeflow.node.io.gpio.source import GpioSource
from eyeflow.node.io.ports import IncomingEvent, Subscription
from eyeflow.svm.execution import CapabilityFailure


def edge(address: str) -> Subscription:
    return Subscription("gpio", address)


def test_edges_reach_the_rules_that_asked_for_them() -> None:
    async def scenario() -> None:
        backend, seen = SimulatedGpio(), []
        backend.set_level("START", True)

        async def deliver(event: IncomingEvent) -> None:
            assert not event.can_wait, "edges would pass unseen meanwhile"
            seen.append(event.subscription.address)

        source = GpioSource(backend, 0.001)
        source.update([edge("DOOR rises"), edge("DOOR falls"), edge("DOOR changes"), edge("START falls")])
        async with running(source.run(deliver)):
            backend.set_level("DOOR", True)
            await until(lambda: len(seen) == 2)
            backend.set_level("DOOR", False)
            await until(lambda: len(seen) == 4)
            backend.set_level("START", False)
            await until(lambda: len(seen) == 5)
        assert seen == ["DOOR rises", "DOOR changes", "DOOR falls", "DOOR changes", "START falls"]

    asyncio.run(scenario())


def test_levels_live_in_a_file_that_anyone_may_edit(tmp_path: Path) -> None:
    file = tmp_path / "pins" / "levels.json"
    backend = SimulatedGpio(file)
    assert backend.level("DOOR") is False
    backend.set_level("RELAY", True)
    assert json.loads(file.read_text()) == {"RELAY": "HIGH"}
    file.write_text(json.dumps({"RELAY": "HIGH", "DOOR": "HIGH"}))
    assert backend.level("DOOR") is True
    backend.set_level("RELAY", False)
    assert json.loads(file.read_text()) == {"RELAY": "LOW", "DOOR": "HIGH"}
    assert SimulatedGpio(file).level("DOOR") is True


@pytest.mark.parametrize("text", ["not json", "[]", '{"DOOR": 1}', '{"DOOR": "high"}'])
def test_a_broken_levels_file_is_a_failed_read_and_heals(tmp_path: Path, text: str) -> None:
    file = tmp_path / "levels.json"
    file.write_text(text)
    backend = SimulatedGpio(file)
    driver = GpioDriver(backend)
    with pytest.raises(CapabilityFailure, match="cannot read the simulated levels"):
        driver.read("gpio.read_pin", {"pin": "DOOR"}, 0)
    source = GpioSource(backend, 0.001)
    source.update([edge("DOOR rises")])
    assert source.status.state == "failed"
    file.write_text('{"DOOR": "LOW" }')
    source.update([edge("DOOR rises")])
    assert source.status.state == "up"


def test_the_driver_sets_and_reads() -> None:
    driver = GpioDriver(SimulatedGpio())
    assert driver.read("gpio.read_pin", {"pin": "RELAY"}, 0) == "LOW"
    asyncio.run(driver.act("gpio.set_pin", {"pin": "RELAY", "level": "HIGH"}))
    assert driver.read("gpio.read_pin", {"pin": "RELAY"}, 0) == "HIGH"
    for capability, args in (("gpio.set_pin", {"pin": "RELAY", "level": 1}), ("gpio.blink", {"pin": "RELAY"})):
        with pytest.raises(CapabilityFailure):
            asyncio.run(driver.act(capability, args))
    with pytest.raises(CapabilityFailure):
        driver.read("gpio.guess", {}, 0)
    assert driver.status.counters["failures"] == 3


def test_a_file_that_cannot_be_written_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PinError, match=r"cannot (read|write) the simulated levels"):
        SimulatedGpio(tmp_path / "file" / "levels.json").set_level("RELAY", True)


def test_libgpiod_without_its_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def no_gpiod(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "gpiod":
            raise ImportError("No module named 'gpiod'")
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_gpiod)
    with pytest.raises(EyeflowError) as caught:
        open_gpio(GpioConfig.from_table({"backend": "libgpiod", "pins": {"RELAY": 17}}))
    assert caught.value.code == "gpio_missing"
    assert "eyeflow[gpio]" in caught.value.next_step
