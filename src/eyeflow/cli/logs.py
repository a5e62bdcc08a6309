"""The log of the daemons: lines on stderr, each with its time and the rule or source that it is about."""

from __future__ import annotations

import logging
import sys
from enum import Enum
from typing import Any

from eyeflow.base.subject import SUBJECT
from eyeflow.base.visible import visible


class LogFormat(Enum):
    """How a daemon's log is written to stderr."""

    TEXT = "text"
    JSON = "json"


def set_up_log(log_format: LogFormat, *, verbose: bool) -> None:
    """Write the log of this process to stderr, each line with its time."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter() if log_format is LogFormat.JSON else _TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("eyeflow").setLevel(logging.DEBUG if verbose else logging.INFO)


class _TextFormatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(subject)s: %(message)s", "%Y-%m-%dT%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name of logging
        record.subject = SUBJECT.get() or record.name
        return visible(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the name of logging
        return "\n".join(map(visible, super().formatException(ei).split("\n")))


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        import json

        fields: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "subject": SUBJECT.get(),
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields)
