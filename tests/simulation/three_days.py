"""Three days alone, with each backend of the buffer: power cuts, full disks, clocks that jump, brokers that go away.

Then the coordinator comes back. It must show every execution once and in order, and Kafka must have every record.
"""

from __future__ import annotations

from pathlib import Path

from eyeflow.node.io.kafka.copies import AUDIT, EXECUTIONS
from eyeflow.node.store.cursors import KAFKA
from eyeflow.protocol.audit import decode_record, record_hash
from eyeflow.protocol.audit_bodies import ExecutionBody
from simulation.cluster import Host, NodeHost
from simulation.copies import kept_records
from simulation.disk import Image
from simulation.loop import pass_time
from simulation.records import Chain, promise, read_cursor
from simulation.relay import Relay
from simulation.story import NODES

ALONE_S = 72 * 3600.0
EVENT_S = 60.0
FAULT_EACH_S = (600.0, 5400.0)
AGE_HOURS = 24.0 * 30
"""Beyond the outage and each jump of a clock: nothing may be lost here."""
BROKERS_AWAY_S_MAX = 6 * 3600.0
COPY_S_MAX = 900.0
DISK_FAILS_S_MAX = 1200.0


class ThreeDays(Relay):
    """One node with this backend is alone for `alone_s` seconds while things fail, and has an event each minute."""

    def __init__(
        self,
        seed: int,
        directory: Path,
        backend: str = "sqlite",
        alone_s: float = ALONE_S,
        is_calm: bool = False,
    ) -> None:
        super().__init__(seed, directory, is_calm)
        self.cluster.backend, self.cluster.buffer_age_hours = backend, AGE_HOURS
        self.alone_s, self.disk_fails_s_max = alone_s, DISK_FAILS_S_MAX
        self._faults = (self._crash_worker, self._fail_a_disk, self._step_a_clock)
        if backend == "kafka":
            self._faults = (*self._faults, self._lose_the_brokers)
        self.copies_again = 0
        """Records that Kafka has a second time: a crash came between their confirmation and the cursor."""

    @property
    def count(self) -> int:
        """How many events there are."""
        return int(self.alone_s / EVENT_S)

    async def _tell(self) -> None:
        await self._set_up()
        await self._until_installed()
        for idle in NODES[1:]:
            self.cluster.nodes[idle].stop()
        self.cluster.coordinator.down()
        await self._be_alone()
        self.cluster.coordinator.start()
        epoch = await self._until_kept()
        await self._compare([epoch])
        if self.cluster.backend != "sqlite":
            await self._check_kafka()

    async def _be_alone(self) -> None:
        for number in range(self.count):
            self.cluster.later(number * EVENT_S, self._one_event)
        ends_s = self.cluster.loop.time() + self.alone_s
        while not self.is_calm and (left_s := ends_s - self.cluster.loop.time()) > 0:
            await pass_time(min(left_s, self.rng.uniform(*FAULT_EACH_S)))
            fault = self.rng.choice(self._faults)
            name = fault.__name__.strip("_")
            self.happened[name] = self.happened.get(name, 0) + 1
            self.cluster.trace.add(f"- {name}")
            fault()
        await pass_time(max(0.0, ends_s - self.cluster.loop.time()))

    @property
    def _node(self) -> NodeHost:
        return self.cluster.nodes[NODES[0]]

    async def _check_kafka(self) -> None:
        """The topic has each record that the coordinator keeps, in order; and of each execution a text."""
        kept = await kept_records(self.cluster, NODES[0])
        until_s = self.cluster.loop.time() + COPY_S_MAX
        while kept[-1] not in (came := [one.value for one in self._node.brokers.topics[AUDIT]]):
            promise(self.cluster.loop.time() < until_s, "35: the copies in Kafka never catch up")
            await pass_time(5.0)
        once = list(dict.fromkeys(came))
        self.copies_again = len(came) - len(once)
        promise(once[: len(kept)] == kept, f"35: Kafka has {len(once)} records, and not the {len(kept)} in their order")
        runs = [record.seq for record in map(decode_record, kept) if isinstance(record.body, ExecutionBody)]
        shown = {int(one.headers["seq"]) for one in self._node.brokers.topics[EXECUTIONS]}
        promise(set(runs) <= shown, f"35: Kafka has {len(shown)} executions of {len(runs)}")

    def _look_at(self, node: NodeHost, image: Image) -> Chain:
        """Whatever the node takes for confirmed, the brokers have."""
        chain = super()._look_at(node, image)
        if node is self._node and self.cluster.backend != "sqlite":
            last = read_cursor(image, self.cluster.directory / "look", chain.epoch, KAFKA)
            here = {record_hash(one.value) for one in node.brokers.topics[AUDIT]}
            held = [one.seq for one, digest in zip(chain.records, chain.hashes, strict=True) if digest in here]
            gone = {one.seq for one in chain.records if one.seq <= last} - set(held)
            promise(not gone, f"35: the node takes {sorted(gone)[:3]} for copied, and Kafka has none of them")
        return chain

    def _lose_the_brokers(self) -> None:
        brokers = self._node.brokers
        brokers.is_up = False

        def back() -> None:
            brokers.is_up = True

        self.cluster.later(self.rng.uniform(1.0, BROKERS_AWAY_S_MAX), back)

    async def _compare(self, epochs: list[int]) -> None:
        await super()._compare(epochs)
        promise(
            self.order == list(range(1, self.count + 1)), f"35: another order than without faults: {self.order[:9]}"
        )

    async def _rest(self) -> None:
        if self.cluster.backend == "kafka":
            self._node.brokers.is_up = True
        await super()._rest()

    def _some_host(self) -> Host:
        return self.worker
