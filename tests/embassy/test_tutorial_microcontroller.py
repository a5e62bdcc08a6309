"""What the tutorial for microcontrollers shows is what happens: files, commands, the build, what is typed into the simulator."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

import pytest

from components.waiting import wait_until

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tutorial-microcontroller.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND_DEADLINE_S, EVENT_DEADLINE_S = 900.0, 120.0
"""A first build compiles a hundred crates, and the machine may be busy."""

VARIES = re.compile(r"/\S+/keys/|\b[0-9a-f]{16}(?:[0-9a-f]{48})?\b|[\d.]+")
"""Keys, ids, paths, and every number: sizes, times, counts, ports."""


def steps() -> Iterator[tuple[str, str]]:
    text = PAGE.read_text(encoding="utf-8")
    for match in BLOCK.finditer(text, text.index("## 2."), text.index("## New firmware")):
        yield match[1], match[2]


def lasting(text: str) -> list[str]:
    """Return the lines without what differs from run to run, and without the progress of a build."""
    lines = [re.sub(r" +", " ", VARIES.sub("#", line)).strip() for line in text.splitlines()]
    return [line for line in lines if line and " of at most " not in line]


@dataclass
class Simulator:
    """The reader's second terminal: `eyeflow mcu sim`, what is typed into it, and the lines that it has shown."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    seen: int = 0
    listener: Thread = field(init=False)

    def __post_init__(self) -> None:
        self.listener = Thread(target=self.listen)
        self.listener.start()

    def listen(self) -> None:
        assert self.process.stdout
        with self.process.stdout:
            for line in self.process.stdout:
                self.lines.append(line)

    def type(self, line: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def expect(self, wanted: str) -> None:
        """Wait for a line behind those that were waited for before."""
        wait_until(lambda: self.passes(wanted), wanted.strip(), EVENT_DEADLINE_S)

    def passes(self, wanted: str) -> bool:
        """Return whether the line has come, and go on behind it if so."""
        places = (at for at in range(self.seen, len(self.lines)) if lasting(self.lines[at]) == lasting(wanted))
        found = next(places, None)
        self.seen = self.seen if found is None else found + 1
        return found is not None

    def end(self) -> int:
        """Terminate it, and return its exit code."""
        self.process.terminate()
        code = self.process.wait(EVENT_DEADLINE_S)
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.listener.join()
        return code


@dataclass
class Reader:
    """Does what the page says in an empty folder with a home of its own."""

    folder: Path
    environment: dict[str, str]
    simulator: Simulator | None = None
    compared: int = 0

    def play(self, language: str, text: str) -> None:
        if language == "eye":
            (self.folder / "cabinet.eye").write_text(text, encoding="utf-8")
        elif language == "sh" and not text.startswith("export EYEFLOW_MCU_PORT="):
            self.run(text)
        elif language == "text":
            self.at_the_simulator(text)
        elif language == "console" and text.startswith("$ eyeflow mcu sim"):
            self.start(text)
        elif language == "console":
            self.compare(text)

    def run(self, command: str) -> str:
        done = subprocess.run(
            command, shell=True, cwd=self.folder, env=self.environment, text=True, timeout=COMMAND_DEADLINE_S,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stdout, done.stdout
        return done.stdout

    def compare(self, text: str) -> None:
        for block in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            command, _, shown = block.partition("\n")
            assert lasting(self.run(command)) == lasting(shown), command
            self.compared += 1

    def start(self, text: str) -> None:
        """Start the simulator on a port of its own, and tell the commands where it is."""
        process = subprocess.Popen(
            ["eyeflow", "mcu", "sim", "--tcp", "0"], cwd=self.folder, env=self.environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.simulator = Simulator(process)
        for line in text.splitlines()[1:]:
            self.simulator.expect(line)
        self.environment["EYEFLOW_MCU_PORT"] = self.simulator.lines[0].split()[-1]

    def at_the_simulator(self, text: str) -> None:
        assert self.simulator is not None
        for line in text.splitlines():
            if line.startswith("> "):
                self.simulator.type(line[2:])
            else:
                self.simulator.expect(line)
                self.compared += 1


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    folder = tmp_path / "cabinet"
    folder.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("EYEFLOW_", "XDG_"))}
    commands = str(Path(sys.executable).parent)
    # The crates that were downloaded and compiled for other tests serve this one: cargo and rustup keep their homes.
    homes = {"CARGO_HOME": Path.home() / ".cargo", "RUSTUP_HOME": Path.home() / ".rustup"}
    kept = {name: str(path) for name, path in homes.items() if path.is_dir()} | kept
    own = {"HOME": str(tmp_path), "PATH": f"{commands}:{kept['PATH']}", "NO_COLOR": "1", "COLUMNS": "110"}
    # The simulator keeps up with the clock on the wall where the machine has nothing else to do.
    own |= {"EYEFLOW_MCU_TIMEOUT": "60", "EYEFLOW_KEYS": str(tmp_path / "config" / "keys")}
    found = Reader(folder, kept | own)
    try:
        yield found
    finally:
        if found.simulator is not None:
            found.simulator.end()


def test_the_tutorial_shows_what_happens(reader: Reader) -> None:
    for language, text in steps():
        reader.play(language, text)
    assert reader.compared >= 25
    assert reader.simulator is not None
    assert reader.simulator.end() == 0


def test_control_another_output_is_noticed() -> None:
    assert lasting("cabinet 904b664ce184fbac runs in place 0") != lasting(
        "cabinet 904b664ce184fbac is on the board already"
    )
    assert lasting("   1.5 s  pin LED  level HIGH") == lasting("  16.704 s  pin LED  level HIGH")
    assert lasting("   1.5 s  pin LED  level HIGH") != lasting("   1.5 s  pin LED  level LOW")
