"""The coordinator as a process: first start, exposure, ports, and what survives SIGKILL."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import httpx
import pytest

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.machine import Machine
from eyeflow.client.profile import ClientProfile
from eyeflow.client.rest import CoordinatorClient
from eyeflow.coordinator.serve import Exposure, ServeOptions, Started, bind, check_exposure, serve
from eyeflow.coordinator.store import sqlite_file
from eyeflow.coordinator.store.sqlite_file import SqliteFile
from eyeflow.protocol.identity import Identity

PROGRAM = """
import asyncio, sys
from pathlib import Path
from eyeflow.coordinator.serve import ServeOptions, serve
data, port, profile = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
options = ServeOptions(data, port=port, profile_path=profile, trusted=(("test", bytes.fromhex(sys.argv[4])),))
asyncio.run(serve(options, lambda started: print(started.url, flush=True)))
"""


@contextlib.contextmanager
def process(directory: Path, port: int, signer: Identity) -> Iterator[tuple[subprocess.Popen[str], str]]:
    arguments = [str(directory / "data"), str(port), str(directory / "client.toml"), signer.public_key.hex()]
    command = [sys.executable, "-c", PROGRAM, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        url = child.stdout.readline().strip()
        try:
            assert url, child.stderr.read() if child.stderr else ""
            yield child, url
        finally:
            if child.poll() is None:
                child.kill()
            child.communicate()


def test_kill_loses_nothing_that_was_answered(tmp_path: Path, make: Any) -> None:
    node = Identity.generate()
    with process(tmp_path, 0, make.signer) as (child, url):
        profile = ClientProfile.load(tmp_path / "client.toml", {})
        assert profile.url == url
        with CoordinatorClient(profile.url, profile.token) as client:
            extra = client.create_token("ci", "deploy")["token"]
            unused, used = client.create_join_token()["token"], client.create_join_token()["token"]
            join(client, used, node)
            program = client.upload_program(make.program())
            deployment = client.deploy("overheat", {"nodeIds": ["node-1"]}, params={"limit": 70})
            child.send_signal(signal.SIGKILL)
            child.wait()
    port = int(url.rsplit(":", 1)[1])
    with process(tmp_path, port, make.signer) as (child, again), CoordinatorClient(again, extra) as client:
        assert again == url
        found = client.deployment(deployment["id"])
        (change,) = found["changes"]
        assert (found["state"], change["programId"]) == ("installing", program["id"])
        assert change["params"] == {"limit": 70.0}
        assert [one["name"] for one in client.nodes()] == ["node-1"]
        with pytest.raises(EyeflowError) as error:
            join(client, used, Identity.generate())
        assert error.value.code == "bad_join_token"
        join(client, unused, Identity.generate(), "node-2")
        assert ClientProfile.load(tmp_path / "client.toml", {}) == profile, "only the first start writes the profile"
        child.send_signal(signal.SIGTERM)
        assert child.wait() in {0, -signal.SIGTERM}
        assert child.stderr is not None and "Traceback" not in child.stderr.read()


def join(client: CoordinatorClient, token: str, identity: Identity, name: str = "node-1") -> None:
    from eyeflow.node.cluster.membership import join_cluster

    join_cluster(client.url, token, name, identity.sign, identity.public_key)


def test_the_first_start_makes_one_private_admin_token(tmp_path: Path, cluster: Any) -> None:
    async def scenario() -> None:
        async with cluster.coordinator() as client:
            first: Started = cluster.started
            assert first.first_start and not first.profile_written
            assert first.token_path.stat().st_mode & 0o777 == 0o600
            assert (await client.get("/api/status")).json()["coordinatorId"] == first.coordinator_id
            assert "server" not in (await client.get("/healthz")).headers
        async with cluster.coordinator() as client:
            assert not cluster.started.first_start
            assert (await client.get("/api/status")).status_code == 200

    asyncio.run(scenario())


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        options = ServeOptions(tmp_path, port=taken.getsockname()[1])
        with pytest.raises(EyeflowError) as error:
            asyncio.run(serve(options, lambda started: None))
    assert error.value.code == "port_in_use"
    assert error.value.exit_code is ExitCode.ENVIRONMENT
    assert "--port" in error.value.next_step
    with pytest.raises(EyeflowError) as strange:
        bind("203.0.113.1", 0)
    assert strange.value.code == "bind"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", ""])
def test_beyond_loopback_needs_tls_or_force(tmp_path: Path, host: str) -> None:
    with pytest.raises(EyeflowError) as error:
        check_exposure(ServeOptions(tmp_path, host=host))
    assert (error.value.code, error.value.exit_code) == ("insecure_bind", ExitCode.USAGE)
    check_exposure(ServeOptions(tmp_path, host=host, exposure=Exposure.INSECURE))
    pem = tmp_path / "tls.pem"
    pem.write_text("")
    check_exposure(ServeOptions(tmp_path, host=host, tls_cert=pem, tls_key=pem))
    with pytest.raises(EyeflowError) as half:
        check_exposure(ServeOptions(tmp_path, host=host, tls_cert=pem))
    assert half.value.code == "tls_incomplete"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_is_safe(tmp_path: Path, host: str) -> None:
    check_exposure(ServeOptions(tmp_path, host=host))


def test_a_store_of_another_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    SqliteFile(path, Machine()).close()
    db = apsw.Connection(str(path))
    db.pragma("user_version", 99)
    db.close()
    with pytest.raises(EyeflowError) as error:
        SqliteFile(path, Machine())
    assert error.value.code == "store_version"
    assert "schema 99" in error.value.message and "newer eyeflow" in error.value.cause


def test_a_store_that_is_no_store_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    path.write_bytes(b"not a database, but long enough to be read as one" * 100)
    with pytest.raises(EyeflowError) as error:
        SqliteFile(path, Machine())
    assert error.value.code == "store_damaged"
    (tmp_path / "file").write_text("")
    with pytest.raises(EyeflowError) as inside:
        SqliteFile(tmp_path / "file" / "store.sqlite", Machine())
    assert inside.value.code == "store"


def test_the_store_is_durable_by_its_settings(tmp_path: Path) -> None:
    """synchronous=FULL is what makes a commit survive a power cut in WAL mode; NORMAL (the control) does not."""
    store = SqliteFile(tmp_path / "store.sqlite", Machine())
    assert store._db.pragma("synchronous") == 2
    assert store._db.pragma("journal_mode") == "wal"
    assert store.path.stat().st_mode & 0o777 == 0o600
    store.close()


def test_a_full_disk_is_a_problem_and_loses_nothing(api: Any) -> None:
    db = api.store.file._db
    db.pragma("max_page_count", db.pragma("page_count"))
    replies: list[httpx.Response] = []
    for number in range(2000):
        replies.append(api.ask("POST", "/api/tokens", json={"name": f"x{number:063}", "role": "read"}))
        if replies[-1].status_code != 201:
            break
    assert (replies[-1].status_code, replies[-1].json()["code"]) == (503, "storage")
    assert api.client.get("/healthz").status_code == 503, "health is what the last write said"
    assert "the disk is full" in api.ask("GET", "/api/status").json()["trouble"]
    kept = [one for one in api.look(lambda reading: reading.api_tokens()) if one.name.startswith("x0")]
    assert len(kept) == len(replies) - 1
    db.pragma("max_page_count", 1_000_000)
    assert api.ask("POST", "/api/tokens", json={"name": "y", "role": "read"}).status_code == 201
    assert api.client.get("/healthz").status_code == 200


def test_a_disk_without_room_is_unhealthy_before_a_write_fails(
    api: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "eyeflow.coordinator")
    api.tick()
    assert api.client.get("/healthz").status_code == 200, "the control: with room it is healthy"
    with monkeypatch.context() as full:
        full.setattr(sqlite_file, "ROOM_BYTES_MIN", 1 << 62)
        for _ in range(3):
            api.tick()
        assert api.client.get("/healthz").status_code == 503
        assert "bytes left" in api.ask("GET", "/api/status").json()["trouble"]
    api.tick()
    assert api.client.get("/healthz").status_code == 200, "nothing but the tick wrote"
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2 and "bytes left" in told[0] and told[1] == "the store works again"


def test_a_process_without_rights_is_told(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    (locked / "coordinator.sqlite").mkdir(mode=0o700)
    with pytest.raises(EyeflowError) as error:
        asyncio.run(serve(ServeOptions(locked, port=0), lambda started: None))
    assert error.value.code == "store"
    assert list((locked / "coordinator.sqlite").iterdir()) == []


def test_a_second_coordinator_is_kept_off_the_store(tmp_path: Path, make: Any) -> None:
    with process(tmp_path, 0, make.signer):
        with pytest.raises(EyeflowError) as error:
            asyncio.run(serve(ServeOptions(tmp_path / "data", port=0), lambda started: None))
        assert error.value.code == "data_dir_in_use" and "another coordinator" in error.value.message


@pytest.mark.parametrize(("name", "mode"), [("admin-token", 0o644), ("coordinator.sqlite", 0o640), (".", 0o777)])
def test_files_of_the_coordinator_that_others_may_reach_are_refused(tmp_path: Path, name: str, mode: int) -> None:
    path = tmp_path / "data" / name
    (tmp_path / "data").mkdir(mode=0o700)
    if name != ".":
        path.write_bytes(b"")
    path.chmod(mode)
    with pytest.raises(EyeflowError) as error:
        asyncio.run(serve(ServeOptions(tmp_path / "data", port=0), lambda started: None))
    assert error.value.code == "permissions" and "chmod" in error.value.next_step
