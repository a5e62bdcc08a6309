"""The settings of webhooks and requests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from eyeflow.node.config.settings import (
    PAYLOAD_BYTES_MAX,
    PORT_MAX,
    TIMEOUT_S_MAX,
    Section,
    integer,
    number,
    path,
    text,
)


@dataclass(frozen=True, slots=True)
class HttpServerConfig(Section):
    """The webhook server of `on http`: loopback unless told otherwise; a bearer token when one is named."""

    SECTION: ClassVar[str] = "http"

    host: str = text("127.0.0.1", "Address of the webhook server.")
    port: int = integer(8480, 0, PORT_MAX, "Port of the webhook server; 0 picks a free one.")
    token_env: str = text("", "Environment variable with the bearer token that requests must carry.")
    token_file: Path | None = path("File with that token.")
    body_bytes_max: int = integer(1024 * 1024, 1, PAYLOAD_BYTES_MAX, "Longer bodies are refused.")
    done_timeout_s: float = number(30.0, 0.1, TIMEOUT_S_MAX, "How long a request waits for its event to be recorded.")


@dataclass(frozen=True, slots=True)
class HttpClientConfig(Section):
    """`http.post` and `http.put`."""

    SECTION: ClassVar[str] = "http_client"

    timeout_s: float = number(10.0, 0.1, TIMEOUT_S_MAX, "Bound of one whole request of `http.post` and `http.put`.")
