"""Writes the recorded inputs of the examples again: synthetic, seeded, the same bytes on every machine.

    python examples/make_recordings.py

No recording is a measurement: each is a plausible signal with noise, in which the thing happens that its rule is for.
The columns are the fields of the trigger's payload; a column named like a read (`adc.read_channel(0)`) is what this
read answers from that row on, and an empty cell makes it fail.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from random import Random

HERE = Path(__file__).parent
START = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
"""A Monday."""

Row = dict[str, object]


def at(seconds: float, start: datetime = START) -> str:
    """Return the time `seconds` after `start` as a timestamp."""
    moment = start + timedelta(seconds=seconds)
    return moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds").replace("+00:00", "Z")


def between(points: list[tuple[float, float]], x: float) -> float:
    """Return the value at `x` of the line through `points` (ascending), flat outside them."""
    for (x0, y0), (x1, y1) in pairwise(points):
        if x < x1:
            return y0 if x <= x0 else y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    return points[-1][1]


def overheat_relay(random: Random) -> Iterator[Row]:
    """A motor under load: a start-up peak, a real overheating, and a probe whose wire breaks."""
    shape = [(0, 610), (20, 640), (21, 830), (22, 640), (60, 700), (90, 860), (110, 880), (150, 700), (180, 690)]
    for second in range(180):
        counts = round(between(shape, second) + random.gauss(0, 2))
        yield {"timestamp": at(second), "adc.read_channel(0)": "" if 165 <= second < 172 else counts}


def hysteresis_thermostat(random: Random) -> Iterator[Row]:
    """A room of 1.2 K/h loss and a boiler that heats 4 K/h, simulated with the rule's own hysteresis."""
    celsius, heating = 20.7, False
    for minute in range(0, 240, 2):
        heating = celsius < 20.5 or (heating and celsius < 21.0)
        yield {"timestamp": at(minute * 60), "room": "living", "celsius": round(celsius + random.gauss(0, 0.02), 2)}
        celsius += (2.8 if heating else -1.2) / 30


def tank_pressure(random: Random) -> Iterator[Row]:
    """A compressor that pulses, a consumer, a regulator that sticks, and a leak at the end."""
    shape = [(0, 7.0), (120, 7.4), (150, 9.15), (190, 9.2), (230, 7.6), (400, 7.0), (460, 5.2), (540, 5.0), (600, 6.8)]
    for second in range(600):
        pulse = 0.05 * math.sin(second * 2.1)
        yield {"timestamp": at(second), "bar": round(between(shape, second) + pulse + random.gauss(0, 0.01), 3)}


def irrigation(random: Random) -> Iterator[Row]:
    """Two days of a drying bed: watered on the first morning, spared by rain on the second."""
    shape = [(0, 450), (24, 385), (25, 470), (48, 390), (60, 375)]
    for step in range(60 * 6):
        hour = step / 6
        counts = round(between(shape, hour) + random.gauss(0, 1.5))
        rain = "HIGH" if 46 <= hour < 50 else "LOW"
        moment = at(hour * 3600, START - timedelta(hours=24))
        yield {"timestamp": moment, "adc.read_channel(2)": counts, "gpio.read_pin(RAIN)": rain}


def pump_dry_run(random: Random) -> Iterator[Row]:
    """A well that runs empty after two minutes of pumping; somebody presses the reset button ten minutes later."""
    for second in range(0, 900, 1):
        flow = between([(0, 0), (10, 0), (14, 390), (120, 400), (135, 12)], second) if second < 150 else 0
        flow = between([(780, 0), (786, 395)], second) if second >= 780 else flow
        yield {
            "timestamp": at(second),
            "adc.read_channel(1)": max(0, round(flow + random.gauss(0, 3))),
            "gpio.read_pin(DEMAND)": "HIGH" if second >= 10 else "LOW",
            "gpio.read_pin(RESET)": "HIGH" if 770 <= second < 772 else "LOW",
        }


def vibration_rms(random: Random) -> Iterator[Row]:
    """A fan at 25 Hz whose bearing wears out within a minute and a half."""
    amplitude = [(0, 1.6), (20, 1.8), (40, 5.0), (60, 5.4), (75, 14.0), (90, 16.0)]
    for step in range(900):
        second = step / 10
        value = between(amplitude, second) * math.sin(step * 2.4) + random.gauss(0, 0.15)
        yield {"timestamp": at(second), "machine": "fan1", "mm_per_s": round(value, 3)}


def door_left_open(random: Random) -> Iterator[Row]:
    """Two short visits, and a door that a pallet keeps open for twelve minutes."""
    second = 0.0
    for closed_s, open_s in ((40, 25), (300, 70), (200, 720), (120, 0)):
        yield {"timestamp": at(second), "gpio.read_pin(DOOR)": "LOW"}
        second += closed_s + random.randrange(5)
        if open_s:
            yield {"timestamp": at(second), "gpio.read_pin(DOOR)": "HIGH"}
        second += open_s
    yield {"timestamp": at(second), "gpio.read_pin(DOOR)": "LOW"}


