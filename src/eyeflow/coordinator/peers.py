"""This coordinator among those of its cluster: which of them lives, which leads, and what became of the others' links.

Decisions of deployments are taken by the leader only; nodes and the API are served by all (docs/decisions/0013).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from eyeflow.base.errors import EyeflowError
from eyeflow.coordinator.store.cluster_store import ClusterStore, Writing
from eyeflow.coordinator.store.coordination import NotLeadingError

_log = logging.getLogger("eyeflow.coordinator")


@dataclass(frozen=True, slots=True)
class Found:
    """What a look at the others showed.

    `leads_anew`: this coordinator has just become the leader. `was_away`: the others may have taken this one for dead.
    `ended` are coordinators that are gone and whose links the leader ends.
    """

    leads_anew: bool = False
    was_away: bool = False
    ended: tuple[str, ...] = ()


class Peers:
    """`epoch`: that in which this coordinator leads, None while it does not."""

    def __init__(self, store: ClusterStore) -> None:
        self._store = store
        self.epoch: int | None = None
        self._session = 0

    @property
    def leads(self) -> bool:
        """Whether this coordinator leads, as far as it knows: only a step knows for sure."""
        return self.epoch is not None

    def check(self, writing: Writing) -> None:
        """Raise NotLeadingError unless this coordinator leads at this moment."""
        if self.epoch is None:
            raise NotLeadingError(0, writing.lead_epoch())
        writing.check_lead(self.epoch)

    def resign(self) -> None:
        """Somebody else leads: the next look tries again."""
        if self.epoch is not None:
            _log.warning("this coordinator does not lead the cluster any more")
        self.epoch = None

    async def started(self, now_us: int) -> None:
        """Register. In a store for one process, whoever is registered from before is gone."""

        def step(writing: Writing) -> None:
            if not self._store.is_shared:
                for coordinator in writing.coordinators():
                    writing.forget_coordinator(coordinator, now_us)
            writing.register_coordinator(self._store.own_id, now_us)

        standing = await self._store.stand()  # first: who registers and does not stand is taken for dead
        self._session = standing.session
        await self._store.write(step)
        if standing.leads:
            await self._lead()

    async def look(self, now_us: int) -> Found:
        """Find out where this coordinator stands. Raises EyeflowError, and leads no more, when the store is away."""
        if not self._store.is_shared:
            return Found()
        try:
            # Before `stand`: who was registered then, and does not live now, has ended.
            known = await self._store.read(lambda reading: reading.coordinators())
            standing = await self._store.stand()
            own_id = self._store.own_id
            was_away = standing.session != self._session or own_id not in known
            if was_away:
                await self._store.write(lambda writing: writing.register_coordinator(own_id, now_us))
                self._session = standing.session
            leads_anew = standing.leads and not self.leads
            if leads_anew:
                await self._lead()
            elif not standing.leads:
                self.resign()
        except EyeflowError:
            self.resign()
            raise
        ended = sorted(set(known) - standing.living - {own_id}) if standing.leads else []
        return Found(leads_anew, was_away, tuple(ended))

    async def _lead(self) -> None:
        own_id = self._store.own_id
        self.epoch = await self._store.write(lambda writing: writing.take_lead(own_id))
        if self._store.is_shared:
            _log.info("this coordinator leads the cluster from now on (epoch %d)", self.epoch)
