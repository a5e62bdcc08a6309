"""Finds the Rust toolchain for a target: an installed rustup target, else core built from a matching rust-src."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from eyeflow.base.errors import EyeflowError

DEBIAN_RUSTC = Path("/usr/bin/rustc")
GNU_LINKER = "arm-none-eabi-ld"
APT_PACKAGES = "rustc-web cargo-web rust-web-src binutils-arm-none-eabi"
RUST_MIN = (1, 89)
"""The oldest compiler that the pinned crates build with."""
QUESTION_S_MAX = 60.0


class Core(Enum):
    """Where `core` for the target comes from."""

    INSTALLED = "installed target"
    FROM_SOURCE = "built from rust-src"


@dataclass(frozen=True, slots=True)
class Rust:
    """One installed Rust: compiler, its version, and what lies in its sysroot."""

    rustc: Path
    cargo: Path
    version: tuple[int, int]
    host: str
    sysroot: Path

    def has_target(self, target: str) -> bool:
        """Return whether `core` for the target is installed."""
        return any((self.sysroot / "lib" / "rustlib" / target / "lib").glob("libcore-*.rlib"))

    def has_source(self) -> bool:
        """Return whether the sources of `core` are installed, of this very version."""
        source = self.sysroot / "lib" / "rustlib" / "src" / "rust" / "library"
        if not (source / "core").is_dir():
            return False
        named = re.search(r"rustc-(\d+)\.(\d+)", str(source.resolve()))
        return named is None or (int(named[1]), int(named[2])) == self.version

    def has_lld(self) -> bool:
        """Return whether this Rust brings its own linker."""
        bundled = self.sysroot / "lib" / "rustlib" / self.host / "bin" / "rust-lld"
        return bundled.is_file() or shutil.which("rust-lld") is not None


@dataclass(frozen=True, slots=True)
class Toolchain:
    """How to call cargo for a target: the program, arguments after `build`, variables to add to the environment.

    `host` is the machine that builds: macros and build scripts are compiled for it.
    """

    cargo: Path
    arguments: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    core: Core = Core.INSTALLED
    version: tuple[int, int] = (0, 0)
    host: str = ""

    def describe(self) -> str:
        """Return one line that says what is used."""
        return f"Rust {self.version[0]}.{self.version[1]} ({self.cargo}), core: {self.core.value}"


def find_toolchain(target: str) -> Toolchain:
    """Return how to build for a target; raises EyeflowError naming the command that installs what is missing."""
    rusts = list(installed_rusts())
    if not rusts:
        raise _missing("there is no Rust compiler", target)
    recent = [rust for rust in rusts if rust.version >= RUST_MIN]
    if not recent:
        raise _missing(f"Rust {_text(rusts[0].version)} is too old: the firmware needs {_text(RUST_MIN)}", target)
    for rust in recent:
        if rust.has_target(target):
            return _toolchain(rust, target, Core.INSTALLED)
    for rust in recent:
        if rust.has_source():
            return _toolchain(rust, target, Core.FROM_SOURCE)
    raise _missing(f"Rust {_text(recent[0].version)} has neither the target {target} nor rust-src", target)


def installed_rusts() -> Iterator[Rust]:
    """Yield the Rusts of this machine: the one on the path first, then the system's own."""
    seen: set[Path] = set()
    on_path = shutil.which("rustc")
    for rustc in [Path(on_path)] if on_path else []:
        seen.add(rustc)
        yield from _ask(rustc)
    if DEBIAN_RUSTC not in seen and DEBIAN_RUSTC.is_file():
        yield from _ask(DEBIAN_RUSTC)


def _ask(rustc: Path) -> Iterator[Rust]:
    """Yield what a compiler says of itself; a rustup shim without a toolchain says nothing and is passed over."""
    version, sysroot = _run(rustc, "-vV"), _run(rustc, "--print", "sysroot")
    release = re.search(r"^release: (\d+)\.(\d+)", version, re.M)
    host = re.search(r"^host: (\S+)", version, re.M)
    cargo = rustc.with_name("cargo")
    if release and host and sysroot and cargo.exists():
        yield Rust(rustc, cargo, (int(release[1]), int(release[2])), host[1], Path(sysroot.strip()))


def _run(program: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            [program, *arguments], capture_output=True, text=True, timeout=QUESTION_S_MAX, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _toolchain(rust: Rust, target: str, core: Core) -> Toolchain:
    arguments: tuple[str, ...] = () if rust.has_lld() else _gnu_linker(target)
    environment = {"RUSTC": str(rust.rustc)}
    if core is Core.FROM_SOURCE:
        arguments = ("-Zbuild-std=core", *arguments)
        environment["RUSTC_BOOTSTRAP"] = "1"
    return Toolchain(rust.cargo, arguments, environment, core, rust.version, rust.host)


def _gnu_linker(target: str) -> tuple[str, ...]:
    linker = shutil.which(GNU_LINKER)
    if linker is None:
        raise EyeflowError(
            "there is no linker for ARM",
            cause="neither rust-lld nor arm-none-eabi-ld is installed",
            next_step=_install("binutils-arm-none-eabi", "rustup component add llvm-tools"),
            code="toolchain",
        )
    return (
        "--config",
        f'target.{target}.linker="{linker}"',
        "--config",
        f'target.{target}.rustflags=["-Clinker-flavor=ld"]',
    )


def _missing(what: str, target: str) -> EyeflowError:
    return EyeflowError(
        "the Rust toolchain for the firmware is not complete",
        cause=what,
        next_step=_install(APT_PACKAGES, f"rustup target add {target}"),
        code="toolchain",
    )


def _install(apt: str, rustup: str) -> str:
    """Return the command for this system."""
    if shutil.which("rustup"):
        debian = f", or: sudo apt-get install {apt}" if shutil.which("apt-get") else ""
        return f"run: {rustup}{debian}"
    if shutil.which("apt-get"):
        return f"run: sudo apt-get install {apt}"
    return f"install Rust from https://rustup.rs, then run: {rustup}"


def _text(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
