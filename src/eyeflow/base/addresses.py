"""What an address of an event source must look like; the compiler asks first, and a node again before it listens."""

from __future__ import annotations

TOPIC_BYTES_MAX = 65_535


def filter_problem(topic_filter: str) -> str:
    """Return why an MQTT topic filter is not valid (MQTT 5.0, section 4.7), or an empty text."""
    if not topic_filter:
        return "a topic filter has at least one character"
    if len(topic_filter.encode()) > TOPIC_BYTES_MAX:
        return f"a topic filter has at most {TOPIC_BYTES_MAX} bytes"
    if "\0" in topic_filter:
        return "a topic filter holds no NUL character"
    levels = topic_filter.split("/")
    if any("#" in level and level != "#" for level in levels) or "#" in levels[:-1]:
        return "`#` stands alone and only as the last level"
    if any("+" in level and level != "+" for level in levels):
        return "`+` stands for a whole level"
    return ""


def path_problem(path: str) -> str:
    """Return why a webhook cannot have this path, or an empty text."""
    if not path.startswith("/"):
        return "a webhook's path starts with `/`"
    if any(one in "?#" or one.isspace() for one in path):
        return "a webhook's path holds no `?`, `#` or space"
    return ""


def address_problem(source: str, address: str) -> str:
    """Return why an event source cannot have this address, or an empty text."""
    check = {"mqtt": filter_problem, "http": path_problem}.get(source)
    return check(address) if check else ""
