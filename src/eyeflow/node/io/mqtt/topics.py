"""MQTT topic filters (MQTT 5.0, section 4.7): matching, and how two filters lie to each other.

`matches` is ours and not paho's `topic_matches_sub`, which builds a tree for each call and takes five times as long.
"""

from __future__ import annotations

from collections.abc import Collection

from eyeflow.svm.addresses import is_shared, without_share


def matches(topic_filter: str, topic: str) -> bool:
    """Tell whether a message on `topic` fits the filter. A first wildcard matches no topic that starts with `$`."""
    wanted, levels = without_share(topic_filter).split("/"), topic.split("/")
    if topic.startswith("$") and wanted[0] in ("+", "#"):
        return False
    for index, level in enumerate(wanted):
        if level == "#":
            return True
        if index >= len(levels) or level not in ("+", levels[index]):
            return False
    return len(wanted) == len(levels)


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


def without_covered(filters: Collection[str]) -> frozenset[str]:
    """Return the filters that no other one covers: a broker may send a message once for each filter it fits."""
    unique = frozenset(filters)
    return frozenset(f for f in unique if not any(other != f and covers(other, f) for other in unique))
