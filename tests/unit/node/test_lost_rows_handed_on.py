"""A store whose last rows were lost is handed on: what follows goes out once, and whoever lacks the rows sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from components.node_sim import NODE_KEY, NodeSim
from eyeflow.coordinator.archive.chain import BrokenChain, Owner, Tail, follow
from eyeflow.node.backoff import Backoff
from eyeflow.node.cluster.sender import AuditSender
from eyeflow.node.io.kafka.copies import AUDIT, AuditCopies
from eyeflow.node.io.kafka.copying import NodeAudit
from eyeflow.node.store.cursors import COORDINATOR, KAFKA
from eyeflow.node.store.file import STORE_NAME
from eyeflow.protocol.audit import record_hash
from eyeflow.protocol.collecting import Collect, Collected, KeptHead, head_bytes, unbundled
from eyeflow.protocol.identity import Identity, key_fingerprint
from eyeflow.protocol.session import Peer

KEY = Identity(bytes(range(32)))
PEER = Peer(key_fingerprint(KEY.public_key), KEY.public_key)
RULE = 'rule r {\n version "1.0.0"\n on every 1s\n log.info("x")\n}\n'
LOST = 5


async def cut_short(path: Path) -> list[bytes]:
    """Let a node run, and take the last rows from its file; return all records that it wrote."""
    sim = await NodeSim.started(path, RULE)
    await sim.advance(20_000_000)
    await sim.stop()
    written = sim.store_bytes
    db = apsw.Connection(str(path / STORE_NAME))
    db.execute("DELETE FROM audit WHERE seq > ?", (len(written) - LOST,))
    db.close()
    return written


def kept_up_to(sim: NodeSim, written: list[bytes], seq: int) -> KeptHead:
    kept = KeptHead(sim.store.epoch, seq, record_hash(written[seq - 1]), 5)
    return KeptHead(kept.epoch, seq, kept.hash, 5, KEY.sign(head_bytes(PEER.coordinator_id, "sim", kept)))


@pytest.mark.parametrize("missing", [0, 2, LOST])
def test_a_coordinator_goes_on_with_its_copy_or_finds_the_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: int
) -> None:
    monkeypatch.setattr("eyeflow.node.cluster.sender.LINGER_S", 0.0)
    answers: list[Collected] = []

    async def send(answer: Collected) -> None:
        answers.append(answer)

    async def scenario() -> None:
        written = await cut_short(tmp_path)
        sim = await NodeSim.started(tmp_path)
        await sim.advance(3_000_000)
        sender, kept = AuditSender(sim.node, Backoff()), kept_up_to(sim, written, len(written) - missing)
        sender.asked(Collect(kept, kept.seq, 1 << 20), PEER, send)
        assert sender._answering is not None
        await asyncio.wait_for(sender._answering, 60)
        assert sim.store.cursors.kept(COORDINATOR) == kept, "although the row itself is gone"
        (answer,) = answers
        assert answer.first_seq == len(written) + 1, "no number comes a second time"
        owner, tail = Owner("sim", sim.store.epoch, NODE_KEY.public_key), Tail(kept.seq, kept.hash)
        records = unbundled(answer.records)
        if missing:
            with pytest.raises(BrokenChain, match=f"up to {len(written)} .* are gone"):
                follow(owner, tail, records, answer.head_seq)
        else:
            assert follow(owner, tail, records, answer.head_seq)[0].seq == sim.store.head[0]
        await sim.stop()

    asyncio.run(scenario())


class Brokers:
    """A producer whose brokers confirm at once."""

    def __init__(self, settings: object) -> None:
        self.sent: list[int] = []
        made.append(self)

    def produce(self, topic: str, data: bytes, key: bytes, *, headers: dict[str, str], **more: Any) -> None:
        if topic == AUDIT:
            self.sent.append(int(headers["seq"]))

    def poll(self, wait_s: float) -> int:
        return 0

    def purge(self) -> None:
        """Forget what waits."""

    def __len__(self) -> int:
        return 0


made: list[Brokers] = []


async def until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        await asyncio.sleep(0)


@pytest.mark.parametrize("missing", [0, 2, LOST])
def test_copies_to_kafka_go_on_behind_what_was_written(tmp_path: Path, missing: int) -> None:
    """Who reads the topic sees the hole by `seq`; no number is there twice."""
    made.clear()

    async def scenario() -> None:
        written = await cut_short(tmp_path)
        sim = await NodeSim.started(tmp_path)
        seq = len(written) - missing
        await sim.node.note_kept(KAFKA, KeptHead(sim.store.epoch, seq, record_hash(written[seq - 1])))
        audit = NodeAudit(sim.node, sim.store.epoch)
        task = asyncio.create_task(AuditCopies({}, "", "sim", audit, make_producer=Brokers).run(await audit.begin()))
        for _ in range(3):
            await sim.advance(1_000_000)
            await asyncio.wait_for(until(lambda: sim.node.kept_by(KAFKA).seq == sim.store.head[0]), 60)
        task.cancel()
        (brokers,) = made
        assert brokers.sent == list(range(len(written) + 1, sim.store.head[0] + 1))
        assert audit.status.state == "up"
        await sim.stop()

    asyncio.run(scenario())
