"""`make demo-board`: two nodes and a simulated microcontroller as one cluster, deployed to by each strategy.

The board is the very firmware image that would be flashed, on an emulated STM32F401CC. The image is built at the first
run and kept in build/demo-board, with the key that it trusts. All else is as in demo.py. With names of strategies as
arguments, only these are shown.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from scripts import demo
from scripts.demo import CONFIG, DATA, ENVIRONMENT, EYEFLOW, ROOT, DemoFailed, eyeflow, title, until

CHIP = "STM32F401CC"
BOARD = "node-mcu-01"
SOURCE = ROOT / "examples" / "overheat_relay" / "overheat_relay.eye"
RULE = DATA / "rules" / SOURCE.name
WATCH = ("--observe", "3s", "--samples", "5", "--max-failures", "50")
"""Half of them may fail: a busy machine runs some too late, and the bad version of this demo fails in each."""
BAD = "1.7.0"
HOT_COUNTS = 912
STEP_S = 600.0
"""How long one step may take. A deployment waits until each node and board has run its rule often enough."""


@dataclass(frozen=True)
class Kept:
    """What outlives a run: the firmware, its board file, and the user's key that the firmware trusts."""

    folder: Path

    @property
    def board_file(self) -> Path:
        """The board file."""
        return self.folder / "board.toml"

    @property
    def project(self) -> Path:
        """The Cargo project of the firmware, with its image."""
        return self.folder / "firmware"

    @property
    def is_built(self) -> bool:
        """Whether there is an image: its note is written last."""
        return (self.project / "firmware.json").exists() and self.keys.exists()

    @property
    def keys(self) -> Path:
        """The user's configuration with the key alone."""
        return self.folder / "config"


@dataclass(frozen=True)
class Simulated:
    """A board that runs: the address of its serial line, what it printed, and where its keyboard is."""

    url: str
    log: Path
    process: subprocess.Popen[str]

    def type(self, line: str) -> None:
        """Type into the simulator: `adc 0 850` sets what a channel reads."""
        assert self.process.stdin is not None
        print(demo.styled(f"  typed into the simulator: {line}", "36"), flush=True)
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()


def check_simulator() -> None:
    """Raise DemoFailed where the emulator is not installed."""
    if find_spec("unicorn") is None:
        what = "the simulator needs the Python package unicorn, which is not installed"
        raise DemoFailed(f"{what}: run `make demo-board`, or pip install 'eyeflow[sim]' here")


def prepare(kept: Kept) -> None:
    """Bring the key of earlier runs, or build the firmware that trusts a new one."""
    config = Path(ENVIRONMENT["XDG_CONFIG_HOME"])
    if kept.is_built:
        shutil.copytree(kept.keys, config)
        return
    title("0. The firmware, once: one to five minutes. It is kept in build/demo-board")
    shutil.rmtree(kept.folder, ignore_errors=True)
    eyeflow("keys", "new", quiet=True)
    eyeflow("mcu", "new", "--chip", CHIP, "--out", str(kept.board_file))
    shutil.copytree(config, kept.keys)
    arguments = ("mcu", "build", "--board", str(kept.board_file), "--out", str(kept.project))
    demo.say_command(arguments)
    if subprocess.run([EYEFLOW, *arguments], env=ENVIRONMENT, cwd=ROOT, check=False).returncode:
        raise DemoFailed("the firmware was not built: the lines above say what is missing, and what to do")


@contextmanager
def simulator(kept: Kept) -> Iterator[Simulated]:
    """Run the board in the background, until the end."""
    where = ("--board", str(kept.board_file), "--out", str(kept.project))
    arguments = ("mcu", "sim", *where, "--tcp", "0", "--json")
    demo.say_command(arguments, " &")
    log = DATA / "board.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [EYEFLOW, *arguments], stdin=subprocess.PIPE, stdout=out, stderr=out, text=True, env=ENVIRONMENT, cwd=ROOT
        )
        try:
            until("the board runs", lambda: log.read_text().startswith("{") and "\n" in log.read_text())
            yield Simulated(json.loads(log.read_text().splitlines()[0])["url"], log, process)
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate()


def give_board(folder: Path, url: str, kept: Kept) -> None:
    """Let a node own the serial line of the board."""
    config = folder / CONFIG
    section = f'\n[[boards]]\nname = "{BOARD}"\nport = "{url}"\nboard_file = "{kept.board_file}"\n'
    config.write_text(config.read_text() + section)
    print(f"  {folder.name} is the gateway of {BOARD}: [[boards]] in {config.relative_to(ROOT)}")


def write_rule(version: str, fault: str = "") -> None:
    """Write a version of the rule; `fault` is a statement that no node and no board can run."""
    text = SOURCE.read_text("utf-8").replace('version "1.2.0"', f'version "{version}"')
    RULE.parent.mkdir(exist_ok=True)
    RULE.write_text(text.replace("    let counts", f"    {fault}\n    let counts", 1) if fault else text)


