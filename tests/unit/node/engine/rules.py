"""Rules that several tests of the engine run, and how a test of a coroutine is run."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

S = 1_000_000
"""Microseconds of a second."""

COUNTER = """
rule counter {
    version "1.0.0"
    record Reading { temp: float }
    state n: int = 0
    on mqtt "t" as r: Reading
    n = n + 1
    if r.temp > 80.0 { log.info("hot {n}") }
}
"""
"""It counts events, and says those that are hot."""

TELLER = """
rule counter {
    version "1.0.0"
    record Reading { temp: float }
    state n: int = 0
    on mqtt "t" as r: Reading
    n = n + 1
    log.info("{n}")
}
"""
"""It counts events, and says each."""

RELAY = """
rule relay {
    version "1.0.0"
    pin RELAY: output
    record Reading { temp: float }
    on mqtt "t" as r: Reading
    if r.temp > 80.0 { gpio.set_pin(RELAY, HIGH) } else { gpio.set_pin(RELAY, LOW) }
}
"""
"""It commands a pin with each event."""

EMITTER = """
rule emitter {
    version "1.0.0"
    enum Mode { OFF, ON }
    record Reading { temp: float }
    on mqtt "t" as r: Reading
    emit seen(temp: r.temp, mode: ON, wait: 1500ms, name: "boiler")
}
"""
LISTENER = """
rule listener {
    version "1.0.0"
    enum Mode { OFF, ON }
    record Seen { temp: float
        mode: Mode
        wait: duration
        name: text(16) }
    state seen: Mode = OFF
    state wait: duration = 0s
    on event "seen" as s: Seen
    seen = s.mode
    wait = s.wait
    log.info("{s.name} {s.temp:1}")
}
"""


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


def rule(name: str, body: str, *, priority: str = "normal", on: str = 'mqtt "t" as r: Reading', head: str = "") -> str:
    record = "record Reading { temp: float }" if "Reading" in on else ""
    return f'rule {name} {{\n version "1.0.0"\n priority {priority}\n {record}\n {head}\n on {on}\n {body}\n}}\n'
