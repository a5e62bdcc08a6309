"""All settings of a node as data: reading, overriding and documenting them goes by this one table.

Each can be written in `eyeflow-svm.toml`, given by its environment variable, and given by a flag; the flag wins, then
the variable, then the file. `docs/reference/node-settings.md` is generated from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class SettingKind(Enum):
    """The type of a setting's value. A list is written with commas in a variable or flag."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "true or false"
    TEXTS = "list of texts"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: its section and key, its type, its default as it is written in TOML, and what it does."""

    section: str
    key: str
    kind: SettingKind
    default: str
    doc: str

    @property
    def name(self) -> str:
        """`section.key`."""
        return f"{self.section}.{self.key}"

    @property
    def variable(self) -> str:
        """The environment variable that overrides it."""
        return "EYEFLOW_" + self.name.replace(".", "_").upper()


def _settings(section: str, *rows: tuple[str, SettingKind, str, str]) -> tuple[Setting, ...]:
    return tuple(Setting(section, *row) for row in rows)


_T, _I, _N, _B, _L = (
    SettingKind.TEXT,
    SettingKind.INTEGER,
    SettingKind.NUMBER,
    SettingKind.BOOLEAN,
    SettingKind.TEXTS,
)

SETTINGS = (
    *_settings(
        "node",
        ("name", _T, '""', "Name of the node in the cluster: letters, digits, `-`, `_`, `.`; needed."),
        (
            "data_dir",
            _T,
            '"data"',
            "Directory of the node's store and key. A relative path starts at the configuration file.",
        ),
        ("timezone", _T, '"UTC"', "Time zone of `cron`, `time_of_day()` and `weekday()`, such as `Europe/Berlin`."),
        ("resource_lease_s", _N, "1.0", "How long a rule keeps a physical resource to itself after it commanded it."),
        ("resource_wait_s", _N, "5.0", "How long an action waits at most for a resource that another rule commands."),
    ),
    *_settings(
        "coordinator",
        ("url", _T, '""', "The coordinator to join, `http://` or `https://`; empty: it has joined or runs alone."),
        ("token_env", _T, '""', "Environment variable with the join token."),
        ("token_file", _T, '""', "File with the join token."),
        ("ca_file", _T, '""', "CA file that signs the coordinator's certificate; empty: the system's CAs."),
    ),
    *_settings(
        "offline",
        ("buffer_backend", _T, '"sqlite"', "Where records are kept until they can be handed on: `sqlite`."),
        ("max_buffer_size_mb", _I, "512", "Bound of all files of the store together, write-ahead log included."),
        ("max_buffer_age_hours", _N, "72.0", "Older audit records are dropped."),
        (
            "on_full",
            _T,
            '"drop-oldest"',
            "At the size bound: `drop-oldest` records, `reject-new` events, or `block` sources.",
        ),
        (
            "durability",
            _T,
            '"full"',
            "`full`: what cannot be recorded does not act. `none-on-full-disk`: it acts, unrecorded.",
        ),
        (
            "reconcile_on_reconnect",
            _B,
            "true",
            "Kept for a later version; until then records stay on the node, whatever it says.",
        ),
    ),
    *_settings(
        "grants", ("allow", _L, '["log.*"]', "Capabilities that programs may use; `*` stands for anything: `gpio.*`.")
    ),
    *_settings(
        "trust",
        ("keys", _L, "[]", "Ed25519 public keys (64 hex digits) whose programs the node runs, besides its cluster's."),
        ("key_files", _L, "[]", "Files with one such key per line."),
        (
            "revoked_grace_s",
            _N,
            "0.0",
            "How long a running program goes on when its signer's key is revoked; 0 stops it at once. "
            "At a start it does not run, whatever this says.",
        ),
    ),
    *_settings(
        "mqtt",
        ("host", _T, '""', "Host name of the MQTT broker; needed in this section."),
        ("port", _I, "1883", "Port of the broker; 8883 with TLS."),
        ("protocol", _T, '"5"', "`5` or `3.1.1`."),
        ("username", _T, '""', "User name at the broker."),
        ("password_env", _T, '""', "Environment variable with the password."),
        ("password_file", _T, '""', "File with the password."),
        ("keepalive_s", _I, "30", "Seconds of silence after which the connection is checked."),
        ("session_expiry_s", _I, "604800", "How long the broker keeps messages for an absent node."),
        (
            "inflight_max",
            _I,
            "256",
            "Messages that the node holds before they are acknowledged; more stay with the broker.",
        ),
        ("publish_timeout_s", _N, "10.0", "How long a publish may wait for the broker's acknowledgement."),
        ("payload_bytes_max", _I, "262144", "Longer messages are rejected events."),
    ),
    *_settings(
        "mqtt.tls",
        ("ca_file", _T, '""', "CA file of the broker; the section alone turns TLS on."),
        ("cert_file", _T, '""', "Client certificate."),
        ("key_file", _T, '""', "Key of the client certificate."),
    ),
    *_settings(
        "http",
        ("host", _T, '"127.0.0.1"', "Address of the webhook server."),
        ("port", _I, "8480", "Port of the webhook server; 0 picks a free one."),
        ("token_env", _T, '""', "Environment variable with the bearer token that requests must carry."),
        ("token_file", _T, '""', "File with that token."),
        ("body_bytes_max", _I, "1048576", "Longer bodies are refused."),
        ("done_timeout_s", _N, "30.0", "How long a request waits for its event to be recorded."),
    ),
    *_settings("http_client", ("timeout_s", _N, "10.0", "Bound of one whole request of `http.post` and `http.put`.")),
    *_settings(
        "host",
        ("disk_path", _T, '"/"', "File system that `disk_percent` measures."),
        (
            "temperature_default",
            _N,
            "",
            "Stands for the temperature where there is no sensor; without it the read fails.",
        ),
    ),
    *_settings(
        "gpio",
        ("backend", _T, '"simulated"', "`simulated`, or `libgpiod` (needs `pip install eyeflow[gpio]`)."),
        ("levels_file", _T, '""', "JSON file that mirrors the simulated levels and may set inputs."),
        ("poll_s", _N, "0.02", "How often simulated inputs are looked at."),
    ),
    *_settings("adc", ("values_file", _T, '""', "JSON file with simulated readings by channel.")),
    *_settings("file", ("directories", _L, "[]", "Directories below which `file.append` may write.")),
    *_settings(
        "llm",
        ("endpoint", _T, '""', "OpenAI-compatible endpoint, `https://HOST/v1`; needed in this section."),
        ("model", _T, '""', "Name of the model; needed in this section."),
        ("key_env", _T, '""', "Environment variable with the key of the endpoint."),
        ("key_file", _T, '""', "File with that key."),
        ("timeout_s", _N, "30.0", "Bound of a call whose rule gives no `timeout`."),
    ),
)
"""Every setting that has a fixed name, by section."""

NAMED_TABLES = {
    "pins": "`RELAY = 17`: the line that a pin of the rules is wired to. The same as `[gpio.pins]`, which also takes "
    '`{ line = 17, chip = "/dev/gpiochip0", active_low = true, bias = "pull-up" }`.',
    "gpio.pins": "See `[pins]`.",
    "adc.channels": "`0 = 850`: a simulated reading of a channel; "
    '`0 = "/sys/bus/iio/.../in_voltage0_raw"`: where it is read.',
    "serial.NAME": "`device`, `baud` (115200), `line_bytes_max` (65536): a serial line that carries one JSON object "
    "per line.",
}
"""Sections whose keys the user chooses; they are set in the file only."""
