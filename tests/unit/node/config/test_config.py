from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.node.config.config import CONFIG_NAME, load_config, settings
from eyeflow.node.config.sections import Backend, Durability
from eyeflow.node.config.settings import Kind
from eyeflow.node.config.template import config_template
from eyeflow.node.io.gpio.settings import GpioConfig
from eyeflow.node.io.http.settings import HttpServerConfig
from eyeflow.node.io.kafka.settings import KafkaConfig
from eyeflow.node.io.mqtt.settings import MqttConfig, TlsConfig
from eyeflow.node.store.types import OnFull

ROOT = Path(__file__).parents[4]
KEY = bytes(range(32))


def write(path: Path, text: str) -> Path:
    file = path / CONFIG_NAME
    file.write_text(text, encoding="utf-8")
    return file


FULL = """
[node]
name = "node-prod-01"
data_dir = "state"
timezone = "Europe/Berlin"

[coordinator]
url = "https://coordinator:8443"
token_file = "join.token"

[offline]
buffer_backend = "sqlite"
max_buffer_size_mb = 64
max_buffer_age_hours = 0.5
reconcile_on_reconnect = false
on_full = "block"
durability = "none-on-full-disk"

[grants]
allow = ["gpio.*", "log.info"]

[pins]
RELAY = 17

[gpio]
backend = "simulated"

[mqtt]
host = "broker"
"""


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, FULL))
    assert config.name == "node-prod-01" and config.timezone.key == "Europe/Berlin"
    assert config.data_dir == tmp_path / "state", "a relative path starts at the file"
    assert config.coordinator.token_file == tmp_path / "join.token"
    limits = config.offline.limits
    assert (limits.size_bytes_max, limits.age_us_max, limits.on_full) == (64 * 2**20, 1_800_000_000, OnFull.BLOCK)
    assert config.offline.durability is Durability.NONE_ON_FULL_DISK and not config.offline.reconcile_on_reconnect
    assert config.grants == ("gpio.*", "log.info")
    assert config.ports.of(GpioConfig).pins["RELAY"].line == 17
    assert config.ports.of(MqttConfig).host == "broker"


def test_the_smallest_file_is_safe(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, '[node]\nname = "a"\n'))
    assert config.grants == ("log.*",) and config.trusted_keys == ()
    assert config.offline.durability is Durability.FULL and config.coordinator.url == ""


def test_variables_override_the_file_and_flags_override_both(tmp_path: Path) -> None:
    file = write(tmp_path, FULL)
    environment = {
        "EYEFLOW_NODE_NAME": "from-variable",
        "EYEFLOW_OFFLINE_MAX_BUFFER_SIZE_MB": "32",
        "EYEFLOW_GRANTS_ALLOW": "log.*, adc.*",
        "EYEFLOW_OFFLINE_RECONCILE_ON_RECONNECT": "yes",
        "EYEFLOW_MQTT_TLS_CA_FILE": "ca.pem",
        "EYEFLOW_LLM_KEY": "a secret of the user",
        "PATH": "/bin",
    }
    config = load_config(file, environment, {"node.name": "from-flag", "http.port": "9000"})
    assert config.name == "from-flag"
    assert config.offline.limits.size_bytes_max == 32 * 2**20 and config.offline.reconcile_on_reconnect
    assert config.grants == ("log.*", "adc.*")
    assert config.ports.of(HttpServerConfig).port == 9000
    assert config.ports.of(MqttConfig).tls == TlsConfig(tmp_path / "ca.pem")
    assert load_config(None, {"EYEFLOW_NODE_NAME": "no-file"}).name == "no-file"


