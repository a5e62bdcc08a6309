"""A node whose records must reach the coordinator, whatever fails: then it has what it has when nothing fails, in that order.

What the coordinator holds the node drops for its age, soon: a record that was wrongly taken for held is gone for good.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from eyeflow.node.store.file import STORE_NAME
from eyeflow.protocol.audit import decode_record, verify_chain
from eyeflow.protocol.audit_bodies import COPIED, ExecutionBody, GapBody
from simulation.cluster import Host, NodeHost
from simulation.copies import check_dropped, kept_records, until_copied
from simulation.disk import Failure, Image
from simulation.loop import pass_time
from simulation.programs import RULES, topic_of
from simulation.records import Chain, promise, read_chain
from simulation.story import NODES, Story

AGE_HOURS = 0.2
"""Beyond all that keeps records from the coordinator here, so that nothing is lost; see FAULT_S_MAX."""
FAULT_S_MAX = 60.0
EVENTS, EVENT_S = 180, 10.0
FAULT_EACH_S_MAX = 300.0
SETTLE_S = 130.0
"""Until the node has noticed a step of its clock: what comes before may be taken for age after a crash."""
DAY_S = 86_400
STEPS_S = (-10 * DAY_S, -7200, -2, 2, 90, 10 * DAY_S)


class Relay(Story):
    """One node has an event each EVENT_S seconds, in two halves; between them its store is lost, and another epoch begins.

    With `is_calm` nothing fails. `order` are the events at the coordinator in the order in which they were run first.
    """

    def __init__(self, seed: int, directory: Path, is_calm: bool = False) -> None:
        super().__init__(seed, directory)
        self.cluster.buffer_age_hours = AGE_HOURS
        self.is_calm, self.order = is_calm, list[int]()
        self.dropped_copies = self.repeated = 0
        self.disk_fails_s_max = FAULT_S_MAX / 4
        self._faults: tuple[Callable[[], None], ...] = (
            self._crash_worker,
            self._crash_coordinator,
            self._cut_for_a_while,
            self._break_connections,
            self._fail_a_disk,
            self._step_a_clock,
        )

    @property
    def worker(self) -> Host:
        return self.cluster.nodes[NODES[0]]

    async def _tell(self) -> None:
        await self._set_up()
        await self._until_installed()
        for idle in NODES[1:]:
            self.cluster.nodes[idle].stop()
        epochs = [await self._half()]
        self._lose_the_store()
        epochs.append(await self._half())
        await self._compare(epochs)

    async def _until_installed(self) -> None:
        """A deployment whose nodes stop before they have answered fails, and takes the rule back."""
        while not all(one["over"] for one in await self._deployments()):
            await pass_time(1.0)

    def _how(self, nodes: tuple[str, ...], rollback: bool, strategy: str) -> dict[str, Any]:
        """Nobody watches the rules: without events they would not pass."""
        return super()._how(nodes, rollback, strategy) | {"options": {}}

    async def _half(self) -> int:
        """Let EVENTS come while things fail, and wait until all is kept; return the epoch of the node."""
        for number in range(EVENTS):
            self.cluster.later(number * EVENT_S, self._one_event)
        ends_s = self.cluster.loop.time() + EVENTS * EVENT_S
        while not self.is_calm and self.cluster.loop.time() < ends_s:
            await pass_time(self.rng.uniform(SETTLE_S, FAULT_EACH_S_MAX))
            fault = self.rng.choice(self._faults)
            self.cluster.trace.add(f"- {fault.__name__.strip('_')}")
            fault()
        await pass_time(max(0.0, ends_s - self.cluster.loop.time()))
        return await self._until_kept()

    async def _until_kept(self) -> int:
        """End all faults, and wait until the coordinator has all; return the epoch of the node."""
        await self._rest()
        self.is_resting = False
        await until_copied(self.cluster, NODES[0])
        shown = await self.cluster.surely("GET", f"/api/nodes/{NODES[0]}")
        promise(not [one for one in shown["findings"] if one["kind"] != "newEpoch"], f"20: doubt: {shown['findings']}")
        await check_dropped(self.cluster, NODES[0])
        return int(shown["copy"]["epoch"])

    def _lose_the_store(self) -> None:
        assert self.worker.disk is not None
        left = self.worker.disk.after_kill()
        self._rewind(
            self.cluster.nodes[NODES[0]],
            {name: data for name, data in left.items() if not name.startswith(STORE_NAME)},
            "wiped",
        )
        self.worker.start()

    async def _compare(self, epochs: list[int]) -> None:
        promise(len(set(epochs)) == len(epochs), f"a lost store begins no new epoch: {epochs}")
        ran: list[int] = []
        for epoch in epochs:
            kept = await kept_records(self.cluster, NODES[0], epoch)
            report = verify_chain(kept)
            promise(report.holds and report.first_seq == 1, f"35: what is kept of epoch {epoch}: {report.problem}")
            bodies = [decode_record(one).body for one in kept]
            ran += [int(body.inputs[0]) for body in bodies if isinstance(body, ExecutionBody) and body.inputs]
            gaps = [body for body in bodies if isinstance(body, GapBody)]
            promise(not report.lost_total, f"35: {report.lost_total} records are lost")
            self.dropped_copies += sum(gap.count for gap in gaps if gap.reason == COPIED)
        self.order = list(dict.fromkeys(ran))
        self.repeated = len(ran) - len(self.order)
        came = self.cluster.nodes[NODES[0]].plant.delivered
        wrong = [number for number in self.order if ran.count(number) > came[number]]
        promise(not wrong, f"3: events ran more often than they came: {wrong[:3]}")

    def _look_at(self, node: NodeHost, image: Image) -> Chain:
        """What is here of the records that were here before is the same: the oldest ones go."""
        known, chain = self.known[node.name], read_chain(image, self.cluster.directory / "look")
        before = {one.seq: digest for one, digest in zip(known.chain.records, known.chain.hashes, strict=True)}
        here = {one.seq: digest for one, digest in zip(chain.records, chain.hashes, strict=True)}
        changed = [seq for seq in before.keys() & here.keys() if before[seq] != here[seq]]
        promise(not changed, f"2: records {changed[:3]} of {node.name} are other ones than before")
        promise(max(here, default=0) >= max(before, default=0), f"2: {node.name} lost its newest records")
        known.chain = chain
        return chain

    def _one_event(self) -> None:
        self.events += 1
        self.cluster.nodes[NODES[0]].plant.happen(self.events, topic_of(RULES[0]))

    def _crash_worker(self) -> None:
        self._crash(self.worker, FAULT_S_MAX / 4)

    def _cut_for_a_while(self) -> None:
        name = self.rng.choice([NODES[0], "coordinator"])
        self.cluster.network.cut_off.add(name)
        self.cluster.later(self.rng.uniform(1.0, FAULT_S_MAX), lambda: self.cluster.network.heal(name))

    def _some_host(self) -> Host:
        return self.rng.choice([self.worker, self.cluster.coordinator])

    def _fail_a_disk(self) -> None:
        disk = self._some_host().disk
        assert disk is not None
        disk.failure = self.rng.choice(list(Failure))

        def mend() -> None:
            disk.failure = None

        self.cluster.later(self.rng.uniform(0.05, self.disk_fails_s_max), mend)

    def _step_a_clock(self) -> None:
        self._some_host().clock.ahead_us += self.rng.choice(STEPS_S) * 1_000_000
