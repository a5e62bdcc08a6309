"""Fields of JSON have one spelling, and the page of commands names each variable that they read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import eyeflow
from eyeflow.node.config.config import settings

from .conftest import Command
from .test_first_path import Cluster, cluster, ticker, until

__all__ = ["cluster", "ticker"]

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "cli.md"
OWN = {"EYEFLOW_ROOMY", "EYEFLOW_COMPLETE"}
"""Set by eyeflow itself, for Cargo and for the shell."""


def underscored(value: Any, place: str = "") -> Iterator[str]:
    """Yield the places of fields with an underscore; what users and counters are called is no field."""
    if isinstance(value, dict):
        for name, below in value.items():
            if "_" in name:
                yield f"{place}.{name}"
            if name not in {"params", "counters", "traps", "rejectedReasons", "rejectedByReason", "failedReads"}:
                yield from underscored(below, f"{place}.{name}")
    elif isinstance(value, list):
        for below in value:
            yield from underscored(below, f"{place}[]")


def documents(text: str) -> list[Any]:
    try:
        return [json.loads(text)]
    except ValueError:
        return [json.loads(line) for line in text.splitlines()]


def test_no_field_has_an_underscore(
    cluster: Cluster, eyeflow: Command, ticker: Path, rule: Path, recording: Path
) -> None:
    assert list(underscored({"a_b": [{"c_d": 1}], "params": {"x_y": 1}})) == [".a_b", ".a_b[].c_d"], "the control"
    eyeflow("keys", "new")
    cluster.join("node-a", cluster.coordinator())
    cluster.node("node-a")
    config = ("--config", str(cluster.config("node-a")))
    assert eyeflow("deploy", ticker, "--all", "--param", "level=2").code == 0
    assert eyeflow("compile", rule).code == 0
    until(lambda: cluster.executions("node-a") > 1, "the rule runs")
    for command in (
        *(("status",), ("nodes",), ("nodes", "show", "node-a"), ("deployments",), ("tokens", "list"), ("keys", "list")),
        *(("node", "status", *config), ("audit", "verify", *config), ("audit", "show", *config), ("keys", "show")),
        *(("check", rule), ("compile", rule), ("inspect", rule.with_suffix(".svm")), ("test", rule, "--cov")),
        *(("run", rule, "--events", recording), ("coordinator", "join-token"), ("explain", "EF0203"), ("mcu", "chips")),
    ):
        ran = eyeflow(*command, "--json")
        assert ran.code == 0, ran.err
        assert [place for one in documents(ran.out) for place in underscored(one)] == [], command


def test_the_page_names_every_variable() -> None:
    source = "".join(path.read_text() for path in Path(eyeflow.__file__).parent.rglob("*.py"))
    known = {setting.variable for setting in settings()}
    read = set(re.findall(r'"(EYEFLOW_[A-Z_]*[A-Z])"', source)) - known - OWN
    assert {"EYEFLOW_COORDINATOR", "EYEFLOW_MCU_TIMEOUT"} <= read, "the control"
    text = PAGE.read_text()
    assert sorted(name for name in read if f"`{name}`" not in text) == []
