"""Topic filters against the examples of MQTT 5.0, section 4.7, and the covering order as a property."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eyeflow.node.io.mqtt.topics import TopicIndex, covers, matches, without_covered
from eyeflow.svm.addresses import filter_problem

LEVELS = st.lists(st.sampled_from(["a", "b", "", "$s"]), min_size=1, max_size=4)
TOPICS = LEVELS.map("/".join).filter(bool)
FILTERS = st.tuples(
    st.lists(st.sampled_from(["a", "b", "", "+", "$s"]), max_size=4), st.sampled_from([[], ["#"]])
).map(lambda parts: "/".join(parts[0] + parts[1])).filter(bool)  # fmt: skip


@pytest.mark.parametrize(
    ("topic_filter", "topic", "fits"),
    [
        ("sport/tennis/player1/#", "sport/tennis/player1", True),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", True),
        ("sport/#", "sport", True),
        ("#", "a/b/c", True),
        ("sport/tennis/+", "sport/tennis/player1", True),
        ("sport/tennis/+", "sport/tennis/player1/ranking", False),
        ("sport/+", "sport", False),
        ("sport/+", "sport/", True),
        ("+/+", "/finance", True),
        ("/+", "/finance", True),
        ("+", "/finance", False),
        ("#", "$SYS/a", False),
        ("+/monitor/Clients", "$SYS/monitor/Clients", False),
        ("$SYS/#", "$SYS/a", True),
        ("$SYS/monitor/+", "$SYS/monitor/Clients", True),
        ("a", "A", False),
    ],
)
def test_the_examples_of_the_standard(topic_filter: str, topic: str, fits: bool) -> None:
    assert matches(topic_filter, topic) is fits


def by_the_standard(topic_filter: str, topic: str) -> bool:
    """Section 4.7, level by level."""
    wanted, levels = topic_filter.split("/"), topic.split("/")
    if topic.startswith("$") and wanted[0] in ("+", "#"):
        return False
    for index, level in enumerate(wanted):
        if level == "#":
            return True
        if index >= len(levels) or level not in ("+", levels[index]):
            return False
    return len(wanted) == len(levels)


@settings(max_examples=500)
@given(st.sets(FILTERS, max_size=6), TOPICS)
def test_the_index_finds_the_filters_that_the_standard_says(filters: set[str], topic: str) -> None:
    shared = {f"$share/group/{one}" for one in filters}
    wanted = {one for one in filters if by_the_standard(one, topic)}
    found = TopicIndex(sorted(filters | shared)).fitting(topic)
    assert sorted(found) == sorted(wanted | {f"$share/group/{one}" for one in wanted})


@pytest.mark.parametrize("topic_filter", ["", "a/#/b", "a#", "a/b#", "a+", "+a/b", "a\0b", "x" * 70_000])
def test_invalid_filters(topic_filter: str) -> None:
    assert filter_problem(topic_filter)


@pytest.mark.parametrize("topic_filter", ["#", "+", "a/+/b/#", "/", "a//b", "$SYS/#"])
def test_valid_filters(topic_filter: str) -> None:
    assert not filter_problem(topic_filter)


@settings(max_examples=500)
@given(FILTERS, FILTERS, TOPICS)
def test_a_filter_matches_whatever_a_covered_one_matches(wide: str, narrow: str, topic: str) -> None:
    if covers(wide, narrow) and matches(narrow, topic):
        assert matches(wide, topic)


@settings(max_examples=300)
@given(st.lists(FILTERS, max_size=5), TOPICS)
def test_leaving_out_covered_filters_loses_no_topic(filters: list[str], topic: str) -> None:
    assert any(matches(f, topic) for f in filters) == any(matches(f, topic) for f in without_covered(filters))
