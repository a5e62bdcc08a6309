"""Instructions on emulated cores: rules run by the SVM, and the same rules written by hand in Rust.

    python -m bench mcu                            the table
    python -m bench.cores --profile overheat_relay [--core M4F] [--load]
                                                   where the instructions of one rule go, by function

Counts are the same in every run and on every machine. embassy/emulated/src/counts holds what is counted.
"""

from __future__ import annotations

import argparse
import random
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT / "tests") not in sys.path:
    sys.path.insert(0, str(ROOT / "tests"))

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: E402

from emulated.core import HEAP_BASE, BareCore, Image, Model, build, load  # noqa: E402
from emulated.profile import ProfilingCore  # noqa: E402
from eyeflow.compiler.compile import CompileOptions, compile_rule  # noqa: E402
from eyeflow.mcu.project import CHECK_OPT_LEVELS  # noqa: E402
from eyeflow.svm.container import encode  # noqa: E402
from eyeflow.svm.interpreter import Interpreter  # noqa: E402
from eyeflow.svm.program import Profile, Program, SiteKind, Value  # noqa: E402
from eyeflow.svm.signing import message as message_of  # noqa: E402
from eyeflow.svm.timers import initial_state  # noqa: E402
from eyeflow.svm.verify import verify  # noqa: E402

RULES = ROOT / "bench" / "rules"
MANIFEST = ROOT / "embassy" / "emulated" / "Cargo.toml"
CHECK_LEVEL = "profile.release.package.eyeflow-ed25519.opt-level"
EVENTS = 100
PROFILED = 60
SEED = 20261128
PROFILE_LINES = 40
FAILED = 0xFFFF_FFFF

BOARD, IO, NATIVES, PROGRAM = (HEAP_BASE + offset for offset in (0, 0x8000, 0x9000, 0x1_0000))
IO_LAYOUT = "<q4HH8B8B4H6x"
UNSET = 0xFF


@dataclass(frozen=True, slots=True)
class Inputs:
    """What one scan sees: analog counts, levels of input lines, the word of the I2C sensor."""

    time_us: int
    counts: tuple[int, int, int, int] = (0, 0, 0, 0)
    levels: tuple[int, ...] = (0,) * 8
    word: int = 0


@dataclass(frozen=True, slots=True)
class Task:
    """A rule of `bench/rules` with the events that it is counted on."""

    name: str
    what: str
    period_us: int
    make: Callable[[random.Random], Iterator[dict[str, Any]]] = field(repr=False)

    def events(self) -> list[Inputs]:
        """Return the same events in every run."""
        values = self.make(random.Random(SEED))
        return [Inputs(time_us=(1 + index) * self.period_us, **next(values)) for index in range(EVENTS)]


def _walk(rng: random.Random, low: float, high: float, step: float) -> Iterator[int]:
    value = (low + high) / 2
    while True:
        value = min(high, max(low, value + rng.uniform(-step, step)))
        yield round(value)


def _buttons(rng: random.Random) -> Iterator[dict[str, Any]]:
    while True:
        yield {"levels": (rng.random() < 0.5, rng.random() < 0.9, rng.random() < 0.9, 0, 0, 0, 0, 0)}


def _flow(rng: random.Random) -> Iterator[dict[str, Any]]:
    for value in _walk(rng, 0, 4095, 300):
        yield {"word": value}


def _heat(rng: random.Random) -> Iterator[dict[str, Any]]:
    for value in _walk(rng, 650, 950, 30):
        yield {"counts": (value, 0, 0, 0)}


def _three(rng: random.Random) -> Iterator[dict[str, Any]]:
    for value in _walk(rng, 1150, 1550, 60):
        counts = [max(0, round(value + rng.gauss(0, 20))) for _ in range(3)]
        counts[rng.randrange(3)] = rng.choice((counts[0], counts[0], 350, 2150))
        yield {"counts": (*counts, 0)}


def _fan(rng: random.Random) -> Iterator[dict[str, Any]]:
    for value in _walk(rng, 1500, 2100, 90):
        yield {"counts": (value, 0, 0, 0)}


