"""The log and the ADC, and which drivers and sources a configuration gives."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path

import pytest

from eyeflow.base.errors import EyeflowError
from eyeflow.node.io.adc.driver import AdcDriver
from eyeflow.node.io.adc.settings import AdcConfig
from eyeflow.node.io.connectors import ports_config, read_ports
from eyeflow.node.io.log.driver import LogDriver
from eyeflow.node.io.ports import Subscription
from eyeflow.node.io.world import build_world, check_subscription
from eyeflow.svm.execution import CapabilityFailure


def test_log_lines_go_to_logging(caplog: pytest.LogCaptureFixture) -> None:
    driver = LogDriver()
    with caplog.at_level(logging.INFO, "eyeflow.rule"):
        for level in ("info", "warn", "error"):
            asyncio.run(driver.act(f"log.{level}", {"message": f"{level} ü"}))
        asyncio.run(driver.act("log.info", {"message": "two\nlines\x1b[31m"}))
    levels = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert levels[:3] == [("INFO", "info ü"), ("WARNING", "warn ü"), ("ERROR", "error ü")]
    assert levels[3][1] == "two\\nlines\\x1b[31m", "a message cannot forge a line of the log"
    with pytest.raises(CapabilityFailure):
        asyncio.run(driver.act("log.shout", {"message": "x"}))


def test_adc_values_from_configuration_file_and_kernel(tmp_path: Path) -> None:
    raw, values = tmp_path / "in_voltage2_raw", tmp_path / "adc.json"
    raw.write_text("1234\n")
    config = AdcConfig.from_table({"values_file": str(values), "channels": {"0": 850, "2": str(raw)}})
    driver = AdcDriver(config)

    def read(channel: int) -> object:
        return driver.read("adc.read_channel", {"channel": channel}, 0)

    assert (read(0), read(2)) == (850.0, 1234.0)
    assert isinstance(read(0), float)
    values.write_text(json.dumps({"0": 900, "1": 1.5}))
    assert (read(0), read(1)) == (900.0, 1.5)
    driver.set_value(5, 7)
    assert read(5) == 7.0
    with pytest.raises(CapabilityFailure, match="channel 9 is not configured"):
        read(9)
    raw.write_text("garbage")
    with pytest.raises(CapabilityFailure, match="cannot read ADC channel 2"):
        read(2)
    for text in ("[]", "no"):
        values.write_text(text)
        with pytest.raises(CapabilityFailure):
            read(0)


def test_a_configuration_gives_its_sources_and_drivers() -> None:
    async def scenario() -> None:
        plain = build_world(ports_config(), "node-1")
        assert set(plain.drivers) == {"adc", "board", "file", "gpio", "host", "http", "log"}
        assert set(plain.sources) == {"http", "host", "gpio", "serial"}
        tables = {"mqtt": {"host": "127.0.0.1"}, "llm": {"endpoint": "http://127.0.0.1:9/v1", "model": "m"}}
        full = build_world(read_ports(tables), "node-1")
        assert set(full.drivers) == {*plain.drivers, "mqtt", "llm"}
        assert "mqtt" in full.sources
        for world in (plain, full):
            for driver in world.drivers.values():
                await driver.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("subscription", "cause"),
    [
        (Subscription("modbus", "t"), "a node serves"),
        (Subscription("kafka", "t"), "no section for kafka"),
        (Subscription("mqtt", "t"), "no section for mqtt"),
        (Subscription("http", "door"), "starts with `/`"),
        (Subscription("serial", "scael"), "no serial port named `scael`"),
        (Subscription("gpio", "DOOR opens"), "an edge is one of"),
    ],
)
def test_what_a_node_cannot_serve_is_said_at_install(subscription: Subscription, cause: str) -> None:
    config = read_ports({"serial": {"scale": {"device": "/dev/ttyS0"}}})
    with pytest.raises(EyeflowError) as caught:
        check_subscription(subscription, config)
    assert caught.value.code == "no_source"
    assert cause in caught.value.cause
    assert caught.value.next_step


def test_what_a_node_can_serve_passes() -> None:
    tables = {
        "mqtt": {"host": "h"},
        "serial": {"scale": {"device": "/dev/ttyS0"}},
        "gpio": {"backend": "libgpiod", "pins": {"DOOR": 4}},
    }
    config = read_ports(tables)
    for source, address in (
        ("mqtt", "a/+/#"),
        ("http", "/x"),
        ("serial", "scale"),
        ("gpio", "DOOR rises"),
        ("host", ""),
    ):
        check_subscription(Subscription(source, address), config)
    for source, address in (("mqtt", "a/#/b"), ("mqtt", "x\x07y"), ("mqtt", "$share/g"), ("gpio", "GATE rises")):
        with pytest.raises(EyeflowError):
            check_subscription(Subscription(source, address), config)
