"""What the commands do with broken signatures and with keys that were revoked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import Command


@pytest.fixture
def program(eyeflow: Command, rule: Path, tmp_path: Path) -> Path:
    assert eyeflow("keys", "new", "op").code == 0
    assert eyeflow("compile", rule, "-o", tmp_path / "lamp.svm", "--sign", "op").code == 0
    return tmp_path / "lamp.svm"


def test_a_program_that_was_changed_after_signing_is_neither_shown_as_signed_nor_run(
    eyeflow: Command, program: Path, recording: Path
) -> None:
    data = program.read_bytes()
    assert eyeflow("inspect", program).code == 0, "the control"
    changed = data.replace(b"light", b"fight", 1)
    assert changed != data
    program.write_bytes(changed)
    for arguments in (("inspect", program), ("run", program, "--events", recording)):
        ran = eyeflow(*arguments, "--json")
        assert ran.code == 1 and ran.json["error"]["code"] == "bad_signature", ran.out


def test_a_revoked_signer_is_marked(eyeflow: Command, program: Path) -> None:
    assert eyeflow("inspect", program, "--json").json["signers"] == ["op"]
    assert eyeflow("keys", "revoke", "op").code == 0
    assert eyeflow("inspect", program, "--json").json["signers"] == ["op (revoked)"]


@pytest.mark.parametrize(("revoked", "code"), [(False, "unknown_nodes"), (True, "untrusted_program")])
def test_deploy_brings_no_revoked_key_into_a_cluster(
    eyeflow: Command, program: Path, environment: dict[str, str], tmp_path: Path, revoked: bool, code: str
) -> None:
    """The control: a key in good standing is introduced, and only the node is wrong."""
    if revoked:
        assert eyeflow("keys", "revoke", "op").code == 0
    command = [sys.executable, "-m", "eyeflow", "coordinator", "start", "--port", "0", "--json", "--data-dir", "c"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, cwd=tmp_path) as coordinator:
        try:
            assert coordinator.stdout is not None
            assert json.loads(coordinator.stdout.readline())["url"]
            ran = eyeflow("deploy", program, "--nodes", "node-a", "--json")
            assert ran.code == 1 and ran.json["error"]["code"] == code, ran.out
        finally:
            coordinator.terminate()
