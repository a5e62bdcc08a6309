"""What an address of an event source must look like; the compiler asks first, and a node again before it listens."""

from __future__ import annotations

import re
import string
import unicodedata

TOPIC_BYTES_MAX = 65_535
SHARE_PREFIX = "$share/"
"""Begins the filter of a shared subscription, `$share/GROUP/FILTER` (MQTT 5.0, 4.8.2)."""
PATH_CHARACTERS_MAX = 1024
UNRESERVED = frozenset(string.ascii_letters + string.digits + "-._~")
"""Characters that mean the same with and without an escape (RFC 3986, section 2.3)."""
PATH_CHARACTERS = UNRESERVED | {"/"}
_ESCAPE = re.compile("%([0-9A-Fa-f]{2})")
_KAFKA_TOPIC = re.compile(r"[a-zA-Z0-9._-]{1,249}")


def is_shared(topic_filter: str) -> bool:
    """Say whether a filter is that of a shared subscription."""
    return topic_filter.startswith(SHARE_PREFIX)


def without_share(topic_filter: str) -> str:
    """Return the filter that topics are matched with: that of a shared subscription without its prefix."""
    return topic_filter.split("/", 2)[2] if is_shared(topic_filter) else topic_filter


def text_problem(text: str) -> str:
    """Return why MQTT peers may end the connection at a text, or an empty text (MQTT 5.0, 1.5.4).

    Control and non-characters are allowed, and so is ending the connection at them, which many brokers do.
    """
    for one in text:
        if unicodedata.category(one) in ("Cc", "Cs") or ord(one) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(one) <= 0xFDEF:
            return f"it holds the character U+{ord(one):04X}, at which brokers end the connection"
    return ""


def filter_problem(topic_filter: str) -> str:
    """Return why an MQTT topic filter is not valid (MQTT 5.0, section 4.7), or an empty text."""
    if not topic_filter:
        return "a topic filter has at least one character"
    if problem := text_problem(topic_filter):
        return problem
    if len(topic_filter.encode()) > TOPIC_BYTES_MAX:
        return f"a topic filter has at most {TOPIC_BYTES_MAX} bytes"
    if topic_filter.split("/")[0] == "$share":
        _, *rest = topic_filter.split("/", 2)
        if len(rest) < 2 or not all(rest) or "+" in rest[0] or "#" in rest[0]:
            return "a shared subscription is `$share/GROUP/FILTER`, with no wildcard in its group"
    levels = without_share(topic_filter).split("/")
    if any("#" in level and level != "#" for level in levels) or "#" in levels[:-1]:
        return "`#` stands alone and only as the last level"
    if any("+" in level and level != "+" for level in levels):
        return "`+` stands for a whole level"
    return ""


def topic_problem(topic: str) -> str:
    """Return why nothing can be published to an MQTT topic, or an empty text (MQTT 5.0, 4.7)."""
    if not topic:
        return "a topic has at least one character"
    if "+" in topic or "#" in topic:
        return "wildcards are for filters"
    if problem := text_problem(topic):
        return problem
    return f"a topic has at most {TOPIC_BYTES_MAX} bytes" if len(topic.encode()) > TOPIC_BYTES_MAX else ""


def kafka_problem(topic: str) -> str:
    """Return why Kafka has no topic of this name, or an empty text."""
    if not _KAFKA_TOPIC.fullmatch(topic) or topic in (".", ".."):
        return "a Kafka topic has 1 to 249 of the characters a-z, A-Z, 0-9, `.`, `_` and `-`"
    return ""


def path_problem(path: str) -> str:
    """Return why a webhook cannot have this path, or an empty text."""
    if not path.startswith("/"):
        return "a webhook's path starts with `/`"
    if len(path) > PATH_CHARACTERS_MAX:
        return f"a webhook's path has at most {PATH_CHARACTERS_MAX} characters"
    wrong = next((one for one in path if one not in PATH_CHARACTERS), "")
    if wrong:
        return f"a webhook's path is made of letters a-z and A-Z, digits, `-`, `.`, `_`, `~` and `/`; {wrong!r} is none"
    if path != "/" and "" in path.split("/")[1:]:
        return "a webhook's path has no `//`, and no `/` at its end"
    if {".", ".."} & set(path.split("/")):
        return "a webhook's path has no part `.` or `..`"
    return ""


def requested_path(raw_path: bytes) -> str:
    """Return the path of a request as a rule's address writes it: escapes of plain characters are read as these.

    `/hooks/%64oor` is `/hooks/door` (RFC 3986, section 6.2.2.2). Every other difference makes another path, which no
    address can be: `%2F` is no `/`, and `//` is not `/`.
    """
    text = raw_path.decode("latin-1")
    return _ESCAPE.sub(lambda found: plain if (plain := chr(int(found[1], 16))) in UNRESERVED else found[0], text)


FORMS = {"mqtt-filter": filter_problem, "http-path": path_problem, "kafka-topic": kafka_problem}
"""The forms of addresses that a pattern cannot tell, by the names that a catalog uses."""


def address_problem(form: str, example: str, address: str) -> str:
    """Return why an address has not the form that a catalog asks for, or an empty text.

    `form` is a name in FORMS or else a regular expression for the whole address, and `example` an address that fits it;
    empty: every address will do. The compiler asks with the catalog's words, a node with those of its connector.
    """
    if form in FORMS:
        return FORMS[form](address)
    return "" if not form or re.fullmatch(form, address) else f"an address of this source looks like `{example}`"
