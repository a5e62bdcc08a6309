"""The settings of the MQTT broker."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self

from eyeflow.node.config.client_tls import ClientTls
from eyeflow.node.config.settings import (
    PAYLOAD_BYTES_MAX,
    PORT_MAX,
    TIMEOUT_S_MAX,
    Section,
    inner,
    integer,
    number,
    path,
    required,
    text,
)
from eyeflow.node.config.tables import Table

TLS_PORT = 8883


@dataclass(frozen=True, slots=True)
class TlsConfig(ClientTls):
    """TLS towards the MQTT broker."""

    SECTION: ClassVar[str] = "mqtt.tls"


@dataclass(frozen=True, slots=True)
class MqttConfig(Section):
    """The MQTT broker of `on mqtt` and `mqtt.publish`; `tls` None: plain TCP."""

    SECTION: ClassVar[str] = "mqtt"

    host: str = required("Host name of the MQTT broker.")
    port: int = integer(1883, 1, PORT_MAX, "Port of the broker; 8883 with TLS.")
    protocol: str = text("5", "`5` or `3.1.1`.", ("5", "3.1.1"))
    tls: TlsConfig | None = inner(TlsConfig)
    username: str = text("", "User name at the broker.")
    password_env: str = text("", "Environment variable with the password.")
    password_file: Path | None = path("File with the password.")
    keepalive_s: int = integer(30, 5, 3600, "Silence after which the connection is checked.")
    session_expiry_s: int = integer(7 * 86_400, 0, 2**32 - 1, "How long the broker keeps messages for an absent node.")
    inflight_max: int = integer(
        256, 1, PORT_MAX, "Messages that the node holds before they are acknowledged; more stay with the broker."
    )
    publish_timeout_s: float = number(
        10.0, 0.1, TIMEOUT_S_MAX, "How long a publish may wait for the broker's acknowledgement."
    )
    payload_bytes_max: int = integer(256 * 1024, 1, PAYLOAD_BYTES_MAX, "Longer messages are rejected events.")

    def checked(self, table: Table) -> Self:
        """Take the port of MQTT over TLS where TLS is on and no port is written."""
        return replace(self, port=TLS_PORT) if self.tls and "port" not in table.values else self
