"""The change feed: numbers only grow, without a gap; it is bounded, and a reader that fell behind is told."""

from __future__ import annotations

from typing import Any

import pytest

from eyeflow.coordinator.store import sql_writing
from eyeflow.coordinator.store.cluster_store import CursorTooOldError, Writing
from eyeflow.coordinator.store.facts import ChangeKind


def append(kept: Any, *subjects: str) -> None:
    def step(writing: Writing) -> None:
        for subject in subjects:
            writing.add_change(1, ChangeKind.NODE, subject)

    kept.do(step)


def read(kept: Any, cursor: int, limit: int = 100) -> list[tuple[int, str]]:
    found = kept.file.read(lambda reading: reading.changes(cursor, limit))
    return [(change.number, change.subject) for change in found]


def test_a_reader_that_goes_on_from_its_cursor_misses_nothing_and_sees_nothing_twice(kept: Any) -> None:
    seen: list[tuple[int, str]] = []
    cursor = kept.file.read(lambda reading: reading.newest_change())
    assert cursor == 0
    for number in range(7):
        append(kept, *[f"n{number}-{part}" for part in range(number)])
        while found := read(kept, cursor, limit=2):
            seen += found
            cursor = found[-1][0]
    assert [number for number, _ in seen] == list(range(1, 22))
    assert [subject for _, subject in seen] == [f"n{number}-{part}" for number in range(7) for part in range(number)]


def test_a_step_that_failed_leaves_no_gap(kept: Any) -> None:
    append(kept, "a")

    def fails(writing: Writing) -> None:
        writing.add_change(1, ChangeKind.NODE, "never")
        raise ZeroDivisionError

    outcomes = kept.file.commit([fails, lambda writing: writing.add_change(1, ChangeKind.NODE, "b")])
    assert isinstance(outcomes[0].error, ZeroDivisionError) and outcomes[1].error is None
    assert read(kept, 0) == [(1, "a"), (2, "b")]


@pytest.mark.parametrize("make_kept", ["sqlite"], indirect=True)
def test_numbers_never_come_back(kept: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    append(kept, "a", "b", "c")
    monkeypatch.setattr(sql_writing, "CHANGES_MAX", 0)
    append(kept, "d")
    assert kept.file.read(lambda reading: reading.newest_change()) == 0, "nothing is held"
    monkeypatch.undo()
    again = kept.another()
    append(again, "e")
    assert read(again, 4) == [(5, "e")]
    again.file.close()


def test_the_feed_is_bounded_and_says_when_a_cursor_is_too_old(kept: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql_writing, "CHANGES_MAX", 10)
    for number in range(25):
        append(kept, f"n{number}")
    assert [number for number, _ in read(kept, 15)] == list(range(16, 26))
    for cursor in (0, 14):
        with pytest.raises(CursorTooOldError) as error:
            read(kept, cursor)
        assert error.value.newest == 25 and error.value.code == "cursor_too_old"
        assert f"cursor {cursor}" in error.value.message
        assert "16 to 25" in error.value.cause and "from cursor 25" in error.value.next_step
    with pytest.raises(CursorTooOldError):
        read(kept, 26)  # a cursor of a store that was restored from an older copy


def test_a_durable_cursor_survives(kept: Any) -> None:
    kept.do(lambda writing: writing.move_cursor("reader", 7))
    again = kept.another()
    assert again.file.read(lambda reading: (reading.cursor("reader"), reading.cursor("other"))) == (7, 0)
    again.file.close()
