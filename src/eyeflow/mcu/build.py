"""Builds a firmware project with cargo and checks what comes out against the chip's budget."""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import tomllib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock, Thread
from typing import IO

from eyeflow.base.errors import EyeflowError
from eyeflow.base.reasons import why
from eyeflow.mcu.image import Image, keep_image
from eyeflow.mcu.project import Project
from eyeflow.mcu.size import Kind, Sizes, image_bytes, read_sizes
from eyeflow.mcu.toolchain import Toolchain, find_toolchain
from eyeflow.mcu.uf2 import RP2040_FAMILY, to_uf2

LINES_KEPT_MAX = 60
OVERFLOW = re.compile(r"region [`'](FLASH|RAM)' overflowed by (\d+) bytes|section .* will not fit in region [`'](\w+)'")
CRATE_SAID = re.compile(r"\s*(Compiling|Fresh|Blocking|Downloaded)\s+(\S+)")
FIRMWARE_CRATE = "eyeflow-firmware"
LOCK = ".eyeflow-lock"

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many packages are done, and how many there are at most."""


@dataclass(frozen=True, slots=True)
class Firmware:
    """What a build gives: the image in the project's folder, what it takes, and what built it."""

    image: Image
    sizes: Sizes
    toolchain: Toolchain


def build_firmware(project: Project, progress: Progress, toolchain: Toolchain | None = None) -> Firmware:
    """Build a project and return the firmware; raises EyeflowError when a piece is missing, cargo fails or a budget is
    exceeded. Uses the network only when crates are not cached yet.
    """
    chosen = toolchain or find_toolchain(project.board.chip.target)
    fetch_crates(project, progress, chosen)
    with _alone(project):
        elf = _compile(project, progress, chosen)
        sizes = read_sizes(elf, project.board.chip)
        check_budget(project, sizes)
        start, binary = image_bytes(elf)
        uf2 = to_uf2(start, binary, RP2040_FAMILY) if project.board.chip.hal == "rp" else None
        source = (project.directory / "board.toml").read_text("utf-8")
        image = keep_image(project.directory, project.board, source, elf, binary, uf2)
    return Firmware(image, sizes, chosen)


