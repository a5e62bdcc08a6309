"""The log of who did what as the store keeps it: each entry holds the hash of the one before, and one head is signed."""

from __future__ import annotations

from typing import Any

import pytest

from eyeflow.coordinator.store import sql_writing
from eyeflow.coordinator.store.cluster_store import Writing
from eyeflow.coordinator.store.facts import LogEntry
from eyeflow.protocol.coordinator_log import ZERO_HASH, Entry, Head, SignedHead, follow


def logged(kept: Any, *numbers: int) -> None:
    kept.do(lambda writing: [writing.add_log_entry(entry(number)) for number in numbers])


def entry(number: int) -> LogEntry:
    return LogEntry(number * 10, f"actor-{number}", f"action-{number}", f"subject-{number}", f"detail-{number}")


def chained(before: Entry | None, number: int) -> Entry:
    """The entry that follows `before`, as the protocol defines it."""
    one = entry(number)
    prev = ZERO_HASH if before is None else before.hash
    return Entry(number, one.time_us, one.actor, one.action, one.subject, one.detail, prev)


def after(kept: Any, number: int, limit: int = 100) -> list[Entry]:
    return kept.file.read(lambda reading: reading.log_after(number, limit))


def head(kept: Any) -> Head:
    return kept.file.read(lambda reading: reading.log_head())


def test_each_entry_is_chained_to_the_one_before_it(kept: Any) -> None:
    assert (head(kept), after(kept, 0)) == (Head(), []), "of an empty log"
    logged(kept, 1, 2)
    logged(kept, 3)
    first = chained(None, 1)
    second = chained(first, 2)
    third = chained(second, 3)
    assert after(kept, 0) == [first, second, third], "the oldest first"
    assert head(kept) == Head(3, third.hash)
    assert after(kept, 1) == [second, third] and after(kept, 1, 1) == [second] and after(kept, 3) == []


def test_the_chain_goes_on_when_its_oldest_entries_are_forgotten(kept: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    logged(kept, 1, 2, 3)
    monkeypatch.setattr(sql_writing, "LOG_ENTRIES_MAX", 2)
    logged(kept, 4)
    left = after(kept, 0)
    assert [one.number for one in left] == [3, 4] and left[1].prev == left[0].hash
    assert follow(None, left, {}) == head(kept)


def test_entries_from_before_the_chain_are_chained_with_the_next_one(kept: Any) -> None:
    """A version before the chain wrote them: they have numbers and no hash."""

    def step(writing: Writing) -> None:
        for number in (1, 2, 3):
            one = entry(number)
            writing._run(  # type: ignore[attr-defined]
                "INSERT INTO log(number, time_us, actor, action, subject, detail) VALUES(?, ?, ?, ?, ?, ?)",
                *(number, one.time_us, one.actor, one.action, one.subject, one.detail),
            )

    kept.do(step)
    assert {one.prev for one in after(kept, 0)} == {b""}
    logged(kept, 4)
    expected: list[Entry] = []
    for number in (1, 2, 3, 4):
        expected.append(chained(expected[-1] if expected else None, number))
    assert after(kept, 0) == expected
    logged(kept, 5)
    assert after(kept, 0) == [*expected, chained(expected[-1], 5)], "and what has a hash keeps it"


def test_the_head_that_was_signed_last_is_kept(kept: Any) -> None:
    def signed() -> SignedHead | None:
        return kept.file.read(lambda reading: reading.signed_head())

    assert signed() is None
    for one in (SignedHead(Head(7, b"h" * 32), b"s" * 64), SignedHead(Head(9, b"i" * 32), b"t" * 64)):
        kept.do(lambda writing, one=one: writing.keep_signed_head(one))
        assert signed() == one
