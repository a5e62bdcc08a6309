"""Chains of nodes for tests of the archive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from eyeflow.coordinator.archive.chain import Owner
from eyeflow.coordinator.archive.database import Bundle
from eyeflow.protocol.audit import ZERO_HASH, Record, encode_record, record_hash
from eyeflow.protocol.audit_bodies import Body, CheckpointBody, ExecutionBody, GapBody, StartBody
from eyeflow.protocol.collecting import KeptHead, bundled, head_bytes
from eyeflow.protocol.identity import Identity, key_fingerprint

NODE_KEY, COORDINATOR_KEY = Identity(bytes(range(32))), Identity(bytes(range(2, 34)))
COORDINATOR = key_fingerprint(COORDINATOR_KEY.public_key)
NODE, EPOCH = "node-a", 1_700_000_000
OWNER = Owner(NODE, EPOCH, NODE_KEY.public_key)
START_US = EPOCH * 1_000_000


def execution(number: int, rule: str = "pump", key: str = "") -> ExecutionBody:
    body = ExecutionBody(rule, bytes(32), 0, START_US + number, number % 3, 12, (number,))
    return replace(body, key=key)


def gap(first_seq: int, last: bytes, last_seq: int, key: Identity = NODE_KEY) -> GapBody:
    count = last_seq - first_seq + 1
    return GapBody(first_seq, last_seq, count, "size", record_hash(last), START_US, START_US, count, key.public_key)


class Chain:
    """Grows like that of a node: `records[n]` is record n + 1."""

    def __init__(self, owner: Owner = OWNER, key: Identity = NODE_KEY) -> None:
        self.owner, self.key = owner, key
        self.records: list[bytes] = []
        self.add(StartBody("test", key.public_key, True))

    def add(self, *bodies: Body) -> Chain:
        for body in bodies:
            prev = record_hash(self.records[-1]) if self.records else ZERO_HASH
            seq = len(self.records) + 1
            record = Record(self.owner.node, self.owner.epoch, seq, prev, START_US + seq, body)
            self.records.append(encode_record(record, self.key))
        return self

    def run(self, count: int) -> Chain:
        return self.add(*(execution(len(self.records) + number) for number in range(count)))

    def checkpoint(self) -> Chain:
        return self.add(CheckpointBody(self.key.public_key))

    def bundle(self, first: int, last: int, head_seq: int | None = None) -> Bundle:
        return self.bundle_of(self.records[first - 1 : last], head_seq)

    def head(self, seq: int) -> KeptHead:
        """What is kept when the copy reaches record `seq`."""
        return KeptHead(self.owner.epoch, seq, record_hash(self.records[seq - 1]))

    def bundle_of(self, records: Sequence[bytes], head_seq: int | None = None) -> Bundle:
        return Bundle(self.owner, bundled(records), head_seq or len(self.records), START_US)


def cosign(node: str, kept: KeptHead) -> KeptHead:
    signature = COORDINATOR_KEY.sign(head_bytes(COORDINATOR, node, kept))
    return KeptHead(kept.epoch, kept.seq, kept.hash, kept.time_us, signature)
