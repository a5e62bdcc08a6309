"""An audit as a file for others: a line that says what it is, a record a line, and a last line with their number.

`docs/reference/audit.md` has the format and a program that checks it, which needs nothing of eyeflow.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from eyeflow.protocol.collecting import KeptHead
from eyeflow.protocol.identity import key_fingerprint

FORMAT = "eyeflow audit export 1"


@dataclass(frozen=True, slots=True)
class Exported:
    """What a file is about. `head` is what the coordinator has signed, with its key; None: nothing that is known."""

    node: str
    epoch: int
    node_key: bytes
    coordinator_key: bytes = b""
    head: KeptHead | None = None


def export_lines(what: Exported, records: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of the file, each with its end; what is yielded between two records is one record."""
    yield _line(
        {
            "format": FORMAT,
            "node": what.node,
            "epoch": what.epoch,
            "nodeKey": key_fingerprint(what.node_key),
            "coordinatorKey": key_fingerprint(what.coordinator_key) if what.coordinator_key else "",
            "head": _head(what.head),
        }
    )
    count = 0
    for data in records:
        yield b'"' + base64.b64encode(data) + b'"\n'
        count += 1
    yield _line({"records": count})


def _head(head: KeptHead | None) -> dict[str, object] | None:
    if head is None or not head.seq:
        return None
    return {
        "seq": head.seq,
        "hash": head.hash.hex(),
        "timeUs": head.time_us,
        "signature": head.signature.hex(),
    }


def _line(value: dict[str, object]) -> bytes:
    return json.dumps(value).encode() + b"\n"
