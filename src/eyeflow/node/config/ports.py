"""Configuration of the node's sources and drivers: one frozen dataclass for each section of `eyeflow-svm.toml`.

Each has `from_table(table)`, which is strict: an unknown key, a wrong type or a value out of range raises EyeflowError
with exit code USAGE. Secrets never stand in the file: it names an environment variable or a file that holds them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eyeflow.node.config.tables import Table

PORT_MAX = 65_535
PAYLOAD_BYTES_MAX = 16 * 1024 * 1024
TIMEOUT_S_MAX = 3600.0


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """TLS of a client: the CA file that signs the server (system CAs when None), and a client certificate."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    @classmethod
    def from_table(cls, table: Table) -> TlsConfig:
        """Read `ca_file`, `cert_file`, `key_file`."""
        config = cls(table.path("ca_file"), table.path("cert_file"), table.path("key_file"))
        table.finish()
        if config.key_file and not config.cert_file:
            table.refuse(f"[{table.name}] key_file needs cert_file", "A key alone proves nothing.", "Add cert_file.")
        return config


@dataclass(frozen=True, slots=True)
class MqttConfig:
    """The MQTT broker of `on mqtt` and `mqtt.publish`. `protocol` is `5` or `3.1.1`; `tls` None: plain TCP."""

    host: str
    port: int = 1883
    protocol: str = "5"
    tls: TlsConfig | None = None
    username: str = ""
    password_env: str = ""
    password_file: Path | None = None
    keepalive_s: int = 30
    session_expiry_s: int = 7 * 86_400
    inflight_max: int = 256
    publish_timeout_s: float = 10.0
    payload_bytes_max: int = 256 * 1024

    @classmethod
    def from_table(cls, values: Mapping[str, Any]) -> MqttConfig:
        """Read the section `[mqtt]`."""
        table = Table("mqtt", values)
        tls = table.table("tls")
        config = cls(
            host=table.required("host"),
            port=table.integer("port", 1883 if tls is None else 8883, 1, PORT_MAX),
            protocol=table.choice("protocol", "5", ("5", "3.1.1")),
            tls=None if tls is None else TlsConfig.from_table(tls),
            username=table.text("username"),
            password_env=table.text("password_env"),
            password_file=table.path("password_file"),
            keepalive_s=table.integer("keepalive_s", 30, 5, 3600),
            session_expiry_s=table.integer("session_expiry_s", 7 * 86_400, 0, 2**32 - 1),
            inflight_max=table.integer("inflight_max", 256, 1, PORT_MAX),
            publish_timeout_s=table.number("publish_timeout_s", 10.0, 0.1, TIMEOUT_S_MAX),
            payload_bytes_max=table.integer("payload_bytes_max", 256 * 1024, 1, PAYLOAD_BYTES_MAX),
        )
        table.finish()
        return config


@dataclass(frozen=True, slots=True)
class HttpServerConfig:
    """The webhook server of `on http`: loopback unless told otherwise; a bearer token when one is named."""

    host: str = "127.0.0.1"
    port: int = 8480
    token_env: str = ""
    token_file: Path | None = None
    body_bytes_max: int = 1024 * 1024
    done_timeout_s: float = 30.0

    @classmethod
    def from_table(cls, values: Mapping[str, Any]) -> HttpServerConfig:
        """Read the section `[http]`."""
        table = Table("http", values)
        config = cls(
            host=table.text("host", "127.0.0.1"),
            port=table.integer("port", 8480, 0, PORT_MAX),
            token_env=table.text("token_env"),
            token_file=table.path("token_file"),
            body_bytes_max=table.integer("body_bytes_max", 1024 * 1024, 1, PAYLOAD_BYTES_MAX),
            done_timeout_s=table.number("done_timeout_s", 30.0, 0.1, TIMEOUT_S_MAX),
        )
        table.finish()
        return config


