"""A disk with slow syncs for a process of its own: a library that is loaded before the C library (`LD_PRELOAD`)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("slow_sync.c")


def slow_disk(directory: Path, sync_ms: int) -> dict[str, str]:
    """Build the library in `directory`; return the environment of a process whose syncs take `sync_ms` longer."""
    library = directory / "slow_sync.so"
    if not library.exists():
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True)
    return {**os.environ, "LD_PRELOAD": str(library), "SLOW_SYNC_MS": str(sync_ms)}