@pytest.mark.parametrize(
    ("text", "line", "says", "help_"),
    [
        ('[node]\nname = "a"\n[ofline]\n', 3, "unknown section [ofline]", "[offline]"),
        ('[node]\nname = "a"\n\n[offline]\nmax_bufer_size_mb = 3\n', 5, "max_bufer_size_mb", "max_buffer_size_mb"),
        ('[node]\nname = "a"\n[offline]\nmax_buffer_size_mb = "big"\n', 4, "must be an integer", ""),
        ('[node]\nname = "a"\n[offline]\nmax_buffer_size_mb = 1\n', 4, "4..", ""),
        ('[node]\nname = "a"\n[offline]\nbuffer_backend = "kafka"\n', 4, "needs a cluster", "bootstrap_servers"),
        (
            '[node]\nname = "a"\n[offline]\nbuffer_backend = "kafka_embedded"\n[kafka]\nbootstrap_servers = "b:1"\n',
            6,
            "names another broker",
            "Remove bootstrap_servers",
        ),
        ('[node]\nname = "a"\n[offline]\non_full = "drop-oldst"\n', 4, "drop-oldst", "drop-oldest"),
        ('[node]\nname = "a"\n[offline]\ndurability = "none"\n', 4, "durability", "none-on-full-disk"),
        ('[node]\nname = "a b"\n', 2, "is no name", ""),
        ("[node]\n", 1, "needs `name`", ""),
        ('[node]\nname = "a"\ntimezone = "Mars/Base"\n', 3, "Mars/Base", "Europe/Berlin"),
        ('[node]\nname = "a"\n[coordinator]\nurl = "coordinator:1"\n', 4, "no address", "http"),
        ('[node]\nname = "a"\n[trust]\nkeys = ["abc"]\n', 3, "no public key", "keys show NAME"),
        ('[node]\nname = "a"\n[pins]\nR = 1\n[gpio.pins]\nR = 2\n', 4, "[pins] R stands in [gpio.pins], too", ""),
        ('[node]\nname = "a"\n[mqtt]\nhots = "x"\n', 3, "needs `host`", ""),
        ('[node]\nname = "a"\n[grants]\nalow = []\n', 4, "alow", "allow"),
        ("node = 3\n", 0, "must be a section", ""),
        ("[node\n", 0, "not TOML", ""),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, text: str, line: int, says: str, help_: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(EyeflowError) as raised:
        load_config(file)
    error = raised.value
    whole = f"{error.message} {error.cause} {error.next_step}"
    assert error.message.startswith(f"{file}:{line}: " if line else f"{file}: "), error.message
    assert says in whole and help_ in whole and error.next_step
    assert error.exit_code is ExitCode.PROBLEMS


def test_wrong_variables_and_flags_are_named(tmp_path: Path) -> None:
    file = write(tmp_path, FULL)
    for environment, flags, says in (
        ({"EYEFLOW_OFFLINE_MAX_BUFER_SIZE_MB": "3"}, {}, "EYEFLOW_OFFLINE_MAX_BUFFER_SIZE_MB"),
        ({"EYEFLOW_OFFLINE_MAX_BUFFER_SIZE_MB": "three"}, {}, "'three' is no integer"),
        ({}, {"node.nam": "x"}, "node.name"),
        (
            {},
            {"offline.reconcile_on_reconnect": "maybe"},
            "--offline-reconcile-on-reconnect: 'maybe' is neither true nor false",
        ),
    ):
        with pytest.raises(EyeflowError) as raised:
            load_config(file, environment, flags)
        whole = f"{raised.value.message} {raised.value.next_step}"
        assert says in whole, whole


def test_a_file_that_cannot_be_read_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"[node]\nname = '\xe9'\n")
    for path in (tmp_path / "nowhere.toml", tmp_path, tmp_path / "latin"):
        with pytest.raises(EyeflowError, match="cannot read the configuration"):
            load_config(path)


def test_keys_come_from_the_file_and_from_key_files(tmp_path: Path) -> None:
    (tmp_path / "keys.txt").write_text(f"# ours\n{KEY.hex()}  # first\n\n{bytes(32).hex()}\n")
    text = f'[node]\nname = "a"\n[trust]\nkeys = ["{KEY.hex().upper()}"]\nkey_files = ["keys.txt"]\n'
    assert load_config(write(tmp_path, text)).trusted_keys == (KEY, bytes(32))


@pytest.mark.parametrize("name", ["node-1", "n.2"])
def test_the_template_is_a_valid_configuration(tmp_path: Path, name: str) -> None:
    text = config_template(name, url="http://localhost:8400", trusted_keys=[KEY], timezone="Europe/Berlin")
    config = load_config(write(tmp_path, text))
    assert config.name == name and config.trusted_keys == (KEY,)
    assert config.coordinator.url == "http://localhost:8400"
    assert tomllib.loads(config_template('odd "name"\\\n'))["node"]["name"] == 'odd "name"\\\n'


def test_every_setting_is_read_with_the_default_that_is_documented(tmp_path: Path) -> None:
    """Writing every default into a file changes nothing but what a section's presence means."""
    needed = {"node.name": '"a"', "mqtt.host": '"h"', "llm.endpoint": '"http://h"', "llm.model": '"m"'}
    needed |= {"kafka.bootstrap_servers": '"b:1"', "kafka.sasl.username": '"u"', "kafka.sasl.password_env": '"P"'}
    lines: list[str] = []
    for section in dict.fromkeys(setting.section for setting in settings()):
        lines.append(f"[{section}]")
        for setting in settings():
            value = needed.get(setting.name, setting.toml)
            if setting.section == section and value and setting.name != "mqtt.port":
                lines.append(f"{setting.key} = {value}")
    written = load_config(write(tmp_path, "\n".join(lines)))
    short = load_config(
        write(
            tmp_path,
            '[node]\nname = "a"\n[mqtt]\nhost = "h"\n[mqtt.tls]\n[llm]\nendpoint = "http://h"\nmodel = "m"\n'
            '[kafka]\nbootstrap_servers = "b:1"\n[kafka.tls]\n[kafka.sasl]\nusername = "u"\npassword_env = "P"\n',
        )
    )
    assert written == short


def test_on_kafka_reads_from_the_broker_of_the_node(tmp_path: Path) -> None:
    text = '[node]\nname = "a"\n[offline]\nbuffer_backend = "kafka_embedded"\n[kafka_embedded]\nport = 9300\n'
    config = load_config(write(tmp_path, text + '[kafka]\nstart = "earliest"\n'))
    kafka = config.ports.of(KafkaConfig)
    assert (kafka.servers, kafka.start) == (("127.0.0.1:9300",), "earliest")
    assert config.offline.backend is Backend.KAFKA_EMBEDDED


def test_settings_have_unique_names_and_variables() -> None:
    assert (
        len({setting.name for setting in settings()})
        == len({setting.variable for setting in settings()})
        == len(settings())
    )
    assert all(setting.doc.endswith(".") and isinstance(setting.kind, Kind) for setting in settings())


def test_the_page_of_settings_is_not_stale() -> None:
    subprocess.run([sys.executable, str(ROOT / "tools" / "gen_settings.py"), "--check"], check=True)
