"""The settings of analog channels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from eyeflow.node.config.settings import Section, own_table, path
from eyeflow.node.config.tables import Table

CHANNEL_MAX = 255


def _channels(table: Table) -> Mapping[int, int | Path]:
    return {_channel(table, key): _reading(table, key, value) for key, value in table.rest().items()}


def _channel(table: Table, key: str) -> int:
    if not key.isdecimal() or int(key) > CHANNEL_MAX:
        cause = f"A channel is a number in 0..{CHANNEL_MAX}."
        table.refuse(f"[{table.name}] {key} is no channel", cause, "Correct the key.")
    return int(key)


def _reading(table: Table, key: str, value: Any) -> int | Path:
    if isinstance(value, str) and value:
        return table.placed(value)
    if not isinstance(value, int) or isinstance(value, bool):
        cause, hint = f"It is {value!r}.", "Give a raw reading or an IIO file."
        table.refuse(f"[{table.name}] {key} must be an integer or a path", cause, hint)
    return value


@dataclass(frozen=True, slots=True)
class AdcConfig(Section):
    """ADC channels: a number is a simulated reading, a path that of a Linux IIO file (`in_voltage0_raw`)."""

    SECTION: ClassVar[str] = "adc"

    channels: Mapping[int, int | Path] = own_table(
        "channels",
        _channels,
        '`0 = 850`: a simulated reading of a channel; `0 = "/sys/bus/iio/.../in_voltage0_raw"`: where it is read.',
    )
    values_file: Path | None = path("JSON file with simulated readings by channel.")
