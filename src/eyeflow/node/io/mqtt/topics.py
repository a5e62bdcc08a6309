"""MQTT topic filters (MQTT 5.0, section 4.7): which of them a topic fits, and how two of them lie to each other.

Matching is paho's tree, built once for all filters: its `topic_matches_sub` builds one for each call. How filters lie
to each other no library tells that we know of: `covers`, `overlaps` and `without_covered` are ours.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from paho.mqtt.matcher import MQTTMatcher

from eyeflow.svm.addresses import is_shared, without_share


class TopicIndex:
    """A set of filters, asked by topic. A first wildcard fits no topic that starts with `$`."""

    def __init__(self, filters: Iterable[str]) -> None:
        alike: dict[str, list[str]] = {}
        for topic_filter in filters:
            alike.setdefault(without_share(topic_filter), []).append(topic_filter)
        self._tree = MQTTMatcher()  # type: ignore[no-untyped-call]
        for plain, group in alike.items():
            self._tree[plain] = group

    def fitting(self, topic: str) -> list[str]:
        """Return the filters that a message on `topic` fits, shared subscriptions as they were given."""
        return [one for group in self._tree.iter_match(topic) for one in group]  # type: ignore[no-untyped-call]


def matches(topic_filter: str, topic: str) -> bool:
    """Tell whether a message on `topic` fits one filter; for many messages keep a `TopicIndex`."""
    return bool(TopicIndex([topic_filter]).fitting(topic))


def covers(wide: str, narrow: str) -> bool:
    """Tell whether every topic that fits `narrow` fits `wide` too, by copies of the same kind.

    A shared subscription covers only itself: who else is in its group gets its messages, too.
    """
    if is_shared(wide) or is_shared(narrow):
        return wide == narrow
    first = narrow.split("/")[0]
    if first.startswith("$") and wide.split("/")[0] in ("+", "#"):
        return False
    wider, narrower = wide.split("/"), narrow.split("/")
    for index, level in enumerate(wider):
        if level == "#":
            return True
        if index >= len(narrower) or narrower[index] == "#" or level not in ("+", narrower[index]):
            return False
    return len(wider) == len(narrower)


def overlaps(one: str, other: str) -> bool:
    """Tell whether some topic fits both filters."""
    left, right = without_share(one).split("/"), without_share(other).split("/")
    for wild, fixed in ((left[0], right[0]), (right[0], left[0])):
        if wild in ("+", "#") and fixed.startswith("$"):
            return False
    for a, b in zip(left, right, strict=False):
        if "#" in (a, b):
            return True
        if a != b and "+" not in (a, b):
            return False
    longer, common = max(left, right, key=len), min(len(left), len(right))
    return len(left) == len(right) or longer[common:] == ["#"]


def has_wildcard(topic_filter: str) -> bool:
    """Tell whether messages of several topics fit a filter."""
    return any(level in ("+", "#") for level in without_share(topic_filter).split("/"))


def without_covered(filters: Collection[str]) -> frozenset[str]:
    """Return the filters that no other one covers: a broker may send a message once for each filter it fits."""
    unique = frozenset(filters)
    return frozenset(f for f in unique if not any(other != f and covers(other, f) for other in unique))
