"""What a node drops for its age: as copied only what the coordinator holds, and everything else as lost, counted."""

from __future__ import annotations

from eyeflow.coordinator.archive.sqlite_archive import ARCHIVE_FILE
from eyeflow.protocol.audit import decode_record, verify_copy
from simulation.copies import check_dropped, kept_records, until_copied
from simulation.disk import Image
from simulation.loop import pass_time
from simulation.records import promise
from simulation.relay import AGE_HOURS, EVENT_S, Relay
from simulation.story import NODES

AGE_S = AGE_HOURS * 3600.0
AHEAD_EVENTS, PAST_EVENTS = 10, 30


class LongOutage(Relay):
    """The coordinator is away for three times as long as records are kept."""

    lost = 0

    async def _tell(self) -> None:
        await self._set_up()
        await self._until_installed()
        for idle in NODES[1:]:
            self.cluster.nodes[idle].stop()
        await self._events(AHEAD_EVENTS)
        await until_copied(self.cluster, NODES[0])
        self.cluster.coordinator.down()
        await self._events(int(3 * AGE_S / EVENT_S))
        self.cluster.coordinator.start()
        await self._rest()
        await until_copied(self.cluster, NODES[0])
        records = await kept_records(self.cluster, NODES[0])
        kept, report = [decode_record(one).seq for one in records], verify_copy(records, b"")
        self.lost = kept[-1] - kept[0] + 1 - len(kept)
        promise(report.holds, f"35: what is kept: {report.problem}")
        promise(report.lost_total == self.lost, f"35: {self.lost} records are lost, and {report.lost_total} are told")
        await check_dropped(self.cluster, NODES[0])

    async def _events(self, count: int) -> None:
        for number in range(count):
            self.cluster.later(number * EVENT_S, self._one_event)
        await pass_time(count * EVENT_S + 2 * EVENT_S)


class OldDisk(LongOutage):
    """Node and coordinator both get an old disk back; the archive, which is on another one, does not.

    So the coordinator asks on behind a record that this node has, too, and that is another one here.
    """

    async def _tell(self) -> None:
        await self._set_up()
        await self._until_installed()
        for idle in NODES[1:]:
            self.cluster.nodes[idle].stop()
        await self._events(AHEAD_EVENTS)
        node, coordinator = self.worker.disk.after_kill(), self._coordinator_disk()  # type: ignore[union-attr]
        await self._events(AHEAD_EVENTS)
        await until_copied(self.cluster, NODES[0])
        self.cluster.coordinator.down()
        self._rewind(self.cluster.nodes[NODES[0]], node, "restored")
        self.worker.start()
        await self._events(PAST_EVENTS)
        newer = self._coordinator_disk()
        archive = {name: data for name, data in newer.items() if name.startswith(ARCHIVE_FILE)}
        older = {name: data for name, data in coordinator.items() if not name.startswith(ARCHIVE_FILE)}
        self.cluster.coordinator.image = older | archive
        self.cluster.coordinator.start()
        await self._events(int(2 * AGE_S / EVENT_S))
        shown = await self.cluster.surely("GET", f"/api/nodes/{NODES[0]}")
        promise(bool(shown["findings"]), f"20: {NODES[0]} goes on from an old disk, and nobody says so")
        await check_dropped(self.cluster, NODES[0])

    def _coordinator_disk(self) -> Image:
        disk = self.cluster.coordinator.disk
        assert disk is not None
        return disk.after_kill()
