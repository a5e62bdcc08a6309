"""A coordinator as a process, and many real nodes in a few processes, with links over real WebSockets on loopback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

from bench.measure import eyeflow
from bench.plant import SIGNER, program
from eyeflow.svm.signing import public_key_of

WAIT_S = 600.0


class Cluster:
    """`call` is the REST API. `hosts` are the processes of the nodes."""

    def __init__(self, folder: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("EYEFLOW_", "XDG_"))}
        self.folder, self.environment = folder, kept | {"HOME": str(folder)}
        self.hosts: list[subprocess.Popen[str]] = []
        self.coordinator = self._started()
        self.client = httpx.Client(base_url=self.url, headers=self._credential(), timeout=600.0)
        self.call("POST", "/api/keys", {"publicKey": public_key_of(SIGNER).hex(), "name": "bench"})

    def _started(self, port: str = "0") -> subprocess.Popen[str]:
        command = eyeflow(
            "coordinator", "start", "--port", port, "--data-dir", str(self.folder / "coordinator"), "--json"
        )
        process = subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        self.url: str = json.loads(process.stdout.readline())["url"]
        return process

    def end_coordinator(self) -> None:
        """Let the coordinator end; `start_again` begins it anew at the same address."""
        self.coordinator.terminate()
        self.coordinator.wait()
        assert self.coordinator.stdout is not None
        self.coordinator.stdout.close()

    def start_again(self) -> None:
        """Start the coordinator that was ended."""
        self.coordinator = self._started(self.url.rpartition(":")[2])

    def _credential(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {(self.folder / 'coordinator' / 'admin-token').read_text().strip()}"}

    def call(self, method: str, path: str, body: object = None, data: bytes | None = None) -> Any:
        """Ask the coordinator; raises for anything but a success."""
        kind = {"Content-Type": "application/octet-stream"} if data is not None else None
        reply = self.client.request(method, path, json=body, content=data, headers=kind)
        if reply.status_code >= 400:
            raise RuntimeError(f"{method} {path}: {reply.status_code} {reply.text[:500]}")
        return reply.json() if reply.content else None

    def upload(self, version: int, rule: str) -> str:
        """Upload a program; returns its id."""
        return str(self.call("POST", "/api/programs", data=program(version, rule))["id"])

    def give_tokens(self, names: Sequence[str]) -> None:
        """Let these nodes join: each has its token in NAME.token of the folder."""
        for name in names:
            token = self.folder / f"{name}.token"
            token.write_text(self.call("POST", "/api/nodes/join-tokens", {})["token"])
            token.chmod(0o600)

    def host(self, names: Sequence[str], per_s: float = 0, timid: Sequence[str] = ()) -> None:
        """Start a process with these nodes; `until_ready` waits for their links."""
        self.give_tokens(names)
        command = [sys.executable, "-m", "bench.node_host"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        process = subprocess.Popen(command, env=self.environment, text=True, **pipes)  # type: ignore[call-overload]
        self.hosts.append(process)
        orders = {"url": self.url, "folder": str(self.folder), "names": names, "per_s": per_s, "timid": timid}
        self._tell(process, json.dumps(orders))

    def stall(self, host: int) -> None:
        """Let a process of nodes stand still: its connections take nothing more, and nobody closes them."""
        self.hosts[host].send_signal(signal.SIGSTOP)

    def go_on(self, host: int) -> None:
        """Let a process of nodes that stands still go on."""
        self.hosts[host].send_signal(signal.SIGCONT)

    def until_ready(self) -> None:
        """Return once all nodes have their link."""
        for process in self.hosts:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                raise RuntimeError("a process of nodes did not start")

    def _tell(self, process: subprocess.Popen[str], line: str) -> None:
        assert process.stdin is not None
        process.stdin.write(line + "\n")
        process.stdin.flush()

    def deploy(self, changes: Sequence[dict[str, Any]], strategy: str, **options: int) -> str:
        """Deploy to all nodes; returns the id."""
        body = {"all": True, "strategy": strategy, "changes": changes, "options": options, "deadlineS": 3600}
        return str(self.call("POST", "/api/deployments", body)["id"])

    def status(self) -> subprocess.CompletedProcess[str]:
        """Run `eyeflow status` against the coordinator."""
        environment = self.environment | {"EYEFLOW_URL": self.url}
        return subprocess.run(eyeflow("status", "--json"), env=environment, capture_output=True, text=True, check=True)

    def ended(self, deployment_id: str, look_s: float = 0.2) -> dict[str, Any]:
        """Return a deployment once it is over."""
        return self.until(deployment_id, lambda found: bool(found["over"]), look_s)

    def installed(self, deployment_id: str, count: int, look_s: float = 0.2) -> dict[str, Any]:
        """Return a deployment once so many nodes have what it brings."""
        return self.until(deployment_id, lambda found: found["counts"].get("installed", 0) >= count, look_s)

    def until(self, deployment_id: str, fits: Callable[[dict[str, Any]], bool], look_s: float) -> dict[str, Any]:
        """Return a deployment once it is as it shall be."""
        ends = time.monotonic() + WAIT_S
        while time.monotonic() < ends:
            found: dict[str, Any] = self.call("GET", f"/api/deployments/{deployment_id}")
            if fits(found):
                return found
            time.sleep(look_s)
        raise RuntimeError(f"deployment {deployment_id} is {found['state']}: {found['counts']}")

    def stopped(self) -> dict[str, Any]:
        """Stop the nodes; returns what each one tells of itself."""
        for process in self.hosts:
            self._tell(process, "stop")
        told: dict[str, Any] = {}
        for process in self.hosts:
            assert process.stdout is not None
            told |= json.loads(process.stdout.readline())["nodes"]
            process.wait()
        return told

    def spent_s(self) -> float:
        """Return the coordinator's processor time so far."""
        spent = psutil.Process(self.coordinator.pid).cpu_times()
        return float(spent.user + spent.system)

    def close(self) -> None:
        """End everything that runs."""
        self.client.close()
        for process in self.hosts:  # their nodes obey SIGTERM, and they themselves wait for a line
            process.kill()
            process.wait()
        self.coordinator.terminate()
        for process in (self.coordinator, *self.hosts):
            process.wait()
            for pipe in filter(None, (process.stdin, process.stdout)):
                pipe.close()


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Have a cluster for as long as it is needed."""
    with tempfile.TemporaryDirectory() as folder:
        made = Cluster(Path(folder))
        try:
            yield made
        finally:
            made.close()
