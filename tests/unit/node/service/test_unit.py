"""The unit of a node, read and rated by systemd's own tools."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from eyeflow.cli import node as command
from eyeflow.cli.main import command_line
from eyeflow.node.config.config import load_config
from eyeflow.node.service.unit import Service, service_of

EXPOSURE_MAX = 1.3
"""0 is a process that may do nothing, 10 one that may do everything; 9.6 is a service without any of these lines."""


def service(folder: Path, more: str = "", user: str = "games") -> Service:
    """Return the service of a node whose data lies where a system keeps it."""
    file = folder / "eyeflow-svm.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f'[node]\nname = "node-a"\ndata_dir = "/var/lib/eyeflow"\n\n{more}', encoding="utf-8")
    return service_of(load_config(file), Path("/etc/eyeflow/eyeflow-svm.toml"), ("/usr/bin/env", "eyeflow"), user)


def rated(folder: Path, one: Service) -> float:
    path = folder / one.unit
    path.write_text(one.text, encoding="utf-8")
    for arguments in (("verify", "--man=no", str(path)), ("security", "--offline=yes", "--no-pager", str(path))):
        ran = subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        # It looks through the units of this machine, too, and complains of some of them.
        assert not [line for line in ran.stderr.splitlines() if one.unit in line], ran.stderr
    (overall,) = (line for line in ran.stdout.splitlines() if "Overall exposure level" in line)
    return float(overall.split(": ")[1].split()[0])


DEVICES = """
[gpio]
backend = "libgpiod"

[pins]
RELAY = 17
FAN = { line = 3, chip = "/dev/gpiochip1" }

[serial.scale]
device = "/dev/tty USB%0"

[file]
directories = ["/srv/lines"]
"""


def test_it_may_do_little(tmp_path: Path) -> None:
    assert rated(tmp_path, service(tmp_path)) <= EXPOSURE_MAX


def test_control_without_its_sandbox_it_is_rated_badly(tmp_path: Path) -> None:
    plain = service(tmp_path)
    kept = [line for line in plain.text.splitlines() if not line.startswith(("Protect", "Restrict", "System", "Cap"))]
    assert rated(tmp_path, Service(plain.unit, "\n".join(kept))) > 2 * EXPOSURE_MAX


def test_it_has_the_devices_and_folders_of_its_configuration_and_no_others(tmp_path: Path) -> None:
    text = service(tmp_path, DEVICES).text
    assert rated(tmp_path, service(tmp_path, DEVICES)) <= EXPOSURE_MAX + 0.3
    allowed = [line for line in text.splitlines() if line.startswith("DeviceAllow=")]
    assert allowed == [
        "DeviceAllow=/dev/gpiochip0 rw",
        "DeviceAllow=/dev/gpiochip1 rw",
        'DeviceAllow="/dev/tty USB%%0" rw',
    ]
    assert "DevicePolicy=closed\n" in text and "PrivateDevices=no\n" in text
    assert "SupplementaryGroups=dialout gpio\n" in text
    assert "ReadWritePaths=/var/lib/eyeflow /srv/lines\n" in text
    assert "PrivateDevices=yes\n" in service(tmp_path).text and "DeviceAllow" not in service(tmp_path).text


@pytest.mark.parametrize(("data_dir", "home", "tmp"), [("/var/lib/x", "yes", "yes"), ("/home/a/x", "read-only", "yes"), ("/tmp/x", "yes", "no")])  # fmt: skip
def test_what_holds_its_files_is_not_hidden(tmp_path: Path, data_dir: str, home: str, tmp: str) -> None:
    file = tmp_path / "eyeflow-svm.toml"
    file.write_text(f'[node]\nname = "n"\ndata_dir = "{data_dir}"\n', encoding="utf-8")
    text = service_of(load_config(file), Path("/etc/eyeflow.toml"), ("/usr/bin/eyeflow",), "u").text
    assert f"ProtectHome={home}\n" in text and f"PrivateTmp={tmp}\n" in text


def test_a_node_that_cannot_start_yet_is_tried_again_for_ever(tmp_path: Path) -> None:
    """A disk that comes late ends it with 3, a mistake in its file with 1: no exit code may end it for good."""
    text = service(tmp_path).text
    assert "Restart=on-failure\n" in text and "StartLimitIntervalSec=0\n" in text
    assert "RestartPreventExitStatus" not in text


def test_its_settings_are_those_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service has neither the variables nor the flags of the terminal."""
    file = tmp_path / "eyeflow-svm.toml"
    file.write_text('[node]\nname = "node-a"\n', encoding="utf-8")
    monkeypatch.setenv("EYEFLOW_NODE_NAME", "node-b")
    assert "Description=eyeflow node node-a\n" in run("--config", str(file))
    assert "No such option" in run("--config", str(file), "--node-name", "node-b")


def test_words_that_systemd_would_read_otherwise_are_quoted(tmp_path: Path) -> None:
    file = tmp_path / "eyeflow-svm.toml"
    file.write_text('[node]\nname = "n"\ndata_dir = "/var/lib/a b"\n', encoding="utf-8")
    made = service_of(load_config(file), Path("/etc/50% $HOME/eyeflow.toml"), ("/usr/bin/eyeflow",), "u")
    assert 'ExecStart=/usr/bin/eyeflow node start --config "/etc/50%% $$HOME/eyeflow.toml"\n' in made.text
    assert 'ReadWritePaths="/var/lib/a b"\n' in made.text and "WorkingDirectory=/etc/50%% $HOME\n" in made.text


def run(*arguments: str) -> str:
    ran = CliRunner().invoke(command_line(), ["node", "install-service", *arguments])
    return ran.output if ran.exception is None else str(getattr(ran.exception, "message", ran.output))


def test_it_is_printed_and_written_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "UNITS", tmp_path / "units")
    file = tmp_path / "eyeflow-svm.toml"
    file.write_text('[node]\nname = "node-a"\n', encoding="utf-8")
    printed = run("--config", str(file))
    assert printed.startswith("# Written by `eyeflow node install-service`") and not (tmp_path / "units").exists()
    assert f"ExecStart={sys.executable} -m eyeflow node start --config {file}\n" in printed
    for _ in range(2):  # what it wrote itself, it writes again
        assert f"wrote {tmp_path}/units/eyeflow-node-a.service" in run("--config", str(file), "--write")
    path = tmp_path / "units" / "eyeflow-node-a.service"
    assert path.read_text(encoding="utf-8").rstrip() == printed.rstrip()
    assert (tmp_path / "data").is_dir(), "the sandbox does not let the node make it"
    path.write_text("[Unit]\n", encoding="utf-8")
    assert "is not from this command" in run("--config", str(file), "--write")
    assert path.read_text(encoding="utf-8") == "[Unit]\n"