def deploy(version: str, *options: str, where: tuple[str, ...] = ("--all",), fault: str = "", code: int = 0) -> None:
    """Deploy the rule in a new version."""
    write_rule(version, fault)
    eyeflow("deploy", str(RULE), *where, *options, code=code)


def tour(kept: Kept, chosen: list[str]) -> None:
    """Run the demonstration, with the `chosen` strategies."""
    check_simulator()
    prepare(kept)
    with ExitStack() as stack:
        title("1. A coordinator, two nodes, and a board whose serial line belongs to node-b")
        board = stack.enter_context(simulator(kept))
        url = demo.start_coordinator(stack)
        folders = {name: demo.add_node(name, url) for name in ("node-a", "node-b")}
        give_board(folders["node-b"], board.url, kept)
        for name, folder in folders.items():
            stack.enter_context(demo.service(name, "node", "start", "--config", str(folder / CONFIG)))
        until(f"{BOARD} is online", is_online)
        eyeflow("status")
        title("2. immediate: all at once. The rule is compiled for the nodes, and again for the board")
        deploy("1.2.0")
        for show in (STRATEGIES[name] for name in chosen):
            show()
        show_failure()
        show_actions(folders["node-a"], board)


def is_online() -> bool:
    """Whether all three have a link, and the board answers its gateway."""
    nodes = listed()
    states = [one["board"]["state"] for one in nodes if one["board"]]
    return len(nodes) == 3 and all(one["connected"] for one in nodes) and states == ["online"]


def listed() -> list[dict[str, Any]]:
    """Return the nodes as the coordinator knows them."""
    found: list[dict[str, Any]] = json.loads(eyeflow("nodes", "list", "--json", quiet=True))
    return found


def versions_on_board() -> list[str]:
    """Return which versions the board runs, by what it told last."""
    return [program["version"] for one in listed() if one["board"] for program in one["board"]["programs"]]


def show_rolling() -> None:
    """One node after the other."""
    title("3. rolling: one after the other, each judged by its own executions")
    deploy("1.3.0", "--strategy", "rolling", *WATCH)


def show_canary() -> None:
    """A share of the events first."""
    title("4. canary: a share of the keys, and one board at least; then all")
    deploy("1.4.0", "--strategy", "canary", "--percent", "50", *WATCH)


def show_blue_green() -> None:
    """All at once, after all have it ready."""
    title("5. blue_green: all get it ready, the board in its second slot. Then all switch")
    deploy("1.5.0", "--strategy", "blue_green", *WATCH)


def show_shadow() -> None:
    """What a board cannot do is refused before anything is sent."""
    title("6. shadow: a board runs one program at a time, so it cannot. The command refuses, and says what to do")
    deploy("1.6.0", "--strategy", "shadow", *WATCH, code=1)
    print("  So without it:")
    deploy("1.6.0", "--strategy", "shadow", *WATCH, where=("--all", "--exclude", BOARD))


STRATEGIES = {"rolling": show_rolling, "canary": show_canary, "blue_green": show_blue_green, "shadow": show_shadow}


def show_failure() -> None:
    """A version that fails goes back everywhere."""
    title("7. A version that divides by zero: all go back to what they kept, the board, too")
    fault = "let share = 100 / trips    # no trip yet: this is a division by zero"
    use = 'if share > 100 { log.info("often") }'
    deploy(BAD, "--strategy", "blue_green", *WATCH, fault=f"{fault}\n    {use}", code=1)
    until("the board tells that it is back", lambda: versions_on_board() not in ([], [BAD]))
    eyeflow("nodes", "show", BOARD)


def show_actions(folder: Path, board: Simulated) -> None:
    """Heat the probes of a node and of the board, and look at what both decided."""
    title("8. Both act: the probes of node-a and of the board show 91.2 degrees")
    demo.heat(folder, HOT_COUNTS)
    board.type(f"adc 0 {HOT_COUNTS}")
    until("the relay of the board switches", lambda: '"pin": "RELAY", "level": "HIGH"' in board.log.read_text())
    print("  | " + next(line for line in board.log.read_text().splitlines() if '"RELAY", "level": "HIGH"' in line))
    which = ("executions", "--node", BOARD, "--rule", "overheat_relay", "-n", "2")
    until("the coordinator has records of the board", lambda: bool(eyeflow(*which, "--json", quiet=True)))
    eyeflow(*which)
    eyeflow("executions", "--node", "node-a", "--action", "log.warn", "-n", "1")


def main() -> int:
    """Run the tour."""
    demo.STEP_S = STEP_S
    kept = Kept(Path(os.environ.get("DEMO_FIRMWARE", ROOT / "build" / "demo-board")))
    return demo.run(
        lambda: tour(kept, sys.argv[1:] or list(STRATEGIES)),
        "Two nodes and a microcontroller as one cluster, in eight steps, about a minute. Nothing leaves this machine.",
        "  docs/how-to/put-a-board-behind-a-node.md    the same with a board of your own\n"
        "  docs/tutorial-microcontroller.md            from an empty folder to a rule on a board, or a simulated one\n"
        "  rm -r demo-data build/demo-board            forget this demo and its firmware",
    )


if __name__ == "__main__":
    sys.exit(main())
