"""`log.info`, `log.warn`, `log.error`: a line in the node's log."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from eyeflow.base.visible import visible
from eyeflow.node.io.base_driver import BaseDriver
from eyeflow.svm.program import Value

LEVELS = {"log.info": logging.INFO, "log.warn": logging.WARNING, "log.error": logging.ERROR}

_logger = logging.getLogger("eyeflow.rule")


class LogDriver(BaseDriver):
    """Hands messages to `logging` under the name `eyeflow.rule`."""

    def __init__(self) -> None:
        super().__init__("log")

    async def act(self, capability: str, args: Mapping[str, Value]) -> None:
        """Log one message: one line, whatever it holds, so that a rule's text cannot forge lines of the log."""
        if capability not in LEVELS:
            raise self.failure(f"{capability} is not an action that this node serves")
        _logger.log(LEVELS[capability], "%s", visible(str(args["message"])))
        self.status.counters["actions"] += 1