def stale_sensor_watchdog(random: Random) -> Iterator[Row]:
    """A sensor each 30 s; its radio is jammed for 40 minutes."""
    for second in range(0, 5400, 30):
        if not 1500 <= second < 3900:
            celsius = 21.0 + 4.0 * math.sin(second / 900) + random.gauss(0, 0.1)
            humidity = round(62 - celsius / 3, 1)
            yield {"timestamp": at(second), "celsius": round(celsius, 2), "humidity": humidity}


def leak_detector(random: Random) -> Iterator[Row]:
    """A house: morning use, then a cistern that runs for five hours, then a burst pipe."""
    litres = 184_212.0
    for second in range(0, 7 * 3600, 10):
        hour = second / 3600
        use = random.choice((0.0, 0.0, 0.8, 1.8)) if hour < 1 else 0.0
        cistern = 0.06 if hour >= 1.5 else 0.0
        burst = 11.0 if second >= 6.5 * 3600 else 0.0
        litres += use + cistern + burst
        yield {"timestamp": at(second), "litres": round(litres, 2)}


def vote_two_of_three(random: Random) -> Iterator[Row]:
    """One transmitter goes wild, then its wire breaks, then the pressure really rises."""
    pressure = [(0, 1180), (90, 1200), (150, 1420)]
    for second in range(0, 170, 2):
        true = between(pressure, second)
        wild = "" if second >= 60 else round(true + (500 if 30 <= second < 60 else 0) + random.gauss(0, 4))
        b, c = (round(true + random.gauss(0, 4)) for _ in range(2))
        channels = {f"adc.read_channel({index})": value for index, value in enumerate((wild, b, c))}
        yield {"timestamp": at(second)} | channels


def peak_shaving(random: Random) -> Iterator[Row]:
    """A workshop's morning: machines start one after the other, lunch gives relief."""
    shape = [(0, 24), (60, 30), (75, 46), (90, 52), (110, 50), (125, 44), (126, 28), (180, 26)]
    for second in range(0, 3 * 3600, 10):
        yield {"timestamp": at(second), "kw": round(between(shape, second / 60) + random.gauss(0, 1.5), 2)}


def light_by_dusk(random: Random) -> Iterator[Row]:
    """A Monday afternoon to Tuesday morning, with a cloud, two people at night, and dawn."""
    lux = [(0, 3000), (1.0, 1200), (2.2, 90), (2.6, 30), (3.0, 2), (13.5, 2), (14.2, 60), (15.0, 900)]
    for minute in range(15 * 60):
        hour = minute / 60
        counts = max(0.0, between(lux, hour) * 4 * (0.02 if 31 <= minute < 32 else 1) + random.gauss(0, 2))
        motion = "HIGH" if minute in (200, 410, 411, 655) else "LOW"
        moment = at(minute * 60, START + timedelta(hours=9))
        yield {"timestamp": moment, "adc.read_channel(3)": round(counts), "gpio.read_pin(MOTION)": motion}


def host_monitor(random: Random) -> Iterator[Row]:
    """Two minutes of a small server; a build runs for one of them and heats the processor."""
    for second in range(0, 120, 2):
        busy = 30 <= second < 90
        yield {
            "timestamp": at(second),
            "cpu_percent": round(min(100.0, (99 if busy else 8) + random.gauss(0, 2)), 1),
            "memory_percent": round((62 if busy else 41) + random.gauss(0, 0.3), 1),
            "temperature_celsius": round(between([(30, 48), (60, 88), (90, 91), (120, 60)], second), 1),
        }


def machine_failure_warning(random: Random) -> Iterator[Row]:
    """Nine days of a machine, one value each five minutes; its bearing loses its load on the seventh."""
    start = START.replace(hour=0)
    for step in range(9 * 288):
        day = step / 288
        base = between([(0, 88), (6.4, 90), (6.9, 62), (8.2, 55), (8.4, 108.5), (8.6, 109), (8.8, 40)], day)
        value = base + 3 * math.sin(day * math.tau) + random.gauss(0, 1.0)
        moment = start + timedelta(minutes=5 * step)
        yield {"timestamp": moment.strftime("%Y-%m-%d %H:%M:%S"), "value": round(value, 3)}


