"""`adc.read_channel(channel)`: raw readings, simulated or of Linux IIO (`in_voltageN_raw`, ABI sysfs-bus-iio)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from eyeflow.base.reading import Unreadable, decode_utf8, parse_int, parse_json, read_at_once
from eyeflow.base.reasons import why
from eyeflow.node.io.adc.settings import AdcConfig
from eyeflow.node.io.base_driver import BaseDriver
from eyeflow.svm.program import Value

RAW_BYTES_MAX = 64
VALUES_BYTES_MAX = 65_536


class AdcDriver(BaseDriver):
    """Raw counts as floats. `set_value` and the JSON `values_file` (`{"0": 850}`) change simulated channels."""

    def __init__(self, config: AdcConfig) -> None:
        super().__init__("adc")
        self._channels: dict[int, int | float | Path] = dict(config.channels)
        self._file = config.values_file

    def set_value(self, channel: int, value: float) -> None:
        """Set the reading of a simulated channel."""
        self._channels[channel] = value

    @property
    def slow_reads(self) -> Collection[str]:
        """A channel of Linux IIO is on a bus (I2C, SPI), and may answer late or not at all; so may a file of values."""
        asks = self._file is not None or any(isinstance(one, Path) for one in self._channels.values())
        return ("adc.read_channel",) if asks else ()

    def read(self, capability: str, args: Mapping[str, Value], timeout_us: int) -> Value:
        """Return the raw count of a channel."""
        if capability != "adc.read_channel":
            return super().read(capability, args, timeout_us)
        value = self._read_channel(int(args["channel"]))
        self.status.counters["reads"] += 1
        return value

    def _read_channel(self, channel: int) -> float:
        source = self._channels.get(channel)
        if isinstance(source, Path):
            return self._read_iio(channel, source)
        from_file = self._read_values().get(str(channel)) if self._file is not None else None
        if isinstance(from_file, int | float) and not isinstance(from_file, bool):
            return float(from_file)
        if source is None:
            raise self.failure(f"ADC channel {channel} is not configured: add `{channel} = ...` to [adc.channels]")
        return float(source)

    def _read_iio(self, channel: int, path: Path) -> float:
        try:
            return float(parse_int(decode_utf8(read_at_once(path, RAW_BYTES_MAX))))
        except (OSError, Unreadable) as error:
            raise self.failure(f"cannot read ADC channel {channel} from {path}: {why(error)}") from error

    def _read_values(self) -> Mapping[str, object]:
        assert self._file is not None
        try:
            values = parse_json(read_at_once(self._file, VALUES_BYTES_MAX))
        except FileNotFoundError:
            return {}
        except (OSError, Unreadable) as error:
            raise self.failure(f"cannot read the simulated ADC values in {self._file}: {why(error)}") from error
        if not isinstance(values, dict):
            raise self.failure(f"{self._file} must hold a JSON object of channels to numbers")
        return values
