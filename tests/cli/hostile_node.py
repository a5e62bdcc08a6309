"""`eyeflow node start ...` of a peer that lies: a real node but for one port, of which it reports hostile text."""

from __future__ import annotations

from typing import Any

from eyeflow.cli.launch import main
from eyeflow.node.control import InstallOutcome, InstallResult
from eyeflow.node.runtime import NodeRuntime

HOSTILE = "a\x9b31mred\u202eb\x1b[2J\x7f\rfake\nline"

honest = NodeRuntime.status


def status(self: NodeRuntime) -> dict[str, object]:
    told: Any = honest(self)
    return told | {"services": [{"name": f"p{HOSTILE}", "state": "failed", "detail": HOSTILE, "counters": {}}]}


async def install(*_: object, **__: object) -> InstallResult:
    return InstallResult(InstallOutcome.REFUSED, code="malformed", message=HOSTILE, next_step=HOSTILE)


if __name__ == "__main__":
    NodeRuntime.status = status  # type: ignore[method-assign]
    NodeRuntime.install = install  # type: ignore[assignment, method-assign]
    main()
