"""`make demo-board`, on the firmware image that the tests build: two nodes and a simulated board as one cluster.

The whole demonstration takes 40 seconds of the processor: it runs with EYEFLOW_FUZZ=full, and one strategy without.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from components.boards import PLAIN_F401, SIGNER, image_of, share_compiled_crates
from components.rust import BUILD, ROOT
from eyeflow.svm.signing import public_key_of

share_compiled_crates()


@pytest.fixture
def folder() -> Iterator[Path]:
    """Below the project, as the demo shows its paths from there."""
    path = BUILD / f"demo-board-{os.getpid()}"
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    yield path
    shutil.rmtree(path, ignore_errors=True)


def ran(folder: Path, *strategies: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"DEMO_DATA": str(folder / "data"), "DEMO_FIRMWARE": str(folder / "kept")}
    environment |= {"PATH": path, "HOME": path} if path is not None else {}
    return subprocess.run(
        [sys.executable, "-m", "scripts.demo_board", *strategies],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        check=False,
    )


def test_strategies_reach_nodes_and_board_with_one_command(folder: Path) -> None:
    kept, keys = folder / "kept", folder / "kept" / "config" / "eyeflow" / "keys"
    keys.mkdir(parents=True, mode=0o700)
    key = Ed25519PrivateKey.from_private_bytes(SIGNER)
    pem = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    (keys / "default.pem").write_bytes(pem)
    (keys / "default.pem").chmod(0o600)
    (keys / "default.pub").write_text(f"eyeflow-ed25519 {public_key_of(SIGNER).hex()} default\n")
    (kept / "board.toml").write_text(PLAIN_F401.board_text)
    shutil.copytree(image_of(PLAIN_F401.board_text).elf.parent, kept / "firmware")
    is_full = os.environ.get("EYEFLOW_FUZZ") == "full"
    done = ran(folder) if is_full else ran(folder, "rolling")
    sys.stdout.write(done.stdout)
    assert done.returncode == 0, done.stderr
    for step in range(1, 9) if is_full else (1, 2, 3, 7, 8):
        assert f"== {step}. " in done.stdout
    assert done.stdout.count(": succeeded") == (5 if is_full else 2)
    assert not is_full or "node-mcu-01 is a board, which runs one program of a rule at a time" in done.stdout
    assert "node-mcu-01: installed" in done.stdout and ": failed" in done.stdout
    assert f"program overheat_relay {'1.5.0' if is_full else '1.3.0'}" in done.stdout, "it is back"
    assert (done.stdout + done.stderr).count("failed, it is deployed all the same") == 1, "once for nodes and board"
    assert '"pin": "RELAY", "level": "HIGH"' in done.stdout


def test_a_machine_without_rust_is_told_what_to_install(folder: Path) -> None:
    done = ran(folder, path=str(folder))
    assert done.returncode == 1, done.stdout
    assert "the firmware was not built" in done.stderr and "rustup" in done.stderr
    assert not (folder / "kept" / "firmware" / "firmware.json").exists(), "the next run builds it"
