"""`gpio.set_pin(pin, level)` and `gpio.read_pin(pin)` on the configured backend."""

from __future__ import annotations

from collections.abc import Mapping

from eyeflow.node.io.base_driver import BaseDriver
from eyeflow.node.io.gpio.backends import LEVEL_NAMES, GpioBackend, PinError
from eyeflow.svm.program import Value


class GpioDriver(BaseDriver):
    """Levels are `LOW` and `HIGH`."""

    def __init__(self, backend: GpioBackend) -> None:
        super().__init__("gpio")
        self._backend = backend

    def read(self, capability: str, args: Mapping[str, Value], timeout_us: int) -> Value:
        """Return the level of a pin."""
        if capability != "gpio.read_pin":
            return super().read(capability, args, timeout_us)
        try:
            level = self._backend.level(str(args["pin"]))
        except PinError as error:
            raise self.failure(str(error)) from error
        self.status.counters["reads"] += 1
        return LEVEL_NAMES[level]

    async def act(self, capability: str, args: Mapping[str, Value]) -> None:
        """Drive a pin."""
        if capability != "gpio.set_pin":
            await super().act(capability, args)
        if args["level"] not in LEVEL_NAMES:
            raise self.failure(f"a level is LOW or HIGH, not {args['level']!r}")
        try:
            self._backend.set_level(str(args["pin"]), args["level"] == "HIGH")
        except PinError as error:
            raise self.failure(str(error)) from error
        self.status.counters["actions"] += 1

    async def close(self) -> None:
        """Release the lines."""
        self._backend.close()