@dataclass(frozen=True, slots=True)
class HttpClientConfig:
    """`http.post` and `http.put`: the whole request takes at most `timeout_s`."""

    timeout_s: float = 10.0

    @classmethod
    def from_table(cls, values: Mapping[str, Any]) -> HttpClientConfig:
        """Read the section `[http_client]`."""
        table = Table("http_client", values)
        config = cls(table.number("timeout_s", 10.0, 0.1, TIMEOUT_S_MAX))
        table.finish()
        return config


@dataclass(frozen=True, slots=True)
class HostConfig:
    """The `host` readings: the file system to measure, and what stands for a temperature sensor that is absent."""

    disk_path: Path = Path("/")
    temperature_default: float | None = None

    @classmethod
    def from_table(cls, values: Mapping[str, Any]) -> HostConfig:
        """Read the section `[host]`."""
        table = Table("host", values)
        default = table.number("temperature_default", 0.0, -273.15, 1000.0) if "temperature_default" in values else None
        config = cls(table.path("disk_path") or Path("/"), default)
        table.finish()
        return config


@dataclass(frozen=True, slots=True)
class GpioLine:
    """Where a pin is wired: line `line` of `chip`; `active_low` inverts it; `bias` is as-is, pull-up or pull-down."""

    line: int
    chip: str = "/dev/gpiochip0"
    active_low: bool = False
    bias: str = "as-is"

    @classmethod
    def from_value(cls, name: str, value: Any) -> GpioLine:
        """Read `RELAY = 17` or `RELAY = { line = 17, active_low = true }`."""
        table = Table(f"gpio.pins.{name}", value if isinstance(value, dict) else {"line": value})
        config = cls(
            table.integer("line", -1, 0, 1023),
            table.text("chip", "/dev/gpiochip0"),
            table.boolean("active_low", False),
            table.choice("bias", "as-is", ("as-is", "pull-up", "pull-down")),
        )
        table.finish()
        return config


@dataclass(frozen=True, slots=True)
class GpioConfig:
    """Pins: `simulated` (levels in memory, mirrored in the JSON file `levels_file` if given) or `libgpiod`."""

    backend: str = "simulated"
    levels_file: Path | None = None
    poll_s: float = 0.02
    pins: Mapping[str, GpioLine] = field(default_factory=dict)

    @classmethod
    def from_table(cls, values: Mapping[str, Any]) -> GpioConfig:
        """Read the section `[gpio]`."""
        table = Table("gpio", values)
        pins = table.table("pins")
        config = cls(
            table.choice("backend", "simulated", ("simulated", "libgpiod")),
            table.path("levels_file"),
            table.number("poll_s", 0.02, 0.001, 60.0),
            {name: GpioLine.from_value(name, value) for name, value in (pins.tables() if pins else {}).items()},
        )
        table.finish()
        return config


@dataclass(frozen=True, slots=True)
class AdcConfig:
    """ADC channels: a number is a simulated reading, a text the path of a Linux IIO file (`in_voltage0_raw`)."""

    channels: Mapping[int, int | Path] = field(default_factory=dict)
    values_file: Path | None = None

    @classmethod
    def from_table(cls, values: Mapping[str, Any]) -> AdcConfig:
        """Read the section `[adc]`: `values_file`, and `[adc.channels]` with `0 = 850` or `0 = "/sys/.../raw"`."""
        table = Table("adc", values)
        channels = table.table("channels")
        entries = {} if channels is None else channels.tables()
        config = cls({_channel(table, k): _reading(table, k, v) for k, v in entries.items()}, table.path("values_file"))
        table.finish()
        return config


def _channel(table: Table, key: str) -> int:
    if not key.isdecimal() or int(key) > 255:
        table.refuse(f"[adc.channels] {key} is no channel", "A channel is a number in 0..255.", "Correct the key.")
    return int(key)


def _reading(table: Table, key: str, value: Any) -> int | Path:
    if isinstance(value, str) and value:
        return Path(value)
    if not isinstance(value, int) or isinstance(value, bool):
        cause = f"It is {value!r}."
        table.refuse(f"[adc.channels] {key} must be an integer or a path", cause, "Give a raw reading or an IIO file.")
    return value


