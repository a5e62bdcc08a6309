"""Shares of keys and of nodes: right in size, the same everywhere, and they grow only."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyeflow.evidence.route import WHOLE, chosen, route

SHARES = st.integers(0, WHOLE)
NAMES = st.sets(st.text(max_size=8), max_size=30)


def test_the_route_is_what_the_protocol_says() -> None:
    digest = sha256(b"pump\0line/7").digest()
    assert route("pump", "line/7") == int.from_bytes(digest[:8], "big") % 10_000
    assert [route("pump", "a"), route("pump", "b"), route("fan", "a")] == [4487, 320, 6280]  # by sha256sum


@pytest.mark.parametrize("share", [100, 1_000, 2_500, 5_000])
def test_a_share_of_100_000_keys_is_within_one_percent_point(share: int) -> None:
    inside = sum(route("overheat", f"site/{number}/temp") < share for number in range(100_000))
    assert abs(inside / 100_000 - share / WHOLE) < 0.01


def test_two_rules_share_their_keys_out_independently() -> None:
    both = sum(route("a", str(key)) < 5_000 and route("b", str(key)) < 5_000 for key in range(20_000))
    assert abs(both / 20_000 - 0.25) < 0.02


@given(st.text(), st.text())
def test_each_key_has_a_route(rule: str, key: str) -> None:
    assert 0 <= route(rule, key) < WHOLE


def test_half_of_a_surrogate_pair_has_a_route() -> None:
    assert route("pump", "\ud800") != route("pump", "\ud801")


@given(NAMES, SHARES, SHARES)
def test_who_is_chosen_stays_chosen_at_a_greater_share(nodes: set[str], one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert chosen("pump", nodes, low) <= chosen("pump", nodes, high) <= nodes


@given(NAMES, SHARES)
def test_as_many_are_chosen_as_the_share_says(nodes: set[str], share: int) -> None:
    count = len(chosen("pump", nodes, share))
    assert bool(count) == bool(share and nodes)
    assert abs(count - share * len(nodes) / WHOLE) <= 0.5 or count == 1
    assert chosen("pump", nodes, WHOLE) == nodes


@given(NAMES, SHARES)
def test_the_smallest_routes_are_chosen(nodes: set[str], share: int) -> None:
    inside = chosen("pump", sorted(nodes), share)
    assert all(route("pump", here) <= route("pump", out) for here in inside for out in nodes - inside)


@pytest.mark.parametrize("share", [-1, WHOLE + 1])
def test_a_wrong_share_is_refused(share: int) -> None:
    with pytest.raises(ValueError, match="a share is 0 to 10000"):
        chosen("pump", ["n"], share)
