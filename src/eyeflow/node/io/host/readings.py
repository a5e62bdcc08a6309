"""The readings of this machine; the home of psutil. Percentages are 0.0 to 100.0, temperatures degrees Celsius."""

from __future__ import annotations

import psutil

from eyeflow.base.reasons import why
from eyeflow.node.io.host.settings import HostConfig

PREFERRED_SENSORS = ("coretemp", "k10temp", "cpu_thermal", "cpu-thermal", "soc_thermal", "acpitz")
"""psutil's names of the sensors that measure the processor, best first; else the hottest of all is taken."""


class SensorAbsent(Exception):  # noqa: N818 - it is an answer
    """This machine has no such sensor."""


class HostReadings:
    """Reads at once; `cpu_percent` is over the time since it was last read (0.0 the first time)."""

    def __init__(self, config: HostConfig) -> None:
        self._config = config
        psutil.cpu_percent(None)

    def cpu_percent(self) -> float:
        """Return the use of all processors together."""
        return float(psutil.cpu_percent(None))

    def memory_percent(self) -> float:
        """Return the share of the memory that is in use."""
        return float(psutil.virtual_memory().percent)

    def disk_percent(self) -> float:
        """Return the use of the file system of the configured path."""
        try:
            return float(psutil.disk_usage(str(self._config.disk_path)).percent)
        except OSError as error:
            raise SensorAbsent(f"[host] disk_path {self._config.disk_path} cannot be measured: {why(error)}") from error

    def temperature_celsius(self) -> float:
        """Return the processor's temperature; `[host] temperature_default` where there is no sensor."""
        sensors = psutil.sensors_temperatures() if hasattr(psutil, "sensors_temperatures") else {}
        names = [name for name in PREFERRED_SENSORS if name in sensors] or list(sensors)
        found = [float(entry.current) for entry in sensors[names[0]]] if names else []
        if found:
            return max(found)
        if self._config.temperature_default is not None:
            return self._config.temperature_default
        raise SensorAbsent("this machine has no temperature sensor: set [host] temperature_default, or give a default")

    def load_1min(self) -> float:
        """Return the number of processes that run or wait, averaged over one minute."""
        return float(psutil.getloadavg()[0])
