"""Boards without a board: the very image that would be flashed, on a simulated chip, and its serial line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from hashlib import sha256
from inspect import getsource
from pathlib import Path
from threading import Thread

from components.rust import BUILD, ROOT, alone
from eyeflow.board_link.port import Board, Patience
from eyeflow.compiler.compile import CompileOptions, compile_rule
from eyeflow.mcu import build
from eyeflow.mcu.board import Board as BoardFile
from eyeflow.mcu.board import parse_board
from eyeflow.mcu.chips import find_chip
from eyeflow.mcu.image import NOTE, Image, find_image, keep_image
from eyeflow.mcu.project import Project, project_files, render_project
from eyeflow.mcu.sim.chip import SimulatedChip
from eyeflow.mcu.sim.endpoints import Endpoint, TcpEndpoint
from eyeflow.mcu.sim.events import CoreFault, PinChanged
from eyeflow.mcu.sim.serve import SimServer
from eyeflow.mcu.sim.start import start_simulator
from eyeflow.mcu.toolchain import find_toolchain
from eyeflow.svm.container import encode
from eyeflow.svm.program import Profile
from eyeflow.svm.signing import public_key_of, sign_program

RULE = (ROOT / "examples/overheat_relay/overheat_relay.eye").read_text("utf-8")
SIGNER, STRANGER = bytes(range(32)), bytes(range(1, 33))
"""Private keys of the tests: of no use anywhere else."""

SECOND_US = 1_000_000
PATIENCE = Patience(answer_s=5.0, slow_answer_s=20.0, tries=3, slow_tries=2)
"""The machine that runs the tests may be busy: the board is not to blame."""

STEP_US = 10_000


TRUST = f'\n[trust]\nsigners = ["{public_key_of(SIGNER).hex()}"]\n'
EVERYTHING = f"{TRUST}\n[scan]\nsave_state_s = 4\n\n[llm]\ndelegated = true\n"
EVENTS = "\n[events]\nto_gateway = true\n"
FULL = "stm32f407vg"
"""All of its buses and language models leave 16 bytes of its budget: it sends no events beside them."""


def example_board(chip: str) -> str:
    """Return the example's board file, which trusts the key of the tests."""
    return (ROOT / f"examples/boards/{chip.casefold()}.toml").read_text("utf-8") + TRUST


def full_board(chip: str) -> str:
    """Return a board file with all that one can name, which trusts the key of the tests and often writes state."""
    text = (ROOT / f"tests/embassy/boards/{chip.casefold()}.toml").read_text("utf-8")
    return text + EVERYTHING + (EVENTS if chip.casefold() != FULL else "")


