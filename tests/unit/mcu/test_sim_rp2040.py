"""What the simulator of the RP2040 needs on this machine, and what it says when that is missing."""

from __future__ import annotations

import json
import shutil
from importlib import resources
from pathlib import Path

import pytest

from eyeflow.base.errors import EyeflowError
from eyeflow.mcu.sim.pins import parse_rp2040_pin
from eyeflow.mcu.sim.rp2040 import install
from eyeflow.mcu.sim.rp2040.process import FLASH_BASE, Rp2040Simulator
from sim_firmware import elf_file


def test_the_lock_file_pins_version_and_checksum() -> None:
    lock = json.loads(resources.files("eyeflow.mcu.sim.rp2040").joinpath("package-lock.json").read_text("utf-8"))
    package = lock["packages"]["node_modules/rp2040js"]
    assert package["version"] == install.VERSION
    assert package["integrity"].startswith("sha512-")
    assert set(lock["packages"]) == {"", "node_modules/rp2040js"}, "it has no dependencies"


def test_without_node_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    elf = tmp_path / "a.elf"
    elf.write_bytes(elf_file(address=FLASH_BASE))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(EyeflowError, match=r"needs Node\.js") as caught:
        Rp2040Simulator(elf)
    assert caught.value.code == "node_missing"


def test_without_npm_or_network_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(EyeflowError, match="cannot be installed") as caught:
        install.find_rp2040js()
    assert caught.value.cause == "npm is not installed"
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho 'npm error network' >&2\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name: str(npm))
    with pytest.raises(EyeflowError) as caught:
        install.find_rp2040js()
    assert caught.value.cause == "npm error network"
    assert "network" in caught.value.next_step


@pytest.mark.parametrize(("name", "number"), [("GPIO25", 25), ("gp0", 0), ("PIN_7", 7), ("29", 29)])
def test_pin_names(name: str, number: int) -> None:
    assert parse_rp2040_pin(name) == number


@pytest.mark.parametrize("name", ["GPIO", "PA5", "GPIO251", "", "GPIO30"])
def test_pins_that_are_not_there(name: str) -> None:
    with pytest.raises(EyeflowError, match="there is no pin"):
        parse_rp2040_pin(name)
