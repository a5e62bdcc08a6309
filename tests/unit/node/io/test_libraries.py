"""A node loads the libraries of what it uses only; the control uses them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

LIBRARIES = {"gpiod", "httpx", "paho", "serial", "starlette", "uvicorn"}
BUILD = """
import json, sys
import eyeflow.node.daemon
from eyeflow.node.io.connectors import read_ports
from eyeflow.node.io.world import build_world
build_world(read_ports(json.loads(sys.argv[1])), "n1")
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})))
"""


def loaded(tables: dict[str, object]) -> set[str]:
    command = [sys.executable, "-c", BUILD, json.dumps(tables)]
    names = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return LIBRARIES.intersection(names)


def test_a_node_that_nothing_is_configured_for_loads_no_library_of_a_source() -> None:
    assert loaded({}) == set()


@pytest.mark.parametrize(
    ("tables", "libraries"),
    [
        ({"mqtt": {"host": "127.0.0.1"}}, {"paho"}),
        ({"llm": {"endpoint": "http://127.0.0.1:9", "model": "m"}}, {"httpx"}),
    ],
)
def test_control_what_is_configured_is_loaded(tables: dict[str, object], libraries: set[str]) -> None:
    assert loaded(tables) == libraries
