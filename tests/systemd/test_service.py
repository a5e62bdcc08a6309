"""The unit of a node under a real systemd, in namespaces of its own: `make test-systemd`, as root on Linux.

systemd is process 1 of a PID namespace. Whatever it would touch of this machine lies below file systems in memory that
only its mount namespace sees; without them its start would empty this machine's /tmp.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from components.kafka import HOME
from components.ports import free_port
from components.waiting import wait_until

HIDDEN = "/tmp /run /var/tmp /var/log /var/lib/systemd /var/lib/private /etc/systemd/system"
BOOT = f"""
set -e
for folder in {HIDDEN}; do mkdir -p $folder; mount -t tmpfs tmpfs $folder; done
mkdir -p /run/lock
cp "$1"/eyeflow-node-a.service /etc/systemd/system/
exec env container=docker /lib/systemd/systemd --system --unit=eyeflow-node-a.service --log-target=null --show-status=no
"""
UNIT = "eyeflow-node-a.service"
WATCHDOG_S = 4


class Booted:
    """A systemd with one unit. `run` runs a command beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        command = [
            "unshare",
            "--pid",
            "--fork",
            "--mount",
            "--mount-proc",
            "--kill-child",
            "sh",
            "-c",
            BOOT,
            "-",
            folder,
        ]
        self._parent = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: self._child() > 0, "systemd starts")
        self.pid = self._child()

    def _child(self) -> int:
        children = Path(f"/proc/{self._parent.pid}/task/{self._parent.pid}/children").read_text().split()
        return int(children[0]) if children else 0

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        enter = ("nsenter", "-t", str(self.pid), "--mount", "--pid")
        return subprocess.run([*enter, *command], capture_output=True, text=True, check=False)

    def shows(self, name: str) -> str:
        return self.run("systemctl", "show", "-P", name, UNIT).stdout.strip()

    def close(self) -> None:
        self._parent.kill()
        self._parent.wait()


@contextmanager
def booted_with(settings: str = "", change: tuple[str, str] = ("", "")) -> Iterator[Booted]:
    """Boot the unit of a node with these settings beside its name; `change` replaces a part of the unit."""
    with tempfile.TemporaryDirectory(dir="/root", prefix="eyeflow-") as name:
        folder = Path(name)
        config = folder / "eyeflow-svm.toml"
        config.write_text(f'[node]\nname = "node-a"\n\n{settings}', encoding="utf-8")
        (folder / "data").mkdir()
        printed = subprocess.run(
            [sys.executable, "-m", "eyeflow", "node", "install-service", "--config", config],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        text = printed.stdout.replace("WatchdogSec=60", f"WatchdogSec={WATCHDOG_S}").replace(*change)
        (folder / UNIT).write_text(text, encoding="utf-8")
        systemd = Booted(folder)
        try:
            yield systemd
        finally:
            systemd.close()


@pytest.fixture
def booted() -> Iterator[Booted]:
    with booted_with() as systemd:
        yield systemd


def status_of(booted: Booted) -> dict[str, Any]:
    """Return what the node tells of itself, as a user beside the service asks for it; nothing before it does."""
    file = str(booted.folder / "eyeflow-svm.toml")
    asked = booted.run(sys.executable, "-m", "eyeflow", "node", "status", "--json", "--config", file)
    return json.loads(asked.stdout) if asked.returncode == 0 else {}


def test_a_broker_of_the_node_runs_in_the_sandbox_and_ends_with_it() -> None:
    """Java writes the code that it runs, which the sandbox of other nodes forbids."""
    port = free_port()
    kafka = f'[offline]\nbuffer_backend = "kafka_embedded"\n\n[kafka_embedded]\nhome = "{HOME}"\nport = {port}\n'
    with booted_with(kafka) as systemd:
        found: dict[str, Any] = {}

        def is_up() -> bool:
            found.update({one["name"]: one for one in status_of(systemd).get("services", [])})
            return all(found.get(name, {}).get("state") == "up" for name in ("kafka_embedded", "kafka_copies"))

        wait_until(is_up, "broker and copies are up")
        assert found["kafka_embedded"]["counters"]["starts"] == 1, found
        pid = str(found["kafka_copies"]["counters"]["pid"])
        assert systemd.run("ps", "-o", "ni=", "-p", pid).stdout.strip() == "19", "copies give way here, too"
        assert systemd.shows("MemoryDenyWriteExecute") == "no"
        copied = status_of(systemd)["buffer"]["destinations"]
        assert [one["name"] for one in copied] == ["kafka"] and copied[0]["seq"] > 0
        assert systemd.run("systemctl", "kill", "--kill-who=main", "--signal=KILL", UNIT).returncode == 0
        wait_until(
            lambda: systemd.shows("NRestarts") == "1" and is_up(), "systemd ends what is left, and starts both again"
        )
        assert systemd.run("systemctl", "stop", UNIT).returncode == 0
        assert (systemd.shows("ActiveState"), systemd.shows("Result")) == ("inactive", "success")
        assert list((systemd.folder / "data" / "kafka" / "data").glob(".kafka_cleanshutdown")), "it ended in good order"


def test_control_java_does_not_start_where_the_sandbox_forbids_its_code() -> None:
    kafka = f'[offline]\nbuffer_backend = "kafka_embedded"\n\n[kafka_embedded]\nhome = "{HOME}"\nport = {free_port()}\n'
    with booted_with(kafka, ("MemoryDenyWriteExecute=no", "MemoryDenyWriteExecute=yes")) as systemd:

        def fails() -> bool:
            found = {one["name"]: one for one in status_of(systemd).get("services", [])}
            return found.get("kafka_embedded", {}).get("state") == "failed"

        wait_until(fails, "the broker fails, and the node goes on")
        assert systemd.shows("ActiveState") == "active"


def test_it_starts_is_watched_and_stops_in_good_order(booted: Booted) -> None:
    wait_until(lambda: booted.shows("ActiveState") == "active", "the node tells that it is ready")
    assert booted.shows("StatusText") == "node node-a runs"
    status = booted.run(sys.executable, "-m", "eyeflow", "node", "status", "--json", "--config", str(booted.folder / "eyeflow-svm.toml"))  # fmt: skip
    told = json.loads(status.stdout)
    assert told["node"] == "node-a" and told["machine"]["memoryBytes"] > 0, "the sandbox lets it see its machine"

    first = booted.shows("MainPID")
    pids = Path(f"/proc/{booted.pid}/task/{booted.pid}/children").read_text().split()
    nodes = [pid for pid in pids if "eyeflow" in Path(f"/proc/{pid}/cmdline").read_text()]
    (node,) = nodes
    caps = re.search(r"^CapEff:\s+(\w+)$", Path(f"/proc/{node}/status").read_text(), re.MULTILINE)
    assert caps is not None and int(caps[1], 16) == 0, "it has no capability, although root runs it"
    os.kill(int(node), signal.SIGSTOP)
    wait_until(
        lambda: booted.shows("NRestarts") == "1" and booted.shows("ActiveState") == "active", "it is started again"
    )
    assert booted.shows("MainPID") != first

    assert booted.run("systemctl", "stop", UNIT).returncode == 0
    assert (booted.shows("ActiveState"), booted.shows("Result")) == ("inactive", "success")
