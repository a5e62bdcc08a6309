"""The flash of a simulated chip as a file, so that what the firmware wrote outlives the process."""

from __future__ import annotations

import os
from pathlib import Path

from eyeflow.base.errors import EyeflowError
from eyeflow.base.reasons import why
from eyeflow.mcu.sim.firmware import Firmware


class FlashImage:
    """The flash array of a chip; with a path every change is in the file before the next instruction runs."""

    def __init__(self, base: int, size_bytes: int, path: Path | None = None) -> None:
        self.base, self.size_bytes, self.path = base, size_bytes, path
        self.data = bytearray(b"\xff" * size_bytes)
        self._file: int | None = None
        if path is not None:
            self._open(path)

    def _open(self, path: Path) -> None:
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            stored = os.read(self._file, self.size_bytes + 1)
        except OSError as error:
            raise _refused(path, why(error)) from error
        if stored and len(stored) != self.size_bytes:
            os.close(self._file)
            raise _refused(path, f"it has not the {self.size_bytes} bytes of this chip's flash")
        self.data[: len(stored)] = stored
        if not stored:
            self._store(0, bytes(self.data))

    def flash(self, firmware: Firmware) -> None:
        """Write the firmware as a probe would and leave the rest; raises EyeflowError when it does not fit."""
        for segment in firmware.segments:
            start = segment.address - self.base
            if start < 0 or start + len(segment.data) > self.size_bytes:
                raise EyeflowError(
                    f"the firmware wants {len(segment.data)} bytes at {segment.address:#010x}, outside the flash",
                    cause=f"flash is {self.size_bytes} bytes at {self.base:#010x}",
                    next_step="build the firmware for this chip, or simulate the chip it was built for",
                    code="wrong_chip",
                )
            self.write(segment.address, segment.data)

    def write(self, address: int, data: bytes) -> None:
        """Replace bytes, without the rules of flash cells."""
        start = address - self.base
        self.data[start : start + len(data)] = data
        self._store(start, data)

    def _store(self, start: int, data: bytes) -> None:
        if self._file is not None and self.path is not None:
            try:
                os.pwrite(self._file, data, start)
            except OSError as error:
                raise _refused(self.path, why(error)) from error

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _refused(path: Path, cause: str) -> EyeflowError:
    return EyeflowError(
        f"{path} cannot be used as the flash of the simulated chip",
        cause=cause,
        next_step="give another file, or remove it to start with erased flash",
        code="flash_image",
    )
