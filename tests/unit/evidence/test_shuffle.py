"""How outcomes that came at once are cut into parts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from eyeflow.evidence.shuffle import GROWTH, PARTS_MAX, parts

PAIRS = st.tuples(st.integers(0, 10**6), st.integers(0, 10**6))
NEW = st.tuples(st.integers(1, 10**9), st.integers(1, 10**9))


@given(PAIRS, NEW)
def test_parts_are_all_of_it_with_some_of_each_in_each(known: tuple[int, int], new: tuple[int, int]) -> None:
    found = parts(known, new)
    assert (sum(one for one, _ in found), sum(other for _, other in found)) == new
    assert len(found) <= PARTS_MAX and all(min(part) >= 1 for part in found)


def test_little_beside_much_is_one_part() -> None:
    assert parts((1000, 1000), (200, 250)) == [(200, 250)]
    assert parts((0, 0), (1, 1)) == [(1, 1)]
    assert parts((1000, 10), (10_000, 1)) == [(10_000, 1)]


@given(st.integers(4, 10**6))
def test_a_part_is_not_much_greater_than_what_is_known_before_it(count: int) -> None:
    known = 0
    for size, _ in parts((0, 0), (count, count)):
        assert size <= 2 or size <= (GROWTH - 1) * 2.5 * (known + 1)
        known += size