TASKS = (
    Task("interlock", "three inputs, a latch, two outputs", 100_000, _buttons),
    Task("flow_control", "checked integers, a curve of eight points, one output", 50_000, _flow),
    Task("overheat_relay", "float with hysteresis and hold, one output", 500_000, _heat),
    Task("window_mean", "mean of the last 20 floats, one output", 1_000_000, _fan),
    Task("vote", "two out of three floats in a loop, one output", 200_000, _three),
)


@cache
def compiled(name: str) -> Program:
    """Return a rule of `bench/rules` as a program for a microcontroller."""
    path = RULES / f"{name}.eye"
    result = compile_rule(path.read_text("utf-8"), name=path.name, options=CompileOptions(profile=Profile.MCU))
    assert result.program is not None, result.diagnostics
    return result.program


# --- what must come out -----------------------------------------------------------------------------------------------


class _Host:
    """The board of `embassy/emulated/src/counts/io.rs` for the interpreter in Python."""

    def __init__(self, program: Program, inputs: Inputs) -> None:
        self._program, self._inputs = program, inputs

    def read(self, site: int, args: tuple[Value, ...]) -> Value:
        first = int(args[0])
        match self._program.sites[site].capability:
            case "adc.read_channel":
                return float(self._inputs.counts[first])
            case "gpio.read_pin":
                return int(self._inputs.levels[first])
            case _:
                return self._inputs.word


def expected(task: Task) -> list[bytes]:
    """Return the outputs after each event, as the interpreter in Python gives them."""
    program = compiled(task.name)
    machine, state = Interpreter(verify(program)), list(initial_state(program))
    params = [param.default for param in program.params]
    outputs = []
    for inputs in task.events():
        levels, analog = [UNSET] * 8, [0] * 4
        execution = machine.run(0, inputs.time_us, 0, params, (), state, _Host(program, inputs))
        for action in execution.actions:
            site = program.sites[action.site]
            assert site.kind is SiteKind.ACT
            place, value = (int(arg) for arg in action.args)
            (levels if site.capability == "gpio.set_pin" else analog)[place] = value
        outputs.append(struct.pack("<8B4H", *levels, *analog))
    return outputs


# --- counting ---------------------------------------------------------------------------------------------------------


@cache
def image(model: Model, opt_level: str = "") -> Image:
    """Build what is counted: as boards are built or, for a comparison, at another level."""
    levels = {CHECK_LEVEL: opt_level or CHECK_OPT_LEVELS[model.target]}
    if opt_level:
        levels["profile.release.opt-level"] = opt_level
    options = [word for key, level in levels.items() for word in ("--config", f"{key}={level}")]
    return load(build(MANIFEST, "counts", model, *options))


class Board:
    """A core that counts, with inputs and outputs in its memory."""

    def __init__(self, core: BareCore) -> None:
        self.core = core

    def open(self, program: bytes) -> None:
        """Put a program on the SVM and all rules by hand into memory."""
        self.core.write(PROGRAM, program)
        self.core.call("svm_open", BOARD, PROGRAM, len(program))
        self.core.call("native_open", NATIVES)

    def counted(self, function: str, *arguments: int) -> tuple[int, int]:
        """Return the instructions of a call and its result."""
        before = self.core.counts.all
        result = self.core.call(function, *arguments)
        assert result != FAILED, function
        return self.core.counts.all - before, result

    def begin(self) -> int:
        """Load the program and put it to its initial state; return the instructions to decode and prove it."""
        instructions, loaded = self.counted("svm_load", BOARD)
        assert loaded == 1
        assert self.core.call("svm_begin", BOARD) == 1
        return instructions

    def scan(self, function: str, place: int, inputs: Inputs) -> tuple[int, bytes]:
        """Return the instructions of one execution and the outputs that it set."""
        outputs = (*(UNSET,) * 8, *(0,) * 4)
        fields = (inputs.time_us, *inputs.counts, inputs.word, *inputs.levels, *outputs)
        self.core.write(IO, struct.pack(IO_LAYOUT, *fields))
        instructions, _ = self.counted(function, place, IO)
        return instructions, self.core.read(IO + 26, 16)


