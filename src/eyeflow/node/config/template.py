"""The configuration file that `eyeflow node init` writes."""

from __future__ import annotations

from collections.abc import Sequence

from eyeflow.node.io.connector import Connector
from eyeflow.node.io.connectors import CONNECTORS

_TEMPLATE = """\
# Configuration of an eyeflow node. All settings: docs/reference/node-settings.md
# Each can be overridden: EYEFLOW_NODE_NAME, EYEFLOW_OFFLINE_MAX_BUFFER_SIZE_MB, ...

[node]
name = {name}
data_dir = {data_dir}            # from the directory of this file
timezone = {timezone}            # for `cron`, `time_of_day()` and `weekday()`

[coordinator]
{url}                            # empty: the node runs alone, or has joined with `eyeflow node join`
# token_file = "join.token"

[grants]
# What programs may do on this node. A program that needs more is refused, with the missing names.
allow = [{grants}]

[trust]
# Public keys (64 hex digits) whose programs this node runs, besides those of its cluster: `eyeflow keys show NAME`
keys = [{keys}]

[offline]
buffer_backend = "sqlite"
max_buffer_size_mb = 512
max_buffer_age_hours = 72
reconcile_on_reconnect = true    # the coordinator gets a copy of the audit
on_full = "drop-oldest"          # or "reject-new", "block"
durability = "full"              # "none-on-full-disk": keep acting, unrecorded, while the disk is full
"""


def config_template(
    name: str,
    *,
    data_dir: str = "data",
    timezone: str = "UTC",
    url: str = "",
    trusted_keys: Sequence[bytes] = (),
    connectors: Sequence[Connector] = CONNECTORS,
) -> str:
    """Return the text of a new `eyeflow-svm.toml`; `trusted_keys` are public keys of 32 bytes."""
    grants = [grant for connector in connectors for grant in connector.grants]
    ports = "".join(f"\n{connector.template}" for connector in connectors if connector.template)
    return _aligned(
        _TEMPLATE.format(
            name=_quoted(name),
            data_dir=_quoted(data_dir),
            timezone=_quoted(timezone),
            url=f"url = {_quoted(url)}",
            grants=", ".join(_quoted(grant) for grant in grants),
            keys=", ".join(_quoted(key.hex()) for key in trusted_keys),
        )
        + ports
    )


def _quoted(text: str) -> str:
    """Return a text as a TOML basic string."""
    escaped = "".join(
        f"\\{c}"
        if c in '"\\'
        else c
        if c.isprintable()
        else f"\\u{ord(c):04x}"
        if ord(c) < 0x10000
        else f"\\U{ord(c):08x}"
        for c in text
    )
    return f'"{escaped}"'


COMMENT_COLUMN = 33


def _aligned(text: str) -> str:
    """Put the comments after settings in one column."""
    return "\n".join(_align(line) for line in text.split("\n"))


def _align(line: str) -> str:
    setting, mark, comment = line.partition("  # ")
    if not mark or line.startswith("#"):
        return line
    return f"{setting.rstrip():<{COMMENT_COLUMN - 1}} # {comment}"
