"""The line of a board is cut at random bytes and its gateway is killed: each record is at the coordinator once.

The board is the very firmware image, the gateway a real daemon. `make board-cuts` cuts 200 times.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from random import Random

from components.boards import F401
from eyeflow.mcu.sim.endpoints import TcpEndpoint
from eyeflow.mcu.sim.serve import SimServer

from .conftest import Command
from .test_first_path import Cluster, cluster, shown_on_failure, until
from .test_split_rule import EXAMPLE, own_key

__all__ = ["cluster"]

CUTS = int(os.environ.get("EYEFLOW_BOARD_CUTS", "3"))
SEED = int(os.environ.get("EYEFLOW_SEED", "1"))
KILL_EVERY = 10 if CUTS > 10 else 2
"""At each of so many cuts the daemon is killed, too."""
BYTES_MAX = 4000
"""A look at the board takes 700 bytes of the line: cuts fall into all that is said, and some looks get through."""
WAITING_MAX = 8
"""Records that may wait on the board: its ring has room for 15, and nothing here shall be lost."""
COLD, HOT = 300, 900


class CutEndpoint(TcpEndpoint):
    """A serial server that hangs up after a random number of bytes, counted in both directions, while `left` is set."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self.cuts, self.is_cutting = 0, False
        self._random, self._left = random, BYTES_MAX

    def receive(self) -> bytes:
        return self._passed(super().receive())

    def send(self, data: bytes) -> None:
        super().send(self._passed(data))

    def _passed(self, data: bytes) -> bytes:
        if not self.is_cutting or len(data) < self._left:
            self._left -= len(data) * self.is_cutting
            return data
        part, self._left = data[: self._left], self._random.randint(1, BYTES_MAX)
        self.cuts += 1
        self._drop()
        return part


def problems(eyeflow: Command, count: int) -> list[str]:
    """Return what is wrong with the board's records at the coordinator, of which there are so many."""
    shown = eyeflow("audit", "show", "--node", "press", "-n", "100000", "--json").lines
    found = [f"a gap: {one}" for one in shown if one["kind"] == "gap"]
    got = numbers(eyeflow)
    return found + ([] if got == list(range(count)) else [f"the numbers of {count} records are {got}"])


def numbers(eyeflow: Command) -> list[int]:
    """Return the numbers of the board's records at the coordinator, as its REST API lists them, oldest first."""
    found: list[int] = []
    for one in eyeflow("executions", "--node", "press", "--json", "-n", "10000").lines:
        found.append(one["board"]["number"])
    return found


def switch(server: SimServer, number: int) -> None:
    """Let the board record once: its relay goes on or off."""
    high = number % 2 == 0
    server.post(lambda chip: chip.set_adc(0, HOT if high else COLD))
    until(lambda: server.chip.pin(F401.relay) is high, "the interlock acts")


def test_each_record_is_at_the_coordinator_once_wherever_the_line_is_cut(
    cluster: Cluster, eyeflow: Command, home: Path, tmp_path: Path
) -> None:
    own_key(eyeflow, home)
    cluster.join("node-a", cluster.coordinator())
    board_file, endpoint = tmp_path / "board.toml", CutEndpoint(Random(SEED))
    board_file.write_text(F401.board_text)
    chip = F401.start()
    chip.set_adc(0, COLD)
    log = cluster.node("node-a")
    with shown_on_failure(log), F401.running(chip, endpoint) as server:
        adopt = ("adopt", server.url, "--name", "press", "--board", board_file, "--config", cluster.config("node-a"))
        adopted = eyeflow("node", "boards", *adopt)
        assert adopted.code == 0, adopted.err
        until(lambda: "press" in eyeflow("nodes", "list").out, "the board has joined")
        ran = eyeflow("deploy", EXAMPLE / "press_interlock.eye", "--nodes", "press")
        assert ran.code == 0, ran.err
        count = cut(cluster, eyeflow, server, endpoint)
        until(lambda: len(numbers(eyeflow)) >= count, "all records are at the coordinator")
        assert problems(eyeflow, count) == [], "each once, in order"
        assert eyeflow("audit", "verify", "--node", "press").code == 0
        # The control: what a gateway adds that forgets how far it was, the same look finds.
        cluster.stop("node-a", signal.SIGKILL)
        cluster.fault = "forgets_how_far_it_took_records"
        cluster.node("node-a")
        until(lambda: problems(eyeflow, count) != [], "the fault is found")
    chip.close()


def cut(cluster: Cluster, eyeflow: Command, server: SimServer, endpoint: CutEndpoint) -> int:
    """Let the board record while the line is cut again and again; returns how many records it made."""
    count, killed, safe = 0, 0, 0
    endpoint.is_cutting = True
    while endpoint.cuts < CUTS:
        if count - safe < WAITING_MAX:
            switch(server, count)
            count += 1
        else:
            safe = len(numbers(eyeflow))
        if endpoint.cuts // KILL_EVERY > killed:
            killed += 1
            cluster.stop("node-a", signal.SIGKILL)
            cluster.node("node-a")
    endpoint.is_cutting = False
    assert killed
    return count
