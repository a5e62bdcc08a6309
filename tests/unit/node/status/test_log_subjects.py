"""A line of the node's log says for which rule or source it was written, although its writer does not know."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from components.node_sim import SIGNER, program
from components.waiting import HANG_S
from eyeflow.base.subject import SUBJECT, Subject
from eyeflow.cli.logs import LogFormat, set_up_log
from eyeflow.node.config.config import NodeConfig
from eyeflow.node.daemon import run_node
from eyeflow.node.io.adc.driver import AdcDriver
from eyeflow.node.io.connectors import ports_config
from eyeflow.node.io.host.source import HostSource
from eyeflow.node.io.ports import Deliver
from eyeflow.node.runtime import NodeRuntime
from eyeflow.svm.program import Value
from eyeflow.svm.signing import public_key_of

RULES = {
    "heat": 'rule heat {\n version "1.0.0"\n on every 10ms\n log.warn("too hot")\n}\n',
    "cold": 'rule cold {\n version "1.0.0"\n on every 10ms\n log.warn("too cold")\n}\n',
    "probe": 'rule probe {\n version "1.0.0"\n on every 10ms\n let a = adc.read_channel(0) else 0.0\n log.warn("{a}")\n}\n',
}


@pytest.fixture
def log(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    root, eyeflow = logging.getLogger(), logging.getLogger("eyeflow")
    before, levels = root.handlers[:], (root.level, eyeflow.level)
    yield
    root.handlers[:] = before
    root.setLevel(levels[0])
    eyeflow.setLevel(levels[1])


def run_until(tmp_path: Path, written: Mapping[str, int]) -> None:
    """Run the rules until each has run as often as this."""

    async def scenario() -> None:
        stop, nodes = asyncio.Event(), []
        key = public_key_of(SIGNER)
        config = NodeConfig("n1", tmp_path, grants=("*",), trusted_keys=(key,), ports=ports_config())
        running = asyncio.create_task(run_node(config, on_ready=nodes.append, stop=stop))
        async with asyncio.timeout(HANG_S):
            while not nodes and not running.done():
                await asyncio.sleep(0)
            node: NodeRuntime = nodes[0]
            for name in written:
                assert (await node.install(program(RULES[name]), {}, "d", 1)).message == ""
            while not all(rule.health.actions >= written[rule.name] for rule in node.engine.core.rules.values()):
                await asyncio.sleep(0)
        stop.set()
        await running

    asyncio.run(scenario())


def test_a_line_of_a_rule_names_the_rule(
    tmp_path: Path, log: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: AdcDriver, capability: str, args: Mapping[str, Value], timeout_us: int) -> Value:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(AdcDriver, "read", broken)
    set_up_log(LogFormat.TEXT, verbose=False)
    run_until(tmp_path, {"heat": 3, "cold": 3, "probe": 1})
    lines = [line.split(" ", 1)[1] for line in capsys.readouterr().err.splitlines() if line[:2] == "20"]
    said = {line for line in lines if "too" in line}
    assert said == {"WARNING rule heat: too hot", "WARNING rule cold: too cold"}
    assert "ERROR   rule probe: driver of adc.read_channel failed in an unforeseen way" in lines
    assert any(line.startswith("INFO    eyeflow.node: heat runs program") for line in lines), (
        "nobody's line is no rule's"
    )


def test_the_json_log_names_rule_and_source(
    tmp_path: Path, log: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(self: HostSource, deliver: Deliver) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(HostSource, "run", broken)
    set_up_log(LogFormat.JSON, verbose=False)
    run_until(tmp_path, {"heat": 3})
    rows = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert {row["subject"] for row in rows if row["message"] == "too hot"} == {"rule heat"}
    assert {row["subject"] for row in rows if "host failed" in row["message"]} == {"source host"}


def test_control_a_task_made_outside_does_not_know(log: None) -> None:
    async def scenario() -> tuple[str, str]:
        async def told() -> str:
            return SUBJECT.get()

        with Subject("rule heat"):
            inside = asyncio.create_task(told())
        outside = asyncio.create_task(told())
        return await inside, await outside

    assert asyncio.run(scenario()) == ("rule heat", "")