@dataclass(frozen=True, slots=True)
class Lab:
    """One chip with a board file; `link_port` and `relay` are the simulator's names for them."""

    chip: str
    link_port: int
    relay: str
    board_text: str = field(repr=False)

    def start(self, *, flash_image: Path | None = None) -> SimulatedChip:
        """Return the chip with its firmware running; close it after use."""
        return start_simulator(image_of(self.board_text).elf, self.chip, flash_image=flash_image)

    def compile(self, source: str, name: str = "rule.eye", key: bytes = SIGNER) -> bytes:
        """Return a rule as the signed program for this chip."""
        options = CompileOptions(Profile.MCU, self.chip, find_chip(self.chip).limits)
        result = compile_rule(source, name=name, options=options)
        assert result.program is not None, result.diagnostics
        return sign_program(encode(result.program), key)

    def program(self, version: str = "1.2.0", key: bytes = SIGNER, limit: str = "80.0") -> bytes:
        """Return the rule `overheat_relay` in a version, with another default of its limit."""
        source = RULE.replace('version "1.2.0"', f'version "{version}"').replace("= 80.0 in", f"= {limit} in")
        return self.compile(source, "overheat_relay.eye", key)

    @contextmanager
    def link(self, chip: SimulatedChip, patience: Patience = PATIENCE) -> Iterator[Board]:
        """The board's serial line, while the chip runs in real time in a thread; afterwards it stands still."""
        with self.served(chip) as url, Board(url, patience=patience) as board:
            yield board

    @contextmanager
    def served(self, chip: SimulatedChip) -> Iterator[str]:
        """The address of the board's serial line, while the chip runs in real time in a thread."""
        with self.running(chip, TcpEndpoint()) as server:
            yield server.url

    @contextmanager
    def running(self, chip: SimulatedChip, endpoint: Endpoint) -> Iterator[SimServer]:
        """The chip in real time in a thread, with its serial line at an endpoint."""
        server = SimServer(chip, endpoint, self.link_port)
        failures: list[BaseException] = []
        events: list[object] = []

        def serve() -> None:
            try:
                events.extend(server.events())
            except BaseException as error:
                failures.append(error)

        thread = Thread(target=serve)
        thread.start()
        try:
            yield server
        finally:
            server.stop()
            thread.join()
            server.endpoint.close()
            assert not failures, failures
            assert not [event for event in events if isinstance(event, CoreFault)], events

    def levels(self, chip: SimulatedChip) -> list[tuple[int, bool]]:
        """Take what has happened, and return when the relay changed, and to what."""
        return [(e.time_us, e.level) for e in chip.take_events() if isinstance(e, PinChanged) and e.pin == self.relay]

    def wait_for(self, chip: SimulatedChip, level: bool, within_us: int = 10 * SECOND_US) -> int:
        """Run until the relay has a level and return when that was."""
        end_us = chip.time_us + within_us
        while chip.pin(self.relay) is not level and chip.time_us < end_us:
            chip.run(chip.time_us + STEP_US)
        changes = self.levels(chip)
        assert changes and changes[-1][1] is level, f"the relay did not go {'on' if level else 'off'}"
        return changes[-1][0]


F401 = Lab("STM32F401CC", 1, "PA5", full_board("STM32F401CC"))
PICO = Lab("RP2040", 0, "GPIO2", full_board("RP2040"))
LABS = (F401, PICO)
PLAIN_F401, PLAIN_PICO = (replace(lab, board_text=example_board(lab.chip)) for lab in LABS)
PLAIN_LABS = (PLAIN_F401, PLAIN_PICO)
"""With the boards of the examples, which delegate nothing, seldom write state, and have all their memory for programs."""


@contextmanager
def rendered(board: BoardFile, board_text: str) -> Iterator[Project]:
    """A project of a board's firmware, in one place for all boards of a core: what they share is compiled once."""
    place = BUILD / "projects" / board.chip.target
    with alone(place):
        yield render_project(board, board_text, place / "project")


@cache
def image_of(board_text: str) -> Image:
    """Return the image for a board file: built once for all tests, in whichever process they run."""
    board = parse_board(board_text)
    made_by = (getsource(build), find_toolchain(board.chip.target).describe())
    made_of = (board_text, *made_by, *sorted(project_files(board).items()))
    kept = BUILD / "images" / sha256(repr(made_of).encode()).hexdigest()[:32]
    if not (kept / NOTE).is_file():
        with rendered(board, board_text) as project:
            if not (kept / NOTE).is_file():  # another process may have built it meanwhile
                made = build.build_firmware(project, lambda *_: None).image
                uf2 = made.uf2.read_bytes() if made.uf2 else None
                kept.mkdir(parents=True, exist_ok=True)
                keep_image(kept, board, board_text, made.elf, made.bin.read_bytes(), uf2)
    return find_image(kept, board, board_text, "make clean")


def share_compiled_crates() -> None:
    """Let cargo keep what it compiled beyond the run, in one place for all projects; a set CARGO_TARGET_DIR stands."""
    os.environ.setdefault("CARGO_TARGET_DIR", str(ROOT / "build" / "firmware"))
