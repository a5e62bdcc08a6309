"""Work that goes on whatever fails: what a store refuses is tried again, and a bug does not end the rest."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from traceback import extract_tb

from eyeflow.base.errors import EyeflowError
from eyeflow.coordinator.store.coordination import NotLeadingError

_log = logging.getLogger("eyeflow.coordinator")


class Bearing:
    """Bears what fails. `resign` is called when another coordinator leads by now."""

    def __init__(self, resign: Callable[[], None]) -> None:
        self._resign = resign
        self.trouble = ""
        """What failed last; empty again after a round of which all was done."""
        self._failures = 0
        self._bugs: set[str] = set()
        """Where bugs are that the log has told, since all was well."""

    async def bear(self, work: Callable[[], Awaitable[None]]) -> bool:
        """Do it; return False when a store refused, and would refuse the rest as well."""
        try:
            await work()
        except NotLeadingError:
            self._resign()
            return False
        except EyeflowError as error:
            self._failed(error.brief)
            return False
        except Exception as error:
            self._tell_bug(error)
            self._failed(f"the coordinator has a bug, its log says more: {type(error).__name__}")
        return True

    async def round(self, *parts: Callable[[], Awaitable[None]]) -> None:
        """Do all parts, one after the other; the next round does what this one could not."""
        before = self._failures
        for part in parts:
            if not await self.bear(part):
                return
        if self._failures == before:
            self.trouble = ""
            self._bugs.clear()

    def _tell_bug(self, error: Exception) -> None:
        place = str(extract_tb(error.__traceback__)[-1])
        if place not in self._bugs:  # not each second
            self._bugs.add(place)
            _log.exception("the coordinator has a bug, and goes on with the rest")

    def _failed(self, trouble: str) -> None:
        self.trouble = trouble
        self._failures += 1
