from __future__ import annotations

import asyncio
import logging
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from components.node_sim import SIGNER, program
from eyeflow.base.errors import EyeflowError
from eyeflow.node.cluster.health import health_of
from eyeflow.node.config.config import NodeConfig
from eyeflow.node.config.sections import CoordinatorConfig
from eyeflow.node.daemon import run_node
from eyeflow.node.io.connectors import ports_config
from eyeflow.node.io.http.settings import HttpServerConfig
from eyeflow.node.run_key import active
from eyeflow.node.runtime import NodeRuntime
from eyeflow.node.status.local_socket import fetch_status
from eyeflow.node.store.reader import AuditReader
from eyeflow.protocol.audit import Record, decode_record, verify_chain
from eyeflow.protocol.audit_bodies import CheckpointBody, ExecutionBody, SlotBody, SlotChange, StartBody, StopBody
from eyeflow.protocol.messages import HealthState
from eyeflow.svm.signing import public_key_of

PROCESS = Path(__file__).with_name("node_process.py")

TICK = """
rule tick {
    version "1.0.0"
    state n: int = 0
    on every 10ms
    n = n + 1
    log.info("{n}")
}
"""


def start(data_dir: Path, *options: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, str(PROCESS), str(data_dir), *options], stdout=subprocess.PIPE)


def lines_until(process: subprocess.Popen[bytes], count: int) -> list[str]:
    assert process.stdout is not None
    lines: list[str] = []
    while len(lines) < count and (line := process.stdout.readline()):
        lines.append(line.decode().strip())
    return lines


def rest(process: subprocess.Popen[bytes]) -> list[str]:
    assert process.stdout is not None
    with process.stdout as stream:
        text = stream.read().decode()
    process.wait()
    return text.split()


def records(data_dir: Path) -> list[Record]:
    with AuditReader(data_dir) as reader:
        data = list(reader.records())
        assert verify_chain(data, reader.public_key).holds
    return [decode_record(one) for one in data]


def recorded(data_dir: Path) -> set[int]:
    return {r.body.inputs[0] for r in records(data_dir) if isinstance(r.body, ExecutionBody)}  # type: ignore[misc]


def numbers(lines: list[str]) -> set[int]:
    return {int(line) for line in lines if line.isdigit()}


def test_what_was_acknowledged_is_recorded_when_the_node_is_killed_in_a_stream(tmp_path: Path) -> None:
    rng = random.Random(1)
    acknowledged: set[int] = set()
    for _ in range(3):
        process = start(tmp_path)
        lines = lines_until(process, rng.randrange(200, 2000))
        process.send_signal(signal.SIGKILL)
        acknowledged |= numbers(lines + rest(process))
        assert process.returncode == -signal.SIGKILL
    assert acknowledged and acknowledged <= recorded(tmp_path)
    found = records(tmp_path)
    assert [record.seq for record in found] == list(range(1, len(found) + 1))
    assert len({record.epoch for record in found}) == 1
    starts = [record.body for record in found if isinstance(record.body, StartBody)]
    assert [body.clean for body in starts] == [True, False, False]
    assert starts[-1].programs[0][0] == "counter", "the restarted node runs its program again, with nobody's help"


@pytest.mark.parametrize("commit", [3, 7])
def test_killed_in_the_middle_of_a_commit(tmp_path: Path, commit: int) -> None:
    acknowledged = numbers(rest(start(tmp_path, f"die={commit}")))
    assert acknowledged <= recorded(tmp_path)


def test_control_acknowledging_before_the_commit_loses_events(tmp_path: Path) -> None:
    """The checks above must be able to fail: a node that acknowledges first fails them."""
    acknowledged = numbers(rest(start(tmp_path, "early", "die=5")))
    assert acknowledged and not acknowledged <= recorded(tmp_path)


def test_a_killed_node_takes_a_bad_program_back_by_itself_and_never_runs_it_again(tmp_path: Path) -> None:
    """Nobody tells it: there is no coordinator. It is killed in commits before, while and after it judges."""
    for commit in (4, 12, 25, 40):
        rest(start(tmp_path, "trial", f"die={commit}"))
    for _ in range(2):
        process = start(tmp_path, "trial")
        while "back" not in lines_until(process, 1):
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        rest(process)
    bodies = [record.body for record in records(tmp_path)]
    (at,) = (n for n, one in enumerate(bodies) if isinstance(one, SlotBody) and one.change == SlotChange.ROLLED_BACK)
    bad = bodies[at].replaced  # type: ignore[union-attr]
    ran = [(n, one.program) for n, one in enumerate(bodies) if isinstance(one, ExecutionBody)]
    assert any(program_id == bad for n, program_id in ran if n < at)
    assert not any(program_id == bad for n, program_id in ran if n > at)


