"""Files that are written whole or not at all, and stay after a power cut."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def whole_file(path: Path, mode: int, *, replace: bool = True) -> Iterator[BinaryIO]:
    """Give a file to write that takes its name only when the block ends well.

    As `write_whole`, for what does not fit into memory: whatever interrupts the block leaves what was there before.
    Raises as that does.
    """
    draft = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            yield file
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        if replace:
            draft.replace(path)
        else:
            os.link(draft, path)  # a link, unlike a rename, never replaces a file
        sync_directory(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def write_whole(path: Path, data: bytes, mode: int, *, replace: bool = True) -> None:
    """Write a file: a crash at any moment leaves the old one or the whole new one, and after the return the new one.

    The bytes go to a draft beside it, which is synced, takes the name, and has its directory synced (`rename(2)`,
    `fsync(2)`). Its permissions are `mode` when it takes the name, whatever the umask, and the owner's only before.

    Raises:
        FileExistsError: there is such a file and `replace` is false.
        OSError: it cannot be written; no draft is left.
    """
    with whole_file(path, mode, replace=replace) as file:
        file.write(data)


def sync_directory(path: Path) -> None:
    """Make durable which files a directory holds."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
