"""HTTP as a connector: webhooks are events, requests are actions."""

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
from eyeflow.node.io.connector import Connector, Site
from eyeflow.node.io.ports import Driver, Source


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


def _source(site: Site, shared: None) -> Source:
    from eyeflow.node.io.http.source import HttpSource

    return HttpSource(site.of(HttpServerConfig), site.clock)


def _driver(site: Site, shared: None) -> Driver:
    from eyeflow.node.io.http.driver import HttpDriver

    return HttpDriver(site.of(HttpClientConfig))


CONNECTOR = Connector(
    name="http",
    sections=(HttpServerConfig, HttpClientConfig),
    source=_source,
    driver=_driver,
    template="""\
# [http]
# host = "0.0.0.0"               # webhooks from other machines; the default is 127.0.0.1
# token_file = "webhook.token"
""",
    catalog="""\
[[source]]
name = "http"
address = "required"
form = "http-path"
profiles = ["linux"]
unavailable = { mcu = "a microcontroller has no network; listen on its gateway" }
doc = "A JSON object sent to a path on the node's webhook server."

[[capability]]
name = "http.post"
kind = "act"
args = [{ name = "url", type = "text(1024)" }, { name = "body", type = "text(4096)" }]
profiles = ["linux"]
unavailable = { mcu = "a microcontroller has no network; `emit` an event and let a rule on its gateway send it" }
cost = 100
doc = "Send an HTTP POST request; any answer but 2xx is a failure."

[[capability]]
name = "http.put"
kind = "act"
args = [{ name = "url", type = "text(1024)" }, { name = "body", type = "text(4096)" }]
profiles = ["linux"]
unavailable = { mcu = "a microcontroller has no network; `emit` an event and let a rule on its gateway send it" }
cost = 100
doc = "Send an HTTP PUT request; any answer but 2xx is a failure."
""",
)
