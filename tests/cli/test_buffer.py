"""`eyeflow buffer`: what a node keeps, running or not, and what goes where next."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from components.waiting import until
from eyeflow.base.errors import EyeflowError
from eyeflow.cli.buffer import _facts as facts_of_buffer
from eyeflow.node.config.config import NodeConfig, load_config
from eyeflow.node.daemon import run_node
from eyeflow.node.own_key import load_identity
from eyeflow.node.runtime import NodeRuntime
from eyeflow.node.store.store import Store
from eyeflow.node.store.types import Batch, BufferLimits, Draft
from eyeflow.protocol.audit import decode_record, record_hash
from eyeflow.protocol.audit_bodies import StopBody
from eyeflow.protocol.collecting import KeptHead

from .conftest import Command, Ran

RECORDS = 30
OK, USAGE, ENVIRONMENT = 0, 2, 3
CONFIG = '[node]\nname = "n1"\ndata_dir = "data"\n'

Doing = Callable[[NodeRuntime], Awaitable[None]]


def run_once(data: Path, doing: Doing, config: NodeConfig | None = None) -> None:
    """Run a node until `doing` is done."""

    async def whole() -> None:
        stop, started = asyncio.Event(), asyncio.Event()
        nodes: list[NodeRuntime] = []

        def on_ready(node: NodeRuntime) -> None:
            nodes.append(node)
            started.set()

        running = asyncio.create_task(run_node(config or NodeConfig("n1", data), stop=stop, on_ready=on_ready))
        await started.wait()
        await doing(nodes[0])
        stop.set()
        await running

    asyncio.run(whole())


async def fill(node: NodeRuntime) -> None:
    now_us = node.clock.now_us()
    await node.writer.commit(Batch([Draft(now_us, StopBody(f"record {number}")) for number in range(RECORDS)]))


async def hold(node: NodeRuntime, seq: int) -> None:
    """Let the coordinator say that it holds everything up to this record."""
    (record,) = await node.audit_range(seq, 1)
    assert await node.note_kept("coordinator", KeptHead(node.identity.epoch, seq, record_hash(record)))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "eyeflow-svm.toml").write_text(CONFIG)
    return tmp_path / "data"


def facts(ran: Ran) -> dict[str, object]:
    assert ran.code == OK, ran.err
    found: dict[str, object] = json.loads(ran.out)
    return found


def test_the_buffer_of_a_node_that_runs_and_of_one_that_does_not(eyeflow: Command, data: Path) -> None:
    found: list[dict[str, object]] = []

    async def look(node: NodeRuntime) -> None:
        await fill(node)
        await hold(node, 11)
        found.append(facts(await asyncio.to_thread(eyeflow, "buffer", "status", "--json")))

    run_once(data, look)
    running = found[0]
    assert running["running"] is True and running["node"] == "n1"
    assert (running["records"], running["firstSeq"], running["lastSeq"]) == (RECORDS + 1, 1, RECORDS + 1)
    (coordinator,) = running["destinations"]  # type: ignore[misc]
    assert (coordinator["seq"], coordinator["behind"], coordinator["missed"]) == (11, RECORDS + 1 - 11, 0)
    stopped = facts(eyeflow("buffer", "status", "--json"))
    assert stopped["running"] is False
    assert (stopped["records"], stopped["lastSeq"]) == (RECORDS + 3, RECORDS + 3), "the stop and its checkpoint, too"
    assert stopped["sizeBytesSet"] == running["sizeBytesSet"] == 512 * 2**20
    (coordinator,) = stopped["destinations"]  # type: ignore[misc]
    assert (coordinator["seq"], coordinator["recordsPerS"]) == (11, None), "the cursor is in the file"
    metrics = eyeflow("buffer", "status", "--prometheus").out
    assert 'eyeflow_buffer_destination_behind{destination="coordinator",node="n1"} 22.0' in metrics.splitlines()
    assert "HELP eyeflow_node_running" in metrics and 'eyeflow_node_running{node="n1"} 0.0' in metrics
    ran = eyeflow("buffer", "status", "--prometheus", "--json")
    assert ran.code == USAGE and "leave out one of them" in ran.out + ran.err
    told = eyeflow("buffer", "status").out
    assert f"n1: {RECORDS + 3} records in its buffer" in told
    assert "coordinator holds record 11 of 33, 22 behind" in told


def test_it_says_why_nothing_reaches_kafka(eyeflow: Command, data: Path) -> None:
    text = CONFIG + '[offline]\nbuffer_backend = "kafka"\n[kafka]\nbootstrap_servers = "127.0.0.1:1"\n'
    (data.parent / "eyeflow-svm.toml").write_text(text)

    async def look(node: NodeRuntime) -> None:
        await until(lambda: "127.0.0.1:1: " in node.services["kafka_copies"].detail)
        told = (await asyncio.to_thread(eyeflow, "buffer", "status")).out
        assert "  kafka       holds record 0 of " in told and "\n              127.0.0.1:1: " in told

    run_once(data, look, load_config(data.parent / "eyeflow-svm.toml"))
    (kafka,) = facts(eyeflow("buffer", "status", "--json"))["destinations"]  # type: ignore[misc]
    assert (kafka["name"], kafka["trouble"]) == ("kafka", "")


def test_peek_shows_what_goes_out_next_and_takes_nothing(eyeflow: Command, data: Path) -> None:
    async def prepare(node: NodeRuntime) -> None:
        await fill(node)
        await hold(node, 11)

    run_once(data, prepare)
    for _ in range(2):
        ran = eyeflow("buffer", "peek", "-n", "3", "--json")
        assert [json.loads(line)["seq"] for line in ran.out.splitlines()] == [12, 13, 14]
    assert len(eyeflow("buffer", "peek", "-n", f"{10**20}", "--json").lines) == RECORDS + 3 - 11
    assert "record 10" in eyeflow("buffer", "peek", "-n", "1", "--to", "coordinator").out
    ran = eyeflow("buffer", "peek", "--to", "kafka")
    assert (ran.code, ran.out) == (USAGE, "")
    assert "there is no destination kafka" in ran.err and "coordinator" in ran.err


def test_a_node_whose_audit_goes_nowhere(eyeflow: Command, data: Path) -> None:
    run_once(data, fill)
    assert "goes nowhere" in eyeflow("buffer", "status").err
    ran = eyeflow("buffer", "peek")
    assert ran.code == ENVIRONMENT and "eyeflow audit show" in ran.err


def test_a_node_that_never_ran(eyeflow: Command, data: Path) -> None:
    ran = eyeflow("buffer", "status", "--data-dir", data)
    assert ran.code == ENVIRONMENT and "there is no node's store" in ran.err


def test_what_was_not_handed_on_is_exported_in_the_format_of_the_audit(eyeflow: Command, data: Path) -> None:
    async def prepare(node: NodeRuntime) -> None:
        await fill(node)
        await hold(node, 11)

    run_once(data, prepare)
    told = facts(eyeflow("buffer", "export", "rest.audit", "--json"))
    assert (told["fromSeq"], told["toSeq"], told["records"]) == (12, RECORDS + 3, RECORDS + 3 - 11)
    head, *records, end = [json.loads(line) for line in (data.parent / "rest.audit").read_text().splitlines()]
    seqs = [decode_record(base64.b64decode(one)).seq for one in records]
    assert seqs == list(range(12, RECORDS + 4)) and end == {"records": len(seqs)}
    assert (head["node"], head["epoch"]) == ("n1", told["epoch"])
    refused = eyeflow("buffer", "export", "rest.audit")
    assert refused.code == USAGE and "overwrite it with --force" in refused.err
    assert eyeflow("audit", "export", "whole.audit").code == OK
    assert eyeflow("buffer", "export", "rest.audit", "--all", "--force").code == OK
    assert (data.parent / "rest.audit").read_bytes() == (data.parent / "whole.audit").read_bytes(), "one format"


def test_nothing_is_written_where_nothing_waits(eyeflow: Command, data: Path) -> None:
    async def prepare(node: NodeRuntime) -> None:
        await fill(node)

    run_once(data, prepare)
    store = Store(data, "n1", load_identity(data), BufferLimits(512 * 2**20, 10**15))
    (record,) = store.audit_range(store.head[0], 1)
    assert store.note_kept("coordinator", KeptHead(store.epoch, store.head[0], record_hash(record)))
    store.close(clean=True)
    ran = eyeflow("buffer", "export", "rest.audit")
    assert ran.code == OK and "nothing waits: coordinator holds every record" in ran.err, "the healthy case"
    assert eyeflow("buffer", "export", "rest.audit", "--json").json["records"] == 0
    assert not (data.parent / "rest.audit").exists()
    assert "holds every record" in eyeflow("buffer", "peek").err


def test_of_a_node_that_hangs_its_files_are_told(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_once(data, fill)

    def silent(data_dir: Path) -> dict[str, object]:
        raise EyeflowError("the node says nothing", cause="It hangs.", next_step="End it.", code="node_silent")

    monkeypatch.setattr("eyeflow.node.status.local_socket.fetch_status", silent)
    found = facts_of_buffer(data, None)
    assert (found["running"], found["records"]) == (True, RECORDS + 3)
    assert "the node says nothing: this is what its files say" in capsys.readouterr().err