def test_a_signal_stops_the_node_in_good_order(tmp_path: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        process = start(tmp_path)
        lines = lines_until(process, 300)
        process.send_signal(number)
        lines += rest(process)
        assert process.returncode == 0 and lines[-1] == "stopped"
        assert numbers(lines) <= recorded(tmp_path)
        *_, stop, checkpoint = records(tmp_path)
        assert isinstance(stop.body, StopBody) and isinstance(checkpoint.body, CheckpointBody)
    assert [r.body.clean for r in records(tmp_path) if isinstance(r.body, StartBody)] == [True, True]


def node_config(path: Path, **options: object) -> NodeConfig:
    ports = ports_config(HttpServerConfig(port=0))
    return NodeConfig("n1", path, grants=("*",), trusted_keys=(public_key_of(SIGNER),), ports=ports, **options)  # type: ignore[arg-type]


def test_the_status_socket_answers_and_a_second_daemon_is_refused(tmp_path: Path) -> None:
    data_dir = tmp_path / ("a long directory name " * 6) / "data"

    async def test() -> None:
        stop, ready = asyncio.Event(), asyncio.Event()
        started: list[NodeRuntime] = []

        def on_ready(node: NodeRuntime) -> None:
            started.append(node)
            ready.set()

        async with asyncio.TaskGroup() as group:
            group.create_task(run_node(node_config(data_dir), stop=stop, on_ready=on_ready))
            await ready.wait()
            result = await started[0].install(program(TICK), {}, "d", 1)
            assert result.code == ""
            with pytest.raises(EyeflowError, match="another node already runs"):
                await run_node(node_config(data_dir))
            state = await asyncio.to_thread(fetch_status, data_dir)
            stop.set()
        assert state["node"] == "n1" and [rule["rule"] for rule in state["rules"]] == ["tick"]
        assert state["coordinator"]["state"] == "none"

    asyncio.run(test())
    with pytest.raises(EyeflowError, match="no node answers"):
        fetch_status(data_dir)
    assert not (data_dir / "node.sock").exists()


def test_a_coordinator_that_is_not_there_changes_nothing(tmp_path: Path) -> None:
    config = node_config(
        tmp_path, coordinator=CoordinatorConfig("http://127.0.0.1:9", token_env="EYEFLOW_TEST_NO_TOKEN")
    )

    async def test() -> None:
        stop, ready = asyncio.Event(), asyncio.Event()
        started: list[NodeRuntime] = []
        async with asyncio.TaskGroup() as group:
            on_ready = lambda node: (started.append(node), ready.set())  # noqa: E731
            group.create_task(run_node(config, stop=stop, on_ready=on_ready))  # type: ignore[arg-type]
            await ready.wait()
            await started[0].install(program(TICK), {}, "d", 1)
            rule = started[0].engine.core.rules[active("tick")]
            while rule.health.executions < 3 or started[0].link is None or not started[0].link.status.detail:
                await asyncio.sleep(0)
            assert started[0].link.status.state == "connecting"
            assert "EYEFLOW_TEST_NO_TOKEN" in started[0].link.status.detail
            stop.set()

    asyncio.run(test())
    assert any(isinstance(record.body, ExecutionBody) for record in records(tmp_path))


def test_rules_run_also_where_no_status_socket_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "node.sock").mkdir()

    async def test() -> None:
        stop, ready = asyncio.Event(), asyncio.Event()
        started: list[NodeRuntime] = []
        on_ready = lambda node: (started.append(node), ready.set())  # noqa: E731
        async with asyncio.TaskGroup() as group:
            group.create_task(run_node(node_config(tmp_path), stop=stop, on_ready=on_ready))  # type: ignore[arg-type]
            await ready.wait()
            assert (await started[0].install(program(TICK), {}, "d", 1)).code == ""
            while started[0].engine.core.rules[active("tick")].health.executions < 3:
                await asyncio.sleep(0)
            stop.set()

    asyncio.run(test())


def test_a_directory_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EyeflowError, match="cannot make the node's directory"):
        asyncio.run(run_node(node_config(tmp_path / "file" / "data")))


def test_a_damaged_key_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "node.key").write_bytes(b"short")
    (tmp_path / "node.key").chmod(0o600)
    with pytest.raises(EyeflowError, match="cannot use the node's key"):
        asyncio.run(run_node(node_config(tmp_path)))


def ran_once(path: Path) -> dict[str, object]:
    """Start a node, and stop it as soon as it runs; return its status."""
    state: dict[str, object] = {}

    async def test() -> None:
        stop = asyncio.Event()

        def on_ready(node: NodeRuntime) -> None:
            state.update(node.status())
            stop.set()

        await run_node(node_config(path), stop=stop, on_ready=on_ready)

    asyncio.run(test())
    return state


@pytest.mark.parametrize(("name", "mode"), [("node.key", 0o644), (".", 0o777), (".", 0o775)])
def test_a_key_or_data_dir_that_others_may_reach_is_refused(tmp_path: Path, name: str, mode: int) -> None:
    ran_once(tmp_path)
    (tmp_path / name).chmod(mode)
    with pytest.raises(EyeflowError) as refused:
        ran_once(tmp_path)
    assert refused.value.code == "permissions" and "chmod" in refused.value.next_step
    (tmp_path / name).chmod(0o700 if name == "." else 0o600)
    ran_once(tmp_path)


@pytest.mark.parametrize("missing", [False, True])
def test_a_lost_store_is_said_in_log_status_health_and_audit(
    tmp_path: Path, missing: bool, caplog: pytest.LogCaptureFixture
) -> None:
    first = ran_once(tmp_path)
    ran_once(tmp_path)
    assert first["store"]["replaced_epoch"] == 0  # type: ignore[index]
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR], "a first start is no loss"
    for name in ("node.db", "node.db-wal", "node.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    if not missing:
        (tmp_path / "node.db").touch()
    for _ in range(2):
        state = ran_once(tmp_path)
        assert state["store"]["replaced_epoch"] == first["epoch"]  # type: ignore[index]
        assert int(str(state["epoch"])) > int(str(first["epoch"])), "also within one second, and with a clock set back"
        told = [one for one in health_of(state) if one.name == "store"]
        assert [(one.state, one.detail) for one in told] == [
            (HealthState.RUNNING, f"the store of epoch {first['epoch']} is lost")
        ]
    errors = [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR]
    assert len(errors) == 1 and "is gone" in errors[0]
    starts = [one.body.replaced_epoch for one in records(tmp_path) if isinstance(one.body, StartBody)]
    assert starts == [first["epoch"], 0], "the first record of the new epoch says it"