@dataclass(frozen=True, slots=True)
class SerialConfig:
    """One serial line that carries a JSON object per line."""

    device: str
    baud: int = 115_200
    line_bytes_max: int = 65_536

    @classmethod
    def from_table(cls, name: str, values: Mapping[str, Any]) -> SerialConfig:
        """Read the section `[serial.NAME]`."""
        table = Table(f"serial.{name}", values)
        config = cls(
            table.required("device"),
            table.integer("baud", 115_200, 50, 4_000_000),
            table.integer("line_bytes_max", 65_536, 16, PAYLOAD_BYTES_MAX),
        )
        table.finish()
        return config


@dataclass(frozen=True, slots=True)
class FileConfig:
    """`file.append` writes only below these directories; none: the capability always fails."""

    directories: tuple[Path, ...] = ()

    @classmethod
    def from_table(cls, values: Mapping[str, Any]) -> FileConfig:
        """Read the section `[file]`."""
        table = Table("file", values)
        config = cls(tuple(Path(text).expanduser() for text in table.texts("directories")))
        table.finish()
        return config


@dataclass(frozen=True, slots=True)
class LlmConfig:
    """An OpenAI-compatible endpoint (`https://host/v1`) for `llm.*`; `key_env` names the variable with its key."""

    endpoint: str
    model: str
    key_env: str = ""
    key_file: Path | None = None
    timeout_s: float = 30.0

    @classmethod
    def from_table(cls, values: Mapping[str, Any]) -> LlmConfig:
        """Read the section `[llm]`."""
        table = Table("llm", values)
        config = cls(
            table.required("endpoint").rstrip("/"),
            table.required("model"),
            table.text("key_env"),
            table.path("key_file"),
            table.number("timeout_s", 30.0, 0.1, TIMEOUT_S_MAX),
        )
        table.finish()
        if not config.endpoint.startswith(("http://", "https://")):
            table.refuse("[llm] endpoint is no URL", f"It is {config.endpoint!r}.", "Write https://HOST/v1.")
        return config


@dataclass(frozen=True, slots=True)
class PortsConfig:
    """All sections of this module; what is None or empty is not configured."""

    mqtt: MqttConfig | None = None
    http: HttpServerConfig = field(default_factory=HttpServerConfig)
    http_client: HttpClientConfig = field(default_factory=HttpClientConfig)
    host: HostConfig = field(default_factory=HostConfig)
    gpio: GpioConfig = field(default_factory=GpioConfig)
    adc: AdcConfig = field(default_factory=AdcConfig)
    serial: Mapping[str, SerialConfig] = field(default_factory=dict)
    file: FileConfig = field(default_factory=FileConfig)
    llm: LlmConfig | None = None

    @classmethod
    def from_tables(cls, tables: Mapping[str, Mapping[str, Any]]) -> PortsConfig:
        """Read the sections named in SECTIONS out of the whole configuration file; others are not looked at."""
        given: dict[str, Any] = {name: read(tables[name]) for name, read in _READERS.items() if name in tables}
        return cls(**given)


def _serial_lines(values: Mapping[str, Any]) -> dict[str, SerialConfig]:
    table = Table("serial", values)
    names = table.tables()
    for name, inner in names.items():
        if not isinstance(inner, dict):
            table.refuse(f"[serial] {name} is no table", "Each line has its own section.", f"Write [serial.{name}].")
    return {name: SerialConfig.from_table(name, inner) for name, inner in names.items()}


_READERS: dict[str, Callable[[Mapping[str, Any]], object]] = {
    "mqtt": MqttConfig.from_table,
    "http": HttpServerConfig.from_table,
    "http_client": HttpClientConfig.from_table,
    "host": HostConfig.from_table,
    "gpio": GpioConfig.from_table,
    "adc": AdcConfig.from_table,
    "serial": _serial_lines,
    "file": FileConfig.from_table,
    "llm": LlmConfig.from_table,
}

SECTIONS = tuple(_READERS)
"""Names of the sections of the node's configuration file that PortsConfig reads."""
