"""`log.info`, `log.warn`, `log.error`: a line in the node's log, and in a ring that `eyeflow node log` shows."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from eyeflow.node.drivers.base import BaseDriver
from eyeflow.node.sources.clock import Clock, system_clock
from eyeflow.svm.program import Value

RING_LINES_MAX = 1000
LEVELS = {"log.info": logging.INFO, "log.warn": logging.WARNING, "log.error": logging.ERROR}

_logger = logging.getLogger("eyeflow.rule")


@dataclass(frozen=True, slots=True)
class LogLine:
    """One message: when it was logged (microseconds since 1970 UTC), `info`, `warn` or `error`, and its text."""

    time_us: int
    level: str
    message: str


class LogDriver(BaseDriver):
    """Hands messages to `logging` under the name `eyeflow.rule` and keeps the last RING_LINES_MAX."""

    def __init__(self, clock: Clock = system_clock) -> None:
        super().__init__("log")
        self._clock = clock
        self._ring: deque[LogLine] = deque(maxlen=RING_LINES_MAX)

    @property
    def lines(self) -> tuple[LogLine, ...]:
        """The kept lines, oldest first."""
        return tuple(self._ring)

    async def act(self, capability: str, args: Mapping[str, Value]) -> None:
        """Log one message."""
        if capability not in LEVELS:
            raise self.failure(f"{capability} is not an action that this node serves")
        message = str(args["message"])
        self._ring.append(LogLine(self._clock(), capability.partition(".")[2], message))
        # One line per message, whatever it holds: a rule's text must not forge lines of the log.
        _logger.log(
            LEVELS[capability], "%s", message.encode("unicode_escape").decode() if _is_unsafe(message) else message
        )
        self.status.counters["actions"] += 1


def _is_unsafe(message: str) -> bool:
    return any(ord(character) < 32 or ord(character) == 127 for character in message)
