"""How busy a machine is, against what `/proc` says and against work that this test does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from eyeflow.node.cluster.health import health_of
from eyeflow.node.io.host.use import LOOK_US, machine_use
from eyeflow.protocol.messages import HealthKind, HealthState


def test_memory_is_what_the_kernel_says() -> None:
    use = machine_use()()
    lines = (line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    kernel = {name: int(value.split()[0]) * 1024 for name, value in lines}
    assert use["memory_bytes"] == kernel["MemTotal"]
    assert abs(use["memory_used_bytes"] - (kernel["MemTotal"] - kernel["MemAvailable"])) < kernel["MemTotal"] / 4
    assert 1_000_000 < use["own_memory_bytes"] < use["memory_bytes"]


def test_work_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of this test passes a look at each question, so each one is about the time since the one before."""
    ticks = count(step=LOOK_US)
    read = machine_use(lambda: next(ticks))
    until = time.process_time() + 0.3
    while time.process_time() < until:
        pass
    assert read()["processor_hundredths"] > 100 / (psutil.cpu_count() or 1)


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[SimpleNamespace]]:
    """What the kernel says next: seconds in each state since the start."""
    told: list[SimpleNamespace] = []
    monkeypatch.setattr(psutil, "cpu_times", lambda: told.pop(0))
    yield told
    assert not told, "each was asked for"


def kernel(user: float, idle: float, iowait: float = 0.0, guest: float = 0.0) -> SimpleNamespace:
    return SimpleNamespace(
        _fields=("user", "idle", "iowait", "guest"), user=user, idle=idle, iowait=iowait, guest=guest
    )


def test_it_is_the_busy_share_since_the_last_look(times: list[SimpleNamespace]) -> None:
    now = [0]
    times += [kernel(10, 10), kernel(13, 16, iowait=1, guest=3), kernel(13, 16, iowait=1, guest=3), kernel(9, 9)]
    read = machine_use(lambda: now[0])
    assert read()["processor_hundredths"] == 0
    now[0] = LOOK_US - 1
    assert read()["processor_hundredths"] == 0, "too early: the kernel is not asked"
    seen = []
    for _ in range(3):
        now[0] += LOOK_US
        seen.append(read()["processor_hundredths"])
    assert seen == [3_000, 3_000, 3_000], "3 of 10 seconds; what stands still or went back says nothing"


def test_a_coordinator_is_told_as_a_port() -> None:
    use = {"processor_hundredths": 1_250, "memory_bytes": 8}
    (told,) = health_of({"machine": use})
    assert (told.kind, told.name, told.state) == (HealthKind.PORT, "machine", HealthState.RUNNING)
    assert dict(told.counters) == use
    assert health_of({"machine": {}}) == ()
