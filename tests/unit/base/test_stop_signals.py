"""SIGHUP ends both daemons as SIGTERM does; the control, which does not know it, dies of it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from components.waiting import HANG_S

UNIT = Path(__file__).parents[1]
DAEMONS = [UNIT / "node" / "io" / "http" / "webhook_process.py", UNIT / "coordinator" / "coordinator_process.py"]


def ignore_hangups() -> None:
    """What `nohup` does."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def ended(
    daemon: Path,
    directory: Path,
    signals: list[signal.Signals],
    *options: str,
    before: Callable[[], None] | None = None,
) -> int:
    directory.mkdir(mode=0o700)
    command = [sys.executable, str(daemon), str(directory), *options]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, preexec_fn=before, **streams) as process:  # type: ignore[call-overload]
        try:
            assert process.stdout.readline(), "it runs"
            for one in signals:
                process.send_signal(one)
            return int(process.wait(HANG_S))
        finally:
            process.kill()


@pytest.mark.parametrize("daemon", DAEMONS, ids=lambda path: path.stem)
def test_a_hangup_ends_a_daemon_cleanly(tmp_path: Path, daemon: Path) -> None:
    assert ended(daemon, tmp_path / "data", [signal.SIGHUP]) == 0


@pytest.mark.parametrize("daemon", DAEMONS, ids=lambda path: path.stem)
def test_control_a_daemon_that_does_not_know_it_dies_of_it(tmp_path: Path, daemon: Path) -> None:
    assert ended(daemon, tmp_path / "data", [signal.SIGHUP], "deaf") == -signal.SIGHUP


NOTICED = """
import asyncio, signal
from eyeflow.base.stop_signals import stop_signals

async def main():
    got = []
    with stop_signals(got.append):
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGTERM)
        await asyncio.sleep(0)
        while signal.SIGTERM not in got:
            await asyncio.sleep(0)
    print(*got)

asyncio.run(main())
"""


@pytest.mark.parametrize(("before", "got"), [(None, "1 15"), (ignore_hangups, "15")])
def test_what_nohup_ignores_stays_ignored(before: Callable[[], None] | None, got: str) -> None:
    done = subprocess.run([sys.executable, "-c", NOTICED], preexec_fn=before, capture_output=True, text=True)
    assert done.stdout.strip() == got, done.stderr
