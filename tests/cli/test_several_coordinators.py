"""Two real coordinators and two real nodes on one PostgreSQL database. One coordinator is killed in a deployment."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.postgres import running_server
from components.waiting import wait_until

from .conftest import Command

LONG_S = 180.0


class Processes:
    """Processes of the test, each with a log of its own. All end with the block."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.environment, self.folder = environment, folder
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *arguments: str, **env: str) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            self.running[name] = subprocess.Popen(
                [sys.executable, "-m", "eyeflow", *arguments], env=self.environment | env, stdout=log, stderr=log
            )

    def told(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def coordinator(self, name: str, database: str) -> str:
        """Start a coordinator and return its URL."""
        arguments = ("coordinator", "start", "--port", "0", "--data-dir", str(self.folder / name), "--json")
        self.start(name, *arguments, EYEFLOW_COORDINATOR_STORE=database)
        wait_until(lambda: "url" in self.told(name) or self.running[name].poll() is not None, f"{name} listens")
        line = next((one for one in self.told(name).splitlines() if one.startswith("{")), "")
        assert line, self.told(name)
        return str(json.loads(line)["url"])

    def signal(self, name: str, number: int) -> None:
        self.running[name].send_signal(number)


@contextlib.contextmanager
def processes(environment: dict[str, str], folder: Path) -> Iterator[Processes]:
    made = Processes(environment, folder)
    try:
        yield made
    finally:
        for process in made.running.values():
            process.kill()
            process.wait()


def test_a_coordinator_that_is_killed_in_a_deployment_is_replaced_by_another(
    environment: dict[str, str], eyeflow: Command, tmp_path: Path, rule: Path
) -> None:
    assert eyeflow("keys", "new").code == 0
    with running_server() as server, processes(environment, tmp_path) as all_:
        database = server.url()
        first = all_.coordinator("first", database)
        (tmp_path / "second").mkdir(mode=0o700)
        shutil.copy2(tmp_path / "first" / "cluster-key", tmp_path / "second")
        second = all_.coordinator("second", database)

        def asked(url: str, *arguments: str) -> Any:
            ran = eyeflow(*arguments, "--json", env={"EYEFLOW_COORDINATOR": url})
            assert ran.code == 0, ran.err
            return ran.json

        for node in ("one", "two"):
            config = tmp_path / node / "eyeflow-svm.toml"
            assert eyeflow("node", "init", node, "--out", config).code == 0
            token = asked(second, "coordinator", "join-token")["token"]
            assert eyeflow("node", "join", first, "--token", token, "--config", config).code == 0
            all_.start(node, "node", "start", "--config", str(config), EYEFLOW_COORDINATOR_OTHERS=second)

        def connected() -> set[str]:
            return {one["name"] for one in asked(second, "status")["nodes"] if one["connected"]}

        wait_until(lambda: connected() == {"one", "two"}, "the second coordinator sees the links of the first", LONG_S)
        all_.signal("two", signal.SIGSTOP)  # it answers late: the deployment stays open
        deployment = asked(first, "deploy", str(rule), "--all", "--no-wait")["id"]
        all_.signal("first", signal.SIGKILL)
        assert asked(second, "deployments", "show", deployment)["over"] is False
        all_.signal("two", signal.SIGCONT)

        def state() -> str:
            return str(asked(second, "deployments", "show", deployment)["state"])

        wait_until(lambda: state() == "succeeded", "the second coordinator ends the deployment", LONG_S)
        assert connected() == {"one", "two"}
        for name in ("first", "second", "one", "two"):
            assert "Traceback" not in all_.told(name), all_.told(name)
