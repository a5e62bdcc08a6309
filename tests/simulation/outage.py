"""A node that works on for days while nobody can be reached, and comes back."""

from __future__ import annotations

from pathlib import Path

from simulation.copies import check_copy
from simulation.loop import pass_time
from simulation.programs import RULES, topic_of
from simulation.records import promise
from simulation.story import NODES, Story

OUTAGE_S = 72 * 3600.0
EVENT_S = 60.0


class Outage(Story):
    """Three nodes run; the coordinator goes for `outage_s` seconds, and the first one has an event each minute."""

    def __init__(self, directory: Path, seed: int = 11, outage_s: float = OUTAGE_S) -> None:
        super().__init__(seed, directory)
        self.outage_s, self.copied = outage_s, 0

    async def _tell(self) -> None:
        await self._set_up()
        self._some_events()
        await pass_time(10.0)
        worker = self.cluster.nodes[NODES[0]]
        for idle in NODES[1:]:
            self.cluster.nodes[idle].stop()
        self.cluster.coordinator.down()
        for number in range(int(self.outage_s / EVENT_S)):
            self.cluster.later(number * EVENT_S, self._one_event)
        await pass_time(self.outage_s)
        promise(
            len(worker.plant.acknowledged) >= self.outage_s / EVENT_S, "the node did not work on while it was alone"
        )
        self.cluster.coordinator.start()
        for idle in NODES[1:]:
            self.cluster.nodes[idle].start()
        await self._disturb()
        await self._rest()
        for name in NODES:
            self.copied += await check_copy(self.cluster, name)
        await self._check_cluster()
        await self._stop_all()

    async def _disturb(self) -> None:
        """Do something to the cluster while the copy catches up."""

    def _one_event(self) -> None:
        self.events += 1
        self.cluster.nodes[NODES[0]].plant.happen(self.events, topic_of(RULES[0]))
