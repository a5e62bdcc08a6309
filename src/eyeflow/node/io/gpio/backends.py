"""Pins behind one interface: simulated levels, or the lines of a real GPIO chip through libgpiod."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from eyeflow.base.errors import EyeflowError
from eyeflow.base.reading import Unreadable, decode_utf8, parse_json, read_at_once
from eyeflow.base.reasons import why
from eyeflow.node.io.gpio.settings import GpioConfig, GpioLine

LEVEL_NAMES = ("LOW", "HIGH")
PINS_MAX = 1024
LEVELS_BYTES_MAX = 1024 * 1024


class PinError(Exception):
    """A pin cannot be read or set; the text says which and why."""


class GpioBackend(Protocol):
    """Levels of named pins; True is HIGH."""

    def level(self, pin: str) -> bool:
        """Return the level; raises PinError."""
        ...

    def set_level(self, pin: str, level: bool) -> None:
        """Drive an output; raises PinError."""
        ...

    def close(self) -> None:
        """Release the lines."""
        ...


class SimulatedGpio:
    """Levels in memory, LOW at first.

    With `levels_file` they live in a JSON object such as `{"DOOR": "HIGH"}` that anyone may edit while the node runs.
    """

    def __init__(self, levels_file: Path | None = None) -> None:
        self._file = levels_file
        self._levels: dict[str, bool] = {}
        self._seen: tuple[int, int, int] | None = None

    def level(self, pin: str) -> bool:
        """Return the level of a pin, LOW when nobody ever set it."""
        self._refresh()
        return self._levels.get(pin, False)

    def set_level(self, pin: str, level: bool) -> None:
        """Set the level of any pin: a test or a user sets inputs the same way."""
        self._refresh()
        if pin not in self._levels and len(self._levels) >= PINS_MAX:
            raise PinError(f"more than {PINS_MAX} simulated pins")
        if self._levels.get(pin) == level:
            return
        self._levels[pin] = level
        if self._file is not None:
            self._write(self._file)

    def close(self) -> None:
        """Hold nothing."""

    def _refresh(self) -> None:
        if self._file is None:
            return
        try:
            stat = self._file.stat()
            stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if stamp == self._seen:
                return
            self._levels = _parse_levels(decode_utf8(read_at_once(self._file, LEVELS_BYTES_MAX)))
            self._seen = stamp
        except FileNotFoundError:
            return
        except (OSError, Unreadable) as error:
            raise PinError(f"cannot read the simulated levels in {self._file}: {why(error)}") from error

    def _write(self, file: Path) -> None:
        text = json.dumps({pin: LEVEL_NAMES[level] for pin, level in sorted(self._levels.items())}, indent=1) + "\n"
        # A new file over the old one: a reader never sees half of it.
        temporary = file.with_name(f".{file.name}.new")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(file)
            stat = file.stat()
        except OSError as error:
            raise PinError(f"cannot write the simulated levels to {file}: {why(error)}") from error
        self._seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)


def _parse_levels(text: str) -> dict[str, bool]:
    value = parse_json(text)
    if not isinstance(value, dict) or not all(level in LEVEL_NAMES for level in value.values()):
        raise Unreadable('it must be a JSON object of pins to "HIGH" or "LOW"')
    return {str(pin): level == "HIGH" for pin, level in value.items()}


class LibgpiodGpio:
    """Lines of `/dev/gpiochipN` through libgpiod 2; a line is requested at its first use and kept."""

    def __init__(self, lines: Mapping[str, GpioLine]) -> None:
        self._gpiod = _import_gpiod()
        self._lines = lines
        self._requests: dict[tuple[str, bool], Any] = {}

    def level(self, pin: str) -> bool:
        """Return the level of an input, or the level an output is driven to."""
        line = self._line(pin)
        request = self._requests.get((pin, True)) or self._request(pin, line, level=None)
        try:
            return bool(request.get_value(line.line) == self._gpiod.line.Value.ACTIVE)
        except OSError as error:
            raise PinError(f"cannot read pin {pin} (line {line.line} of {line.chip}): {why(error)}") from error

    def set_level(self, pin: str, level: bool) -> None:
        """Drive an output."""
        line, value = self._line(pin), self._gpiod.line.Value
        request = self._request(pin, line, level=level)
        try:
            request.set_value(line.line, value.ACTIVE if level else value.INACTIVE)
        except OSError as error:
            raise PinError(f"cannot set pin {pin} (line {line.line} of {line.chip}): {why(error)}") from error

    def close(self) -> None:
        """Release all lines."""
        for request in self._requests.values():
            request.release()
        self._requests.clear()

    def _line(self, pin: str) -> GpioLine:
        if pin not in self._lines:
            raise PinError(f"pin {pin} is not wired: add it to [gpio.pins], for example {pin} = 17")
        return self._lines[pin]

    def _request(self, pin: str, line: GpioLine, *, level: bool | None) -> Any:
        """Return the request of an input (level None) or of an output, which starts at `level`: no glitch."""
        output = level is not None
        if (pin, output) not in self._requests:
            kinds = self._gpiod.line
            bias = {"as-is": kinds.Bias.AS_IS, "pull-up": kinds.Bias.PULL_UP, "pull-down": kinds.Bias.PULL_DOWN}
            settings = self._gpiod.LineSettings(
                direction=kinds.Direction.OUTPUT if output else kinds.Direction.INPUT,
                active_low=line.active_low,
                bias=bias[line.bias],
                output_value=kinds.Value.ACTIVE if level else kinds.Value.INACTIVE,
            )
            try:
                request = self._gpiod.request_lines(line.chip, consumer="eyeflow", config={line.line: settings})
            except OSError as error:
                raise PinError(f"cannot open line {line.line} of {line.chip} for pin {pin}: {why(error)}") from error
            self._requests[pin, output] = request
        return self._requests[pin, output]


def open_gpio(config: GpioConfig) -> GpioBackend:
    """Return the configured backend. Raises EyeflowError when libgpiod is asked for and its extra is not installed."""
    return SimulatedGpio(config.levels_file) if config.backend == "simulated" else LibgpiodGpio(config.pins)


def _import_gpiod() -> Any:
    try:
        import gpiod
    except ImportError as error:
        raise EyeflowError(
            "the GPIO backend `libgpiod` is not installed",
            cause=why(error),
            next_step="Install it with `pip install 'eyeflow[gpio]'`, or set backend = \"simulated\" in [gpio].",
            code="gpio_missing",
        ) from error
    return gpiod
