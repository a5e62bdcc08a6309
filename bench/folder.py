"""300 rules to one node as one deployment, beside the same rules one by one; real processes on this machine.

Processor time is that of the coordinator, the node and the commands: on a busy machine the wall tells of others, too.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.measure import Report, Row, eyeflow

RULES = 300
ALONE = 10
"""Rules that are deployed one by one; 300 would take minutes."""
WALL_S_MAX = 10.0

RULE = """\
rule r{number} {{
    version "1.0.0"

    param level: float = 1.0 in 0.0..10.0
    state ticks: int = 0

    record Reading {{
        lux: float
    }}

    on event "light" as reading: Reading

    ticks = ticks + 1
    if reading.lux > level {{
        log.warn("tick {{ticks}}, level {{level:1}}")
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds on the wall and of the processor."""

    wall_s: float
    processor_s: float


class Cluster:
    """A coordinator with one node, as processes in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("EYEFLOW_", "XDG_"))}
        self.folder, self.environment = folder, kept | {"HOME": str(folder)}
        self.processes: list[subprocess.Popen[bytes]] = []

    def run(self, *arguments: str) -> tuple[str, float]:
        """Run a command; returns what it printed and its processor time."""
        before = os.times()
        done = subprocess.run(
            eyeflow(*arguments), env=self.environment, cwd=self.folder, capture_output=True, text=True, check=True
        )
        after = os.times()
        spent_s = after.children_user + after.children_system - before.children_user - before.children_system
        return done.stdout, spent_s

    def start(self, *arguments: str) -> Path:
        """Start a process; returns the file with what it prints."""
        log = self.folder / f"{arguments[0]}.log"
        with log.open("wb") as out:
            command = eyeflow(*arguments)
            self.processes.append(
                subprocess.Popen(command, env=self.environment, cwd=self.folder, stdout=out, stderr=subprocess.DEVNULL)
            )
        return log

    def begin(self) -> None:
        """Start both, and wait until the node has its link."""
        log = self.start("coordinator", "start", "--port", "0", "--json")
        while not log.read_text().endswith("\n"):
            time.sleep(0.1)
        url, config = json.loads(log.read_text())["url"], str(self.folder / "node-a" / "eyeflow-svm.toml")
        self.run("keys", "new")
        self.run("node", "init", "node-a", "--out", config)
        token = json.loads(self.run("coordinator", "join-token", "--json")[0])["token"]
        self.run("node", "join", url, "--token", token, "--config", config)
        self.start("node", "start", "--config", config)
        while not json.loads(self.run("status", "--json")[0])["connected"]:
            time.sleep(0.1)

    def took(self, *commands: tuple[str, ...]) -> Took:
        """Run commands one after the other and return what they took, everywhere."""
        before_s, began_s = self._spent_s(), time.perf_counter()
        commands_s = sum(self.run(*command)[1] for command in commands)
        return Took(time.perf_counter() - began_s, commands_s + self._spent_s() - before_s)

    def _spent_s(self) -> float:
        spent = [psutil.Process(process.pid).cpu_times() for process in self.processes]
        return sum(one.user + one.system for one in spent)


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Have a cluster for as long as it is needed."""
    with tempfile.TemporaryDirectory() as folder:
        made = Cluster(Path(folder))
        try:
            made.begin()
            yield made
        finally:
            for process in reversed(made.processes):
                process.terminate()
                process.wait()


def report() -> Report:
    """Measure one deployment of all, the same once more, and some rules one by one."""
    with cluster() as made:
        for name, numbers in (("rules", range(RULES)), ("alone", range(RULES, RULES + ALONE))):
            (made.folder / name).mkdir()
            for number in numbers:
                (made.folder / name / f"r{number}.eye").write_text(RULE.format(number=number))
        files = [str(path) for path in sorted((made.folder / "alone").iterdir())]
        alone = made.took(*(("deploy", path, "--all", "--json") for path in files))
        whole = made.took(("deploy", "rules", "--all", "--json"))
        again = made.took(("deploy", "rules", "--all", "--json"))
    each_s = alone.processor_s / ALONE
    rows = (
        Row(f"{RULES} rules as one deployment", whole.processor_s, "s processor", f"{whole.wall_s:.1f} s on the wall"),
        Row("the same again: nothing to change", again.processor_s, "s processor", f"{again.wall_s:.1f} s on the wall"),
        Row(f"one rule alone, of {ALONE}", each_s, "s processor", f"{alone.wall_s / ALONE:.1f} s on the wall"),
        Row("times cheaper for each rule", each_s * RULES / whole.processor_s, ""),
    )
    return Report("A folder of rules", rows, ((f"at most {WALL_S_MAX:g} s on the wall", whole.wall_s <= WALL_S_MAX),))
