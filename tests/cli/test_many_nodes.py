"""What people are told of a deployment to many nodes where there is no terminal: what is wrong, and numbers."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from eyeflow.cli.following import EACH_NODE_MAX, JsonLines, PlainLines

MANY = 5_000


def deployment(nodes: int, installed: int, refused: int = 0) -> dict[str, Any]:
    """A deployment to so many nodes; the first have it, the last refused it."""
    states = ["installed"] * installed + ["sent"] * (nodes - installed - refused) + ["refused"] * refused
    rows = [
        {
            "node": f"node-{number:04}",
            "connected": True,
            "state": state,
            "reason": "not_granted: log.*" if state == "refused" else "",
            "place": "active",
            "previous": [],
        }
        for number, state in enumerate(states)
    ]
    told = {"state": "installing", "phase": 0, "over": False, "reason": "", "strategy": "immediate", "options": {}}
    return {**told, "nodes": rows, "counts": dict(Counter(states)), "verdict": None, "paused": []}


def test_of_thousands_of_nodes_people_hear_what_is_wrong_and_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    lines = PlainLines()
    for installed in (0, 1_200, 1_200, 4_998):
        lines(deployment(MANY, installed, refused=2))
    told = capsys.readouterr().err.splitlines()
    assert sum("refused" in line and "not_granted" in line for line in told) == 2
    assert sum("1200 installed" in line for line in told) == 1, "once, though it was looked at twice"
    assert len(told) == 1 + 2 + 3, told


def test_of_few_nodes_each_one_is_told_of(capsys: pytest.CaptureFixture[str]) -> None:
    PlainLines()(deployment(EACH_NODE_MAX, EACH_NODE_MAX))
    assert sum("installed" in line for line in capsys.readouterr().err.splitlines()) == EACH_NODE_MAX


def test_scripts_hear_of_each_node(capsys: pytest.CaptureFixture[str]) -> None:
    JsonLines()(deployment(MANY, MANY))
    assert sum('"event": "node"' in line for line in capsys.readouterr().out.splitlines()) == MANY
