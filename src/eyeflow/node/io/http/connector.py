"""HTTP as a connector: webhooks are events, requests are actions."""

from __future__ import annotations

from eyeflow.node.io.connector import Connector, Site
from eyeflow.node.io.http.settings import HttpClientConfig, HttpServerConfig
from eyeflow.node.io.ports import Driver, Source


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
