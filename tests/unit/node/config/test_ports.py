"""The sections of the node's configuration: what they mean, and that nothing wrong passes."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.node.config.tables import secret
from eyeflow.node.io.adc.settings import AdcConfig
from eyeflow.node.io.board.settings import BoardConfig, BoardParam
from eyeflow.node.io.connector import section_names
from eyeflow.node.io.connectors import CONNECTORS, ports_config, read_ports
from eyeflow.node.io.gpio.settings import GpioConfig, GpioLine
from eyeflow.node.io.host.settings import HostConfig
from eyeflow.node.io.http.settings import HttpServerConfig
from eyeflow.node.io.kafka.settings import KafkaConfig
from eyeflow.node.io.llm.settings import LlmConfig
from eyeflow.node.io.mqtt.settings import MqttConfig, TlsConfig
from eyeflow.node.io.serial.settings import SerialConfig

FULL = """
[mqtt]
host = "broker.local"
username = "node"
password_env = "MQTT_PASSWORD"
[mqtt.tls]
ca_file = "/etc/ca.pem"
[http]
port = 9000
[http_client]
timeout_s = 2
[host]
temperature_default = 20
[gpio]
backend = "libgpiod"
[gpio.pins]
RELAY = 17
DOOR = { line = 4, active_low = true, bias = "pull-up" }
[board.press_limit]
board = "press"
rule = "interlock"
param = "limit"
[adc.channels]
0 = 850
1 = "/sys/bus/iio/devices/iio:device0/in_voltage1_raw"
[serial.scale]
device = "/dev/ttyUSB0"
baud = 9600
[kafka]
bootstrap_servers = "one:9092, two:9092"
[file]
directories = ["/var/log/plant"]
[llm]
endpoint = "https://llm.local/v1/"
model = "small"
[offline]
buffer_backend = "sqlite"
"""


def test_every_section_is_read_and_others_are_left_alone() -> None:
    tables = tomllib.loads(FULL)
    assert set(section_names(CONNECTORS)) - {"pins"} <= tables.keys()
    config = read_ports(tables)
    mqtt, gpio = config.of(MqttConfig), config.of(GpioConfig)
    assert (mqtt.port, mqtt.tls) == (8883, TlsConfig(Path("/etc/ca.pem")))
    assert gpio.pins == {"RELAY": GpioLine(17), "DOOR": GpioLine(4, active_low=True, bias="pull-up")}
    iio = Path("/sys/bus/iio/devices/iio:device0/in_voltage1_raw")
    assert config.of(AdcConfig).channels == {0: 850, 1: iio}
    assert config.of(BoardConfig).params == {"press_limit": BoardParam("press", "interlock", "limit", 60.0)}
    assert config.of(SerialConfig).ports["scale"].baud == 9600
    assert config.of(HostConfig).temperature_default == 20.0
    assert config.of(LlmConfig).endpoint == "https://llm.local/v1"
    assert config.of(HttpServerConfig).host == "127.0.0.1"
    assert config.of(KafkaConfig).servers == ("one:9092", "two:9092")


def test_nothing_configured_is_a_working_node() -> None:
    config = read_ports({})
    assert config == ports_config()
    assert (config.find(MqttConfig), config.find(LlmConfig)) == (None, None)
    assert config.of(GpioConfig).backend == "simulated"


@pytest.mark.parametrize(
    ("tables", "message", "hint"),
    [
        ({"mqtt": {"host": "h", "prot": 1}}, "unknown key `prot`", "Did you mean `port`?"),
        ({"mqtt": {"hosst": "h"}}, "[mqtt] needs `host`", "host"),
        ({"mqtt": {"host": 5}}, "must be a text", ""),
        ({"mqtt": {"host": "h", "port": 70_000}}, "must be in 1..65535", ""),
        ({"mqtt": {"host": "h", "port": True}}, "must be an integer", ""),
        ({"mqtt": {"host": "h", "protocol": "4"}}, "is not known", "5, 3.1.1"),
        ({"mqtt": {"host": "h", "tls": {"key_file": "k"}}}, "needs cert_file", ""),
        ({"mqtt": {"host": "h", "tls": {"cafile": "k"}}}, "[mqtt.tls] has an unknown key", "Did you mean `ca_file`?"),
        ({"http": {"token": "secret"}}, "unknown key `token`", "token_env"),
        ({"gpio": {"backend": "simulatd"}}, "is not known", "Did you mean `simulated`?"),
        ({"gpio": {"pins": {"RELAY": "17"}}}, "must be an integer", ""),
        ({"gpio": {"pins": {"RELAY": {}}}}, "[gpio.pins.RELAY] needs `line`", ""),
        ({"gpio": {"pins": {"RELAY": 1024}}}, "must be in 0..1023", ""),
        ({"adc": {"channels": {"x": 1}}}, "x is no channel", ""),
        ({"adc": {"channels": {"1": 1.5}}}, "must be an integer or a path", ""),
        ({"serial": {"device": "/dev/x"}}, "is no table", "[serial.device]"),
        ({"serial": {"scale": {}}}, "[serial.scale] needs `device`", ""),
        ({"file": {"directories": "x"}}, "must be a list of texts", ""),
        ({"file": {"directories": [1]}}, "must be a list of texts", ""),
        ({"llm": {"endpoint": "host", "model": "m"}}, "no URL", "https://"),
        ({"host": {"temperature_default": "warm"}}, "must be a number", ""),
    ],
)
def test_what_is_wrong_is_said(tables: dict[str, dict[str, Any]], message: str, hint: str) -> None:
    with pytest.raises(EyeflowError) as caught:
        read_ports(tables)
    assert message in caught.value.message
    assert hint in caught.value.next_step
    assert caught.value.cause
    assert caught.value.exit_code is ExitCode.PROBLEMS


@pytest.mark.parametrize(("mode", "refused"), [(0o600, False), (0o640, False), (0o644, True), (0o620, True)])
def test_a_secret_that_everybody_may_read_is_refused(tmp_path: Path, mode: int, refused: bool) -> None:
    file = tmp_path / "password"
    file.write_text("swordfish\n")
    file.chmod(mode)
    if not refused:
        assert secret("mqtt", "", file) == "swordfish"
        return
    with pytest.raises(EyeflowError) as error:
        secret("mqtt", "", file)
    assert error.value.code == "permissions" and f"chmod 600 {file}" in error.value.next_step
