"""One part's trouble at the start never stops the rules of the others: a real daemon, with one broken part each time."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.node_sim import SIGNER, NodeSim, program
from eyeflow.base.errors import EyeflowError
from eyeflow.node.cluster.membership import JoinResult, Membership
from eyeflow.node.config.config import NodeConfig
from eyeflow.node.daemon import run_node
from eyeflow.node.io.connector import PortsConfig
from eyeflow.node.io.connectors import ports_config, read_ports
from eyeflow.node.io.http.settings import HttpServerConfig
from eyeflow.node.runtime import NodeRuntime
from eyeflow.protocol.identity import Identity, key_fingerprint
from eyeflow.protocol.session import Accepted
from eyeflow.svm.signing import public_key_of

KEY = Identity(bytes(range(32))).public_key
TICK = """
rule tick {
    version "1.0.0"
    state n: int = 0
    on every 10ms
    n = n + 1
    log.info("{n}")
}
"""


def membership(data: Path, **change: object) -> dict[str, object]:
    """A node that has joined; returns what its file holds, with some values changed."""
    made = Membership(data)
    made.join(JoinResult("http://127.0.0.1:9", "node-1", key_fingerprint(KEY), KEY, (KEY,)))
    made.accept(Accepted(3, bytes(32)))
    return json.loads((data / "cluster.json").read_text()) | change


def runs(data: Path, ready: Callable[[dict[str, Any]], bool], ports: PortsConfig | None = None) -> dict[str, Any]:
    """Start a node that is told to run a rule; return its status once the rule has run and `ready` says so."""
    config = NodeConfig("node-1", data, trusted_keys=(public_key_of(SIGNER),), ports=ports or ports_config())
    found: dict[str, Any] = {}

    async def scenario() -> None:
        stop, nodes = asyncio.Event(), []
        running = asyncio.create_task(run_node(config, on_ready=nodes.append, stop=stop))
        async with asyncio.timeout(60):
            while not nodes and not running.done():
                await asyncio.sleep(0)
            if running.done():
                await running
            node: NodeRuntime = nodes[0]
            assert (await node.install(program(TICK), {}, "d", 1)).code == ""
            while True:
                found.update(json.loads(json.dumps(node.status())))
                if found["rules"][0]["executions"] > 2 and ready(found):
                    break
                await asyncio.sleep(0)
        stop.set()
        await running

    asyncio.run(scenario())
    return found


def link_failed(status: dict[str, Any]) -> bool:
    return bool(status["coordinator"]["state"] == "failed")


BROKEN_CLUSTER: list[bytes] = [
    b"",
    b'{"url": "http',
    b"[]",
    b"null",
    b"[" * 100_000,
    b"\xff\xfe",
    b" " * 100_000,
]


@pytest.mark.parametrize("content", BROKEN_CLUSTER, ids=lambda one: repr(one[:12]))
@pytest.mark.parametrize("name", ["cluster.json", "manifest.json"])
def test_rules_run_with_a_damaged_membership_and_the_link_says_why(tmp_path: Path, name: str, content: bytes) -> None:
    membership(tmp_path)
    (tmp_path / name).write_bytes(content)
    status = runs(tmp_path, link_failed)
    assert f"{tmp_path / name} cannot be used" in status["coordinator"]["detail"]
    assert "eyeflow node join" in status["coordinator"]["detail"], "what to do"


@pytest.mark.parametrize(
    "change",
    [
        {"url": 5},
        {"node": None},
        {"signers": "ab"},
        {"signers": ["abc"]},
        {"signers": [["00"]]},
        {"coordinatorKey": 7},
        {"coordinatorKey": "00" * 31},
        {"caFile": {}},
        {"coordinatorId": 3},
    ],
    ids=str,
)
def test_wrong_types_in_the_membership_are_a_clear_error(tmp_path: Path, change: dict[str, object]) -> None:
    (tmp_path / "cluster.json").write_text(json.dumps(membership(tmp_path, **change)))
    with pytest.raises(EyeflowError) as error:
        Membership(tmp_path).joined()
    assert error.value.code == "membership"


@pytest.mark.parametrize(
    "text", ['{"version": "3", "digest": ""}', '{"version": 0}', '{"version": 3, "digest": 5}', "7"]
)
def test_wrong_types_in_the_manifest_fail_the_link_only(tmp_path: Path, text: str) -> None:
    membership(tmp_path)
    (tmp_path / "manifest.json").write_text(text)
    assert "manifest.json cannot be used" in runs(tmp_path, link_failed)["coordinator"]["detail"]


def test_a_membership_that_was_repaired_is_taken_up_without_a_restart(tmp_path: Path) -> None:
    good = json.dumps(membership(tmp_path))
    (tmp_path / "cluster.json").write_text(good[:20])

    def repaired(status: dict[str, Any]) -> bool:
        if link_failed(status):
            (tmp_path / "cluster.json").write_text(good)
        return bool(
            status["coordinator"]["state"] == "connecting" and "next attempt in" in status["coordinator"]["detail"]
        )

    runs(tmp_path, repaired)


def test_a_ca_file_that_is_gone_fails_the_link_only(tmp_path: Path) -> None:
    changed = membership(tmp_path, url="https://127.0.0.1:9", caFile=str(tmp_path / "gone.pem"))
    (tmp_path / "cluster.json").write_text(json.dumps(changed))
    status = runs(tmp_path, lambda one: "gone.pem" in one["coordinator"]["detail"])
    assert "cannot be used" in status["coordinator"]["detail"]


def test_a_status_socket_that_cannot_be_made_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "node.sock" / "in-the-way").mkdir(parents=True)
    runs(tmp_path, lambda _: True)
    assert "`eyeflow node status` gets no answer for now" in caplog.text and "node.sock" in caplog.text


PORTS: list[tuple[str, dict[str, Any]]] = [
    ("mqtt", {"mqtt": {"host": "127.0.0.1", "password_env": "EYEFLOW_TEST_NO_SUCH_SECRET", "username": "u"}}),
    ("http", {"http": {"token_env": "EYEFLOW_TEST_NO_SUCH_SECRET"}}),
    ("llm", {"llm": {"endpoint": "http://127.0.0.1:9", "model": "m", "key_env": "EYEFLOW_TEST_NO_SUCH_SECRET"}}),
]


@pytest.mark.parametrize(("name", "tables"), PORTS)
def test_a_port_without_its_secret_fails_alone_and_says_why(tmp_path: Path, name: str, tables: dict[str, Any]) -> None:
    assert "EYEFLOW_TEST_NO_SUCH_SECRET" not in os.environ
    status = runs(tmp_path, lambda one: True, read_ports(tables))
    found = [one for one in status["sources"] + status["drivers"] if one["state"] == "failed"]
    assert found and {one["name"] for one in found} == {name}
    assert "EYEFLOW_TEST_NO_SUCH_SECRET" in found[0]["detail"] and "start the node again" in found[0]["detail"]


PARTS = {
    "mqtt": "eyeflow.node.io.mqtt.subscriber.Subscriber",
    "gpio": "eyeflow.node.io.gpio.backends.open_gpio",
    "http": "eyeflow.node.io.http.source.HttpSource",
    "serial": "eyeflow.node.io.serial.source.SerialSource",
    "adc": "eyeflow.node.io.adc.driver.AdcDriver",
    "file": "eyeflow.node.io.file.driver.FileDriver",
    "host": "eyeflow.node.io.host.source.HostSource",
    "llm": "eyeflow.node.io.llm.driver.LlmDriver",
}


@pytest.mark.parametrize("name", sorted(PARTS))
@pytest.mark.parametrize("error", [OSError("no such device"), EyeflowError("no library", cause="x", next_step="y")])
def test_any_part_that_cannot_be_set_up_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, error: Exception
) -> None:
    def broken(*given: object, **named: object) -> None:
        raise error

    monkeypatch.setattr(PARTS[name], broken)
    tables = {"mqtt": {"host": "127.0.0.1", "port": 9}, "llm": {"endpoint": "http://127.0.0.1:9", "model": "m"}}
    status = runs(tmp_path, lambda one: True, read_ports(tables))
    failed = {one["name"]: one["detail"] for one in status["sources"] + status["drivers"] if one["state"] == "failed"}
    assert set(failed) - {"mqtt"} <= {name} and name in failed
    assert ("no such device" if isinstance(error, OSError) else "no library") in failed[name]


def test_a_stored_rule_that_breaks_at_the_start_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        sim = await NodeSim.started(tmp_path, TICK, TICK.replace("tick", "tock"))
        sim.crash()
        load = type(sim.node.installer._policy).load

        def broken(self: Any, data: bytes, trusted: Any) -> Any:
            loaded = load(self, data, trusted)
            if loaded.program.rule == "tick":
                raise ZeroDivisionError("a bug")
            return loaded

        monkeypatch.setattr(type(sim.node.installer._policy), "load", broken)
        again = await NodeSim.started(tmp_path)
        assert again.rule("tock")["state"] == "running"
        assert again.rule("tick")["state"] == "refused" and "a bug" in str(again.rule("tick")["last_error"])
        await again.stop()

    asyncio.run(test())


def test_an_action_of_a_broken_driver_fails_with_its_reason(tmp_path: Path) -> None:
    from eyeflow.node.io.broken import Broken, set_up
    from eyeflow.svm.execution import CapabilityFailure

    def broken() -> HttpServerConfig:
        raise EyeflowError("the key of the language model is missing", cause="LLM_KEY is not set", next_step="Set it.")

    stands = set_up("llm", broken)
    assert isinstance(stands, Broken)
    for call in (lambda: stands.read("llm.complete", {}, 1), lambda: asyncio.run(stands.act("llm.complete", {}))):
        with pytest.raises(CapabilityFailure, match=r"LLM_KEY is not set\. Set it"):
            call()
