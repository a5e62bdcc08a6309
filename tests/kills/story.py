"""Kills at random moments under load, with a network that is bad at times; then all must come to rest, and be there once."""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random

from components.proxy import FAIR, some_weather
from components.waiting import wait_until
from kills.compare import compared
from kills.load import Load
from kills.processes import WITHIN_S, Daemon, Node, Site

SOON_S = 3.0
"""A kill within so many seconds after a start meets the start itself, joining, and the first catch-up."""
EVENTS_MAX = 60
WEATHER_S_MAX = 8.0
WEATHER_SHARE, STEADY_SHARE = 0.3, 0.6
BOTH_EACH = 6
"""Node and coordinator are killed in turn, and each so-many-th time both at once."""
Tell = Callable[[str], None]


class Story:
    """One site and `kills` kills from a seed. `problems` says what does not hold in the end."""

    def __init__(
        self,
        directory: Path,
        seed: int,
        kills: int,
        tell: Tell = print,
        *,
        nodes: int = 1,
        backend: str = "kafka",
        fault: str = "",
        rest_s: float = WITHIN_S,
    ) -> None:
        """`rest_s`: how long what the brokers hold may take to be recorded in the end."""
        self.site = Site(directory, nodes, backend, fault)
        self.seed, self.kills, self._tell, self._rng = seed, kills, tell, Random(f"{seed} kills")
        self.problems: list[str] = []
        self._rest_s = rest_s
        self.counts: Counter[str] = Counter()
        self._loads: dict[str, Load] = {}

    def run(self) -> None:
        """Run it to its end; what broke on the way raises."""
        try:
            self.site.start()
            for node in self.site.nodes:
                self._loads[node.name] = node.load()
                self._loads[node.name].start()
            for number in range(1, self.kills + 1):
                self._kill(number)
            self._drain(self.site.nodes[0])
            self._rest()
            self._compare()
            self._stop()
        finally:
            self.site.close()

    def _kill(self, number: int) -> None:
        rng, started_s = self._rng, time.monotonic()
        for proxy in (self.site.link, self.site.mqtt, self.site.kafka):
            if rng.random() < WEATHER_SHARE:
                proxy.turn(some_weather(rng), rng.uniform(0.5, WEATHER_S_MAX))
        node = rng.choice(self.site.nodes)
        victims: list[Daemon] = [node if number % 2 else self.site.coordinator]
        if number % BOTH_EACH == 0:
            victims = [node, self.site.coordinator]
        if rng.random() < STEADY_SHARE:
            count = rng.randrange(1, EVENTS_MAX)
            moment = f"after {count} more events"
            self._until_acknowledged(node, count)
        else:
            soon_s = rng.uniform(0.0, SOON_S)
            moment = f"{soon_s:.3f} s later"
            process = victims[0].process
            assert process is not None
            with suppress(subprocess.TimeoutExpired):
                process.wait(soon_s)
        for victim in victims:
            assert victim.runs, f"{victim.name} ended by itself: {victim.log.read_text()[-2000:]}"
            victim.kill()
        for victim in victims:
            victim.start()
            self.counts[f"kills of {'node' if isinstance(victim, Node) else 'coordinator'}s"] += 1
        names = " and ".join(victim.name for victim in victims)
        self._tell(f"seed {self.seed} kill {number}: {names} {moment} ({time.monotonic() - started_s:.1f} s)")

    def _until_acknowledged(self, node: Node, count: int) -> None:
        sent = self._loads[node.name].sent
        wanted = len(sent.acknowledged) + count
        wait_until(
            lambda: len(sent.acknowledged) >= wanted or not node.runs, f"{node.name} acknowledges again", WITHIN_S
        )

    def _drain(self, node: Node) -> None:
        """Let a node end in good order under load, and start it again: what it had acknowledged is compared with all."""
        self._until_acknowledged(node, 1)
        began_s = time.monotonic()
        if code := node.stop():
            self.problems.append(f"{node.name} ends with {code} under load: {node.log.read_text()[-2000:]}")
        self._tell(f"seed {self.seed}: SIGTERM under load took {time.monotonic() - began_s:.1f} s")
        node.start()

    def _rest(self) -> None:
        """End faults and load, and wait until all that was taken is recorded, and all that was recorded is kept."""
        for proxy in (self.site.link, self.site.mqtt, self.site.kafka):
            proxy.turn(FAIR)
            self.counts["connections cut"] += proxy.cuts
        for load in self._loads.values():
            load.stop()
        for node in self.site.nodes:
            self._until_kept(node, set(self._loads[node.name].sent.taken))

    def _until_kept(self, node: Node, taken: set[int]) -> None:
        """What is missing after either wait is told with all else."""
        with suppress(AssertionError):
            wait_until(lambda: taken <= node.executed(), "all is recorded", self._rest_s)
        with suppress(AssertionError):
            wait_until(lambda: self.site.copied_seq(node) >= node.last_seq, "the copy is whole", WITHIN_S)

    def _compare(self) -> None:
        for node in self.site.nodes:
            archive = self.site.kept(node)
            found = compared(self._loads[node.name].sent, archive, node.records()[: len(archive)], node.public_key)
            self.problems += [f"{node.name}: {problem}" for problem in found.problems]
            self.counts += found.counts
            if self.site.copied_seq(node) < node.last_seq:
                self.problems.append(f"{node.name}: the copy never catches up")
            doubt = self.site.ask("GET", f"/api/nodes/{node.name}")["findings"]
            self.problems += [f"{node.name} is in doubt: {doubt}"] if doubt else []

    def _stop(self) -> None:
        for daemon in (*self.site.nodes, self.site.coordinator):
            code = daemon.stop()
            log = daemon.log.read_text()
            if code or "Traceback" in log:
                self.problems.append(f"{daemon.name} ends with {code}: {log[-3000:]}")
