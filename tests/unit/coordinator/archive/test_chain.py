"""Records as they come: what follows is taken, and whatever contradicts what is kept is not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from eyeflow.coordinator.archive.chain import EMPTY, BrokenChain, Jump, Tail, follow
from eyeflow.coordinator.histories import Doubt, Proof
from eyeflow.protocol.audit import record_hash, verify_chain
from eyeflow.protocol.audit_bodies import StopBody
from eyeflow.protocol.identity import Identity
from unit.coordinator.archive.chains import EPOCH, NODE_KEY, OWNER, Chain, execution, gap

STRANGER = Identity(bytes(range(1, 33)))


def tail_of(chain: Chain, seq: int) -> Tail:
    return Tail(seq, record_hash(chain.records[seq - 1]))


def test_a_chain_is_followed_from_any_place_to_any_other() -> None:
    chain = Chain().run(5).checkpoint().run(4)
    for middle in range(1, 11):
        tail, rows = follow(OWNER, EMPTY, chain.records[:middle], 11)
        assert tail == tail_of(chain, middle) and [row.seq for row in rows] == list(range(1, middle + 1))
        tail, rows = follow(OWNER, tail, chain.records[middle:], 11)
        assert tail == tail_of(chain, 11) and [row.data for row in rows] == chain.records[middle:]


def test_a_row_has_what_a_record_is_found_by() -> None:
    _, (_, row, stop) = follow(OWNER, EMPTY, Chain().add(execution(2, key="u"), StopBody("x")).records, 3)
    assert (row.kind, row.rule, row.slot, row.key, row.outcome) == (1, "pump", "active", "u", 2)
    assert (stop.kind, stop.rule, stop.slot, stop.key, stop.outcome) == (8, "", "", "", -1)


def test_records_that_the_node_had_dropped_are_accounted_for_by_a_later_gap() -> None:
    chain = Chain().run(30)
    chain.add(gap(1, chain.records[19], 20)).run(3)
    tail, _ = follow(OWNER, tail_of(chain, 5), chain.records[20:25], len(chain.records))
    assert tail.jump == Jump(20, record_hash(chain.records[19]), 35)
    tail, _ = follow(OWNER, tail, chain.records[25:], 35)
    assert tail == tail_of(chain, 35)


def test_a_gap_of_later_records_accounts_for_the_earlier_ones() -> None:
    chain = Chain().run(30)
    chain.add(gap(1, chain.records[24], 25))
    tail, _ = follow(OWNER, EMPTY, chain.records[10:20], 32)
    tail, _ = follow(OWNER, tail, chain.records[25:], 32)
    assert tail == tail_of(chain, 32)


def test_records_that_are_gone_without_a_gap_break_the_chain_once_it_is_sure() -> None:
    chain = Chain().run(30)
    tail, _ = follow(OWNER, tail_of(chain, 5), chain.records[20:25], 31)
    with pytest.raises(BrokenChain, match="no signed gap") as broken:
        follow(OWNER, tail, chain.records[25:], 31)
    assert broken.value.found.kind is Doubt.ALTERED


def test_a_gap_that_ends_earlier_or_has_another_hash_accounts_for_nothing() -> None:
    for last_seq, data in ((19, 18), (20, 18)):
        chain = Chain().run(30)
        chain.add(gap(1, chain.records[data], last_seq))
        with pytest.raises(BrokenChain, match="no signed gap"):
            follow(OWNER, tail_of(chain, 5), chain.records[20:], 32)


def changed(chain: Chain, place: int) -> list[bytes]:
    other = Chain().run(place - 1).add(execution(99)).run(20)
    return [*chain.records[:place], other.records[place], *chain.records[place + 1 :]]


BREAKS: dict[str, tuple[Callable[[Chain], list[bytes]], Doubt]] = {
    "a record is another one": (lambda chain: changed(chain, 4), Doubt.FORKED),
    "a record is missing": (lambda chain: chain.records[:4] + chain.records[5:], Doubt.ALTERED),
    "two records are exchanged": (
        lambda chain: [*chain.records[:4], chain.records[5], chain.records[4], *chain.records[6:]],
        Doubt.ALTERED,
    ),
    "a record comes twice": (lambda chain: [*chain.records[:5], *chain.records[4:]], Doubt.ALTERED),
    "a byte is another one": (
        lambda chain: [*chain.records[:4], chain.records[4][:-1] + b"\0", *chain.records[5:]],
        Doubt.ALTERED,
    ),
    "a record cannot be read": (lambda chain: [*chain.records[:4], b"nonsense", *chain.records[5:]], Doubt.ALTERED),
    "it is of another key": (lambda chain: Chain(key=STRANGER).run(9).checkpoint().records, Doubt.ALTERED),
}


@pytest.mark.parametrize("what", BREAKS)
def test_whatever_does_not_follow_breaks_the_chain(what: str) -> None:
    """The same as `eyeflow audit verify` says of the node's own file."""
    change, _ = BREAKS[what]
    chain = Chain().run(9).checkpoint()
    with pytest.raises(BrokenChain):
        follow(OWNER, EMPTY, change(chain), 11)
    assert not verify_chain(change(chain), NODE_KEY.public_key).holds, "the control"


def test_what_another_node_or_epoch_recorded_is_not_taken() -> None:
    for owner in (OWNER.__class__("node-b", EPOCH, OWNER.public_key), OWNER.__class__("node-a", 7, OWNER.public_key)):
        with pytest.raises(BrokenChain, match="as its own"):
            follow(owner, EMPTY, Chain().run(3).records, 4)


def test_a_signature_that_does_not_hold_breaks_the_chain() -> None:
    chain = Chain().run(3)
    chain.key = STRANGER
    chain.add(gap(1, chain.records[0], 1))  # of the node's key, it says
    with pytest.raises(BrokenChain, match="signature"):
        follow(OWNER, EMPTY, chain.records, 5)


def test_a_fork_is_told_with_both_hashes() -> None:
    chain, other = Chain().run(5), Chain().run(3).add(execution(99)).run(5)
    with pytest.raises(BrokenChain) as broken:
        follow(OWNER, tail_of(chain, 6), other.records[6:], 10)
    assert broken.value.found.kind is Doubt.FORKED
    assert record_hash(chain.records[5]).hex()[:12] in broken.value.found.evidence
    assert record_hash(other.records[5]).hex()[:12] in broken.value.found.evidence
    assert broken.value.found.proof == Proof(EPOCH, 6, record_hash(chain.records[5]), record_hash(other.records[5]))
