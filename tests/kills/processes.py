"""Real processes on loopback: a coordinator, nodes, Mosquitto and Kafka, with a proxy in front of each of the last three."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

from components.kafka import HOME, Kafka
from components.mosquitto import Mosquitto
from components.ports import free_port
from components.proxy import Proxy
from components.waiting import wait_until
from eyeflow.node.store.reader import AuditReader
from eyeflow.protocol.audit import decode_record
from eyeflow.protocol.audit_bodies import ExecutionBody
from kills.load import PATH, Load

WITHIN_S = 240.0
FAULTY = Path(__file__).with_name("faulty.py")
PAGE_RECORDS = 1000

RULE = """rule count {{
    version "1.0.0"
    record Event {{ id: int }}
    state n: int = 0
    on http "{path}" as a: Event {{
        n = n + 1
        mqtt.publish("out", "{{n}}")
    }}
    on mqtt "{topic}" as b: Event {{
        n = n + 1
        mqtt.publish("out", "{{n}}")
    }}
    on kafka "{topic}" as c: Event {{
        n = n + 1
        mqtt.publish("out", "{{n}}")
    }}
}}
"""
CONFIG = """
[node]
name = "{name}"
data_dir = "{data}"
[coordinator]
url = "{url}"
token_file = "{token}"
[grants]
allow = ["mqtt.*"]
[http]
port = {http}
[mqtt]
host = "127.0.0.1"
port = {mqtt}
[kafka]
{servers}
start = "earliest"
[offline]
buffer_backend = "{backend}"
max_buffer_size_mb = 2048
"""
EMBEDDED = "kafka_embedded"
OWN_BROKER = """
[kafka_embedded]
home = "{home}"
port = {port}
"""
"""The node reads from a broker of its own then, which ends with it; the load writes there."""


class Daemon:
    """One process that is started, killed, and started again. `fault` names one of `faulty.py`."""

    def __init__(self, directory: Path, name: str, fault: str, *arguments: str) -> None:
        self.name, self.log, self.starts = name, directory / f"{name}.log", 0
        program = [str(FAULTY), fault] if fault else ["-m", "eyeflow"]
        self._command = ["setpriv", "--pdeathsig", "KILL", sys.executable, *program, *arguments]
        self._environment = environment(directory)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.starts += 1
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log, env=self._environment)

    def kill(self) -> None:
        """End it as a power cut does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """End it in good order; return its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WITHIN_S)

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None


class Node(Daemon):
    """A node with its load, in a folder of its own."""

    def __init__(self, site: Site, name: str, backend: str, fault: str) -> None:
        self.site, self.topic, self.http_port = site, f"plant-{name}", free_port()
        self.data, self.config = site.directory / name, site.directory / f"{name}.toml"
        token = site.directory / f"{name}.token"
        token.touch(0o600)
        token.write_text(str(site.ask("POST", "/api/nodes/join-tokens", {})["token"]))
        text = CONFIG.format(
            name=name,
            data=self.data,
            url=f"http://127.0.0.1:{site.link.port}",
            token=token,
            http=self.http_port,
            mqtt=site.mqtt.port,
            servers="" if backend == EMBEDDED else f'bootstrap_servers = "127.0.0.1:{site.kafka.port}"',
            backend=backend,
        )
        self.kafka_servers = site.kafka_servers
        if backend == EMBEDDED:
            port = free_port()
            self.kafka_servers = f"127.0.0.1:{port}"
            text += OWN_BROKER.format(home=HOME, port=port)
        self.config.write_text(text)
        self._told = 0
        super().__init__(site.directory, name, fault, "node", "start", "--config", str(self.config))

    def load(self) -> Load:
        return Load(self.http_port, self.site.mosquitto.port, self.kafka_servers, self.topic)

    def rule(self) -> Path:
        """Write its rule."""
        file = self.site.directory / f"count-{self.name}.eye"
        text = RULE.format(path=PATH, topic=self.topic)
        file.write_text(text.replace("rule count", f"rule count_{self.name}"))
        return file

    def records(self, from_seq: int = 1) -> list[bytes]:
        """Return the audit as it lies on the disk."""
        with AuditReader(self.data) as reader:
            return list(reader.records(from_seq))

    @property
    def last_seq(self) -> int:
        with AuditReader(self.data) as reader:
            return reader.range[1]

    @property
    def public_key(self) -> bytes:
        with AuditReader(self.data) as reader:
            return reader.public_key

    def executed(self, from_seq: int = 1) -> set[int]:
        bodies = [decode_record(one).body for one in self.records(from_seq)]
        return {int(body.inputs[0]) for body in bodies if isinstance(body, ExecutionBody)}


class Site:
    """All of them. `fault`: what is wrong with the nodes; `backend` is theirs."""

    def __init__(self, directory: Path, nodes: int = 1, backend: str = "kafka", fault: str = "") -> None:
        self.directory = directory
        (directory / "home").mkdir()
        port = free_port()
        self.coordinator = Daemon(
            directory, "coordinator", "", "coordinator", "start", "--port", str(port), "--data-dir", str(directory / "c")
        )  # fmt: skip
        self._url = f"http://127.0.0.1:{port}"
        self.mosquitto = Mosquitto(directory / "mosquitto", ["allow_anonymous true", "max_queued_messages 0"])
        self.broker = Kafka(directory / "kafka")
        self.link, self.mqtt = Proxy(port), Proxy(self.mosquitto.port)
        self.kafka = Proxy(self.broker.port)
        self.broker.advertised_port = self.kafka.port
        self.kafka_servers = self.broker.servers
        self.nodes: list[Node] = []
        self._nodes, self._backend, self._fault = nodes, backend, fault

    def start(self) -> None:
        """Start all, and return once each node runs its rule."""
        eyeflow(self.directory, "keys", "new")
        self.coordinator.start()
        self.mosquitto.start()
        self.broker.start()
        wait_until(self._answers, "the coordinator answers", WITHIN_S)
        for number in range(self._nodes):
            node = Node(self, "abc"[number], self._backend, self._fault)
            if self._backend != EMBEDDED:
                self.broker.make(node.topic)
            self.nodes.append(node)
            node.start()
        for node in self.nodes:
            wait_until(lambda node=node: self._is_connected(node), f"{node.name} joins", WITHIN_S)  # type: ignore[misc]
            eyeflow(self.directory, "deploy", str(node.rule()), "--nodes", node.name)

    def close(self) -> None:
        for daemon in (*self.nodes, self.coordinator):
            if daemon.runs:
                daemon.kill()
        for proxy in (self.link, self.mqtt, self.kafka):
            proxy.close()
        self.mosquitto.stop()
        self.broker.kill()

    def ask(self, method: str, path: str, body: object = None) -> dict[str, object]:
        """Ask the coordinator. Raises OSError."""
        token = (self.directory / "c" / "admin-token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._url}{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=WITHIN_S) as reply:
            return dict(json.loads(reply.read()))

    def kept(self, node: Node) -> list[bytes]:
        """Return what the coordinator keeps of a node."""
        found: list[bytes] = []
        while True:
            after = decode_record(found[-1]).seq if found else 0
            page = self.ask("GET", f"/api/nodes/{node.name}/records?limit={PAGE_RECORDS}&after={after}")["records"]
            assert isinstance(page, list)
            found += [base64.b64decode(one["record"]) for one in page]
            if len(page) < PAGE_RECORDS:
                return found

    def copied_seq(self, node: Node) -> int:
        """How far the copy is; 0 while nobody answers."""
        try:
            copy = self.ask("GET", f"/api/nodes/{node.name}").get("copy")
        except OSError:
            return 0
        return int(copy["seq"]) if isinstance(copy, dict) else 0

    def _answers(self) -> bool:
        try:
            return bool(self.ask("GET", "/api/nodes"))
        except OSError:
            return False

    def _is_connected(self, node: Node) -> bool:
        try:
            return bool(self.ask("GET", f"/api/nodes/{node.name}")["connected"])
        except OSError:
            return False


def environment(directory: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("EYEFLOW_", "XDG_"))}
    return kept | {"HOME": str(directory / "home"), "NO_COLOR": "1"}


def eyeflow(directory: Path, *arguments: str) -> str:
    """Run a command; return what it printed. It must succeed."""
    command = [sys.executable, "-m", "eyeflow", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(directory), timeout=WITHIN_S)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout
