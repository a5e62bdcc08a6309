"""How busy this machine is: what a node tells of it, with or without a rule that asks."""

from __future__ import annotations

from collections.abc import Callable

from eyeflow.base.clock import NowUs, steady_clock_us

LOOK_US = 1_000_000
"""The use of processors is an average over at least this long; whoever asks sooner gets the last one."""


def machine_use(now_us: NowUs = steady_clock_us) -> Callable[[], dict[str, int]]:
    """Return a reader of `processor_hundredths` (of a percent, of all processors together) and of bytes of memory.

    `memory_used_bytes` of `memory_bytes` are what all processes have, `own_memory_bytes` what this one has. The first
    use of processors is that since this call.
    """
    import psutil  # the node's commands import the world, and ask it for nothing

    process = psutil.Process()
    shown, looked_us = 0, now_us()
    before = _times(psutil.cpu_times())

    def read() -> dict[str, int]:
        try:
            return measured()
        except (OSError, psutil.Error):  # a sandbox may hide what the kernel tells: then nothing is told
            return {}

    def measured() -> dict[str, int]:
        nonlocal shown, looked_us, before
        if now_us() - looked_us >= LOOK_US:
            looked_us, after = now_us(), _times(psutil.cpu_times())
            busy, total = after[0] - before[0], after[1] - before[1]
            shown, before = (round(10_000 * min(1.0, max(0.0, busy / total))) if total > 0 else shown), after
        memory = psutil.virtual_memory()
        return {
            "processor_hundredths": shown,
            "memory_used_bytes": memory.total - memory.available,
            "memory_bytes": memory.total,
            "own_memory_bytes": process.memory_info().rss,
        }

    return read


def _times(times: object) -> tuple[float, float]:
    """Return how long processors were busy, and for how long there were any, in seconds since the machine started.

    Time of guests is a part of the user's. Waiting for a disk is no work.
    """
    named = {name: float(getattr(times, name)) for name in times._fields if not name.startswith("guest")}  # type: ignore[attr-defined]
    total = sum(named.values())
    return total - named.get("idle", 0.0) - named.get("iowait", 0.0), total