@contextmanager
def _alone(project: Project) -> Iterator[None]:
    """Wait until no other build uses the folder of compiled crates, and keep others out.

    Images of all boards have one name there. cargo's own lock ends with cargo, before the image is copied: with one
    CARGO_TARGET_DIR for two boards, one would get the image of the other.
    """
    folder = project.directory / os.environ.get("CARGO_TARGET_DIR", "target")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK).open("w")
    except OSError as error:
        raise EyeflowError(
            f"cannot write into {folder}",
            cause=why(error),
            next_step="choose a directory that you may write to, or set CARGO_TARGET_DIR",
            code="project",
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def fetch_crates(project: Project, progress: Progress, toolchain: Toolchain) -> None:
    """Make sure that every crate of the lock file is cached; goes to the network only when one is missing.

    Where `core` is built from its sources, so are the crates that the lock file of the sources names.
    """
    targets = [project.board.chip.target, *([toolchain.host] if toolchain.host else [])]
    arguments = ["fetch", "--locked", *toolchain.arguments, *(f"--target={target}" for target in targets)]
    offline = _cargo(project, toolchain, [*arguments, "--offline"])
    if offline.returncode == 0:
        return
    packages, got = _packages(project), 0
    progress("downloading crates", 0, packages)
    with _running(project, toolchain, arguments) as process:
        assert process.stderr
        said: deque[str] = deque(maxlen=LINES_KEPT_MAX)
        for line in process.stderr:
            said.append(line)
            if (name := CRATE_SAID.match(line)) and name[1] == "Downloaded":
                got += 1
                progress(f"downloaded {name[2]}", min(got, packages), packages)
    if process.returncode != 0:
        raise EyeflowError(
            "the crates of the firmware cannot be downloaded",
            cause="".join(said).strip(),
            next_step="connect to the network once (crates.io or the mirror in cargo's config); later builds need none",
            code="crates",
        )


def check_budget(project: Project, sizes: Sizes) -> None:
    """Raise EyeflowError naming the largest symbols when an image exceeds the budget of its chip."""
    memory = project.board.chip.memory
    for kind, used, allowed in (
        (Kind.FLASH, sizes.flash_bytes, memory.flash_bytes),
        (Kind.RAM, sizes.ram_bytes, memory.ram_bytes),
    ):
        if used > allowed:
            largest = "\n".join(f"{symbol.size_bytes:>7} {symbol.name}" for symbol in sizes.largest(kind))
            raise EyeflowError(
                f"the firmware takes {used} bytes of {kind.value}; {project.board.chip.name} has a budget of {allowed}",
                cause=f"the largest symbols are\n{largest}",
                next_step="leave out what the board does not need (buses, channels) in board.toml",
                code="over_budget",
            )


def _compile(project: Project, progress: Progress, toolchain: Toolchain) -> Path:
    built = _build(project, progress, toolchain, {})
    if isinstance(built, Path):
        return built
    if OVERFLOW.search(built):
        roomy = _build(project, progress, toolchain, {"EYEFLOW_ROOMY": "1"})
        if isinstance(roomy, Path):
            check_budget(project, read_sizes(roomy, project.board.chip))
    raise EyeflowError(
        "the firmware does not compile",
        cause=built,
        next_step=f"undo what you changed in {project.directory}; what it was rendered from comes back with "
        "`eyeflow mcu build`, the sources of eyeflow with installing it again",
        code="compile",
    )


def _build(project: Project, progress: Progress, toolchain: Toolchain, extra: dict[str, str]) -> Path | str:
    """Return the ELF file, or the last lines of what cargo said."""
    arguments = ["build", "--release", "--locked", "--offline", *toolchain.arguments]
    arguments.append("--message-format=json-render-diagnostics")
    said: deque[str] = deque(maxlen=LINES_KEPT_MAX)
    count = _Count(progress, _packages(project))
    with _running(project, toolchain, arguments, extra) as process:
        assert process.stdout and process.stderr
        listener = Thread(target=_listen, args=(process.stderr, said, count), daemon=True)
        listener.start()
        elf = _follow(process.stdout, count)
        listener.join()
    return elf if process.returncode == 0 and elf else "".join(said).strip()


@contextmanager
def _running(
    project: Project, toolchain: Toolchain, arguments: list[str], extra: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Run cargo with its output in pipes; whatever ends the block, it does not outlive it."""
    with subprocess.Popen(
        [toolchain.cargo, *arguments],
        cwd=project.directory,
        env={**os.environ, **toolchain.environment, **(extra or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
            process.wait()
        except BaseException:
            process.terminate()
            raise


class _Count:
    """Counts packages, and tells the progress of what cargo is at; used by two threads."""

    def __init__(self, progress: Progress, packages: int) -> None:
        self._progress, self._packages = progress, packages
        self._done: set[str] = set()
        self._lock = Lock()

    def starts(self, name: str) -> None:
        """A package is being compiled."""
        with self._lock:
            what = "compiling and linking the firmware itself" if name == FIRMWARE_CRATE else f"compiling {name}"
            self._progress(what, min(len(self._done), self._packages), self._packages)

    def ends(self, package: str) -> None:
        """A part of a package is done."""
        with self._lock:
            self._done.add(package)


def _listen(stream: IO[str], said: deque[str], count: _Count) -> None:
    for line in stream:
        if (name := CRATE_SAID.match(line)) is None:
            said.append(line)
        elif name[1] == "Compiling":
            count.starts(name[2])


def _follow(stream: IO[str], count: _Count) -> Path | None:
    """Count each package that is done; return the executable that cargo names."""
    elf = None
    for line in stream:
        message = json.loads(line)
        if message.get("reason") != "compiler-artifact":
            continue
        count.ends(message["package_id"])
        if message.get("executable"):
            elf = Path(message["executable"])
    return elf


def _cargo(project: Project, toolchain: Toolchain, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [toolchain.cargo, *arguments],
        cwd=project.directory,
        env={**os.environ, **toolchain.environment},
        capture_output=True,
        text=True,
        check=False,
    )


def _packages(project: Project) -> int:
    lock = tomllib.loads((project.directory / "Cargo.lock").read_text("utf-8"))
    return len(lock.get("package", []))
