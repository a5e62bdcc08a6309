"""`eyeflow audit verify`: the key comes from outside of the store, and nothing is no evidence."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import apsw
import pytest

from eyeflow.cli.files import writing
from eyeflow.node.config.config import NodeConfig
from eyeflow.node.daemon import run_node
from eyeflow.node.runtime import NodeRuntime
from eyeflow.node.store.audit_log import tip_bytes
from eyeflow.protocol.audit import ZERO_HASH, Record, decode_record, encode_record, record_hash
from eyeflow.protocol.audit_bodies import CheckpointBody, StartBody
from eyeflow.protocol.identity import Identity, key_fingerprint

from .conftest import Command

OK, PROBLEMS, USAGE, ENVIRONMENT = 0, 1, 2, 3


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """The data of a node that ran and was stopped."""
    path = tmp_path / "data"

    async def run_once() -> None:
        stop = asyncio.Event()

        def on_ready(node: NodeRuntime) -> None:
            stop.set()

        await run_node(NodeConfig("n1", path), stop=stop, on_ready=on_ready)

    asyncio.run(run_once())
    return path


def key_of(data_dir: Path) -> bytes:
    return Identity((data_dir / "node.key").read_bytes()).public_key


def sign_anew(data_dir: Path, forger: Identity) -> None:
    """Write the whole audit again, as another key's, and name that key in the store."""
    db = apsw.Connection(str(data_dir / "node.db"))
    head = ZERO_HASH
    for seq, data in db.execute("SELECT seq, record FROM audit ORDER BY seq").fetchall():
        old = decode_record(bytes(data))
        body = old.body
        if isinstance(body, StartBody):
            body = StartBody(body.version, forger.public_key, body.clean, body.programs)
        elif isinstance(body, CheckpointBody):
            body = CheckpointBody(forger.public_key)
        record = encode_record(Record(old.node, old.epoch, old.seq, head, old.time_us, body), forger)
        head = record_hash(record)
        db.execute("UPDATE audit SET record = ? WHERE seq = ?", (record, seq))
    db.execute("UPDATE meta SET value = ? WHERE key = 'public_key'", (forger.public_key,))
    db.execute("UPDATE meta SET value = ? WHERE key = 'tip'", (tip_bytes(seq, head),))
    db.close()


def test_an_audit_that_is_signed_anew_is_found_and_the_key_is_shown(
    eyeflow: Command, data_dir: Path, tmp_path: Path
) -> None:
    key = key_of(data_dir)
    ran = eyeflow("audit", "verify", "--data-dir", data_dir)
    assert ran.code == OK and key.hex() in ran.out and "node.key" in ran.out
    sign_anew(data_dir, Identity.generate())
    for more in ([], ["--key", key.hex()], ["--key", key_fingerprint(key)]):
        ran = eyeflow("audit", "verify", "--data-dir", data_dir, *more, "--json")
        assert ran.code == PROBLEMS
        if not more or more[1] == key.hex():
            assert ran.json["problem"]["kind"] == "unsigned" and ran.json["publicKey"] == key.hex()
    (data_dir / "node.key").rename(tmp_path / "elsewhere")
    ran = eyeflow("audit", "verify", "--data-dir", data_dir)
    assert ran.code == OK and "not a forger" in ran.out, "the control: the store vouches for itself, and that is said"


def test_an_empty_audit_and_altered_times_are_found(eyeflow: Command, data_dir: Path) -> None:
    db = apsw.Connection(str(data_dir / "node.db"))
    db.execute("UPDATE audit SET time_us = 0 WHERE seq = 2")
    ran = eyeflow("audit", "verify", "--data-dir", data_dir, "--json")
    assert ran.code == PROBLEMS and (ran.json["problem"]["kind"], ran.json["problem"]["seq"]) == ("altered", 2)
    db.execute("DELETE FROM audit")
    db.close()
    ran = eyeflow("audit", "verify", "--data-dir", data_dir, "--json")
    assert ran.code == PROBLEMS and ran.json["problem"]["kind"] == "empty"


def test_nothing_found_is_said(eyeflow: Command, data_dir: Path) -> None:
    assert eyeflow("audit", "show", "--data-dir", data_dir).err == ""
    ran = eyeflow("audit", "show", "--data-dir", data_dir, "--rule", "pump")
    assert (ran.code, ran.out) == (OK, "") and "no record of the rule `pump`" in ran.err
    ran = eyeflow("audit", "show", "--data-dir", data_dir, "--from", "999", "--json")
    assert (ran.code, ran.out) == (OK, "") and "the last one is" in ran.err


def test_an_export_goes_through_a_link_and_replaces_no_folder(eyeflow: Command, data_dir: Path, tmp_path: Path) -> None:
    """A rename onto `/dev/null` would take the device from the whole machine."""
    (tmp_path / "link.audit").symlink_to("real.audit")
    for command in ("audit", "buffer"):
        options = ["--all"] if command == "buffer" else []
        ran = eyeflow(command, "export", "link.audit", "--force", "--data-dir", data_dir, *options)
        assert ran.code == OK and (tmp_path / "link.audit").is_symlink(), ran.err
        assert (tmp_path / "real.audit").read_bytes().startswith(b'{"format"')
        (tmp_path / "real.audit").unlink()
        ran = eyeflow(command, "export", ".", "--force", "--data-dir", data_dir, *options)
        assert ran.code == ENVIRONMENT and "cannot write ." in ran.err, ran.err
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")], "no draft is left"


def test_what_is_no_file_takes_what_is_written(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with writing(tmp_path / "pipe") as file:
        file.write(b"lines")
    assert os.read(reader, 10) == b"lines" and (tmp_path / "pipe").is_fifo()
    os.close(reader)


def test_a_key_of_an_event_that_is_no_utf_8_is_said(eyeflow: Command, data_dir: Path) -> None:
    ran = eyeflow("executions", "--key", "\udcff", "--data-dir", data_dir)
    assert ran.code == USAGE and "is no text in UTF-8" in ran.err
