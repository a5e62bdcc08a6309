"""`file.append(path, line)`: one more line in a file below a configured directory, durable when the action is done."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

from eyeflow.base.reasons import why
from eyeflow.base.whole_file import sync_directory
from eyeflow.node.io.base_driver import BaseDriver
from eyeflow.node.io.file.settings import FileConfig
from eyeflow.svm.program import Value


class FileDriver(BaseDriver):
    """A relative path is below the first directory. Symbolic links that lead out of the directories are refused."""

    def __init__(self, config: FileConfig) -> None:
        super().__init__("file")
        self._directories = tuple(Path(os.path.realpath(directory)) for directory in config.directories)

    async def act(self, capability: str, args: Mapping[str, Value]) -> None:
        """Append one line and fsync it."""
        if capability != "file.append":
            await super().act(capability, args)
        path = self._allowed(str(args["path"]))
        line = str(args["line"]).replace("\r", "\\r").replace("\n", "\\n")
        try:
            await asyncio.to_thread(_append, path, line.encode() + b"\n")
        except OSError as error:
            raise self.failure(f"file.append to {path}: {why(error)}") from error
        self.status.counters["actions"] += 1

    def _allowed(self, text: str) -> Path:
        if not self._directories:
            raise self.failure("file.append: no directory is allowed; add `directories = [...]` to [file]")
        if not text or not text.isprintable():
            raise self.failure(f"file.append: {text!r} is no path")
        path = Path(os.path.realpath(self._directories[0] / text))
        if not any(path.is_relative_to(directory) and path != directory for directory in self._directories):
            allowed = ", ".join(str(directory) for directory in self._directories)
            raise self.failure(f"file.append: {path} is not below an allowed directory ({allowed})")
        return path


def _append(path: Path, data: bytes) -> None:
    is_new = not path.exists()
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        # One write: lines of two writers do not mix. What a full disk cut short is reported, never taken as done.
        written = os.write(descriptor, data)
        if written != len(data):
            raise OSError(f"only {written} of {len(data)} bytes fitted")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if is_new:
        sync_directory(path.parent)
