"""`host.cpu_percent()` and its siblings: readings of this machine."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from eyeflow.node.io.base_driver import BaseDriver
from eyeflow.node.io.host.readings import HostReadings, SensorAbsent
from eyeflow.svm.program import Value


class HostDriver(BaseDriver):
    """Reads by name; a sensor that is absent is a failure."""

    def __init__(self, readings: HostReadings) -> None:
        super().__init__("host")
        self._readings: dict[str, Callable[[], float]] = {
            "host.cpu_percent": readings.cpu_percent,
            "host.memory_percent": readings.memory_percent,
            "host.disk_percent": readings.disk_percent,
            "host.temperature_celsius": readings.temperature_celsius,
            "host.load_1min": readings.load_1min,
        }

    @property
    def slow_reads(self) -> Collection[str]:
        """A disk may be on a network that is away, a sensor on a bus; the others the kernel has in memory."""
        return ("host.disk_percent", "host.temperature_celsius")

    def read(self, capability: str, args: Mapping[str, Value], timeout_us: int) -> Value:
        """Return one reading."""
        if capability not in self._readings:
            return super().read(capability, args, timeout_us)
        try:
            value = self._readings[capability]()
        except SensorAbsent as error:
            raise self.failure(str(error)) from error
        self.status.counters["reads"] += 1
        return value
