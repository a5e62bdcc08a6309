"""ADC values over time: from a CSV file of `time,channel,value`, and set by hand while a simulator runs."""

from __future__ import annotations

import csv
import io
import re
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.reading import Unreadable, exit_code, parse_float, parse_int, read_text
from eyeflow.base.reasons import why

COLUMNS = ("time", "channel", "value")
TIMESTAMP = "timestamp"
READ = re.compile(r"adc\.read_channel\((\d+)\)")
CHANNELS_MAX = 19
COUNTS_MAX = 4095
RECORDING_BYTES_MAX = 64 * 1024 * 1024
SAMPLES_MAX = 1_000_000


class NoChannel(Exception):  # noqa: N818 - the caller says what it means
    """A recording has values for a channel that a board has not."""

    def __init__(self, channel: int) -> None:
        super().__init__(channel)
        self.channel = channel


@dataclass(slots=True)
class AdcValues:
    """What each ADC channel reads (0..4095) from which virtual time on; a channel without a value reads 0.

    A value set by hand holds until the next recorded one.
    """

    _times_us: dict[int, list[int]] = field(default_factory=dict)
    _values: dict[int, list[int]] = field(default_factory=dict)
    _by_hand: dict[int, tuple[int, int]] = field(default_factory=dict)

    def record(self, time_us: int, channel: int, value: int) -> None:
        """Append a sample; the times of one channel must not go back (ValueError)."""
        times = self._times_us.setdefault(channel, [])
        if times and time_us < times[-1]:
            raise Unreadable(f"time goes back for channel {channel}")
        times.append(time_us)
        self._values.setdefault(channel, []).append(value)

    def set(self, time_us: int, channel: int, value: int) -> None:
        """Set a channel by hand from a time on."""
        self._by_hand[channel] = (time_us, value)

    def moved(self, channels: Sequence[int]) -> AdcValues:
        """Return the recorded values with channel n as channel `channels[n]`; raises NoChannel for one beyond them."""
        values = AdcValues()
        for channel in self._times_us:
            if channel >= len(channels):
                raise NoChannel(channel)
            values._times_us[channels[channel]] = self._times_us[channel]
            values._values[channels[channel]] = self._values[channel]
        return values

    def sample(self, time_us: int, channel: int) -> int:
        """Return what a channel reads at a time."""
        times = self._times_us.get(channel, [])
        position = bisect_right(times, time_us) - 1
        by_hand = self._by_hand.get(channel)
        if by_hand is not None and (position < 0 or by_hand[0] >= times[position]):
            return by_hand[1]
        return self._values[channel][position] if position >= 0 else 0

    def changes(self, from_us: int, to_us: int, channels: int) -> list[tuple[int, int, int]]:
        """Return (time_us, channel, value) of each channel at `from_us` and of every change up to `to_us`, in order."""
        found = [(from_us, channel, self.sample(from_us, channel)) for channel in range(channels)]
        for channel, times in self._times_us.items():
            inside = range(bisect_right(times, from_us), bisect_right(times, to_us))
            found += [(times[at], channel, self.sample(times[at], channel)) for at in inside if channel < channels]
        return sorted(found)


def load_recording(path: Path) -> AdcValues:
    """Read a CSV file with a header `time,channel,value`: seconds, ADC channel, counts 0..4095.

    The recordings of `eyeflow run` are read as well: a column `timestamp`, of which the first is the start, and columns
    named like the reads, `adc.read_channel(0)`; an empty cell leaves the value as it was, other columns do not count.
    Raises EyeflowError (PROBLEMS) with the line that is wrong.
    """
    try:
        text = read_text(path, RECORDING_BYTES_MAX)
    except (OSError, Unreadable) as error:
        raise EyeflowError(
            f"the recording {path} cannot be read",
            cause=why(error),
            next_step="give a CSV file with the columns time,channel,value",
            code="recording_missing",
            exit_code=exit_code(error),
        ) from error
    rows = csv.reader(io.StringIO(text, newline=""))
    try:
        return _parse(rows, path)
    except csv.Error:
        raise _refused(path, rows.line_num, "a cell is too long, or a quote in it is not closed") from None


def _parse(rows: csv.Reader, path: Path) -> AdcValues:  # type: ignore[name-defined]
    values = AdcValues()
    header = [name.strip() for name in next(rows, [])]
    if TIMESTAMP in header and any(READ.fullmatch(name) for name in header):
        return _parse_reads(rows, header, path)
    if tuple(header) != COLUMNS:
        raise _refused(path, 1, f"the first line is {','.join(header) or 'empty'}, not {','.join(COLUMNS)}")
    for row in rows:
        if not row:
            continue
        if rows.line_num > SAMPLES_MAX:
            raise _refused(path, rows.line_num, f"more than {SAMPLES_MAX} samples")
        try:
            values.record(*_sample(row))
        except Unreadable as error:
            raise _refused(path, rows.line_num, str(error)) from error
    return values


def _sample(row: list[str]) -> tuple[int, int, int]:
    if len(row) != len(COLUMNS):
        raise Unreadable(f"{len(row)} columns instead of {len(COLUMNS)}")
    seconds, channel, value = _decimal(row[0]), parse_int(row[1]), parse_int(row[2])
    if not seconds.is_finite() or seconds < 0:
        raise Unreadable(f"{row[0]} is no time in seconds")
    if not 0 <= channel < CHANNELS_MAX:
        raise Unreadable(f"there is no ADC channel {channel}")
    if not 0 <= value <= COUNTS_MAX:
        raise Unreadable(f"{value} is outside 0..{COUNTS_MAX}")
    return int(seconds * 1_000_000), channel, value


def _parse_reads(rows: csv.Reader, header: list[str], path: Path) -> AdcValues:  # type: ignore[name-defined]
    """Read what `eyeflow run` reads: one row for each moment, one column for each read."""
    values, start_s = AdcValues(), None
    channels = [(int(read[1]), at) for at, name in enumerate(header) if (read := READ.fullmatch(name))]
    for row in rows:
        if not row:
            continue
        try:
            now_s = _seconds(row[header.index(TIMESTAMP)].strip())
            start_s = now_s if start_s is None else start_s
            for channel, at in channels:
                if row[at].strip():
                    values.record(*_sample([str(now_s - start_s), str(channel), row[at]]))
        except IndexError as error:
            raise _refused(path, rows.line_num, "it has fewer cells than the header") from error
        except Unreadable as error:
            raise _refused(path, rows.line_num, str(error)) from error
    return values


def _decimal(text: str) -> Decimal:
    parse_float(text)  # finite, in digits, and not too long a number to work with
    return Decimal(text.strip())


def _seconds(text: str) -> Decimal:
    """Return a timestamp, a number of seconds or an ISO date and time, in seconds."""
    with suppress(Unreadable):
        return _decimal(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Unreadable(f"{text[:40]!r} is no time") from None
    return Decimal((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()).quantize(Decimal("1e-6"))


def _refused(path: Path, line: int, cause: str) -> EyeflowError:
    return EyeflowError(
        f"{path}:{line} is no sample of an ADC recording",
        cause=cause,
        next_step="write lines such as 12.5,0,2048 (seconds, channel, counts from 0 to 4095)",
        code="bad_recording",
        exit_code=ExitCode.PROBLEMS,
    )
