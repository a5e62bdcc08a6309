"""The node's log as a connector."""

from __future__ import annotations

from eyeflow.node.io.connector import Connector, Site
from eyeflow.node.io.ports import Driver


def _driver(site: Site, shared: None) -> Driver:
    from eyeflow.node.io.log.driver import LogDriver

    return LogDriver()


CONNECTOR = Connector(
    name="log",
    driver=_driver,
    grants=("log.*",),
    catalog="""\
[[capability]]
name = "log.info"
kind = "act"
args = [{ name = "message", type = "text(1024)" }]
profiles = ["linux", "mcu"]
cost = 20
doc = "Write a message to the node's log."

[[capability]]
name = "log.warn"
kind = "act"
args = [{ name = "message", type = "text(1024)" }]
profiles = ["linux", "mcu"]
cost = 20
doc = "Write a warning to the node's log."

[[capability]]
name = "log.error"
kind = "act"
args = [{ name = "message", type = "text(1024)" }]
profiles = ["linux", "mcu"]
cost = 20
doc = "Write an error to the node's log."
""",
)
