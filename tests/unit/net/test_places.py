"""Who gives way when a server is full: pure bookkeeping."""

from __future__ import annotations

import pytest

from eyeflow.net.places import Limits, Places, group_of


def test_the_oldest_of_the_busiest_address_gives_way() -> None:
    places = Places(Limits(4, 4))
    quiet = places.enter("192.0.2.1")
    first, second, third = (places.enter("192.0.2.9") for _ in range(3))
    assert places.is_full() and places.weakest() is None, "nobody gives way before the first bytes could be read"
    for place in (quiet, first, second, third):
        early, grace = places.begin_grace(place), places.begin_grace(place)
        places.mark(place, waiting=True)
        places.end_grace(place, early)
        assert not place.waiting
        places.end_grace(place, grace)
    assert places.weakest() is first
    places.mark(first, waiting=False)
    assert places.weakest() is second, "whoever is being served stays"
    places.mark(first, waiting=True)
    places.leave(second)
    assert places.weakest() is third, "who waits anew waits last"
    assert places.weakest("192.0.2.1") is quiet and places.weakest("192.0.2.7") is None


def test_a_link_counts_as_a_place_and_not_against_its_address() -> None:
    places = Places(Limits(3, 1))
    link = places.enter("192.0.2.1")
    assert places.is_address_full("192.0.2.1")
    places.make_link(link)
    assert not places.is_address_full("192.0.2.1") and places.count == 1 and places.weakest() is None
    places.leave(link)
    places.leave(places.enter("192.0.2.1"))
    assert places.count == 0 and not places.is_address_full("192.0.2.1")


@pytest.mark.parametrize(
    ("host", "group"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_one_host_is_one_address(host: str, group: str) -> None:
    assert group_of(host) == group
