"""What a daemon takes from the machine it runs on besides time and network: random numbers, the disk and threads.

Handed in, so that a simulation owns it: a run of the whole cluster then follows from a seed (`tests/simulation`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random, SystemRandom

from eyeflow.base.threads import InThread, in_thread
from eyeflow.base.whole_file import write_whole

FreeBytes = Callable[[Path], int]
WriteWhole = Callable[[Path, bytes, int], None]


def free_bytes_of(directory: Path) -> int:
    """Return how many bytes this process may still write to the disk of a directory. Raises OSError."""
    disk = os.statvfs(directory)
    return disk.f_frsize * (disk.f_bfree if os.geteuid() == 0 else disk.f_bavail)


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine of one daemon.

    `random` makes keys, tokens and nonces, so it is the system's unless a simulation hands in another. `vfs` names the
    SQLite VFS below each store (None: that of the system). `free_bytes` tells the room on the disk of a directory.
    `write_whole(path, data, mode)` writes a small file durably; it raises OSError.
    `in_thread(job)` runs what may take minutes beside the event loop.
    """

    random: Random = field(default_factory=SystemRandom)
    vfs: str | None = None
    free_bytes: FreeBytes = free_bytes_of
    write_whole: WriteWhole = write_whole
    in_thread: InThread = in_thread
