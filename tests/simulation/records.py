"""What a node's disk says when nobody runs on it: its audit chain, and what the rules of this page say of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import apsw

from eyeflow.node.store.cursors import read_kept_heads
from eyeflow.node.store.file import STORE_NAME
from eyeflow.node.store.reader import AuditReader
from eyeflow.protocol.audit import Record, decode_record, record_hash, verify_chain
from eyeflow.protocol.audit_bodies import (
    ActionResultBody,
    Disposition,
    ExecutionBody,
    InstallBody,
    RejectedBody,
    RemoveBody,
    WithdrawBody,
)
from simulation.disk import Image
from simulation.world import Plant, key_of

PIN_ARGUMENTS = 2
MAGIC_BYTES = 16


class BrokenPromise(AssertionError):  # noqa: N818 - what a run finds
    """An invariant of docs/ARCHITECTURE.md does not hold."""


@dataclass(frozen=True)
class Chain:
    """The audit of one image of a disk."""

    records: tuple[Record, ...]
    hashes: tuple[bytes, ...]

    @property
    def epoch(self) -> int:
        return self.records[-1].epoch if self.records else 0

    def executed(self, start: int = 0, end: int | None = None) -> list[tuple[int, ExecutionBody]]:
        """Return the executions on events; those of timers have no input, and do nothing that is seen."""
        found = self.records[start:end]
        return [(one.seq, one.body) for one in found if isinstance(one.body, ExecutionBody) and one.body.inputs]

    def running(self) -> dict[str, str]:
        """Return the program of each rule that the last records leave running."""
        running: dict[str, str] = {}
        for record in self.records:
            if isinstance(record.body, InstallBody):
                running[record.body.rule] = record.body.program.hex()
            elif isinstance(record.body, RemoveBody | WithdrawBody):
                running.pop(record.body.rule, None)
        return running


def _laid_out(image: Image, place: Path) -> bool:
    """Write the store of an image to a directory; False when there is none in it, or its first page was lost."""
    if STORE_NAME not in image or not image[STORE_NAME][:MAGIC_BYTES].strip(b"\0"):
        return False
    place.mkdir(parents=True, exist_ok=True)
    for old in place.iterdir():
        old.unlink()
    for name in (STORE_NAME, f"{STORE_NAME}-wal"):
        if name in image:
            (place / name).write_bytes(image[name])
    return True


def read_pending(image: Image, place: Path) -> frozenset[int]:
    """Return the executions of which the next start has actions to go on with."""
    if not _laid_out(image, place):
        return frozenset()
    db = apsw.Connection(str(place / STORE_NAME))
    found = frozenset(seq for (seq,) in db.execute("SELECT seq FROM pending"))
    db.close()
    return found


def read_cursor(image: Image, place: Path, epoch: int, destination: str) -> int:
    """Return up to which record of an epoch the node takes a destination to have all; 0: it knows of none."""
    if not _laid_out(image, place):
        return 0
    db = apsw.Connection(str(place / STORE_NAME))
    kept = read_kept_heads(db, epoch).get(destination)
    db.close()
    return kept.seq if kept else 0


def read_chain(image: Image, place: Path) -> Chain:
    """Return the chain of an image, and see that it holds. `place` is a directory for the files of the image."""
    if not _laid_out(image, place):
        return Chain((), ())
    with AuditReader(place) as reader:
        stored = list(reader.records())
        key = reader.public_key if stored else b""
    if not stored:
        return Chain((), ())
    report = verify_chain(stored, key)
    promise(report.holds, f"11: the audit chain does not hold: {report.problem}")
    return Chain(tuple(map(decode_record, stored)), tuple(map(record_hash, stored)))


def promise(holds: bool, told: str) -> None:
    """Raise BrokenPromise unless it holds; `told` begins with the number of the invariant."""
    if not holds:
        raise BrokenPromise(told)


def check_events(chain: Chain, plant: Plant) -> None:
    """What was acknowledged is here, once for each time it came (invariants 2 and 3)."""
    executed = Counter(body.inputs[0] for _, body in chain.executed())
    rejected = sum(record.body.count for record in chain.records if isinstance(record.body, RejectedBody))
    lost = [number for number in plant.acknowledged if number not in executed]
    promise(len(lost) <= rejected, f"2: acknowledged events are gone: {lost[:5]}, only {rejected} were rejected")
    # A candidate that asks models may run what it saw after it took the other one's place: then two are of one slot.
    ran = Counter((body.slot, body.program, body.inputs[0]) for _, body in chain.executed())
    for (slot, _, number), times in ran.items():
        came = plant.delivered[int(number)]
        promise(times <= came, f"3: event {number} came {came} times and has {times} records of the {slot} program")
    for number, times in Counter(body.inputs[0] for _, body in chain.executed() if acts(body)).items():
        came = plant.delivered[int(number)]
        promise(times <= came, f"21: event {number} came {came} times, and programs acted on it {times} times")


def acts(body: ExecutionBody) -> bool:
    """Return whether an action of this execution was to reach the world."""
    return any(how == Disposition.SENT for _, _, how in body.actions)


def check_actions(chain: Chain, plant: Plant) -> None:
    """What acted is recorded, physical actions once, messages in order (invariants 1 and 5)."""
    seqs: dict[int, list[int]] = {}
    rules: dict[int, str] = {}
    for seq, body in filter(lambda one: acts(one[1]), chain.executed()):
        seqs.setdefault(int(body.inputs[0]), []).append(seq)
        rules[int(body.inputs[0])] = body.rule
    ends = [*(life.records for life in plant.lives[1:]), len(chain.records)][: len(plant.lives)]
    for life, end in zip(plant.lives, ends, strict=True):
        for number in life.published:
            promise(number in seqs, f"1: the message of event {number} left, and the event has no record")
        allowed = sum(_commands(body) for _, body in chain.executed(life.records, end))
        promise(
            len(life.fired) <= allowed, f"5: {len(life.fired)} physical actions, {allowed} recorded since the start"
        )
        orders = defaultdict[tuple[str, str | None], list[int]](list)
        for one in life.published:  # of two programs of a rule, each acts on keys of its own
            if len(seqs[one]) == 1:
                orders[rules[one], key_of(one)].append(seqs[one][0])
        for (rule, key), order in orders.items():
            first = list(dict.fromkeys(order))
            promise(
                all(a < b for a, b in pairwise(first)), f"5: messages of {rule} {key} left in another order: {first}"
            )


def _commands(body: ExecutionBody) -> int:
    """Return how many levels an execution was to set: a pin and a level; a message has more arguments."""
    return sum(len(args) == PIN_ARGUMENTS and how == Disposition.SENT for _, args, how in body.actions)


def check_sent(chain: Chain, plant: Plant, pending: frozenset[int]) -> None:
    """Every committed message has left, its end is recorded, or the next start goes on with it (invariant 5).

    The last only for what the last start recorded: what the one before left, that start had time for.
    """
    left = {number for life in plant.lives for number in life.published}
    ended = {record.body.execution_seq for record in chain.records if isinstance(record.body, ActionResultBody)}
    ended |= {seq for seq in pending if seq > plant.lives[-1].records}  # a stop waits for devices a few seconds only
    for seq, body in chain.executed():
        sent = int(body.inputs[0]) in left or seq in ended or not acts(body)
        promise(sent, f"5: the message of event {body.inputs[0]} (record {seq}) never left")


def check_manifests(chain: Chain) -> None:
    """No program comes from an older manifest than the one before (invariant 16)."""
    versions = [record.body.manifest_version for record in chain.records if isinstance(record.body, InstallBody)]
    promise(all(a <= b for a, b in pairwise(versions)), f"16: installs of the manifests {versions}: one is older")
