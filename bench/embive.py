"""embive, another virtual machine for microcontrollers, on the rules of `bench/cores.py`.

Its guests are the rules written by hand, compiled for RISC-V and turned into its bytecode: embassy/emulated/guest and
embassy/emulated/embive. embive 0.7.1, https://github.com/embive/embive.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from statistics import fmean

from bench.cores import ROOT, Board, Task, expected
from emulated.core import HEAP_BASE, BareCore, Image, Model, build, load
from eyeflow.mcu.toolchain import Rust, installed_rusts

FOLDER = ROOT / "embassy" / "emulated"
TARGET = "riscv32imac-unknown-none-elf"
VM, CODE = HEAP_BASE, HEAP_BASE + 0x1_0000
RAM_BYTES = 1024
"""What a guest gets: `RAM_BYTES` of embassy/emulated/embive/src/main.rs."""


@cache
def guests() -> dict[str, bytes]:
    """Return each rule as embive's bytecode."""
    rust = _rust()
    source = () if rust.has_target(TARGET) else ("-Zbuild-std=core",)
    command = [str(rust.cargo), "build", "--release", "--locked", *source, "--target", TARGET]
    command += ["--config", f'target.{TARGET}.linker="{_linker()}"']
    environment = {"RUSTC": str(rust.rustc), **({"RUSTC_BOOTSTRAP": "1"} if source else {})}
    found = _executables(command, FOLDER / "guest", environment)
    command = ["cargo", "build", "--release", "--locked", "--features", "transpile", "--example", "transpile"]
    (transpile,) = _executables(command, FOLDER / "embive", {}).values()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "code.bin"
        codes = {}
        for name, elf in found.items():
            subprocess.run([transpile, elf, out], check=True)
            codes[name] = out.read_bytes()
    return codes


def _rust() -> Rust:
    for rust in installed_rusts():
        if rust.has_target(TARGET) or rust.has_source():
            return rust
    raise RuntimeError(
        f"no Rust here has {TARGET} or rust-src: rustup target add {TARGET}, or apt-get install rust-web-src"
    )


def _linker() -> str:
    """Return an LLVM linker: the GNU one for ARM, which firmware may use, knows no RISC-V."""
    for rust in installed_rusts():
        bundled = rust.sysroot / "lib" / "rustlib" / rust.host / "bin" / "rust-lld"
        if bundled.is_file():
            return str(bundled)
    found = shutil.which("rust-lld") or shutil.which("ld.lld")
    if found is None:
        raise RuntimeError("there is no linker for RISC-V: apt-get install lld, or a Rust of rustup")
    return found


def _executables(command: list[str], folder: Path, environment: dict[str, str]) -> dict[str, str]:
    done = subprocess.run(
        [*command, "--message-format", "json"],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{folder} does not build:\n{done.stderr}")
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    return {m["target"]["name"]: m["executable"] for m in messages if m.get("executable")}


@cache
def image(model: Model, opt_level: str = "") -> Image:
    """Build the virtual machine for a core."""
    options = ("--config", f"profile.release.opt-level={opt_level}") if opt_level else ()
    return load(build(FOLDER / "embive" / "Cargo.toml", "vm", model, *options))


@cache
def count(task: Task, model: Model, opt_level: str = "") -> float:
    """Return the mean instructions of one execution; raises AssertionError when it does not decide as the SVM does."""
    core = BareCore(model, image(model, opt_level), counting=True)
    code = guests()[task.name]
    core.write(CODE, code)
    core.call("vm_open", VM, CODE, len(code))
    assert core.call("vm_begin", VM) == 1
    board = Board(core)
    counts = []
    for inputs, output in zip(task.events(), expected(task), strict=True):
        instructions, found = board.scan("vm_step", VM, inputs)
        assert found == output, f"embive on {task.name} at {inputs}: {found.hex()}, not {output.hex()}"
        counts.append(instructions)
    return fmean(counts)