@dataclass(frozen=True, slots=True)
class Counted:
    """Mean instructions of one execution, and the highest; instructions to decode and prove; bytes of RAM."""

    svm: float
    svm_max: int
    native: float
    load: int
    instance_bytes: int
    workspace_bytes: int

    @property
    def times(self) -> float:
        """How many times the instructions of the rule by hand."""
        return self.svm / self.native


@cache
def count(task: Task, model: Model, opt_level: str = "", events: int = EVENTS) -> Counted:
    """Count a task on its first events.

    Raises AssertionError when SVM, hand-written rule and interpreter in Python do not decide alike.
    """
    board = Board(BareCore(model, image(model, opt_level), counting=True))
    board.open(encode(compiled(task.name)))
    loading = board.begin()
    outputs = expected(task)
    assert len(set(outputs)) > 1, f"nothing happens in {task.name}"
    svm: list[int] = []
    native: list[int] = []
    for inputs, output in list(zip(task.events(), outputs, strict=True))[:events]:
        for function, place, counts in (("svm_step", BOARD, svm), (f"native_{task.name}", NATIVES, native)):
            instructions, found = board.scan(function, place, inputs)
            assert found == output, f"{function} of {task.name} at {inputs}: {found.hex()}, not {output.hex()}"
            counts.append(instructions)
    needs = board.core.call("svm_needs", BOARD)
    return Counted(fmean(svm), max(svm), fmean(native), loading, needs >> 16, needs & 0xFFFF)


@cache
def signature(model: Model) -> int:
    """Return the instructions of one check of an Ed25519 signature over what signatures of programs are over."""
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    message = message_of(bytes(32))
    board = Board(BareCore(model, image(model), counting=True))
    places = [HEAP_BASE + 128 * number for number in range(3)]
    for place, data in zip(places, (key.public_key().public_bytes_raw(), message, key.sign(message)), strict=True):
        board.core.write(place, data)
    instructions, valid = board.counted("check_signature", *places)
    assert valid == 1
    return instructions


def profile(task: Task, model: Model, *, loading: bool) -> tuple[ProfilingCore, int]:
    """Return where the instructions of a task go, by function, and over how many executions."""
    core = ProfilingCore(model, image(model))
    board = Board(core)
    board.open(encode(compiled(task.name)))
    board.begin()
    if not loading:
        core.clear()
        for inputs in task.events()[:PROFILED]:
            board.scan("svm_step", BOARD, inputs)
    return core, 1 if loading else PROFILED


# --- showing ----------------------------------------------------------------------------------------------------------


def demangled(names: list[str]) -> list[str]:
    """Return names of functions as people write them."""
    done = subprocess.run(["arm-none-eabi-c++filt"], input="\n".join(names), capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def main() -> int:
    """Print a profile."""
    parser = argparse.ArgumentParser(prog="python -m bench.cores", description=__doc__)
    parser.add_argument("--profile", required=True, choices=[task.name for task in TASKS], help="the rule")
    parser.add_argument("--core", default="M0_PLUS", choices=[model.name for model in Model])
    parser.add_argument("--load", action="store_true", help="decode, verify and begin, not an execution")
    options = parser.parse_args()
    task = next(task for task in TASKS if task.name == options.profile)
    core, runs = profile(task, Model[options.core], loading=options.load)
    print(f"{core.counts.all / runs:.1f} instructions")
    for title, counter in (("alone", core.counts.by_function), ("with what it calls", core.with_callees)):
        print(f"\n{title}: share, instructions, calls, function")
        common = counter.most_common(PROFILE_LINES)
        for (name, number), shown in zip(common, demangled([name for name, _ in common]), strict=True):
            calls = core.counts.calls[name] / runs
            print(f"{number / core.counts.all:6.1%} {number / runs:9.1f} {calls:7.1f}  {shown}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
