"""A gateway with up to 16 boards on its serial lines: its processor time, and how late records are safe and known.

The boards are doubles that speak the real frames (`tests/components/board_double.py`), each on a pseudo-terminal, in
this process. What counts is the gateway's own process, a real `eyeflow node start`. A pseudo-terminal is faster than a
line of 115,200 baud, so the latencies are those of the gateway and of this machine.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from bench.measure import Report, Row, eyeflow, processor_s, quantile
from components.board_double import BoardDouble, plugged_in
from eyeflow.base.errors import EyeflowError
from eyeflow.board_link.messages import Request
from eyeflow.node.boards.verbs import EXCHANGE, LIST
from eyeflow.node.status.local_socket import ask

SIZES = (0, 1, 4, 16)
SETTLE_S, WATCH_S = 4.0, 20.0
QUESTIONS = 200
RECORDS_PER_S = 1.0
"""Of each board: a rule that switches once a second, which is much for a relay."""
POLL_S = 0.002
DEADLINE_S = 120.0
SHARE_MAX = 5.0
"""Percent of one core for 16 boards that record once a second."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Processor time in percent of a core, quiet and while records come.

    In ms: how late records were safe, and how late a question of a command was answered by its board.
    """

    quiet: float
    busy: float
    safe_ms: Sequence[float]
    asked_ms: Sequence[float]


def report() -> Report:
    """Measure a gateway without boards, with 1, 4 and 16."""
    costs = {count: measured(count) for count in SIZES}
    rows = []
    for count, cost in costs.items():
        name = f"{count} boards" if count != 1 else "1 board"
        rows.append(Row(f"{name}, nothing to do", cost.quiet, "% of a core"))
        if count:
            rows.append(Row(f"{name}, {RECORDS_PER_S:g} record/s each", cost.busy, "% of a core"))
            rows.append(Row(f"{name}: record safe after, median", quantile(cost.safe_ms, 0.5), "ms"))
            rows.append(Row(f"{name}: record safe after, 99 %", quantile(cost.safe_ms, 0.99), "ms"))
            rows.append(Row(f"{name}: command answered after, median", quantile(cost.asked_ms, 0.5), "ms"))
            rows.append(Row(f"{name}: command answered after, 99 %", quantile(cost.asked_ms, 0.99), "ms"))
    bar = (f"16 boards with records: at most {SHARE_MAX:g} % of a core", costs[16].busy <= SHARE_MAX)
    return Report("Boards behind one gateway", tuple(rows), (bar,))


def measured(count: int) -> Cost:
    """Measure a gateway with so many boards."""
    boards = [BoardDouble(device=bytes([number] * 8), ring_records=60) for number in range(count)]
    with gateway(boards) as (process, data_dir):
        time.sleep(SETTLE_S)
        quiet = _share(process, lambda: time.sleep(WATCH_S))
        safe: list[float] = []
        busy = _share(process, lambda: safe.extend(_record(boards))) if boards else quiet
        asked = [_asked_ms(data_dir, number % count) for number in range(QUESTIONS)] if boards else []
    return Cost(quiet, busy, sorted(safe), sorted(asked))


def _asked_ms(data_dir: Path, number: int) -> float:
    """Return how long a command waits for what a board answers through its gateway."""
    began_s = time.monotonic()
    ask(data_dir, EXCHANGE, name=f"board-{number}", request=int(Request.HELLO), payload="")
    return (time.monotonic() - began_s) * 1000


@contextmanager
def gateway(boards: Sequence[BoardDouble]) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A node that owns the lines of these boards, once all of them have answered."""
    with TemporaryDirectory() as place, ExitStack() as plugged:
        data_dir, config = Path(place) / "data", Path(place) / "eyeflow-svm.toml"
        text = f'[node]\nname = "gateway"\ndata_dir = "{data_dir}"\n'
        for number, board in enumerate(boards):
            text += f'\n[[boards]]\nname = "board-{number}"\nport = "{plugged.enter_context(plugged_in(board))}"\n'
        config.write_text(text)
        command = eyeflow("node", "start", "--config", str(config))
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                _until(lambda: _online(data_dir) == len(boards))
                yield process, data_dir
            finally:
                process.terminate()


def _online(data_dir: Path) -> int:
    """Return how many boards answer and have an audit that is open; -1 while the node does not answer."""
    try:
        found = ask(data_dir, LIST)["boards"]
    except EyeflowError:
        return -1
    return sum(one["state"] == "online" and one["records"]["epoch"] > 0 for one in found)


def _until(condition: Callable[[], bool]) -> None:
    ends_s = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > ends_s:
            raise RuntimeError("the gateway did not get ready")
        time.sleep(0.1)


def _share(process: subprocess.Popen[bytes], work: Callable[[], None]) -> float:
    """Return the percent of a core that a process takes while something is done."""
    before_s, began_s = processor_s(process.pid), time.monotonic()
    work()
    return 100 * (processor_s(process.pid) - before_s) / (time.monotonic() - began_s)


def _record(boards: Sequence[BoardDouble]) -> Iterator[float]:
    """Let each board record at its turn; yield after how many milliseconds the gateway has acknowledged each record."""
    step_s, began_s = 1 / (RECORDS_PER_S * len(boards)), time.monotonic()
    open_: list[tuple[float, BoardDouble, int]] = []
    done = 0
    while (now_s := time.monotonic()) < began_s + WATCH_S or open_:
        if began_s + done * step_s <= now_s < began_s + WATCH_S:
            board = boards[done % len(boards)]
            board.run(done % 2)
            open_.append((now_s, board, len(board.records)))
            done += 1
        safe = [one for one in open_ if one[1].oldest >= one[2]]
        open_ = [one for one in open_ if one[1].oldest < one[2]]
        yield from ((now_s - one[0]) * 1000 for one in safe)
        time.sleep(POLL_S)
