"""Two real coordinators and two real nodes on one PostgreSQL database. One coordinator is killed in a deployment."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.postgres import running_server
from components.waiting import wait_until

CONFIG = """\
[node]
name = "{name}"
data_dir = "data"

[coordinator]
others = ["{other}"]

[capabilities]
grant = ["gpio.*"]
"""


class Fleet:
    """Processes of the test; `ask` runs a command of a user who talks to one coordinator."""

    def __init__(self, environment: dict[str, str], directory: Path) -> None:
        self.environment, self.directory = environment, directory
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, *args: str, **env: str) -> subprocess.Popen[bytes]:
        with (self.directory / f"{name}.log").open("wb") as log:
            started = subprocess.Popen(
                [sys.executable, "-m", "eyeflow", *args],
                env=self.environment | env,
                cwd=self.directory,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.running.append(started)
        return started

    def told(self, name: str) -> str:
        return (self.directory / f"{name}.log").read_text()

    def coordinator(self, name: str, database: str) -> tuple[subprocess.Popen[bytes], str]:
        data_dir = self.directory / name
        process = self.start(
            name, "coordinator", "start", "--port", "0", "--data-dir", str(data_dir), "--json",
            EYEFLOW_COORDINATOR_STORE=database,
        )  # fmt: skip
        wait_until(lambda: '"url"' in self.told(name) or process.poll() is not None, f"coordinator {name} listens")
        line = next(one for one in self.told(name).splitlines() if one.startswith('{"url"'))
        return process, str(json.loads(line)["url"])

    def node(self, name: str, url: str, other: str, token: str) -> subprocess.Popen[bytes]:
        directory = self.directory / f"node-{name}"
        directory.mkdir()
        config = directory / "eyeflow-svm.toml"
        config.write_text(CONFIG.format(name=name, other=other))
        joined = self.ask("node", "join", url, "--token", token, "--config", str(config))
        assert joined.returncode == 0, joined.stderr.decode()
        return self.start(name, "node", "start", "--config", str(config))

    def ask(self, *args: str, **env: str) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "eyeflow", *args]
        return subprocess.run(
            command, env=self.environment | env, cwd=self.directory, capture_output=True, timeout=180, check=False
        )

    def asked(self, url: str, token: str, *args: str) -> Any:
        done = self.ask(*args, "--json", EYEFLOW_URL=url, EYEFLOW_TOKEN=token)
        assert done.stdout, done.stderr.decode()
        return json.loads(done.stdout)

    def end(self) -> None:
        for process in self.running:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait(60)


@contextlib.contextmanager
def fleet(environment: dict[str, str], directory: Path) -> Iterator[Fleet]:
    made = Fleet(environment, directory)
    try:
        yield made
    finally:
        made.end()


def test_a_coordinator_that_is_killed_in_a_deployment_is_replaced_by_another(
    environment: dict[str, str], tmp_path: Path, rule: Path
) -> None:
    with running_server() as server, fleet(environment, tmp_path) as all_:
        database = server.url()
        first, first_url = all_.coordinator("first", database)
        token = (tmp_path / "first" / "admin-token").read_text().strip()
        (tmp_path / "second").mkdir(mode=0o700)
        shutil.copy2(tmp_path / "first" / "cluster-key", tmp_path / "second")
        _, second_url = all_.coordinator("second", database)
        assert all_.ask("keys", "new", "--trust", "--cluster", EYEFLOW_URL=second_url).returncode in (0, 2)
        nodes = {}
        for name in ("one", "two"):
            join = all_.asked(first_url, token, "coordinator", "join-token")["token"]
            nodes[name] = all_.node(name, first_url, second_url, join)

        def connected(url: str) -> int:
            return int(all_.asked(url, token, "status")["cluster"]["connected"])

        wait_until(lambda: connected(second_url) == 2, "both nodes, as the second coordinator tells")
        nodes["two"].send_signal(signal.SIGSTOP)  # it answers late: the deployment stays open
        started = all_.asked(first_url, token, "deploy", str(rule), "--all", "--no-wait")
        os.kill(first.pid, signal.SIGKILL)
        nodes["two"].send_signal(signal.SIGCONT)
        deployment = started["deployment"]["id"]

        def state() -> str:
            return str(all_.asked(second_url, token, "deployments", deployment)["state"])

        wait_until(lambda: state() == "succeeded", "the deployment ended by the second coordinator", 180)
