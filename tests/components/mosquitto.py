"""A real MQTT broker for tests: Mosquitto on a free port of the loopback, with a store that survives SIGKILL."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from components.ports import free_port
from components.waiting import until

STOP_WAIT_S = 1.0
STOP_ATTEMPTS_MAX = 30


def _executable() -> str:
    found = shutil.which("mosquitto", path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")
    assert found, "mosquitto is not installed: run scripts/install-test-deps.sh"
    return found


class Mosquitto:
    """`start`, `kill` (SIGKILL) and `stop`; the port stays the same. `settings` are lines of mosquitto.conf."""

    def __init__(self, directory: Path, settings: Sequence[str] = ("allow_anonymous true",)) -> None:
        self.port = free_port()
        self._directory = directory
        self._settings = settings
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start the broker and return when it accepts connections."""
        self._directory.mkdir(parents=True, exist_ok=True)
        config = self._directory / "mosquitto.conf"
        lines = [
            f"listener {self.port} 127.0.0.1",
            "user root",
            "persistence true",
            f"persistence_location {self._directory}/",
            "log_dest stderr",
            "log_type all",
            *self._settings,
        ]
        config.write_text("\n".join(lines) + "\n")
        self._process = subprocess.Popen([_executable(), "-c", str(config)], stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        log = []
        for line in self._process.stderr:
            log.append(line)
            if "running" in line:
                break
        else:
            self._process.wait()
            self._process.stderr.close()
            raise AssertionError("mosquitto did not start:\n" + "".join(log))
        # Nobody reads what follows: a full pipe would stop the broker.
        self._drain = subprocess.Popen(["cat"], stdin=self._process.stderr, stdout=subprocess.DEVNULL)
        self._process.stderr.close()

    async def save(self) -> None:
        """Make the broker write its store to disk, which it otherwise does some time after it confirmed a message."""
        assert self._process is not None
        store = self._directory / "mosquitto.db"
        before = store.stat().st_ino if store.exists() else 0
        self._process.send_signal(signal.SIGUSR1)
        # It writes a new file and renames it.
        await until(lambda: store.exists() and store.stat().st_ino != before)

    def kill(self) -> None:
        """End the broker as a power cut would."""
        self._end(force=True)

    def stop(self) -> None:
        """End the broker in order; without effect when it does not run."""
        self._end(force=False)

    def _end(self, *, force: bool) -> None:
        if self._process is None:
            return
        if force:
            self._process.kill()
        for _ in range(STOP_ATTEMPTS_MAX):
            # Mosquitto forgets a SIGTERM that comes between its "running" and its main loop: it is asked again.
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_WAIT_S)
                break
        else:
            self._process.kill()
            self._process.wait()
        self._drain.wait()
        self._process = None

    def __enter__(self) -> Mosquitto:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()
