"""Which filters are asked for, and whom a message is for: with identifiers, and without."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eyeflow.node.io.mqtt.filters import MEETS, Filters
from eyeflow.node.io.mqtt.topics import matches, overlaps
from eyeflow.svm.addresses import filter_problem, without_share

LEVELS = st.lists(st.sampled_from(["a", "b", "$s"]), min_size=1, max_size=3)
TOPICS = LEVELS.map("/".join)
PLAIN = st.tuples(st.lists(st.sampled_from(["a", "b", "+", "$s"]), max_size=3), st.sampled_from([[], ["#"]])).map(
    lambda parts: "/".join(parts[0] + parts[1])
).filter(bool)  # fmt: skip
FILTERS = st.one_of(PLAIN, PLAIN.map("$share/g/".__add__))


def fine(_filter: str) -> str:
    return ""


def rules(*names: str) -> frozenset[str]:
    return frozenset(names)


def asked(filters: Filters) -> dict[str, int]:
    """Subscribe to everything, with success; return the identifiers."""
    found = {}
    for topic_filter in filters.to_ask(fine):
        found[topic_filter] = filters.ask(topic_filter).identifier
        filters.answered(topic_filter)
    return found


def test_identifiers_say_whom_a_message_is_for_and_the_topic_does_without() -> None:
    filters = Filters()
    filters.change({"a/#": rules("x"), "a/+": rules("y")}, running=False)
    ids = asked(filters)
    assert filters.route("a/b", [ids["a/+"]], retained=False) == {"a/+": None}
    assert filters.route("a/b", list(ids.values()), retained=False) == {"a/#": None, "a/+": None}
    assert filters.route("a/b", None, retained=False) == {"a/#": None, "a/+": None}
    assert filters.route("a/b", [12345], retained=False) == {}, "of a filter that nobody wants any more"


def test_identifiers_are_the_same_after_a_restart_whatever_came_first() -> None:
    """The session holds messages with the identifiers of the run before."""
    before, after = Filters(), Filters()
    before.change({"zebra": rules("z")}, running=False)
    ids = asked(before)
    before.change({"zebra": rules("z"), "apple": rules("a")}, running=True)
    ids |= asked(before)
    after.change({"apple": rules("a"), "zebra": rules("z"), "more": rules("m")}, running=False)
    asked(after)
    for topic in ("apple", "zebra"):
        assert after.route(topic, [ids[topic]], retained=False) == {topic: None}


@pytest.mark.parametrize("has_identifiers", [True, False])
def test_retained_messages_that_a_new_rule_brings_are_for_it_alone(has_identifiers: bool) -> None:
    filters = Filters()
    filters.has_identifiers = has_identifiers
    filters.change({"a/+": rules("old")}, running=False)
    asked(filters)
    filters.change({"a/+": rules("old", "new")}, running=True)
    assert filters.to_ask(fine) == {"a/+": True}
    how = filters.ask("a/+")
    filters.answered("a/+")
    numbers = [how.identifier] if has_identifiers else None
    assert how.retained
    assert filters.route("a/b", numbers, retained=True) == {"a/+": rules("new")}
    assert filters.route("a/b", numbers, retained=False) == {"a/+": None}
    assert filters.to_ask(fine) == {"a/+": False}, "nobody is new any more"
    again = filters.ask("a/+")
    assert not again.retained
    assert filters.route("a/b", [again.identifier] if has_identifiers else None, retained=True) == {"a/+": None}


def test_without_identifiers_a_new_rule_below_a_wider_filter_gets_what_is_retained() -> None:
    filters = Filters()
    filters.has_identifiers = False
    filters.change({"a/#": rules("old")}, running=False)
    asked(filters)
    filters.change({"a/#": rules("old"), "a/b": rules("new")}, running=True)
    assert filters.to_ask(fine) == {"a/#": True}
    filters.ask("a/#")
    assert filters.route("a/b", None, retained=True) == {"a/b": rules("new")}


def test_without_identifiers_a_shared_filter_that_meets_another_is_refused() -> None:
    filters = Filters()
    wanted = {"$share/g/a/#": rules("x"), "a/b": rules("y"), "$share/g/c": rules("z")}
    filters.change(wanted, running=False)
    assert filters.to_ask(fine).keys() == wanted.keys()
    filters.has_identifiers = False
    assert filters.to_ask(fine).keys() == {"a/b", "$share/g/c"}
    assert filters.refused == {"$share/g/a/#": MEETS}
    assert filters.route("c", None, retained=False) == {"$share/g/c": None}


def test_a_filter_that_is_refused_hides_none_that_it_covers() -> None:
    filters = Filters()
    filters.has_identifiers = False
    filters.change({"a/#": rules("x"), "a/b": rules("y")}, running=False)
    assert filters.to_ask(fine).keys() == {"a/#"}
    assert filters.to_ask(lambda f: "no" if f == "a/#" else "").keys() == {"a/b"}
    assert filters.route("a/b", None, retained=False) == {"a/b": None}


@settings(max_examples=400)
@given(st.lists(FILTERS, max_size=5, unique=True), TOPICS, st.booleans())
def test_a_message_finds_every_filter_that_fits_and_was_not_refused(
    wanted: list[str], topic: str, has_identifiers: bool
) -> None:
    filters = Filters()
    filters.has_identifiers = has_identifiers
    filters.change({f: rules("r") for f in wanted}, running=False)
    ids = asked(filters)
    # As a broker does: a copy for each filter that was asked for, with its identifier.
    copies = [[ids[f]] if has_identifiers else None for f in ids if matches(f, topic)]
    found = {f for copy in copies for f in filters.route(topic, copy, retained=False)}
    assert found == {f for f in wanted if matches(f, topic) and f not in filters.refused}
    assert has_identifiers is False or not filters.refused


@settings(max_examples=500)
@given(FILTERS, FILTERS, TOPICS)
def test_filters_that_some_topic_fits_overlap(one: str, other: str, topic: str) -> None:
    assert overlaps(one, other) == overlaps(other, one)
    if matches(one, topic) and matches(other, topic):
        assert overlaps(one, other)


@settings(max_examples=300)
@given(FILTERS, FILTERS)
def test_filters_that_overlap_have_a_topic_in_common(one: str, other: str) -> None:
    left, right = without_share(one).split("/"), without_share(other).split("/")
    if overlaps(one, other):
        longest = max(len([level for level in levels if level != "#"]) for levels in (left, right))
        levels = [
            next((at[i] for at in (left, right) if i < len(at) and at[i] not in ("+", "#")), "x")
            for i in range(longest)
        ]
        topic = "/".join(levels) or "x"
        assert matches(one, topic) and matches(other, topic)


@pytest.mark.parametrize(
    "topic_filter",
    ["$share", "$share/", "$share/g", "$share/g/", "$share//t", "$share/+/t", "$share/g#/t", "$share/g/a#",
     "x\x07y", "x\x7f", "x\x9f", "x\uffff", "x\ufdd0", "\ud800", "a/\n"],
)  # fmt: skip
def test_filters_that_brokers_end_the_connection_at(topic_filter: str) -> None:
    assert filter_problem(topic_filter)


@pytest.mark.parametrize("topic_filter", ["$share/g/t/#", "$share/g/#", "$share/g//a", "$sharex/a", "ä/☃/😀"])
def test_filters_that_are_fine(topic_filter: str) -> None:
    assert not filter_problem(topic_filter)