def cold_room(random: Random) -> Iterator[Row]:
    """A compressor that fails for a quarter of an hour, and a sensor whose plug is loose at the end."""
    shape = [
        (0, 3.6),
        (200, 4.6),
        (420, 2.3),
        (700, 4.5),
        (900, 3.0),
        (1000, 5.5),
        (1400, 9.2),
        (2000, 8.1),
        (2300, 2.0),
    ]
    for second in range(0, 2400, 2):
        counts = round((between(shape, second) + random.gauss(0, 0.03)) / 0.0625)
        word = (counts & 0xFFF) << 4
        yield {"timestamp": at(second), "i2c.read_word(0, 72, 0)": "" if 2320 <= second < 2372 else word}


def tank_level_spi(random: Random) -> Iterator[Row]:
    """A tank that is emptied and filled again, and a probe whose wire is cut at the end."""
    shape = [(0, 600), (120, 470), (300, 800), (420, 560), (560, 440), (700, 700)]
    for second in range(0, 800, 2):
        counts = 0 if second >= 760 else round(between(shape, second) + random.gauss(0, 1.5))
        floating = random.getrandbits(14) << 10
        yield {"timestamp": at(second), "spi.exchange(0, 0, 98304, 3)": floating | counts}


ANSWERS = ((1, "7.21"), (3, "7.25"), (5, "7.32"), (7, "*ER"), (9, "7.36"), (11, "7.34"), (611, "7.33"), (613, "7.31"))


def ph_dosing(random: Random) -> Iterator[Row]:
    """Answers of a probe, a byte each 20 ms, ten minutes in which it says nothing in between."""
    read = "uart.read_byte(0)"
    yield {"timestamp": at(0), read: -1}
    for second, text in ANSWERS:
        start = second + 0.01 + random.randrange(3) * 0.02
        for place, byte in enumerate(f"{text}\r".encode()):
            yield {"timestamp": at(start + place * 0.02), read: byte}
        yield {"timestamp": at(start + (len(text) + 1) * 0.02), read: -1}
    yield {"timestamp": at(620), read: -1}


def fan_by_dac(random: Random) -> Iterator[Row]:
    """A cabinet that warms up and cools down, and a wire that breaks at the end."""
    shape = [(0, 28), (20, 33), (60, 45), (90, 52), (120, 31), (140, 26)]
    for second in range(160):
        millivolts = 500 + 10 * (between(shape, second) + random.gauss(0, 0.2))
        counts = 0 if second >= 145 else round(millivolts * 4095 / 3300)
        yield {"timestamp": at(second), "adc.read_channel(0)": counts}


def water_meter(random: Random) -> Iterator[Row]:
    """Two short uses, then a pipe that bursts; somebody presses the button an hour later."""
    yield {"timestamp": at(0), "gpio.read_pin(PULSE)": "LOW", "gpio.read_pin(RESET)": "LOW"}
    second = 30.0
    for uses, pause_s, gap_s in ((60, 400, 8), (25, 900, 8), (420, 600, 8)):
        for _ in range(uses):
            yield {"timestamp": at(second), "gpio.read_pin(PULSE)": "HIGH", "gpio.read_pin(RESET)": "LOW"}
            yield {"timestamp": at(second + 2), "gpio.read_pin(PULSE)": "LOW", "gpio.read_pin(RESET)": "LOW"}
            second += gap_s + random.randrange(3)
        second += pause_s
    for reset in ("HIGH", "LOW"):
        yield {"timestamp": at(second), "gpio.read_pin(PULSE)": "LOW", "gpio.read_pin(RESET)": reset}
        second += 60


MESSAGES = (
    (0, "cold3", "cold store 3 at -4 C and rising"),
    (95, "belt2", "belt 2 squeaks since Monday"),
    (240, "plc7", "self test passed"),
    (600, "gate1", "smell of ammonia near the compressor"),
)


def alarm_triage(random: Random) -> Iterator[Row]:
    """Four messages. A recording has no language model behind it: every answer is the declared fallback."""
    for second, source, body in MESSAGES:
        yield {"timestamp": at(second + random.randrange(3)), "source": source, "body": body}


RECORDINGS = (
    overheat_relay, hysteresis_thermostat, tank_pressure, irrigation, pump_dry_run, vibration_rms, door_left_open,
    stale_sensor_watchdog, leak_detector, vote_two_of_three, peak_shaving, light_by_dusk, host_monitor,
    machine_failure_warning, cold_room, tank_level_spi, ph_dosing, fan_by_dac, water_meter,
)  # fmt: skip
"""Recordings as CSV; alarm_triage is JSON Lines, to show that as well."""


def write_csv(path: Path, rows: Iterable[Row]) -> None:
    """Write rows that all have the columns of the first."""
    rows = list(rows)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """Write every recording beside its rule."""
    for make in RECORDINGS:
        write_csv(HERE / make.__name__ / "recording.csv", make(Random(make.__name__)))
    lines = (json.dumps(row) + "\n" for row in alarm_triage(Random("alarm_triage")))
    (HERE / "alarm_triage" / "recording.jsonl").write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
