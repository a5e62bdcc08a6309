"""The settings of a Kafka cluster."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from eyeflow.node.config.client_tls import ClientTls
from eyeflow.node.config.settings import (
    PAYLOAD_BYTES_MAX,
    PORT_MAX,
    Section,
    inner,
    integer,
    path,
    required,
    text,
)
from eyeflow.node.config.tables import Table

GROUP_CHARS_MAX = 200


@dataclass(frozen=True, slots=True)
class KafkaTlsConfig(ClientTls):
    """TLS towards the brokers of Kafka."""

    SECTION: ClassVar[str] = "kafka.tls"


@dataclass(frozen=True, slots=True)
class SaslConfig(Section):
    """How the node proves to the brokers who it is."""

    SECTION: ClassVar[str] = "kafka.sasl"

    username: str = required("User name at the brokers.")
    mechanism: str = text("SCRAM-SHA-512", "How it is proved.", ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"))
    password_env: str = text("", "Environment variable with the password.")
    password_file: Path | None = path("File with the password.")

    def checked(self, table: Table) -> Self:
        """Refuse a user without a password."""
        if not self.password_env and self.password_file is None:
            hint = "Add password_env or password_file."
            table.refuse(f"[{table.name}] names no password", "A user name alone proves nothing.", hint)
        return self


@dataclass(frozen=True, slots=True)
class KafkaConfig(Section):
    """The Kafka cluster of `on kafka`."""

    SECTION: ClassVar[str] = "kafka"

    bootstrap_servers: str = required("Brokers that are asked first: `host:9092`, several with commas.")
    group: str = text("", "Consumer group; without it each node has one of its own, `eyeflow-NAME`.")
    start: str = text(
        "latest",
        "Where a topic is begun that the group has never read: with records that come from now on (`latest`), or with "
        "the oldest that is there (`earliest`).",
        ("latest", "earliest"),
    )
    tls: KafkaTlsConfig | None = inner(KafkaTlsConfig)
    sasl: SaslConfig | None = inner(SaslConfig)
    inflight_max: int = integer(
        1024, 1, PORT_MAX, "Records that the node holds before they are recorded; more stay with the brokers."
    )
    payload_bytes_max: int = integer(256 * 1024, 1, PAYLOAD_BYTES_MAX, "Longer records are rejected events.")

    def checked(self, table: Table) -> Self:
        """Take addresses of brokers only."""
        for server in self.servers:
            if not re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}", server):
                hint = 'Write bootstrap_servers = "host:9092" or "one:9092,two:9092".'
                table.refuse(f"[{table.name}] bootstrap_servers has no address of a broker", f"It is {server!r}.", hint)
        if not re.fullmatch(rf"[A-Za-z0-9._-]{{0,{GROUP_CHARS_MAX}}}", self.group):
            hint = "Use letters, digits, `.`, `_` and `-`."
            table.refuse(f"[{table.name}] group is no name of a group", f"It is {self.group!r}.", hint)
        return self

    @property
    def servers(self) -> tuple[str, ...]:
        """The addresses of the brokers that are asked first."""
        return tuple(one.strip() for one in self.bootstrap_servers.split(","))
