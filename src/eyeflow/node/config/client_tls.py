"""The settings that each client has which speaks TLS with a server by its own protocol."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from eyeflow.node.config.settings import Section, path
from eyeflow.node.config.tables import Table


@dataclass(frozen=True, slots=True)
class ClientTls(Section):
    """TLS of a client; the system's CAs when no CA file is named. A subclass sets `SECTION`."""

    ca_file: Path | None = path("CA file of the broker; the section alone turns TLS on.")
    cert_file: Path | None = path("Client certificate.")
    key_file: Path | None = path("Key of the client certificate.")

    def checked(self, table: Table) -> Self:
        """Refuse a key without its certificate."""
        if self.key_file and not self.cert_file:
            table.refuse(f"[{table.name}] key_file needs cert_file", "A key alone proves nothing.", "Add cert_file.")
        return self
