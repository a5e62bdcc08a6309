"""MQTT topic filters (MQTT 5.0, section 4.7): matching, and which filter makes another one needless."""

from __future__ import annotations

from collections.abc import Collection


def matches(topic_filter: str, topic: str) -> bool:
    """Tell whether a message on `topic` fits the filter. A first wildcard matches no topic that starts with `$`."""
    wanted, levels = topic_filter.split("/"), topic.split("/")
    if topic.startswith("$") and wanted[0] in ("+", "#"):
        return False
    for index, level in enumerate(wanted):
        if level == "#":
            return True
        if index >= len(levels) or level not in ("+", levels[index]):
            return False
    return len(wanted) == len(levels)


def covers(wide: str, narrow: str) -> bool:
    """Tell whether every topic that fits `narrow` fits `wide` too."""
    if not narrow.startswith("$") and wide.startswith("$"):
        return False
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


def without_covered(filters: Collection[str]) -> frozenset[str]:
    """Return the filters that no other one covers: a broker may send a message once for each filter it fits."""
    unique = frozenset(filters)
    return frozenset(f for f in unique if not any(other != f and covers(other, f) for other in unique))
