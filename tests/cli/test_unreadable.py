"""Files that have no end, are not there, or hold something else: each command ends, bounded, with one exit code.

3: the file cannot be read (missing, a folder, a device, endless). 1: what is in it is wrong. 2: the command line is.
"""

from __future__ import annotations

import gzip
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import Command

PROBLEMS, USAGE, ENVIRONMENT = 1, 2, 3
MEMORY_BYTES_MAX = 3_000_000_000
"""Address space; a reader without a bound takes that of /dev/zero within seconds."""

READERS = {
    "check": ["check", "FILE"],
    "fmt": ["fmt", "--check", "FILE"],
    "test": ["test", "FILE"],
    "run": ["run", "FILE", "--events", "light.csv"],
    "events": ["run", "lamp.eye", "--events", "FILE"],
    "catalog": ["check", "lamp.eye", "--catalog", "FILE"],
    "inspect": ["inspect", "FILE"],
    "sign": ["sign", "FILE"],
    "board of compile": ["compile", "lamp.eye", "--board", "FILE"],
    "board of build": ["mcu", "build", "--board", "FILE"],
    "node": ["node", "start", "--config", "FILE"],
    "audit": ["audit", "verify", "--config", "FILE"],
    "trust": ["keys", "trust", "FILE", "--name", "x"],
    "sim": ["mcu", "sim", "FILE", "--chip", "STM32F401CC"],
    "size": ["mcu", "size", "FILE", "--chip", "RP2040"],
}


def words(name: str, file: str | Path) -> list[str]:
    return [str(file) if word == "FILE" else word for word in READERS[name]]


@pytest.mark.parametrize("name", READERS)
def test_an_endless_file_ends_every_command(
    name: str, environment: dict[str, str], rule: Path, recording: Path, tmp_path: Path
) -> None:
    def bound_memory() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))

    command = [sys.executable, "-m", "eyeflow", *words(name, "/dev/zero")]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=300, preexec_fn=bound_memory
    )
    assert done.returncode == ENVIRONMENT, done.stderr
    assert "/dev/zero" in done.stderr and "Traceback" not in done.stderr and "try: " in done.stderr


@pytest.mark.parametrize("name", READERS)
def test_a_file_that_is_not_there_is_the_environment(
    name: str, eyeflow: Command, rule: Path, recording: Path, tmp_path: Path
) -> None:
    for file in (tmp_path / "none.x", tmp_path):
        if file.is_dir() and name in ("check", "fmt", "test"):
            continue  # they look for rules in a folder
        ran = eyeflow(*words(name, file))
        assert ran.code == ENVIRONMENT and file.name in ran.err and "Errno" not in ran.err, ran.err


@pytest.mark.parametrize("name", sorted(READERS.keys() - {"events"}))
def test_a_file_with_something_else_in_it_is_a_problem_of_the_input(
    name: str, eyeflow: Command, rule: Path, recording: Path, tmp_path: Path
) -> None:
    nested = tmp_path / "nested.x"
    nested.write_bytes(b"x = " + b"[" * 10_000)
    ran = eyeflow(*words(name, nested))
    assert ran.code == PROBLEMS and "nested.x" in ran.err, ran.err


def test_json_that_is_nested_deep_is_an_event_that_is_rejected(eyeflow: Command, rule: Path) -> None:
    events = rule.with_name("deep.jsonl")
    events.write_text('{"timestamp": 1, "lux": ' + "[" * 100_000 + "}\n" + '{"timestamp": 2, "lux": 1}\n')
    ran = eyeflow("run", rule, "--events", events)
    assert ran.code == 0 and "nested too deeply" in ran.err and "1 execution" in ran.err


@pytest.mark.parametrize(
    ("head", "says"),
    [
        (b"timestamp,lux\n1,2\n3,", "line 3 has more than"),
        (b'{"timestamp": 1, "lux": 2}\n{"timestamp": ', "line 2 has more than"),
        (b'{"timestamp": 1, "lux": 2}\n{"timestamp": "', "line 2 has more than"),
        (b"", "line 1 has more than"),
    ],
    ids=["csv", "jsonl", "text", "first"],
)
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_a_line_without_end_ends_the_replay(
    eyeflow: Command, rule: Path, tmp_path: Path, head: bytes, says: str, packed: bool
) -> None:
    events = tmp_path / "endless.x"
    with gzip.open(events, "wb", 1) if packed else events.open("wb") as file:
        file.write(head)
        for _ in range(70):
            file.write(b"7" * 1024 * 1024)
    ran = eyeflow("run", rule, "--events", events)
    assert ran.code == ENVIRONMENT and "endless.x has no end" in ran.err and says in ran.err, ran.err
    assert head == b"" or "gpio.set_pin" in ran.out, "what came before it was run"


def test_blank_lines_without_end(eyeflow: Command, rule: Path, tmp_path: Path) -> None:
    (tmp_path / "blank.csv").write_bytes(b"\n" * 1_000_001 + b"timestamp,lux\n1,2\n")
    ran = eyeflow("run", rule, "--events", tmp_path / "blank.csv")
    assert ran.code == ENVIRONMENT and "lines are blank" in ran.err
    (tmp_path / "blank.csv").write_bytes(b"\n" * 1_000 + b"timestamp,lux\n1,2\n")
    assert eyeflow("run", rule, "--events", tmp_path / "blank.csv").code == 0


def test_a_pipe_is_a_file_like_others(environment: dict[str, str], rule: Path, tmp_path: Path) -> None:
    line = f"{sys.executable} -m eyeflow check <(cat {rule}) && {sys.executable} -m eyeflow inspect <(echo no)"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == PROBLEMS and "1 rule checked: all good" in done.stdout, done.stderr


def test_the_code_says_who_gave_a_wrong_setting(eyeflow: Command, tmp_path: Path) -> None:
    config = tmp_path / "node.toml"
    config.write_text('[node]\nname = "a"\nresource_lease_s = 99999\n')
    asked = ("node", "status", "--config", config)
    assert eyeflow(*asked).code == PROBLEMS, "the file"
    config.write_text('[node]\nname = "a"\n')
    assert eyeflow(*asked, "--node-resource-lease-s", "99999").code == USAGE, "the command line"
    assert eyeflow(*asked, "--node-resource-lease-s", "soon").code == USAGE
    assert eyeflow(*asked, env={"EYEFLOW_NODE_RESOURCE_LEASE_S": "99999"}).code == USAGE, "the environment variable"
