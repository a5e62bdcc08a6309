"""Builds a firmware project with cargo and checks what comes out against the chip's budget."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tomllib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import IO

from eyeflow.base.errors import EyeflowError
from eyeflow.mcu.project import Project
from eyeflow.mcu.size import Kind, Sizes, image_bytes, read_sizes
from eyeflow.mcu.toolchain import Toolchain, find_toolchain
from eyeflow.mcu.uf2 import RP2040_FAMILY, to_uf2

LINES_KEPT_MAX = 60
OVERFLOW = re.compile(r"region [`'](FLASH|RAM)' overflowed by (\d+) bytes|section .* will not fit in region [`'](\w+)'")
NOT_CACHED = ("--offline", "offline mode", "no matching package", "failed to download", "unable to update")

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many packages are done, and how many there are at most."""


@dataclass(frozen=True, slots=True)
class Firmware:
    """What a build gives: the ELF file, the flash image beside it, a UF2 file where the chip takes one, the sizes."""

    elf: Path
    bin: Path
    uf2: Path | None
    sizes: Sizes
    toolchain: Toolchain


def build_firmware(project: Project, progress: Progress, toolchain: Toolchain | None = None) -> Firmware:
    """Build a project and return the firmware; raises EyeflowError when a piece is missing, cargo fails or a budget is
    exceeded. Uses the network only when crates are not cached yet.
    """
    chosen = toolchain or find_toolchain(project.board.chip.target)
    fetch_crates(project, progress, chosen)
    elf = _compile(project, progress, chosen)
    sizes = read_sizes(elf, project.board.chip)
    check_budget(project, sizes)
    start, image = image_bytes(elf)
    binary, uf2 = elf.with_suffix(".bin"), None
    binary.write_bytes(image)
    if project.board.chip.hal == "rp":
        uf2 = elf.with_suffix(".uf2")
        uf2.write_bytes(to_uf2(start, image, RP2040_FAMILY))
    return Firmware(elf, binary, uf2, sizes, chosen)


def fetch_crates(project: Project, progress: Progress, toolchain: Toolchain) -> None:
    """Make sure that every crate of the lock file is cached; goes to the network only when one is missing.

    Where `core` is built from its sources, so are the crates that the lock file of the sources names.
    """
    targets = [project.board.chip.target, *([toolchain.host] if toolchain.host else [])]
    arguments = ["fetch", "--locked", *toolchain.arguments, *(f"--target={target}" for target in targets)]
    offline = _cargo(project, toolchain, [*arguments, "--offline"])
    if offline.returncode == 0:
        return
    progress("downloading crates", 0, _packages(project))
    online = _cargo(project, toolchain, arguments)
    if online.returncode != 0:
        raise EyeflowError(
            "the crates of the firmware cannot be downloaded",
            cause=_last_lines(online.stderr),
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
        next_step=f"correct what you changed in {project.directory}, or render it anew with `eyeflow mcu new`",
        code="compile",
    )


def _build(project: Project, progress: Progress, toolchain: Toolchain, extra: dict[str, str]) -> Path | str:
    """Return the ELF file, or the last lines of what cargo said."""
    arguments = ["build", "--release", "--locked", "--offline", *toolchain.arguments]
    process = subprocess.Popen(
        [toolchain.cargo, *arguments, "--message-format=json-render-diagnostics"],
        cwd=project.directory,
        env={**os.environ, **toolchain.environment, **extra},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout and process.stderr
    said: deque[str] = deque(maxlen=LINES_KEPT_MAX)
    listener = Thread(target=_listen, args=(process.stderr, said), daemon=True)
    listener.start()
    elf = _follow(process.stdout, progress, _packages(project))
    code = process.wait()
    listener.join()
    process.stdout.close()
    process.stderr.close()
    return elf if code == 0 and elf else "".join(said).strip()


def _listen(stream: IO[str], said: deque[str]) -> None:
    for line in stream:
        if not line.lstrip().startswith(("Compiling", "Fresh", "Blocking")):
            said.append(line)


def _follow(stream: IO[str], progress: Progress, packages: int) -> Path | None:
    """Report each package that is done; return the executable that cargo names."""
    elf, done = None, 0
    for line in stream:
        message = json.loads(line)
        if message.get("reason") != "compiler-artifact":
            continue
        done += 1
        progress(f"compiled {message['target']['name']}", min(done, packages), packages)
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


def _last_lines(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-LINES_KEPT_MAX:])
