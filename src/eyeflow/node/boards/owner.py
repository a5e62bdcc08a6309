"""Which node of this machine owns a serial port: the kernel knows who has locked it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from eyeflow.base.dir_lock import LOCK_NAME
from eyeflow.base.errors import EyeflowError
from eyeflow.node.boards.behind import BoardBehindNode
from eyeflow.node.boards.verbs import FIND
from eyeflow.node.status.local_socket import SOCKET_NAME, ask

PROC = Path("/proc")


def board_at(port: str, configured: Path | None = None) -> BoardBehindNode | None:
    """Return the board at a port whose node answers, None when no node of this machine says that it has it.

    `configured` is the data directory of a node that is asked too: an address such as socket:// has no lock. Raises
    EyeflowError when a process of another user has the port.
    """
    place = port if "://" in port else str(Path(port).resolve())
    for data_dir in [*_holders(place), *([configured] if configured is not None else [])]:
        with suppress(EyeflowError):
            if name := ask(data_dir, FIND, port=place)["name"]:
                return BoardBehindNode(data_dir, name)
    return None


def _holders(port: str) -> Iterator[Path]:
    """Yield the data directories of nodes that have locked a port (flock(2); proc_locks(5))."""
    if "://" in port:
        return
    with suppress(OSError):
        found = Path(port).stat()
        place = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
        rows = (line.split() for line in (PROC / "locks").read_text().splitlines())
        pids = {row[4] for row in rows if row[1:2] == ["FLOCK"] and row[5:6] == [place]}
        for pid in sorted(pids):
            yield from _data_dirs(pid, port)


def _data_dirs(pid: str, port: str) -> Iterator[Path]:
    """Yield the data directories that a process has locked, as a node does. Raises EyeflowError."""
    try:
        opened = [one.readlink() for one in (PROC / pid / "fd").iterdir()]
    except PermissionError as error:
        raise EyeflowError(
            f"the port {port} is in use",
            cause=f"process {pid} of another user has it open",
            next_step="When that is a node, run this command as its user: then the command asks the node.",
            code="port_busy",
        ) from error
    for path in opened:
        if path.name == LOCK_NAME and (path.parent / SOCKET_NAME).exists():
            yield path.parent
