from __future__ import annotations

import os
from pathlib import Path

import pytest

from eyeflow.base.errors import EyeflowError
from eyeflow.mcu import toolchain
from eyeflow.mcu.toolchain import Core, find_toolchain

TARGET = "thumbv7em-none-eabihf"


def install_rust(root: Path, release: str = "1.96.0") -> Path:
    """A Rust that answers what is asked of it; the rest of its sysroot is made by the test."""
    directory = root / "bin"
    directory.mkdir(parents=True)
    rustc = directory / "rustc"
    rustc.write_text(
        "#!/bin/sh\n"
        f'if [ "$1" = -vV ]; then printf "release: {release}\\nhost: x86_64-unknown-linux-gnu\\n"; else echo {root}; fi\n'
    )
    (directory / "cargo").write_text("#!/bin/sh\n")
    for program in directory.iterdir():
        program.chmod(0o755)
    return directory


def add_target(root: Path) -> None:
    library = root / "lib" / "rustlib" / TARGET / "lib"
    library.mkdir(parents=True)
    (library / "libcore-1.rlib").touch()


def add_linker(directory: Path, name: str) -> None:
    linker = directory / name
    linker.write_text("#!/bin/sh\n")
    linker.chmod(0o755)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = install_rust(tmp_path)
    monkeypatch.setenv("PATH", f"{directory}{os.pathsep}/bin")
    monkeypatch.setattr(toolchain, "DEBIAN_RUSTC", tmp_path / "none")
    monkeypatch.setattr(toolchain, "GNU_LINKER", "linker-of-this-test")
    return tmp_path


def test_an_installed_target_is_used(machine: Path) -> None:
    add_target(machine)
    add_linker(machine / "bin", "rust-lld")
    found = find_toolchain(TARGET)
    assert (found.core, found.arguments) == (Core.INSTALLED, ())
    assert found.cargo == machine / "bin" / "cargo"


def test_core_is_built_from_source_without_the_target(machine: Path) -> None:
    (machine / "lib" / "rustlib" / "src" / "rust" / "library" / "core").mkdir(parents=True)
    add_linker(machine / "bin", "linker-of-this-test")
    found = find_toolchain(TARGET)
    assert found.core is Core.FROM_SOURCE
    assert found.arguments[0] == "-Zbuild-std=core"
    assert found.environment["RUSTC_BOOTSTRAP"] == "1"
    assert any("linker-of-this-test" in argument for argument in found.arguments)


def test_sources_of_another_version_do_not_count(machine: Path) -> None:
    other = machine / "rustc-1.95.0" / "library"
    (other / "core").mkdir(parents=True)
    source = machine / "lib" / "rustlib" / "src" / "rust"
    source.mkdir(parents=True)
    (source / "library").symlink_to(other)
    with pytest.raises(EyeflowError, match="not complete") as caught:
        find_toolchain(TARGET)
    assert "neither the target" in caught.value.cause


def test_a_missing_linker_is_named(machine: Path) -> None:
    add_target(machine)
    with pytest.raises(EyeflowError, match="no linker for ARM") as caught:
        find_toolchain(TARGET)
    assert "llvm-tools" in caught.value.next_step or "binutils-arm-none-eabi" in caught.value.next_step


def test_an_old_compiler_and_none_at_all_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "DEBIAN_RUSTC", tmp_path / "none")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(EyeflowError) as none:
        find_toolchain(TARGET)
    assert none.value.cause == "there is no Rust compiler"
    monkeypatch.setenv("PATH", f"{install_rust(tmp_path, '1.70.0')}{os.pathsep}/bin")
    with pytest.raises(EyeflowError) as old:
        find_toolchain(TARGET)
    assert old.value.cause == "Rust 1.70 is too old: the firmware needs 1.89"
