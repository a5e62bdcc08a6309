"""Parameters of rules on boards behind this node as a connector."""

from __future__ import annotations

from eyeflow.node.io.board.settings import BoardConfig
from eyeflow.node.io.connector import Connector, Site
from eyeflow.node.io.ports import Driver


def _driver(site: Site, shared: None) -> Driver:
    from eyeflow.node.io.board.driver import BoardDriver

    return BoardDriver(site.of(BoardConfig).params)


CONNECTOR = Connector(
    name="board",
    sections=(BoardConfig,),
    driver=_driver,
    template="""\
# [board.press_limit]            # `board.set_param("press_limit", 70.0)`: a parameter of a rule on a board
# board = "node-mcu-01"
# rule = "interlock"
# param = "limit"
""",
    catalog="""\
[[capability]]
name = "board.set_param"
kind = "act"
args = [{ name = "name", type = "text(63)" }, { name = "value", type = "float" }]
profiles = ["linux"]
unavailable = { mcu = "a board reaches no other board; `emit` an event to a rule on its gateway" }
resource = "board/{name}"
cost = 100
doc = "Set a parameter of a rule on a board behind this node, as `[board.NAME]` of its configuration names it."
""",
)
