"""Stops programs that too few trusted keys have signed: at once, or after the grace of `[trust] revoked_grace_s`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from eyeflow.base.errors import EyeflowError
from eyeflow.node.clock import Clock
from eyeflow.node.engine.installer import Installer
from eyeflow.node.run_key import RunKey

_log = logging.getLogger("eyeflow.node")

RETRY_S = 1.0
"""How soon a stop that the disk refused is tried again."""


class Revocation:
    """Watches the programs that run; tell it with `changed` that the trusted keys are others.

    The grace counts from that moment and belongs to this start of the node: at a start, such a program does not run.
    """

    def __init__(self, installer: Installer, clock: Clock, grace_s: float) -> None:
        self._installer, self._clock, self._grace_us = installer, clock, round(grace_s * 1e6)
        self._until_us: dict[RunKey, int] = {}
        self._woken = asyncio.Event()

    @property
    def until_us(self) -> Mapping[RunKey, int]:
        """Programs that run in their grace, and when it ends on the node's clock (microseconds since 1970 UTC)."""
        ahead_us = self._clock.now_us() - self._clock.steady_us()
        distrusted = self._installer.distrusted()
        return {key: until_us + ahead_us for key, until_us in self._until_us.items() if key in distrusted}

    def changed(self) -> None:
        """The trusted keys changed."""
        self._woken.set()

    async def stop_due(self) -> None:
        """Stop the programs whose grace is over; with a grace of 0, every one that too few trusted keys have signed.

        What replaced programs still have to send is withheld at once.
        """
        self._installer.withhold_older()
        now_us = self._clock.steady_us()
        distrusted = self._installer.distrusted()
        for key in distrusted - self._until_us.keys():
            if self._grace_us:
                _log.warning(
                    "%s: too few trusted keys have signed it now; it is stopped in %g s", key, self._grace_us / 1e6
                )
        kept = {key: self._until_us.get(key, now_us + self._grace_us) for key in distrusted}
        self._until_us = kept
        for key in sorted((key for key, until_us in kept.items() if until_us <= now_us), key=str):
            await self._installer.withdraw(key)
            self._until_us.pop(key, None)

    async def run(self) -> None:
        """Watch until cancelled. A stop that the disk refuses to record is tried again: until then the rule runs."""
        while True:
            self._woken.clear()
            wait_s = None
            try:
                await self.stop_due()
                if self._until_us:
                    wait_s = max(0.0, (min(self._until_us.values()) - self._clock.steady_us()) / 1e6)
            except EyeflowError as error:
                _log.error("a program that too few trusted keys have signed still runs: %s", error.brief)
                wait_s = RETRY_S
            await self._wait(wait_s)

    async def _wait(self, wait_s: float | None) -> None:
        woken = asyncio.ensure_future(self._woken.wait())
        waits = [woken] if wait_s is None else [woken, asyncio.ensure_future(self._clock.sleep(wait_s))]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()
