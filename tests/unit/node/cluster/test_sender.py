"""What a node hands on: as much as was asked, no faster than its rate, and only what the coordinator signed counts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from eyeflow.node.backoff import Backoff
from eyeflow.node.cluster.sender import AuditSender
from eyeflow.node.control import AuditHead
from eyeflow.node.store.types import StorageError
from eyeflow.protocol.collecting import (
    STATES_BYTES_MAX,
    Collect,
    Collected,
    KeptHead,
    SlotState,
    head_bytes,
    unbundled,
)
from eyeflow.protocol.identity import Identity, key_fingerprint
from eyeflow.protocol.session import Peer
from eyeflow.protocol.slot import Slot

KEY = Identity(bytes(range(32)))
PEER = Peer(key_fingerprint(KEY.public_key), KEY.public_key)


class Node:
    """The audit of a node as far as a sender sees it."""

    identity = SimpleNamespace(epoch=7, name="node")

    def __init__(self, count: int) -> None:
        self.records = [f"record {number}".encode() for number in range(1, count + 1)]
        self.noted: list[KeptHead] = []
        self.failures = 0
        self.holds = True
        self.slot_states: list[SlotState] = []

    @property
    def audit_head(self) -> AuditHead:
        return AuditHead(len(self.records), bytes(32))

    async def grows_beyond(self, seq: int) -> None:
        while len(self.records) <= seq:
            await asyncio.sleep(0)

    async def records_after(self, seq: int, bytes_max: int) -> tuple[int, Sequence[bytes]]:
        if self.failures:
            self.failures -= 1
            raise StorageError("the disk failed", cause="x", next_step="y", full=False)
        return seq + 1, self.records[seq : seq + bytes_max]

    async def states(self) -> tuple[int, Sequence[SlotState]]:
        return len(self.records), self.slot_states

    async def note_kept(self, destination: str, kept: KeptHead) -> bool:
        self.noted.append(kept)
        return self.holds


def signed(seq: int, key: Identity = KEY, epoch: int = 7) -> KeptHead:
    kept = KeptHead(epoch, seq, bytes(32), 5)
    return KeptHead(epoch, seq, bytes(32), 5, key.sign(head_bytes(PEER.coordinator_id, "node", kept)))


async def answers(node: Any, *asks: Collect, bytes_per_s: int = 1 << 30) -> list[Collected]:
    sender, sent = AuditSender(node, Backoff(first_s=0.001, last_s=0.001), bytes_per_s), list[Collected]()

    async def send(records: Collected) -> None:
        sent.append(records)

    for ask in asks:
        sender.asked(ask, PEER, send)
        assert sender._answering is not None
        await sender._answering
    return sent


@pytest.fixture(autouse=True)
def _no_linger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eyeflow.node.cluster.sender.LINGER_S", 0.0)
    monkeypatch.setattr("eyeflow.node.cluster.sender.STATES_S", 0.0)


def test_an_ask_is_answered_with_what_follows() -> None:
    node = Node(20)
    (answer,) = asyncio.run(answers(node, Collect(signed(3), 5, 4)))
    assert (answer.epoch, answer.first_seq, answer.last_seq, answer.head_seq) == (7, 6, 9, 20)
    assert unbundled(answer.records) == tuple(node.records[5:9])
    assert node.noted == [signed(3)]


def test_a_head_that_the_coordinator_did_not_sign_moves_no_cursor() -> None:
    """Whoever stands between the two could let the node drop what nobody has."""
    node = Node(20)
    forged = (signed(3, Identity(bytes(range(1, 33)))), KeptHead(7, 3, bytes(32), 5), signed(3, epoch=8))
    asyncio.run(answers(node, *(Collect(one, 5, 4) for one in forged)))
    assert node.noted == []
    asyncio.run(answers(node, Collect(KeptHead(7), 5, 4)))
    assert node.noted == [KeptHead(7)], "that nothing is kept needs no signature"


def test_a_disk_that_fails_is_read_again() -> None:
    node = Node(20)
    node.failures = 3
    (answer,) = asyncio.run(answers(node, Collect(KeptHead(7), 0, 100)))
    assert answer.last_seq == 20


def test_of_another_epoch_nothing_is_sent() -> None:
    assert asyncio.run(answers(Node(20), Collect(KeptHead(6), 0, 100))) == []


def test_a_coordinator_that_holds_another_record_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    node = Node(20)
    node.holds = False
    sent = asyncio.run(answers(node, Collect(signed(3), 5, 4), Collect(signed(4), 5, 4)))
    assert len(sent) == 2, "what it asks for comes: it shall see for itself"
    assert sum("another audit record" in one.message for one in caplog.records) <= 2


def test_the_rate_holds_over_several_bundles(monkeypatch: pytest.MonkeyPatch) -> None:
    node, slept = Node(20), list[float]()
    real = asyncio.sleep

    async def sleep(duration_s: float) -> None:
        slept.append(duration_s)
        await real(0)

    monkeypatch.setattr("eyeflow.node.cluster.sender.asyncio.sleep", sleep)
    asks = [Collect(KeptHead(7), place, 5) for place in (0, 5, 10, 15)]
    asyncio.run(answers(node, *asks, bytes_per_s=1))
    waits = [one for one in slept if one > 1]
    sizes = [sum(len(one) for one in node.records[place : place + 5]) for place in (0, 5, 10)]
    assert len(waits) == 3 and waits[-1] == pytest.approx(sum(sizes), abs=5)


def state(rule: str, data: bytes, slot: Slot = Slot.ACTIVE) -> SlotState:
    return SlotState(rule, slot, "", "ab" * 32, data)


def test_states_go_with_what_nothing_is_behind_of_and_each_once_until_it_changes() -> None:
    async def walk() -> None:
        node, sent = Node(20), list[Collected]()
        sender = AuditSender(node, Backoff(first_s=0.001, last_s=0.001))  # type: ignore[arg-type]
        node.slot_states = [state("lamp", b"1"), state("pump", b"2"), state("pump", b"3", Slot.CANDIDATE)]

        async def send(records: Collected) -> None:
            sent.append(records)

        async def told(after_seq: int, size: int = 1000) -> Any:
            sender.asked(Collect(signed(0), after_seq, size), PEER, send)
            assert sender._answering is not None
            await sender._answering
            return sent[-1].states

        assert await told(0, 5) is None, "records are behind"
        first = await told(5)
        assert (first.seq, first.is_complete) == (20, True) and list(first.changed) == node.slot_states
        node.records.append(b"another")
        same = await told(20)
        assert (same.seq, same.changed, same.held) == (21, (), first.held)
        node.slot_states = [state("lamp", b"1"), state("pump", b"changed")]
        node.records.append(b"another")
        newer = await told(21)
        assert newer.changed == (state("pump", b"changed"),)
        assert newer.held == (("lamp", Slot.ACTIVE, ""), ("pump", Slot.ACTIVE, ""))
        node.slot_states = [state("lamp", bytes(STATES_BYTES_MAX)), state("pump", bytes(9))]
        node.records.append(b"another")
        large = await told(22)
        assert len(large.changed) == 1 and not large.is_complete
        node.records.append(b"another")
        rest = await told(23)
        assert rest.changed == (state("pump", bytes(9)),) and rest.is_complete
        sender.link_ended()
        node.records.append(b"another")
        again = await told(24)
        assert len(again.changed) == 1 and not again.is_complete, "another coordinator may be there now"

    asyncio.run(walk())
