"""What this node tells its coordinator of itself: what it runs, what its configuration grants, and its machine."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable

from eyeflow.node.io.connector import PortsConfig
from eyeflow.protocol.node_facts import NodeFacts
from eyeflow.protocol.wire import SHORT_CHARS_MAX
from eyeflow.svm.opcodes import ABI


def own_facts(grants: Iterable[str], namespaces: Iterable[str], ports: PortsConfig) -> NodeFacts:
    """Return the facts of a node with these grants, drivers and ports."""
    sources = (one.name for one in ports.connectors if one.source is not None and not one.needed(ports))
    return NodeFacts(
        profile="linux",
        chip="",
        architecture=platform.machine()[:SHORT_CHARS_MAX],
        memory_bytes=_memory_bytes(),
        abi=ABI,
        grants=tuple(sorted(set(grants))),
        drivers=tuple(sorted(set(namespaces))),
        sources=tuple(sorted(sources)),
    )


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):  # the system does not tell
        return 0
