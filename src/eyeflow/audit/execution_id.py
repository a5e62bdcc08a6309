"""The id of an execution, which people paste: NODE:EPOCH:SEQ, the record that it has in the chain of its node."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PATTERN = re.compile(r"(?:([A-Za-z0-9][A-Za-z0-9._-]{0,62}):)?(?:([0-9]{1,19}):)?([0-9]{1,19})")


@dataclass(frozen=True, slots=True)
class ExecutionId:
    """A record of one chain; `node` empty: the one that is asked, `epoch` None: the newest."""

    node: str
    epoch: int | None
    seq: int

    def __str__(self) -> str:
        return ":".join(str(part) for part in (self.node, self.epoch, self.seq) if part not in ("", None))


def parse_execution_id(text: str) -> ExecutionId | None:
    """Return the id in a text, None for what is none: `node-a:1790000000:42`, `node-a:42`, `42`.

    A node whose name is a number is named with its epoch.
    """
    found = _PATTERN.fullmatch(text)
    if found is None:
        return None
    node, epoch, seq = found.groups()
    return ExecutionId(node or "", int(epoch) if epoch else None, int(seq))
