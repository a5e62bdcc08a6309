"""For which rule or source a line of code runs, so that the log can say it: drivers and libraries do not know."""

from __future__ import annotations

from contextvars import ContextVar, Token

SUBJECT: ContextVar[str] = ContextVar("subject", default="")
"""`rule heat` or `source mqtt`; empty when the code runs for the whole process."""


class Subject:
    """A context in which everything runs for `name`: what is called, and each task and callback that starts there.

    No generator: a rule enters it at each reading of a sensor.
    """

    __slots__ = ("_name", "_token")

    def __init__(self, name: str) -> None:
        self._name = name
        self._token: Token[str] | None = None

    def __enter__(self) -> None:
        self._token = SUBJECT.set(self._name)

    def __exit__(self, *raised: object) -> None:
        assert self._token is not None, "it was entered"
        SUBJECT.reset(self._token)
