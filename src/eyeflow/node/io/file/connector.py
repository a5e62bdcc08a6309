"""Lines appended to files as a connector."""

from __future__ import annotations

from eyeflow.node.io.connector import Connector, PortsConfig, Site, SystemNeeds
from eyeflow.node.io.file.settings import FileConfig
from eyeflow.node.io.ports import Driver


def _driver(site: Site, shared: None) -> Driver:
    from eyeflow.node.io.file.driver import FileDriver

    return FileDriver(site.of(FileConfig))


def _system_needs(config: PortsConfig) -> SystemNeeds:
    return SystemNeeds(writable=config.of(FileConfig).directories)


CONNECTOR = Connector(
    name="file",
    sections=(FileConfig,),
    driver=_driver,
    system_needs=_system_needs,
    template="""\
# [file]
# directories = ["lines"]        # `file.append` writes below these only
""",
    catalog="""\
[[capability]]
name = "file.append"
kind = "act"
args = [{ name = "path", type = "text(255)" }, { name = "line", type = "text(1024)" }]
profiles = ["linux"]
unavailable = { mcu = "a microcontroller has no files; use log.info, which its gateway keeps" }
resource = "file/{path}"
cost = 100
doc = "Append a line to a file below the directory that the node's configuration allows."
""",
)
