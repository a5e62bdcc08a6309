"""The readings of this machine as a connector."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eyeflow.node.io.connector import Connector, Site
from eyeflow.node.io.host.settings import HostConfig
from eyeflow.node.io.ports import Driver, Source

if TYPE_CHECKING:
    from eyeflow.node.io.host.readings import HostReadings


def _share(site: Site) -> HostReadings:
    from eyeflow.node.io.host.readings import HostReadings

    return HostReadings(site.of(HostConfig))


def _source(site: Site, readings: HostReadings) -> Source:
    from eyeflow.node.io.host.source import HostSource

    return HostSource(readings, site.clock)


def _driver(site: Site, readings: HostReadings) -> Driver:
    from eyeflow.node.io.host.driver import HostDriver

    return HostDriver(readings)


CONNECTOR = Connector(
    name="host",
    sections=(HostConfig,),
    share=_share,
    source=_source,
    driver=_driver,
    grants=("host.*",),
    catalog="""\
[[capability]]
name = "host.cpu_percent"
kind = "read"
result = "float"
profiles = ["linux"]
unavailable = { mcu = "a microcontroller has no operating system to ask" }
cost = 100
doc = "Processor use of the node's machine, 0 to 100."

[[capability]]
name = "host.memory_percent"
kind = "read"
result = "float"
profiles = ["linux"]
unavailable = { mcu = "a microcontroller has no operating system to ask" }
cost = 100
doc = "Memory in use on the node's machine, 0 to 100."

[[capability]]
name = "host.disk_percent"
kind = "read"
result = "float"
profiles = ["linux"]
unavailable = { mcu = "a microcontroller has no operating system to ask" }
cost = 100
doc = "Use of the disk that holds the node's data, 0 to 100."

[[capability]]
name = "host.temperature_celsius"
kind = "read"
result = "float"
profiles = ["linux"]
unavailable = { mcu = "a microcontroller has no operating system to ask" }
cost = 100
doc = "The highest temperature that a sensor of the node's machine reports; fails where there is no sensor."

[[capability]]
name = "host.load_1min"
kind = "read"
result = "float"
profiles = ["linux"]
unavailable = { mcu = "a microcontroller has no operating system to ask" }
cost = 100
doc = "Load average of the node's machine over one minute."

[[source]]
name = "host"
address = "none"
period = "required"
profiles = ["linux"]
unavailable = { mcu = "a microcontroller has no operating system to ask" }
doc = "The measurements of the node's own machine."
[source.fields]
cpu_percent = "float"
memory_percent = "float"
disk_percent = "float"
temperature_celsius = "float"
load_1min = "float"
""",
)
