"""Analog channels as a connector."""

from __future__ import annotations

from eyeflow.node.io.adc.settings import AdcConfig
from eyeflow.node.io.connector import Connector, Site
from eyeflow.node.io.ports import Driver


def _driver(site: Site, shared: None) -> Driver:
    from eyeflow.node.io.adc.driver import AdcDriver

    return AdcDriver(site.of(AdcConfig))


CONNECTOR = Connector(
    name="adc",
    sections=(AdcConfig,),
    driver=_driver,
    grants=("adc.*",),
    template="""\
# [adc.channels]
# 0 = 850                        # a simulated reading, or the path of a Linux IIO file
""",
    catalog="""\
[[capability]]
name = "adc.read_channel"
kind = "read"
args = [{ name = "channel", type = "int" }]
result = "float"
profiles = ["linux", "mcu"]
cost = 40
doc = "Read one analog channel: the raw count of the converter as a float (0 to 4095 at 12 bits)."
""",
)
